//! InfluxDB over HTTP.

use std::time::Duration;

use secrecy::SecretString;

/// Where and how to write.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `http://` or `https://`, a base path is kept.
    pub url: String,
    pub version: Version,
    pub gzip: bool,
    pub request_max: Duration,
}

#[derive(Clone, Debug)]
pub enum Version {
    V1 { database: String, retention_policy: Option<String>, user: Option<(String, Secret)> },
    V2 { org: String, bucket: String, token: Secret },
}

/// Read anew at every probe when it lies in a file.
#[derive(Clone, Debug)]
pub enum Secret {
    Given(SecretString),
    File(std::path::PathBuf),
}
