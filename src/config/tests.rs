//! What is accepted, and what every mistake is told.

mod examples;
mod mistakes;
mod rules;

use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::sink::influx;

const OUTPUT: &str = "[[output]]\nid = \"home\"\ntype = \"file\"\npath = \"readings.lp\"\n";

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    let around = Surroundings {
        dir: PathBuf::from("/etc/tidegate"),
        hostname: "box".into(),
        env: &|name| (name == "SET").then(|| "from the environment".to_owned()),
        read: &|path| match path.to_str() {
            Some("/etc/tidegate/empty") => Ok("\n".into()),
            Some("/etc/tidegate/none") => Err(io::ErrorKind::NotFound.into()),
            _ => Ok("s3cret\n".into()),
        },
    };
    Config::parse("t.toml", text, &around)
}

fn good(text: &str) -> Config {
    parse(text).unwrap_or_else(|errors| panic!("{errors}\nin\n{text}"))
}

fn influx_of(config: &Config) -> &influx::Settings {
    match &config.outputs.last().unwrap().to {
        Destination::Influx(settings) => settings,
        Destination::File(settings) => panic!("{settings:?}"),
    }
}

#[test]
fn a_short_file_has_every_stage_at_its_own_defaults() {
    let config = good(&format!("[mqtt]\n{OUTPUT}"));
    let mqtt = config.mqtt.unwrap();
    assert_eq!(mqtt.listen.to_string(), "127.0.0.1:1883");
    assert_eq!(
        format!("{:?}", mqtt.limits),
        format!("{:?}", crate::listen::mqtt::Limits::default())
    );
    assert!(config.http.is_none());
    assert_eq!(config.intake, intake::Limits::default());
    let limits = &config.outputs[0].limits;
    assert_eq!(format!("{limits:?}"), format!("{:?}", crate::output::Limits::default()));
    assert_eq!(config.runtime.grace, Duration::from_secs(10));
    assert_eq!(config.journal.dir(), Path::new("/var/lib/tidegate/journal"));
}

#[test]
fn values_are_what_was_typed() {
    let config = good(&format!(
        "[tags]\nsite = \"a b\"\n\
         [mqtt]\nlisten = \"[::]:1884\"\nallow_anonymous = true\n\
         limits = {{ packet_bytes_max = \"300KiB\", handshake_max = \"1.5s\", receive_max = 0x10 }}\n\
         [[rule]]\ntopic = \"a/{{device}}\"\ntags = {{ k = \"v\" }}\nformat = \"json\"\nprecision = \"us\"\n\
         [journal]\ndir = \"j\"\nbytes_max = \"64MiB\"\n{OUTPUT}start = \"new\"\n"
    ));
    assert_eq!(config.tags, [("site".to_owned(), "a b".to_owned())]);
    let mqtt = config.mqtt.unwrap();
    assert_eq!(mqtt.listen.to_string(), "[::]:1884");
    assert_eq!(mqtt.limits.packet_bytes_max, 300 * 1024);
    assert_eq!(mqtt.limits.handshake_max, Duration::from_millis(1_500));
    assert_eq!(mqtt.limits.receive_max, 16);
    assert_eq!(config.journal.dir(), Path::new("/etc/tidegate/j"));
    assert_eq!(config.journal.options(u64::MAX, 0).bytes_max, 64 * 1024 * 1024);
    assert_eq!(config.outputs[0].start, journal::Start::New);
    let intake::route::Route::Take(matched) = config.routes.route("a/d1", b"1") else { panic!() };
    assert_eq!(matched.tags, [("device", "d1"), ("k", "v")]);
}

#[test]
fn the_journal_takes_a_fifth_of_what_is_free_at_most_4_gib() {
    let journal = good(&format!("[mqtt]\n{OUTPUT}")).journal;
    let gib = 1024 * 1024 * 1024;
    assert_eq!(journal.options(100 * gib, 0).bytes_max, 4 * gib);
    assert_eq!(journal.options(9 * gib, gib).bytes_max, 2 * gib);
    assert_eq!(journal.options(0, 0).bytes_max, 16 * 1024 * 1024);
    assert_eq!(journal.options(gib, 3 * gib).bytes_max, 3 * gib, "never below what it holds");
}

#[test]
fn the_version_of_influxdb_is_told_by_its_keys() {
    let output =
        "[mqtt]\n[[output]]\nid = \"x\"\ntype = \"influxdb\"\nurl = \"https://h:1/base\"\n";
    let config =
        good(&format!("{output}org = \"o\"\nbucket = \"b\"\ntoken = {{ env = \"SET\" }}\n"));
    let influx::Version::V2 { org, bucket, token } = &influx_of(&config).version else { panic!() };
    let influx::Secret::Variable(token) = token else { panic!("{token:?}") };
    assert_eq!((org.as_str(), bucket.as_str()), ("o", "b"));
    assert_eq!(token, "SET");
    assert_eq!(influx_of(&config).url, "https://h:1/base");

    let user = "username = \"u\"\npassword = { file = \"pw\" }\n";
    let config = good(&format!("{output}database = \"d\"\n{user}"));
    let influx::Version::V1 { database, retention_policy, user } = &influx_of(&config).version
    else {
        panic!()
    };
    assert_eq!((database.as_str(), retention_policy), ("d", &None));
    let Some((name, influx::Secret::File(path))) = user else { panic!("{user:?}") };
    assert_eq!((name.as_str(), path.as_path()), ("u", Path::new("/etc/tidegate/pw")));
}

