//! What an output's steps cost per reading, over 10,000 series. To reach (issue: windows of ten
//! seconds): one CPU second per million readings, 40 MB of state; the size of the state is printed first.

use divan::{Bencher, counter::ItemsCount};
use proto::{Limits, Reading, Readings, Time, Timestamp, Value, frame::Cursor};
use tidegate::process::window::{Every, Function, Stamp};
use tidegate::process::{Kept, Process, Settings, deadband, dedup, glob::Globs, select, window};

const SERIES: usize = 10_000;
const S: i64 = 1_000_000_000;
const NOON: i64 = 1_700_006_400 * S;

fn main() {
    state_of_windows();
    divan::main();
}

fn reading(device: usize) -> Reading {
    let fields = [("temperature", 21.53), ("humidity", 48.2), ("battery", 3.714)];
    Reading {
        measurement: "climate".to_owned(),
        tags: vec![
            ("device".to_owned(), format!("greenhouse-{device:05}")),
            ("site".to_owned(), "north".to_owned()),
        ],
        fields: fields.map(|(name, value)| (name.to_owned(), Value::Float(value))).to_vec(),
        time: Time::At(Timestamp::UNIX_EPOCH),
    }
}

/// One reading of each series, a tenth of a millisecond apart.
struct Second {
    bytes: Vec<u8>,
}

impl Second {
    fn new(second: i64) -> Self {
        let mut encoder = Readings::new(Limits::default());
        encoder.begin();
        for device in 0..SERIES {
            let at = NOON + second * S + i64::try_from(device).unwrap_or(0) * S / 10_000;
            let reading = Reading { time: Time::At(Timestamp::from_nanos(at)), ..reading(device) };
            reading.with_ref(|it| encoder.push(&it, Timestamp::UNIX_EPOCH)).expect("it is fine");
        }
        Self { bytes: encoder.take().0 }
    }
}

/// Decoding included, as an output does it.
fn run(process: &mut Process, second: &Second, out: &mut Kept) {
    let mut cursor = Cursor::new(&second.bytes);
    while let Some(Ok(reading)) = cursor.next() {
        let arrival = reading.time.timestamp().unwrap_or(Timestamp::UNIX_EPOCH);
        divan::black_box(process.apply(&reading, arrival, out));
    }
    out.bytes.clear();
    out.emitted.clear();
}

fn bench(bencher: Bencher<'_, '_>, settings: &Settings) {
    let mut process = Process::new(settings.clone());
    let mut out = Kept::default();
    let mut second = 0;
    bencher
        .counter(ItemsCount::new(SERIES))
        .with_inputs(|| {
            second += 1;
            Second::new(second)
        })
        .bench_local_values(|second| run(&mut process, &second, &mut out));
}

fn windows(functions: &[Function]) -> Settings {
    let every = std::time::Duration::from_secs(10);
    Settings {
        windows: vec![window::Settings {
            measurements: Globs::default(),
            every: Every::Duration(every),
            lateness: every,
            functions: functions.to_vec(),
            keep_raw: false,
            stamp: Stamp::Start,
            into: None,
        }],
        ..Settings::default()
    }
}

#[expect(clippy::print_stderr, reason = "a benchmark says what it measured")]
fn state_of_windows() {
    let mut process = Process::new(windows(&Function::ALL));
    let mut out = Kept::default();
    for second in 0..30 {
        run(&mut process, &Second::new(second), &mut out);
    }
    let (bytes, open) = process.size();
    let snapshot = process.snapshot().len();
    eprintln!("{SERIES} series: {open} windows open, {bytes} bytes, {snapshot} in a snapshot");
}

#[divan::bench(sample_count = 60, sample_size = 1)]
fn nothing(bencher: Bencher<'_, '_>) {
    bench(bencher, &Settings::default());
}

#[divan::bench(sample_count = 60, sample_size = 1)]
fn select_fields(bencher: Bencher<'_, '_>) {
    let select = select::Settings {
        measurements: Globs::new(["clim*"]),
        tags: vec![("site".to_owned(), tidegate::process::glob::Glob::new("nor*"))],
        fields: Globs::new(["*", "!battery"]),
    };
    bench(bencher, &Settings { select: Some(select), ..Settings::default() });
}

#[divan::bench(sample_count = 60, sample_size = 1)]
fn dedup_readings(bencher: Bencher<'_, '_>) {
    bench(bencher, &Settings { dedup: Some(dedup::Settings::default()), ..Settings::default() });
}

#[divan::bench(sample_count = 60, sample_size = 1)]
fn deadband_fields(bencher: Bencher<'_, '_>) {
    let band = deadband::Settings { absolute: 0.5, ..deadband::Settings::default() };
    bench(bencher, &Settings { deadbands: vec![band], ..Settings::default() });
}

#[divan::bench(sample_count = 60, sample_size = 1)]
fn window_10s_mean_max(bencher: Bencher<'_, '_>) {
    bench(bencher, &windows(&[Function::Mean, Function::Max]));
}

#[divan::bench(sample_count = 60, sample_size = 1)]
fn window_10s_all_functions(bencher: Bencher<'_, '_>) {
    bench(bencher, &windows(&Function::ALL));
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn snapshot_of_windows(bencher: Bencher<'_, '_>) {
    let mut process = Process::new(windows(&Function::ALL));
    run(&mut process, &Second::new(0), &mut Kept::default());
    bencher.counter(ItemsCount::new(SERIES)).bench_local(|| process.snapshot());
}
