//! A real VictoriaMetrics: shows that another database takes our writes, nothing more. It never refuses a
//! line, knows numbers only, to the millisecond.

use std::{path::PathBuf, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use super::{START_MAX, http::get, missing, port, process::Process, program, wait_for};

#[derive(Debug)]
pub struct Victoria {
    pub port: u16,
    #[expect(dead_code, reason = "ends the process when it drops")]
    process: Process,
    #[expect(dead_code, reason = "removes the directory when it drops")]
    dir: TempDir,
}

/// One series as the export tells it: values, and milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub name: String,
    pub values: Vec<f64>,
    pub times_ms: Vec<i64>,
}

impl Victoria {
    pub fn start() -> Option<Self> {
        let binary: Option<PathBuf> = program("victoria-metrics");
        let Some(binary) = binary else {
            missing("VictoriaMetrics", "apt-get install victoria-metrics");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let port = port::free();
        let mut command = Command::new(binary);
        command
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            .arg(format!("-storageDataPath={}", dir.path().join("data").display()))
            .args([
                "-retentionPeriod=100y",
                "-memory.allowedBytes=128MB",
                "-search.latencyOffset=0s",
                "-loggerLevel=WARN",
            ]);
        let mut process = Process::spawn("victoria-metrics", command, &dir.path().join("log"));
        wait_for("victoria-metrics", START_MAX, || {
            process.check_alive();
            get(port, "/health", &[])
        });
        Some(Self { port, process, dir })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// An `[[output]]` table of the gateway's configuration: it takes InfluxDB 1's own path.
    pub fn output(&self, id: &str) -> String {
        format!(
            "[[output]]\nid = \"{id}\"\ntype = \"influxdb\"\nversion = \"v1\"\nurl = \"{}\"\ndatabase = \"any\"\n",
            self.url()
        )
    }

    /// The series of a device, sorted by name (`measurement_field`).
    pub fn series(&self, device: &str) -> Vec<Series> {
        // What lies in memory only is not exported until it is flushed.
        get(self.port, "/internal/force_flush", &[]).unwrap();
        let selector = super::http::escape(&format!("{{device=\"{device}\"}}"));
        let body = get(self.port, &format!("/api/v1/export?match[]={selector}"), &[])
            .unwrap()
            .expect_success();
        let mut found: Vec<Series> = body.lines().map(series).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }
}

fn series(line: &str) -> Series {
    let line: Value = serde_json::from_str(line).unwrap();
    let values = line["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    let times = line["timestamps"].as_array().unwrap().iter().map(|t| t.as_i64().unwrap());
    Series {
        name: line["metric"]["__name__"].as_str().unwrap().to_owned(),
        values,
        times_ms: times.collect(),
    }
}
