//! Does `tidegate-sim verify` see in real databases what was done to them?
//!
//! InfluxDB 2 comes from the cache that `./check` fills, 1.x is a Debian package. Where one is
//! missing its test says so and is skipped, unless nothing may be skipped (`CI=true`).

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what fails here is the test, and it says where"
)]

use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use proto::Timestamp;
use simulator::{
    ledger::Ledger,
    payload::{Encoding, encode},
    signals::{Clock, Device, Kind, seed_of},
};

const READINGS: u64 = 300;
const ACKNOWLEDGED: u64 = 290;

/// A database, killed on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn run(binary: &Path, arguments: &[String]) -> Running {
    let mut command = Command::new(binary);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    Running(command.spawn().unwrap())
}

fn skip(part: &str) {
    let line = format!("\nSKIPPED: {part} is not here (./check installs it)\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
    let is_set = |name: &str, value: &str| env::var(name).is_ok_and(|v| v == value);
    assert!(!is_set("CI", "true") && !is_set("TIDEGATE_REQUIRE_ALL", "1"), "{part} is not here");
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate-sim")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// The status of the answer.
fn post(port: u16, path: &str, token: &str, body: &[u8]) -> io::Result<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Token {token}\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(body)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    answer.get(9..12).and_then(|code| code.parse().ok()).ok_or(io::ErrorKind::InvalidData.into())
}

/// A ledger of all kinds of device, in a file.
fn ledger(path: &Path) -> Ledger {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let start = i64::try_from(now).unwrap() - 3_600_000_000_000;
    let devices = Kind::ALL.map(|kind| Device {
        name: format!("d-{}", kind.measurement()),
        kind,
        seed: seed_of(3, kind.measurement()),
        start: Timestamp::from_nanos(start),
        period: Duration::from_millis(777),
        jitter: 0.4,
        clock: Clock::Nanoseconds,
    });
    let ledger = Ledger::create(devices.to_vec(), Some(path)).unwrap();
    for index in 0..devices.len() {
        ledger.sent(index, &(0..READINGS).collect::<Vec<_>>()).unwrap();
        ledger.acknowledged(index, &(0..ACKNOWLEDGED).collect::<Vec<_>>()).unwrap();
    }
    ledger
}

fn lines(device: &Device, seqs: impl Iterator<Item = u64>) -> String {
    let mut body = Vec::new();
    encode(device, &seqs.collect::<Vec<_>>(), Encoding::Line, &mut body);
    String::from_utf8(body).unwrap()
}

/// Writes what an honest gateway would; then what none would; each time verifies.
fn judge(ledger: &Ledger, write: impl Fn(&str), verify: impl Fn(&[&str]) -> Output) {
    let devices: Vec<Device> = ledger.devices().cloned().collect();
    // Reading 5 of the first device is missing at first, and the last ones everywhere.
    write(&lines(&devices[0], (0..ACKNOWLEDGED).filter(|&seq| seq != 5)));
    for device in &devices[1..] {
        write(&lines(device, 0..ACKNOWLEDGED));
    }
    let found = verify(&[]);
    let said = text(&found);
    assert_eq!(found.status.code(), Some(1), "{said}");
    assert!(said.contains("LOST       1\n    d-greenhouse seq 5 at "), "{said}");
    for none in ["PHANTOM    0\n", "WRONG      0\n", "duplicates 0\n"] {
        assert!(said.contains(none), "{said}");
    }
    assert_eq!(verify(&["--allowed", "1"]).status.code(), Some(0));

    write(&lines(&devices[0], 5..6));
    let found = verify(&[]);
    assert_eq!(found.status.code(), Some(0), "{}", text(&found));
    assert!(text(&found).contains("stored 1160  missing 0"), "{}", text(&found));

    let time = |seq: u64| devices[1].time(seq).nanos();
    let stranger = format!("energy,device=stranger seq=1 {}\n", time(0));
    let altered = format!(
        "energy,device=d-energy,place=hall\\ {} power=-1 {}\n",
        devices[1].seed % 7,
        time(7)
    );
    let again = lines(&devices[1], 9..10).replace(&time(9).to_string(), &(time(9) + 1).to_string());
    write(&format!("{stranger}{altered}{again}"));
    let found = verify(&[]);
    let said = text(&found);
    assert_eq!(found.status.code(), Some(1), "{said}");
    assert!(said.contains("PHANTOM    1\n    \"stranger\" at "), "{said}");
    assert!(said.contains("WRONG      2\n"), "{said}");
    assert!(said.contains("field power is Float(-1.0) instead of"), "{said}");
    assert!(said.contains("duplicates 1\n"), "{said}");
}

#[test]
fn an_influxdb_2_is_set_up_and_read_back() {
    let home = PathBuf::from(env::var_os("HOME").unwrap()).join(".cache");
    let cache = env::var_os("XDG_CACHE_HOME").map_or(home, PathBuf::from);
    let binary = cache.join("tidegate/influxd-2.7.12");
    if !binary.is_file() {
        skip("InfluxDB 2");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let place = dir.path().display();
    let _running = run(
        &binary,
        &[
            format!("--http-bind-address=127.0.0.1:{port}"),
            format!("--bolt-path={place}/influxd.bolt"),
            format!("--sqlite-path={place}/influxd.sqlite"),
            format!("--engine-path={place}/engine"),
            "--reporting-disabled".to_owned(),
        ],
    );
    let url = format!("http://127.0.0.1:{port}");
    let made = sim(&["provision", "--influx2", &url, "--password", "long-enough", "--wait", "60s"]);
    let said = text(&made);
    let token = said.lines().find_map(|line| line.strip_prefix("token ")).expect(&said).to_owned();
    let other = ["provision", "--influx2", &url, "--bucket", "other", "--token", &token];
    assert!(text(&sim(&other)).contains("bucket other was made"), "{}", text(&sim(&other)));
    assert!(text(&sim(&other)).contains("bucket other is there"), "{}", text(&sim(&other)));

    let ledger_file = dir.path().join("ledger");
    let write = |body: &str| {
        let path = "/api/v2/write?org=home&bucket=iot&precision=ns";
        assert_eq!(post(port, path, &token, body.as_bytes()).unwrap(), 204);
    };
    let verify = |more: &[&str]| {
        let ledger = ledger_file.to_str().unwrap();
        let all = ["verify", "--ledger", ledger, "--influx2", &url, "--token", &token];
        sim(&[&all, more].concat())
    };
    judge(&ledger(&ledger_file), write, verify);
}

#[test]
fn an_influxdb_1_is_read_back() {
    let binary = Path::new("/usr/bin/influxd");
    let version = Command::new(binary).arg("version").output();
    if !version.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains("InfluxDB v1.")) {
        skip("InfluxDB 1.x");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (port, backup) = (free_port(), free_port());
    let place = dir.path().display();
    let config = format!(
        "reporting-disabled = true\nbind-address = \"127.0.0.1:{backup}\"\n\
         [meta]\ndir = \"{place}/meta\"\n[data]\ndir = \"{place}/data\"\nwal-dir = \"{place}/wal\"\n\
         [http]\nbind-address = \"127.0.0.1:{port}\"\n"
    );
    fs::write(dir.path().join("influxdb.conf"), config).unwrap();
    let path = format!("{place}/influxdb.conf");
    let _running = run(binary, &["-config".to_owned(), path]);
    let create = "/query?q=CREATE%20DATABASE%20iot";
    for attempt in 0.. {
        match post(port, create, "", b"") {
            Ok(200) => break,
            other => assert!(attempt < 600, "influxd 1.x does not answer: {other:?}"),
        }
        thread::sleep(Duration::from_millis(100));
    }

    let ledger_file = dir.path().join("ledger");
    let url = format!("http://127.0.0.1:{port}");
    let write = |body: &str| {
        assert_eq!(post(port, "/write?db=iot&precision=ns", "", body.as_bytes()).unwrap(), 204);
    };
    let verify = |more: &[&str]| {
        let ledger = ledger_file.to_str().unwrap();
        sim(&[&["verify", "--ledger", ledger, "--influx1", &url], more].concat())
    };
    judge(&ledger(&ledger_file), write, verify);
}
