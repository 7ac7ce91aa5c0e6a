//! The encoders under `docs/frame` write the same bytes as ours. Each is driven as a device would
//! use it, by a small program that reads what to encode.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use proto::{Reading, Time, Value, frame};

use crate::samples::{any_reading, decoded};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_c_encoder_writes_our_bytes() {
    let driver = Path::new(env!("CARGO_TARGET_TMPDIR")).join("frame_driver");
    let include = root().join("docs/frame");
    let source = root().join("proto/tests/fixtures/device-encoders/driver.c");
    let warnings = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I"];
    let mut compile = Command::new("cc");
    compile.args(warnings).arg(include).arg(source).arg("-o").arg(&driver);
    match compile.status() {
        Ok(status) => assert!(status.success(), "the C encoder does not compile"),
        Err(error) => return skipped("cc", &error),
    }
    writes_our_bytes(&mut Command::new(driver));
}

#[test]
fn the_python_encoder_writes_our_bytes() {
    if let Err(error) = Command::new("python3").arg("--version").output() {
        return skipped("python3", &error);
    }
    let driver = root().join("proto/tests/fixtures/device-encoders/driver.py");
    let mut command = Command::new("python3");
    command.arg("-B").arg(driver).env("PYTHONPATH", root().join("docs/frame"));
    writes_our_bytes(&mut command);
}

/// Fails where nothing may be skipped.
fn skipped(program: &str, error: &std::io::Error) {
    let line = format!("{program} cannot be run ({error}); its encoder is not checked here");
    // Straight to the descriptor: the test runner keeps back what a passing test prints.
    std::io::stderr().write_all(format!("\nSKIPPED: {line}\n").as_bytes()).expect("stderr");
    let is_set = |name: &str, value: &str| std::env::var(name).is_ok_and(|is| is == value);
    assert!(!is_set("CI", "true") && !is_set("TIDEGATE_REQUIRE_ALL", "1"), "{line}");
}

fn writes_our_bytes(driver: &mut Command) {
    let mut runner = TestRunner::deterministic();
    let samples = prop::collection::vec(any_reading(), 300).new_tree(&mut runner);
    let readings = samples.expect("samples").current();
    let mut ours = Vec::new();
    frame::encode(&readings, &mut ours);
    let theirs = run(driver, &script(&readings));
    assert!(theirs == ours, "they differ from byte {:?} on", differ_at(&theirs, &ours));

    // What ours never writes: four bytes for a float, which keeps its own decimal.
    let single = run(
        driver,
        &format!("1\nR {} 0\nN\nF 1\ns {} {}\n", hex("m"), hex("t"), 0.1_f32.to_bits()),
    );
    let (readings, bad) = decoded(&single);
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(
        readings.first().map(|r| r.fields.clone()),
        Some(vec![("t".to_owned(), Value::Float(0.1))])
    );
}

fn differ_at(a: &[u8], b: &[u8]) -> Option<usize> {
    a.iter().zip(b).position(|(a, b)| a != b)
}

fn run(driver: &mut Command, script: &str) -> Vec<u8> {
    let mut child =
        driver.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the driver starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let script = script.as_bytes().to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&script));
    let output = child.wait_with_output().expect("the driver ends");
    writer.join().expect("no panic").expect("it reads all");
    assert!(output.status.success(), "the driver failed");
    output.stdout
}

/// What to encode, for the drivers: texts in hex, floats as their bits.
fn script(readings: &[Reading]) -> String {
    let mut script = format!("{}\n", readings.len());
    for reading in readings {
        writeln!(script, "R {} {}", hex(&reading.measurement), reading.tags.len()).expect("text");
        for (key, value) in &reading.tags {
            writeln!(script, "T {} {}", hex(key), hex(value)).expect("text");
        }
        match reading.time {
            Time::At(at) => writeln!(script, "A {}", at.nanos()),
            Time::Age(age) => writeln!(script, "G {}", age.as_nanos()),
            Time::Unknown | Time::Stamped(_) => writeln!(script, "N"),
        }
        .expect("text");
        writeln!(script, "F {}", reading.fields.len()).expect("text");
        for (name, value) in &reading.fields {
            let name = hex(name);
            match value {
                Value::Float(value) => writeln!(script, "d {name} {}", value.to_bits()),
                Value::Signed(value) => writeln!(script, "i {name} {value}"),
                Value::Unsigned(value) => writeln!(script, "u {name} {value}"),
                Value::Boolean(value) => writeln!(script, "b {name} {}", u8::from(*value)),
                Value::Text(value) => writeln!(script, "x {name} {}", hex(value)),
            }
            .expect("text");
        }
    }
    script
}

/// A dot stands before the digits, so that an empty text is a word too.
fn hex(text: &str) -> String {
    text.bytes().fold(".".to_owned(), |hex, byte| format!("{hex}{byte:02x}"))
}
