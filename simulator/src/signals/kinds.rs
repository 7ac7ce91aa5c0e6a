//! The kinds of device, and what each measures.
#![expect(clippy::cast_precision_loss, reason = "sequence numbers and seconds are below 2^53")]

use std::f64::consts::TAU;

use proto::Value;

use super::{
    Device, Kind,
    noise::{drift, mix, part, rough},
};

type Fields = Vec<(&'static str, Value)>;

/// Appends what `device` measures at `seq`.
pub(super) fn measure(device: &Device, seq: u64, out: &mut Fields) {
    let at = Moment { seed: device.seed, seq, day: day(device, seq) };
    match device.kind {
        Kind::Greenhouse => greenhouse(&at, out),
        Kind::Energy => energy(&at, out),
        Kind::Weather => weather(&at, out),
        Kind::Machine => machine(&at, out),
        Kind::Recorder => recorder(&at, out),
    }
}

struct Moment {
    seed: u64,
    seq: u64,
    /// -1.0 in the middle of the night, 1.0 in the middle of the day.
    day: f64,
}

impl Moment {
    fn rough(&self, channel: u64) -> f64 {
        rough(self.seed, channel, self.seq)
    }

    fn drift(&self, channel: u64, span: u64) -> f64 {
        drift(self.seed, channel, self.seq, span)
    }

    /// Constant for the device: no two are built or placed alike.
    fn own(&self, channel: u64) -> f64 {
        part(self.seed, channel, u64::MAX)
    }
}

fn day(device: &Device, seq: u64) -> f64 {
    let seconds = device.start.nanos() / 1_000_000_000;
    let since = device.period.as_secs_f64() * seq as f64;
    -((seconds.rem_euclid(86_400) as f64 + since) / 86_400.0 * TAU).cos()
}

/// Rounded to `decimals`, as a sensor reports it; never the negative zero.
fn round(value: f64, decimals: i32) -> Value {
    let scale = 10_f64.powi(decimals);
    Value::Float((value * scale).round() / scale + 0.0)
}

fn greenhouse(at: &Moment, out: &mut Fields) {
    let temperature = 21.0 + 6.0 * at.day + 2.0 * at.drift(1, 300) + 0.1 * at.rough(2);
    let humidity = 68.0 - 14.0 * at.day + 6.0 * at.drift(3, 200) + 0.5 * at.rough(4);
    let since_watering = (at.seq + at.seed % 720) % 720;
    out.push(("temperature", round(temperature, 2)));
    out.push(("humidity", round(humidity.clamp(5.0, 100.0), 1)));
    out.push(("co2", round(620.0 - 180.0 * at.day + 60.0 * at.drift(6, 150), 0)));
    out.push(("soil_moisture", round(48.0 - since_watering as f64 / 40.0 + at.rough(7), 1)));
    out.push(("vent_open", Value::Boolean(temperature > 24.0)));
}

fn energy(at: &Moment, out: &mut Fields) {
    let voltage = 230.0 + 2.5 * at.drift(1, 120) + 0.3 * at.rough(2);
    let current = 4.2 + 3.0 * at.drift(3, 60) + 0.8 * at.own(4) + 0.05 * at.rough(5);
    let current = current.max(0.0);
    // A steady mean with a ripple that is never steeper: it cannot run backwards.
    let total = 1_000.0 * at.own(6) + (at.seq as f64) * 0.02 + 0.01 * at.drift(7, 50);
    out.push(("voltage", round(voltage, 1)));
    out.push(("current", round(current, 3)));
    out.push(("power", round(voltage * current, 1)));
    out.push(("frequency", round(50.0 + 0.03 * at.drift(8, 40), 3)));
    out.push(("energy_total", round(total, 4)));
    out.push(("relay", Value::Boolean(current > 1.5)));
}

fn weather(at: &Moment, out: &mut Fields) {
    let wind = 4.0 + 3.5 * at.drift(1, 90) + 1.2 * at.rough(2);
    let direction = (180.0 + 170.0 * at.drift(3, 400) + 8.0 * at.rough(4)).rem_euclid(360.0);
    // Tips of a 0.2 mm bucket.
    let tips = ((at.seq as f64) / 9.0 + at.drift(5, 50)).max(0.0).floor();
    out.push(("temperature", round(9.0 + 5.0 * at.day + 3.0 * at.drift(6, 900), 1)));
    out.push(("humidity", round(72.0 - 12.0 * at.day + 8.0 * at.drift(7, 300), 0)));
    out.push(("pressure", round(1013.25 + 14.0 * at.drift(8, 2_000), 2)));
    out.push(("wind_speed", round(wind.max(0.0), 1)));
    out.push(("wind_direction", round(direction.min(359.0), 0)));
    out.push(("rain_total", round(tips * 0.2, 1)));
}

fn machine(at: &Moment, out: &mut Fields) {
    let load = at.drift(1, 80);
    // One of the texts needs every escape that line protocol and JSON have.
    let state = match load {
        l if l < -0.8 => "fault \"E-17\": door, left \\ läuft aus",
        l if l < -0.5 => "idle",
        _ => "running",
    };
    let running = state == "running";
    let rpm = if running { 1_480.0 + 35.0 * load + 4.0 * at.rough(2) } else { 0.0 };
    let vibration = if running { 2.1 + 0.8 * at.drift(3, 500) + 0.2 * at.rough(4) } else { 0.02 };
    let parts = (at.seq as f64 / 4.0 + at.drift(5, 20)).max(0.0).floor();
    out.push(("rpm", round(rpm, 0)));
    out.push(("vibration", round(vibration, 3)));
    out.push(("temperature", round(58.0 + 9.0 * at.drift(6, 250) + 0.2 * at.rough(7), 1)));
    out.push(("parts_total", round(parts, 0)));
    out.push(("running", Value::Boolean(running)));
    out.push(("state", Value::Text(state.to_owned())));
}

/// Characters of a recorder's block; six bits each, and none that any encoding escapes.
const SAMPLES: usize = 192;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Characters out of one random number.
const EACH: usize = 10;

fn recorder(at: &Moment, out: &mut Fields) {
    let mut samples = String::with_capacity(SAMPLES + EACH);
    let mut random = mix(at.seed ^ mix(at.seq));
    while samples.len() < SAMPLES {
        random = mix(random);
        let of_six_bits = |place| ALPHABET.get(((random >> (6 * place)) & 63) as usize).copied();
        samples.extend((0..EACH).filter_map(of_six_bits).map(char::from));
    }
    samples.truncate(SAMPLES);
    out.push(("peak", round(3.3 + 0.4 * at.rough(1), 3)));
    out.push(("samples", Value::Text(samples)));
}