#[test]
fn version_3_and_one_that_is_asked_for_are_named() {
    let output = "[mqtt]\n[[output]]\nid = \"x\"\ntype = \"influxdb\"\nurl = \"http://h\"\n";
    let config = good(&format!("{output}version = \"v3\"\ndatabase = \"d\"\n"));
    let influx::Version::V3 { database, token: None } = &influx_of(&config).version else {
        panic!()
    };
    assert_eq!(database, "d");
    let token = "token = { file = \"pw\" }\n";
    for name in ["database", "bucket"] {
        let config = good(&format!("{output}version = \"auto\"\n{name} = \"d\"\n{token}"));
        let influx::Version::Auto(auto) = &influx_of(&config).version else { panic!() };
        assert_eq!((auto.database.as_str(), &auto.org), ("d", &None));
        assert!(matches!(&auto.token, Some(influx::Secret::File(_))), "{auto:?}");
    }
}

#[test]
fn a_broker_gets_a_session_name_of_its_own() {
    let config = good(&format!(
        "[[broker]]\nurl = \"mqtts://[::1]:99\"\ntopics = [\"a/#\", \"$share/g/b/+\"]\n\
         username = \"u\"\npassword = {{ file = \"pw\" }}\n{OUTPUT}"
    ));
    let broker = &config.brokers[0];
    assert_eq!((broker.host.as_str(), broker.port, broker.tls), ("::1", 99, true));
    assert_eq!((broker.id.as_str(), broker.client_id.as_str()), ("broker", "tidegate-box-broker"));
    assert_eq!(broker.password.as_ref().unwrap().expose_secret(), "s3cret");
    assert_eq!(broker.topics, ["a/#", "$share/g/b/+"]);
}

#[test]
fn no_secret_is_ever_shown() {
    let config = good(
        "[mqtt]\n[[output]]\nid = \"x\"\ntype = \"influxdb\"\nurl = \"http://h\"\norg = \"o\"\n\
         bucket = \"b\"\ntoken = { env = \"SET\" }\n\
         [[broker]]\nurl = \"mqtt://h\"\ntopics = [\"#\"]\nusername = \"u\"\npassword = { env = \"SET\" }\n",
    );
    assert!(!format!("{config:?}").contains("from the environment"));
}

#[test]
fn an_output_s_steps_are_what_was_typed() {
    use crate::process::window::{Every, Function, Stamp};
    let config = good(&format!(
        "[mqtt]\n{OUTPUT}state_bytes_max = \"1MiB\"\n[output.select]\nmeasurement = \"c*\"\ntags = {{ site = \"n?\" }}\n\
         field = [\"*\", \"!x\"]\n[output.dedup]\nreadings_max = 7\n[[output.deadband]]\nabsolute = 0.5\npercent = 1\n\
         [[output.deadband]]\nmax_silence = \"10m\"\n[[output.window]]\nmeasurement = \"climate\"\nevery = \"1d\"\n\
         time_zone = \"Europe/Berlin\"\nlateness = \"1h\"\nfunctions = [\"mean\", \"max\"]\nraw = \"keep\"\ntime = \"end\"\n\
         into = \"{{measurement}}_1d\"\n"
    ));
    let process = &config.outputs[0].process;
    assert_eq!(process.state_bytes_max, 1 << 20);
    let select = process.select.as_ref().unwrap();
    assert!(select.measurements.fits("climate") && !select.measurements.fits("other"));
    assert!(select.fields.fits("t") && !select.fields.fits("x"));
    assert!(select.tags[0].0 == "site" && select.tags[0].1.fits("n1"));
    assert_eq!(process.dedup.as_ref().unwrap().readings_max, 7);
    let bands: Vec<_> = process.deadbands.iter().map(|it| (it.percent, it.max_silence)).collect();
    assert_eq!(bands, [(1.0, None), (0.0, Some(Duration::from_mins(10)))]);
    let window = &process.windows[0];
    assert!(
        matches!(&window.every, Every::LocalDays { days: 1, zone } if zone.iana_name() == Some("Europe/Berlin"))
    );
    assert_eq!(window.functions, [Function::Mean, Function::Max]);
    assert_eq!((window.lateness, window.keep_raw), (Duration::from_hours(1), true));
    assert_eq!((window.stamp, window.into.as_deref()), (Stamp::End, Some("{measurement}_1d")));
    let bare = format!("[mqtt]\n{OUTPUT}");
    assert!(good(&bare).outputs[0].process.is_empty());
}
