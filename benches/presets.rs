//! What a message of known devices costs from its topic to readings, and beside it the same without
//! a preset: what looking inside costs.

use divan::{Bencher, counter::ItemsCount};
use proto::{Context, Limits, Readings, Rejects, Timestamp};
use tidegate::intake::{
    decode::{Named, decode},
    presets::Preset,
    route::{Route, Routes},
};

const ARRIVAL: Timestamp = Timestamp::from_nanos(1_790_000_000_000_000_000);
const TASMOTA: &[u8] = br#"{"Time":"2018-02-15T17:37:10","ENERGY":{"TotalStartTime":"2018-11-14T18:39:40","Total":6.294,"Yesterday":5.340,"Today":0.954,"Period":217,"Power":2635,"ApparentPower":2650,"ReactivePower":282,"Factor":0.99,"Voltage":227,"Current":11.661}}"#;
const ZIGBEE: &[u8] =
    br#"{"battery":100,"voltage":3005,"linkquality":42,"temperature":16.66,"humidity":43.03}"#;

fn main() {
    divan::main();
}

#[divan::bench(args = [true, false])]
fn tasmota_sensor(bencher: Bencher<'_, '_>, with_presets: bool) {
    bench(bencher, with_presets, "tele/pow1/SENSOR", TASMOTA);
}

#[divan::bench(args = [true, false])]
fn zigbee2mqtt_device(bencher: Bencher<'_, '_>, with_presets: bool) {
    bench(bencher, with_presets, "zigbee2mqtt/Sleeping Room Temperature 01", ZIGBEE);
}

#[divan::bench(args = [true, false])]
fn shelly_gen1_plain(bencher: Bencher<'_, '_>, with_presets: bool) {
    bench(bencher, with_presets, "shellies/shelly1-A1/relay/0/power", b"12.5");
}

#[divan::bench(args = [true, false])]
fn a_topic_that_nobody_knows(bencher: Bencher<'_, '_>, with_presets: bool) {
    bench(bencher, with_presets, "garden/bed3/soil/moisture", b"21.5");
}

fn bench(bencher: Bencher<'_, '_>, with_presets: bool, topic: &str, payload: &[u8]) {
    let presets = if with_presets { Preset::ALL } else { &[] };
    let routes = Routes::with_presets(Vec::new(), presets).expect("presets are right");
    let (mut out, mut bad) = (Readings::new(Limits::default()), Rejects::default());
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        out.clear();
        let Route::Take(matched) = routes.route(divan::black_box(topic), payload) else {
            panic!("{topic} is not taken")
        };
        let context = Context {
            measurement: "mqtt",
            tags: &matched.tags,
            field: &matched.value,
            mapping: matched.mapping,
            ..Context::bare(ARRIVAL)
        };
        let named = Named { measurement: matched.measurement, field: matched.field };
        decode(matched.format, payload, &context, named, &mut out, &mut bad);
        out.stamp(ARRIVAL);
        assert_eq!((out.count(), bad.readings()), (1, 0));
    });
}
