//! Do real databases take what we write, and do we understand what they refuse?

use std::time::Duration;

use proto::{Reading, Value};
use secrecy::SecretString;
use tidegate::{
    output::{Limits, State, dead::Entry},
    sink::influx::{Auto, Secret, Settings, Version},
};

use super::support::{
    http::post,
    influx1::Influx1,
    influx2::Influx2,
    output::{Delivery, quick, reading},
};

const AT: i64 = 1_790_000_000_123_456_789;
const LONG_KEY_BEGINS: &str =
    r"load,device=long,t10=a\ ba\ ba\ ba\ ba\ ba\ ba\ ba\ ba\ ba\ ba\ ba\ ba\ ";

/// What each says of a line that it refuses.
const LONG_KEY_WORDS: &str = "max key length exceeded";
const CONFLICT_WORDS: &str =
    "input field \"v\" on measurement \"load\" is type string, already exists as type float";
/// Ours: it is never sent.
const TOO_LARGE_WORDS: &str = "no field that this database can take";

fn v1(port: u16, database: &str) -> Settings {
    let database = database.to_owned();
    Settings {
        url: format!("http://127.0.0.1:{port}"),
        version: Version::V1 { database, retention_policy: None, user: None },
        ca_file: None,
        gzip: true,
        request_max: Duration::from_secs(20),
    }
}

fn v2(database: &Influx2, bucket: &str) -> Settings {
    Settings {
        version: Version::V2 {
            org: database.org.clone(),
            bucket: bucket.to_owned(),
            token: Secret::Given(SecretString::from(database.token.clone())),
        },
        ..v1(database.port, "")
    }
}

/// A batch as large as they get.
fn whole_batches() -> Limits {
    Limits { batch_age_max: Duration::from_secs(2), ..quick() }
}

/// 5,000 readings that are all right, some odd in name and value.
fn good(text: &str) -> Vec<Reading> {
    let device = |n| format!("d{}", n % 100);
    let mut readings: Vec<_> =
        (0..4_995).map(|n| reading("load", &device(n), AT + n, "v", Value::Float(0.5))).collect();
    let odd = "d =,\\odd \"ü";
    readings.extend([
        reading("types", odd, AT, "float", Value::Float(21.1)),
        reading("types", odd, AT, "int", Value::Signed(i64::MIN)),
        reading("types", odd, AT, "bool", Value::Boolean(true)),
        reading("types", odd, AT, "text =,", Value::Text(text.to_owned())),
        reading("types", odd, AT, "uint", Value::Unsigned(7)),
    ]);
    readings
}

/// Within our limits, but escaped the key of its series is longer than a database takes.
fn long_key() -> Reading {
    let mut reading = reading("load", "long", AT, "v", Value::Float(0.5));
    reading.tags.extend((10..70).map(|n| (format!("t{n}"), "a b".repeat(330))));
    reading
}

fn wrong_type() -> Reading {
    reading("load", "wrong", AT, "v", Value::Text("not a number".to_owned()))
}

/// Beyond the integers of InfluxDB 1.
fn too_large() -> Reading {
    reading("load", "large", AT, "n", Value::Unsigned(u64::MAX))
}

fn words<'a>(letters: &'a [Entry], reason: &str) -> &'a str {
    &letters.iter().find(|letter| letter.reason == reason).unwrap().answer
}

/// Some refused in the middle of them.
fn among_good(text: &str, bad: impl IntoIterator<Item = Reading>) -> Vec<Reading> {
    let mut readings = good(text);
    for bad in bad {
        readings.insert(2345, bad);
    }
    readings
}

/// A batch of 5,000 in which one is refused: it alone lies in the dead letters, and these words with it.
async fn assert_refused_alone(settings: &Settings, bad: Reading, reason: &str, words: &str) {
    let device = |n| format!("d{}", n % 100);
    let mut readings: Vec<_> =
        (0..4_999).map(|n| reading("load", &device(n), AT + n, "v", Value::Float(0.5))).collect();
    let of = bad.tags[0].1.clone();
    readings.insert(2345, bad);
    let (confirmed, dead, letters) = deliver(settings, &readings).await;
    assert_eq!((confirmed, dead), (4_999, 1), "{letters:?}");
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!(letter.reason, reason, "{letter:?}");
    assert!(letter.answer.contains(words), "no `{words}` in {letter:?}");
    let line = letter.line.as_deref().unwrap();
    assert!(line.starts_with(&format!("load,device={of}")), "{letter:?}");
}

async fn deliver(settings: &Settings, readings: &[Reading]) -> (u64, u64, Vec<Entry>) {
    let mut delivery = Delivery::start(settings, whole_batches());
    delivery.send(readings).await;
    let delivered = delivery.end().await;
    (delivered.fates.confirmed, delivered.fates.dead, delivered.dead)
}

fn told(dead: &[Entry]) -> Vec<(&str, &str, &str)> {
    fn text(text: Option<&String>) -> &str {
        text.and_then(|text| text.get(..text.len().min(72))).unwrap_or_default()
    }
    let mut told: Vec<_> = dead
        .iter()
        .map(|entry| (entry.reason.as_str(), text(entry.field.as_ref()), text(entry.line.as_ref())))
        .collect();
    told.sort_unstable();
    told
}

