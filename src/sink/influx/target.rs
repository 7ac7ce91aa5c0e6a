//! Where a write goes and how it proves who we are, for each version of InfluxDB.
//!
//! ```text
//!   v1   POST <url>/write?db=<database>&precision=n[&rp=<policy>]                 Basic, or nothing
//!   v2   POST <url>/api/v2/write?org=<org>&bucket=<bucket>&precision=ns           Token
//!   v3   POST <url>/api/v3/write_lp?db=<database>&precision=nanosecond&accept_partial=true    Bearer
//! ```
//!
//! Secrets are read here and nowhere else, each time that a target is made.

use http::{HeaderValue, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret;

use super::{Auto, Secret, Settings, SettingsError, Version};

/// `Debug` shows no secret: the header is marked as sensitive.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) uri: Uri,
    /// Empty for nobody.
    pub(super) authorization: HeaderValue,
}

/// Which InfluxDB, as it tells itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generation {
    V1,
    V2,
    V3,
}

impl Generation {
    /// From `X-Influxdb-Version`, or from the `version` in the JSON of an answer.
    pub(super) fn told(header: Option<&str>, body: &[u8]) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Told {
            version: String,
        }
        let told = match header {
            Some(header) => header.to_owned(),
            None => serde_json::from_slice::<Told>(body).ok()?.version,
        };
        match told.trim().trim_start_matches('v').split('.').next()? {
            "1" => Some(Self::V1),
            "2" => Some(Self::V2),
            "3" => Some(Self::V3),
            _ => None,
        }
    }
}

impl Auto {
    /// What the settings mean for this one.
    pub(super) fn resolve(&self, generation: Generation) -> Result<Version, String> {
        let database = self.database.clone();
        Ok(match generation {
            Generation::V1 => {
                let retention_policy = self.retention_policy.clone();
                Version::V1 { database, retention_policy, user: self.user.clone() }
            }
            Generation::V2 => {
                let needs = |key| format!("this is InfluxDB 2, which needs `{key}`");
                let org = self.org.clone().ok_or_else(|| needs("org"))?;
                let token = self.token.clone().ok_or_else(|| needs("token"))?;
                Version::V2 { org, bucket: database, token }
            }
            Generation::V3 => Version::V3 { database, token: self.token.clone() },
        })
    }
}

/// Whether there is any way to the URL; one of those that will be asked for.
pub(super) fn check(settings: &Settings) -> Result<Uri, SettingsError> {
    let base: Uri = settings.url.parse().map_err(url_error)?;
    if !matches!(base.scheme_str(), Some("http" | "https")) || base.host().is_none() {
        return Err(url_error("scheme or host is missing"));
    }
    if base.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(url_error("user and password have keys of their own"));
    }
    if base.query().is_some() {
        return Err(url_error("it must not carry a query"));
    }
    join(&settings.url, &path(&settings.version)).map_err(url_error)
}

/// Where data goes, with the secrets as they are now.
pub(super) async fn of(url: &str, version: &Version) -> Result<Target, String> {
    let authorization = match version {
        Version::V1 { user, .. } => basic(user.as_ref()).await?,
        Version::V2 { token, .. } => token_header("Token", token).await?,
        Version::V3 { token: Some(token), .. } => token_header("Bearer", token).await?,
        Version::V3 { token: None, .. } | Version::Auto(_) => HeaderValue::from_static(""),
    };
    Ok(Target { uri: join(url, &path(version))?, authorization })
}

/// A path of the database's that is no write.
pub(super) async fn of_path(url: &str, path: &str, auto: &Auto) -> Result<Target, String> {
    let authorization = match (&auto.user, &auto.token) {
        (Some(user), _) => basic(Some(user)).await?,
        (None, Some(token)) => token_header("Token", token).await?,
        (None, None) => HeaderValue::from_static(""),
    };
    Ok(Target { uri: join(url, path)?, authorization })
}

pub(super) fn url_error(reason: impl std::fmt::Display) -> SettingsError {
    // Not the URL itself: somebody may have put a password in it.
    SettingsError::Url { reason: reason.to_string() }
}

/// Letters, digits and `-._~` stay.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn path(version: &Version) -> String {
    let encoded = |value: &str| utf8_percent_encode(value, QUERY).to_string();
    match version {
        Version::V1 { database, retention_policy, .. } => {
            let policy = retention_policy.iter().map(|policy| format!("&rp={}", encoded(policy)));
            format!("/write?db={}&precision=n{}", encoded(database), policy.collect::<String>())
        }
        Version::V2 { org, bucket, .. } => {
            let (org, bucket) = (encoded(org), encoded(bucket));
            format!("/api/v2/write?org={org}&bucket={bucket}&precision=ns")
        }
        Version::V3 { database, .. } => {
            let database = encoded(database);
            format!("/api/v3/write_lp?db={database}&precision=nanosecond&accept_partial=true")
        }
        Version::Auto(_) => "/ping".to_owned(),
    }
}

fn join(url: &str, path: &str) -> Result<Uri, String> {
    let base = url.trim_end_matches('/');
    format!("{base}{path}").parse().map_err(|error: http::uri::InvalidUri| error.to_string())
}

async fn basic(user: Option<&(String, Secret)>) -> Result<HeaderValue, String> {
    let Some((name, password)) = user else { return Ok(HeaderValue::from_static("")) };
    let pair = format!("{name}:{}", read_secret(password).await?);
    sensitive(format!("Basic {}", data_encoding::BASE64.encode(pair.as_bytes())))
}

async fn token_header(scheme: &str, token: &Secret) -> Result<HeaderValue, String> {
    sensitive(format!("{scheme} {}", read_secret(token).await?))
}

fn sensitive(text: String) -> Result<HeaderValue, String> {
    let mut header = HeaderValue::try_from(text)
        .map_err(|_| "the secret holds characters that no header can carry".to_owned())?;
    header.set_sensitive(true);
    Ok(header)
}

async fn read_secret(secret: &Secret) -> Result<String, String> {
    match secret {
        Secret::Given(given) => Ok(given.expose_secret().to_owned()),
        Secret::File(path) => match tokio::fs::read_to_string(path).await {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(error) => Err(format!("secret in {}: {error}", path.display())),
        },
        Secret::Variable(name) => match std::env::var(name) {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(error) => Err(format!("secret in the variable {name}: {error}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_tells_which_one_it_is() {
        let told = Generation::told;
        assert_eq!(told(Some("1.8.10"), b""), Some(Generation::V1));
        assert_eq!(told(Some("v2.7.12"), b"{}"), Some(Generation::V2));
        assert_eq!(told(None, br#"{"version":"3.1.0","revision":"x"}"#), Some(Generation::V3));
        let health = br#"{"name":"influxdb","status":"pass","version":"1.6.7"}"#;
        assert_eq!(told(None, health), Some(Generation::V1));
        for (header, body) in [(Some("nginx"), "{}"), (None, "OK"), (None, ""), (Some("10.1"), "")]
        {
            assert_eq!(told(header, body.as_bytes()), None, "{header:?} {body}");
        }
    }

    #[test]
    fn what_a_version_needs_and_nobody_gave_is_asked_for() {
        let auto = Auto { database: "iot".to_owned(), ..Auto::default() };
        assert!(matches!(auto.resolve(Generation::V1), Ok(Version::V1 { user: None, .. })));
        assert!(matches!(auto.resolve(Generation::V3), Ok(Version::V3 { token: None, .. })));
        let text = auto.resolve(Generation::V2).unwrap_err();
        assert_eq!(text, "this is InfluxDB 2, which needs `org`");
    }
}
