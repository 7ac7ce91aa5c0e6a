//! A real InfluxDB 2, built by `tools/influxd2/build` into the cache.

use std::{collections::BTreeMap, path::PathBuf, process::Command, time::Duration};

use serde_json::json;
use tempfile::TempDir;

use super::{
    START_MAX, cache,
    http::{Answer, escape, get, post},
    missing, port,
    process::Process,
    wait_for,
};

const BINARY: &str = "influxd-2.7.12";

#[derive(Debug)]
pub struct Influx2 {
    pub port: u16,
    pub org: String,
    pub bucket: String,
    pub token: String,
    binary: PathBuf,
    dir: TempDir,
    process: Option<Process>,
}

/// One value as Flux tells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    pub measurement: String,
    pub tags: BTreeMap<String, String>,
    pub field: String,
    /// `double`, `long`, `unsignedLong`, `boolean` or `string`.
    pub datatype: String,
    pub value: String,
    /// RFC 3339 with as many digits as it needs, up to nanoseconds.
    pub time: String,
}

impl Influx2 {
    /// Set up: org `home`, bucket `iot` that keeps for ever, a token for everything.
    pub fn start() -> Option<Self> {
        let binary = cache().join(BINARY);
        if !binary.is_file() {
            missing("InfluxDB 2", "./check builds it once, with Go");
            return None;
        }
        let mut database = Self {
            port: port::free(),
            org: "home".to_owned(),
            bucket: "iot".to_owned(),
            token: "a-token-for-the-tests".to_owned(),
            binary,
            dir: tempfile::tempdir().unwrap(),
            process: None,
        };
        database.run();
        database.set_up();
        Some(database)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// An `[[output]]` table of the gateway's configuration; the token lies in a file beside the data.
    pub fn output(&self, id: &str) -> String {
        let file = self.dir.path().join("token");
        std::fs::write(&file, &self.token).unwrap();
        format!(
            "[[output]]\nid = \"{id}\"\ntype = \"influxdb\"\nversion = \"v2\"\nurl = \"{}\"\norg = \"{}\"\n\
             bucket = \"{}\"\ntoken = {{ file = \"{}\" }}\n",
            self.url(),
            self.org,
            self.bucket,
            file.display()
        )
    }

    /// SIGKILL. What it acknowledged must be there after `run`.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts it (again) on the same port and directory; returns when it answers.
    pub fn run(&mut self) {
        let dir = self.dir.path();
        let mut command = Command::new(&self.binary);
        command
            .arg(format!("--http-bind-address=127.0.0.1:{}", self.port))
            .arg(format!("--bolt-path={}", dir.join("influxd.bolt").display()))
            .arg(format!("--sqlite-path={}", dir.join("influxd.sqlite").display()))
            .arg(format!("--engine-path={}", dir.join("engine").display()))
            .args(["--reporting-disabled", "--log-level=error"]);
        let mut process = Process::spawn("influxd 2", command, &dir.join("log"));
        wait_for("influxd 2", START_MAX, || {
            process.check_alive();
            get(self.port, "/health", &[]).and_then(|a| {
                if a.status == 200 { Ok(()) } else { Err(format!("{} {}", a.head, a.body)) }
            })
        });
        self.process = Some(process);
    }

    /// The points of a measurement whose tag `device` is this, one for each field.
    pub fn points(&self, measurement: &str, device: &str) -> Vec<Point> {
        let mut points = parse(&self.flux(&format!(
            "from(bucket: \"{}\") |> range(start: 0) |> filter(fn: (r) => \
             r._measurement == \"{measurement}\" and r.device == \"{device}\")",
            self.bucket
        )));
        points.sort();
        points
    }

    /// How many values of a field there are.
    pub fn count(&self, measurement: &str, field: &str) -> u64 {
        let body = self.flux(&format!(
            "from(bucket: \"{}\") |> range(start: 0) |> filter(fn: (r) => \
             r._measurement == \"{measurement}\" and r._field == \"{field}\") |> group() \
             |> map(fn: (r) => ({{_time: r._time, _value: 1}})) |> count()",
            self.bucket
        ));
        column(&body, "_value").first().map_or(0, |n| n.parse().unwrap())
    }

    /// Waits until `count` is at least `wanted`.
    pub fn wait_count(&self, measurement: &str, field: &str, wanted: u64, limit: Duration) {
        wait_for(&format!("{wanted} of {measurement}.{field}"), limit, || {
            let found = self.count(measurement, field);
            if found >= wanted { Ok(()) } else { Err(format!("{found} are there")) }
        });
    }

    /// Annotated CSV.
    pub fn flux(&self, query: &str) -> String {
        let body = json!({
            "query": query,
            "type": "flux",
            "dialect": { "annotations": ["datatype"], "header": true },
        });
        let path = format!("/api/v2/query?org={}", self.org);
        let authorization = self.authorization();
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
            ("Accept", "application/csv"),
        ];
        post(self.port, &path, &headers, body.to_string().as_bytes()).unwrap().expect_success()
    }