#[tokio::test]
async fn influxdb_1_gets_every_type_and_refuses_in_its_own_words() {
    let Some(database) = Influx1::start() else { return };
    let bad = [wrong_type(), too_large(), long_key()];
    let settings = v1(database.port, &database.database);
    let text = "a \"b\"\\ c,\nd=e";
    let (confirmed, dead, letters) = deliver(&settings, &among_good(text, bad)).await;
    assert_eq!((confirmed, dead), (5000, 3), "{letters:?}");
    assert_eq!(
        told(&letters),
        [
            ("malformed", "", LONG_KEY_BEGINS),
            ("type_conflict", "", "load,device=wrong v=\"not a number\" 1790000000123456789"),
            ("value", "", "load,device=large n=18446744073709551615u 1790000000123456789"),
        ]
    );
    let (malformed, conflict) = (words(&letters, "malformed"), words(&letters, "type_conflict"));
    assert!(malformed.contains(LONG_KEY_WORDS), "{malformed}");
    assert!(conflict.contains(CONFLICT_WORDS), "{conflict}");

    assert_eq!(database.count("load", "v"), 4995);
    let types = database.field_types("types");
    let kinds: Vec<_> = types.iter().map(|(name, kind)| (name.as_str(), kind.as_str())).collect();
    assert_eq!(
        kinds,
        [
            ("bool", "boolean"),
            ("float", "float"),
            ("int", "integer"),
            ("text =,", "string"),
            ("uint", "integer"),
        ]
    );
    let rows = database.rows("SELECT * FROM types");
    assert_eq!(rows.len(), 1, "five fields of one point: {rows:?}");
    assert_eq!(rows[0]["time"], AT);
    assert_eq!(rows[0]["int"], i64::MIN);
    assert_eq!(rows[0]["text =,"], text);
    assert_eq!(rows[0]["device"], "d =,\\odd \"ü");

    assert_refused_alone(&settings, wrong_type(), "type_conflict", CONFLICT_WORDS).await;
    assert_refused_alone(&settings, too_large(), "value", TOO_LARGE_WORDS).await;
    assert_refused_alone(&settings, long_key(), "malformed", LONG_KEY_WORDS).await;
}

#[tokio::test]
async fn influxdb_2_gets_every_type_and_refuses_in_its_own_words() {
    let Some(database) = Influx2::start() else { return };
    let bad = [wrong_type(), long_key()];
    let settings = v2(&database, &database.bucket);
    let (confirmed, dead, letters) = deliver(&settings, &among_good("a \"b\"\\ c,d=e", bad)).await;
    assert_eq!((confirmed, dead), (5000, 2), "{letters:?}");
    assert_eq!(
        told(&letters),
        [
            ("malformed", "", LONG_KEY_BEGINS),
            ("type_conflict", "", "load,device=wrong v=\"not a number\" 1790000000123456789"),
        ]
    );
    let (malformed, conflict) = (words(&letters, "malformed"), words(&letters, "type_conflict"));
    assert!(malformed.contains(LONG_KEY_WORDS), "{malformed}");
    assert!(conflict.contains(CONFLICT_WORDS), "{conflict}");
    assert_eq!(database.count("load", "v"), 4995);
    let points = database.points("types", r#"d =,\\odd \"ü"#);
    let found: Vec<_> = points.iter().map(|p| (p.field.as_str(), p.datatype.as_str())).collect();
    assert_eq!(
        found,
        [
            ("bool", "boolean"),
            ("float", "double"),
            ("int", "long"),
            ("text =,", "string"),
            ("uint", "unsignedLong"),
        ]
    );
    assert!(points.iter().all(|p| p.time == "2026-09-21T14:13:20.123456789Z"), "{points:?}");

    assert_refused_alone(&settings, wrong_type(), "type_conflict", CONFLICT_WORDS).await;
    assert_refused_alone(&settings, long_key(), "malformed", LONG_KEY_WORDS).await;
}

/// Two conflicts of several fields each among good readings: `v` and `w` are floats by then.
fn conflicting() -> Vec<Reading> {
    let mut readings = good("text");
    let fields = |fields: &[(&str, Value)]| -> Vec<(String, Value)> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    };
    let of = |device, values: &[(&str, Value)]| {
        let one = reading("load", device, AT, "v", Value::Float(0.5));
        Reading { fields: fields(values), ..one }
    };
    let whole = of("whole", &[("v", Value::Signed(20)), ("w", Value::Signed(7))]);
    let odd = of(
        "odd",
        &[
            ("v", Value::Text("=, broken".to_owned())),
            ("w", Value::Float(1.5)),
            ("x", Value::Boolean(true)),
        ],
    );
    readings.insert(0, of("first", &[("v", Value::Float(0.25)), ("w", Value::Float(0.25))]));
    readings.insert(2345, whole);
    readings.insert(3456, odd);
    readings
}

