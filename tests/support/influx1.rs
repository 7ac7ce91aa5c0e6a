//! A real InfluxDB 1.x: strict about types, answers partial writes, keeps what it acknowledged.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    START_MAX, http,
    http::{escape, get, post},
    missing, port,
    process::Process,
    program, wait_for,
};

#[derive(Debug)]
pub struct Influx1 {
    pub port: u16,
    pub database: String,
    backup_port: u16,
    binary: PathBuf,
    dir: TempDir,
    process: Option<Process>,
}

/// A column's value and time, as the database tells them.
pub type Row = BTreeMap<String, Value>;

impl Influx1 {
    /// With the database `iot` in it.
    pub fn start() -> Option<Self> {
        let binary = program("influxd").filter(|file| is_version_1(file));
        let Some(binary) = binary else {
            missing("InfluxDB 1.x", "apt-get install influxdb");
            return None;
        };
        let mut database = Self {
            port: port::free(),
            database: "iot".to_owned(),
            backup_port: port::free(),
            binary,
            dir: tempfile::tempdir().unwrap(),
            process: None,
        };
        fs::write(database.dir.path().join("influxdb.conf"), database.config()).unwrap();
        database.run();
        database.query("CREATE DATABASE iot").expect_success();
        Some(database)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// An `[[output]]` table of the gateway's configuration.
    pub fn output(&self, id: &str) -> String {
        format!(
            "[[output]]\nid = \"{id}\"\ntype = \"influxdb\"\nversion = \"v1\"\nurl = \"{}\"\ndatabase = \"{}\"\n",
            self.url(),
            self.database
        )
    }

    /// SIGKILL. What it acknowledged must be there after `run`.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts it (again) on the same ports and directory; returns when it answers.
    pub fn run(&mut self) {
        let mut command = Command::new(&self.binary);
        command.arg("-config").arg(self.dir.path().join("influxdb.conf"));
        let mut process = Process::spawn("influxd 1.x", command, &self.dir.path().join("log"));
        wait_for("influxd 1.x", START_MAX, || {
            process.check_alive();
            get(self.port, "/ping", &[]).and_then(|a| {
                if a.status == 204 { Ok(()) } else { Err(format!("{} {}", a.head, a.body)) }
            })
        });
        self.process = Some(process);
    }

    /// Any statement; times come as integers of nanoseconds.
    pub fn query(&self, statement: &str) -> http::Answer {
        let path = format!("/query?db={}&epoch=ns&q={}", self.database, escape(statement));
        post(self.port, &path, &[], b"").unwrap()
    }

    /// The rows of the one series that a SELECT or SHOW answers; empty if there is none.
    pub fn rows(&self, statement: &str) -> Vec<Row> {
        let body = self.query(statement).expect_success();
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert!(answer["results"][0]["error"].is_null(), "{statement}: {body}");
        let series = &answer["results"][0]["series"][0];
        let Some(values) = series["values"].as_array() else { return Vec::new() };
        let columns = series["columns"].as_array().unwrap();
        values
            .iter()
            .map(|row| {
                let names = columns.iter().map(|c| c.as_str().unwrap().to_owned());
                names.zip(row.as_array().unwrap().iter().cloned()).collect()
            })
            .collect()
    }

    /// Field name -> `float`, `integer`, `string` or `boolean`.
    pub fn field_types(&self, measurement: &str) -> BTreeMap<String, String> {
        let text = |row: &Row, key: &str| row[key].as_str().unwrap().to_owned();
        self.rows(&format!("SHOW FIELD KEYS FROM \"{measurement}\""))
            .iter()
            .map(|row| (text(row, "fieldKey"), text(row, "fieldType")))
            .collect()
    }

    /// How many values of a field there are.
    pub fn count(&self, measurement: &str, field: &str) -> u64 {
        let rows = self.rows(&format!("SELECT count(\"{field}\") FROM \"{measurement}\""));
        rows.first().map_or(0, |row| row["count"].as_u64().unwrap())
    }

    /// Waits until `count` is at least `wanted`.
    pub fn wait_count(&self, measurement: &str, field: &str, wanted: u64, limit: Duration) {
        wait_for(&format!("{wanted} of {measurement}.{field}"), limit, || {
            let found = self.count(measurement, field);
            if found >= wanted { Ok(()) } else { Err(format!("{found} are there")) }
        });
    }

    fn config(&self) -> String {
        let dir = self.dir.path().display();
        format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:{}\"\n\
             [meta]\ndir = \"{dir}/meta\"\n\
             [data]\ndir = \"{dir}/data\"\nwal-dir = \"{dir}/wal\"\n\
             [monitor]\nstore-enabled = false\n\
             [http]\nbind-address = \"127.0.0.1:{}\"\nlog-enabled = false\n",
            self.backup_port, self.port
        )
    }
}

/// The binary of InfluxDB 2 has the same name.
fn is_version_1(binary: &Path) -> bool {
    let output = Command::new(binary).arg("version").output();
    output.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains("InfluxDB v1."))
}