    /// InfluxQL, as Grafana asks it; times as integers of nanoseconds.
    pub fn influxql(&self, statement: &str) -> Answer {
        let path = format!("/query?db={}&epoch=ns&q={}", self.bucket, escape(statement));
        get(self.port, &path, &[("Authorization", &self.authorization())]).unwrap()
    }

    /// One more bucket, that keeps so long.
    pub fn create_bucket(&self, name: &str, keeps_s: u64) {
        let authorization = self.authorization();
        let headers = [("Authorization", authorization.as_str())];
        let path = format!("/api/v2/orgs?org={}", escape(&self.org));
        let orgs = get(self.port, &path, &headers).unwrap().expect_success();
        let orgs: serde_json::Value = serde_json::from_str(&orgs).unwrap();
        let body = json!({
            "orgID": orgs["orgs"][0]["id"],
            "name": name,
            "retentionRules": [{ "type": "expire", "everySeconds": keeps_s, "shardGroupDurationSeconds": 3600 }],
        });
        let body = body.to_string();
        post(self.port, "/api/v2/buckets", &headers, body.as_bytes()).unwrap().expect_success();
    }

    fn authorization(&self) -> String {
        format!("Token {}", self.token)
    }

    fn set_up(&self) {
        let body = json!({
            "username": "tests", "password": "tests-tests", "org": self.org, "bucket": self.bucket,
            "token": self.token, "retentionPeriodSeconds": 0,
        });
        let headers = [("Content-Type", "application/json")];
        let body = body.to_string();
        post(self.port, "/api/v2/setup", &headers, body.as_bytes()).unwrap().expect_success();
    }
}

/// Tables of annotated CSV, each with its own datatypes and header. Enough of CSV for values without
/// line breaks; quotes are understood.
fn parse(body: &str) -> Vec<Point> {
    let mut points = Vec::new();
    for table in tables(body) {
        for row in &table.rows {
            points.push(point(&table, row));
        }
    }
    points
}

fn column(body: &str, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for table in tables(body) {
        let at = table.header.iter().position(|h| h == name).unwrap();
        found.extend(table.rows.iter().map(|row| row[at].clone()));
    }
    found
}

struct Table {
    datatypes: Vec<String>,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

fn tables(body: &str) -> Vec<Table> {
    let body = body.replace("\r\n", "\n");
    let mut tables = Vec::new();
    for block in body.split("\n\n") {
        let mut lines = block.lines().filter(|l| !l.is_empty()).map(cells);
        let (Some(datatypes), Some(header)) = (lines.next(), lines.next()) else { continue };
        assert_eq!(datatypes[0], "#datatype", "{block}");
        tables.push(Table { datatypes, header, rows: lines.collect() });
    }
    tables
}

fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        let cell = cells.last_mut().unwrap();
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cell.push(c),
        }
    }
    cells
}

fn point(table: &Table, row: &[String]) -> Point {
    let mut point = Point {
        measurement: String::new(),
        tags: BTreeMap::new(),
        field: String::new(),
        datatype: String::new(),
        value: String::new(),
        time: String::new(),
    };
    for ((name, datatype), value) in table.header.iter().zip(&table.datatypes).zip(row) {
        match name.as_str() {
            "_measurement" => point.measurement.clone_from(value),
            "_field" => point.field.clone_from(value),
            "_time" => point.time.clone_from(value),
            "_value" => {
                point.value.clone_from(value);
                point.datatype.clone_from(datatype);
            }
            "" | "result" | "table" | "_start" | "_stop" => {}
            tag => {
                point.tags.insert(tag.to_owned(), value.clone());
            }
        }
    }
    point
}