fn assert_one_field_lost((confirmed, dead, letters): (u64, u64, Vec<Entry>)) {
    assert_eq!((confirmed, dead), (5003, 0), "{letters:?}");
    let line = "load,device=odd v=\"=, broken\",w=1.5,x=t 1790000000123456789";
    assert_eq!(told(&letters), [("type_conflict", "v", line)]);
    assert_eq!(letters[0].readings, 0, "the reading itself arrived");
}

#[tokio::test]
async fn a_type_conflict_costs_one_field_and_a_number_that_fits_none() {
    if let Some(database) = Influx1::start() {
        let settings = v1(database.port, &database.database);
        assert_one_field_lost(deliver(&settings, &conflicting()).await);
        assert_eq!(database.count("load", "v"), 4997);
        let rows = database.rows("SELECT v, w FROM load WHERE device = 'whole'");
        assert_eq!((&rows[0]["v"], &rows[0]["w"]), (&20.into(), &7.into()), "{rows:?}");
        let rows = database.rows("SELECT v, w, x FROM load WHERE device = 'odd'");
        assert_eq!((&rows[0]["w"], &rows[0]["x"]), (&1.5.into(), &true.into()), "{rows:?}");
    }
    if let Some(database) = Influx2::start() {
        let settings = v2(&database, &database.bucket);
        assert_one_field_lost(deliver(&settings, &conflicting()).await);
        assert_eq!(database.count("load", "v"), 4997);
        let fields = |device: &str| -> Vec<String> {
            database.points("load", device).into_iter().map(|point| point.field).collect()
        };
        assert_eq!(
            (fields("whole"), fields("odd")),
            (vec!["v".to_owned(), "w".to_owned()], vec!["w".to_owned(), "x".to_owned()])
        );
    }
}

#[tokio::test]
async fn a_database_is_asked_which_one_it_is() {
    let auto = |url: String| {
        let given = Auto { database: "iot".to_owned(), ..Auto::default() };
        Settings { url, version: Version::Auto(given), ..v1(0, "") }
    };
    if let Some(database) = Influx1::start() {
        let (confirmed, dead, _) = deliver(&auto(database.url()), &good("text")).await;
        assert_eq!((confirmed, dead, database.count("load", "v")), (5000, 0, 4995));
    }
    if let Some(database) = Influx2::start() {
        let mut settings = auto(format!("http://127.0.0.1:{}", database.port));
        if let Version::Auto(auto) = &mut settings.version {
            auto.database.clone_from(&database.bucket);
            auto.org = Some(database.org.clone());
            auto.token = Some(Secret::Given(SecretString::from(database.token.clone())));
        }
        let (confirmed, dead, _) = deliver(&settings, &good("text")).await;
        assert_eq!((confirmed, dead, database.count("load", "v")), (5000, 0, 4995));
    }
}

/// An hour is kept; two readings are older.
fn some_too_old() -> (Vec<Reading>, [i64; 2]) {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let now = i64::try_from(now).unwrap();
    let old = [now - 7_200_000_000_000, now - 7_300_000_000_000];
    let readings = (0..1000).map(|n| reading("m", "d", now - n, "v", Value::Float(1.0)));
    let too_old = old.map(|at| reading("m", "old", at, "v", Value::Float(1.0)));
    (readings.chain(too_old).collect(), old)
}

fn assert_only_old((confirmed, dead, letters): (u64, u64, Vec<Entry>), old: [i64; 2]) {
    assert_eq!((confirmed, dead), (1000, 2), "{letters:?}");
    let lines = [old[1], old[0]].map(|at| format!("m,device=old v=1.0 {at}"));
    let expected = lines.each_ref().map(|line| ("beyond_retention", "", line.as_str()));
    assert_eq!(told(&letters), expected);
}

#[tokio::test]
async fn what_is_beyond_retention_is_told_apart() {
    if let Some(database) = Influx1::start() {
        database
            .query("CREATE DATABASE short WITH DURATION 1h REPLICATION 1 NAME hour")
            .expect_success();
        let (readings, old) = some_too_old();
        assert_only_old(deliver(&v1(database.port, "short"), &readings).await, old);
    }
    if let Some(database) = Influx2::start() {
        database.create_bucket("short", 3600);
        let (readings, old) = some_too_old();
        assert_only_old(deliver(&v2(&database, "short"), &readings).await, old);
    }
}

#[tokio::test]
async fn a_database_that_is_made_later_gets_everything() {
    let Some(database) = Influx1::start() else { return };
    let mut delivery = Delivery::start(&v1(database.port, "later"), quick());
    let mut status = delivery.stats.watch();
    delivery.send(&good("text")).await;
    let stuck = status.wait_for(|status| status.state == State::Misconfigured).await.unwrap();
    let error = stuck.last_error.clone().unwrap().1;
    assert!(error.contains("database not found: \"later\""), "{error}");
    drop(stuck);
    database.query("CREATE DATABASE later").expect_success();
    let delivered = delivery.end().await;
    assert_eq!((delivered.fates.confirmed, delivered.dead.len()), (5000, 0));
    let path = "/query?db=later&q=SELECT%20count(v)%20FROM%20load";
    let answer = post(database.port, path, &[], b"").unwrap().expect_success();
    assert!(answer.contains(",4995]"), "{answer}");
}
