//! Each shipped configuration, and what must not survive the rewriting.

use super::*;

const ALL: &str = include_str!("../../../../config/tidegate.toml");
const PI: &str = include_str!("../../../../config/pi.toml");
const DEV: &str = include_str!("../../../../config/dev.toml");
const HOME: &str = "/etc/tidegate";

/// Every key spelled out: the shipped file shows them as comments.
fn everything() -> String {
    let is_toml = |rest: &str| {
        let name = rest.trim_start_matches(|c: char| c.is_ascii_lowercase() || c == '_');
        rest.starts_with('[') || (name.len() < rest.len() && name.starts_with(" = "))
    };
    let plain = |line: &str| {
        let rest = line.strip_prefix("# ").or_else(|| line.strip_prefix('#'));
        rest.filter(|rest| is_toml(rest)).unwrap_or(line).to_owned()
    };
    ALL.lines().map(|line| plain(line) + "\n").collect()
}

fn places(databases: usize) -> Places {
    Places {
        dir: PathBuf::from("/trial/dir"),
        mqtt: "127.0.0.1:15001".parse().unwrap(),
        http: "127.0.0.1:15002".parse().unwrap(),
        databases: (0..databases)
            .map(|place| format!("http://127.0.0.1:{}", 16_000 + place))
            .collect(),
        room: 1 << 40,
    }
}

fn derive(text: &str) -> Result<Derived, Unreadable> {
    let original = Original::parse(text, Path::new(HOME))?;
    original.derive(&places(original.databases()))
}

fn root(derived: &Derived) -> Table {
    derived.text.parse().unwrap()
}

/// Every text in it, with its path.
fn texts(path: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Table(table) => {
            table.iter().for_each(|(key, value)| texts(&format!("{path}.{key}"), value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| texts(path, value, found)),
        Value::String(text) => found.push((path.to_owned(), text.clone())),
        _ => {}
    }
}

#[test]
fn no_place_of_a_shipped_configuration_is_left() {
    for original in [ALL, PI, DEV, &everything()] {
        let mut before = Vec::new();
        texts("", &Value::Table(original.parse().unwrap()), &mut before);
        let is_place = |path: &str, text: &str| {
            let is_name = path.starts_with(".rule")
                || path.starts_with(".tags")
                || path.ends_with(".time_zone");
            !is_name && (text.contains('/') || text.contains(':') || text.contains(".sock"))
        };
        before.retain(|(path, text)| is_place(path, text));
        assert!(!before.is_empty(), "nothing to replace in {original}");
        let derived = derive(original).unwrap();
        let mut after = Vec::new();
        texts("", &Value::Table(root(&derived)), &mut after);
        for (path, text) in &after {
            let stays = before.iter().find(|(_, old)| old == text);
            assert_eq!(stays, None, "{path} = {text}");
            let ours = text.starts_with("/trial/dir") || text.starts_with("127.0.0.1:1500");
            let ours = ours || text.starts_with("http://127.0.0.1:160");
            assert!(ours || !is_place(path, text), "{path} = {text} leads elsewhere");
        }
    }
}

#[test]
fn what_is_no_place_stays_as_it_is_typed() {
    let all = everything();
    let (before, after) = (all.parse::<Table>().unwrap(), root(&derive(&all).unwrap()));
    assert!(before.contains_key("broker") && !after.contains_key("broker"));
    for name in ["limits", "resends", "runtime"] {
        assert_eq!(before[name], after[name], "{name}");
    }
    for name in ["mqtt", "http"] {
        assert_eq!(before[name]["limits"], after[name]["limits"], "{name}.limits");
    }
    for key in ["bytes_max", "free_bytes_min", "when_full", "sync_wait", "queue_bytes_max"] {
        assert_eq!(before["journal"][key], after["journal"][key], "journal.{key}");
    }
    for (old, new) in
        before["output"].as_array().unwrap().iter().zip(after["output"].as_array().unwrap())
    {
        for key in ["id", "type", "version", "gzip", "start", "org", "bucket", "database", "limits"]
        {
            // An output without limits has an empty table of them afterwards.
            let empty = Value::Table(Table::new());
            let of = |output: &Value| output.get(key).filter(|value| **value != empty).cloned();
            assert_eq!(of(old), of(new), "output.{key}");
        }
    }
}

#[test]
fn keys_that_nobody_here_knows_are_passed_on() {
    let text = format!("{PI}\n[clock]\nwait = \"1m\"\n[mqtt.new]\ncolour = \"red\"\n");
    let after = root(&derive(&text).unwrap());
    assert_eq!(after["clock"]["wait"].as_str(), Some("1m"));
    assert_eq!(after["mqtt"]["new"]["colour"].as_str(), Some("red"));
}

#[test]
fn a_place_under_an_unknown_key_is_refused_by_name() {
    for line in [
        "[nats]\nurl = \"nats://elsewhere\"",
        "[store]\ndir = \"/var/lib/tidegate/store\"",
        "[web]\nlisten = \"0.0.0.0:80\"",
        "[[poll]]\nhost = \"plc\"",
    ] {
        let refused = derive(&format!("{PI}\n{line}\n")).unwrap_err().to_string();
        let key = line.lines().next().unwrap().trim_matches(['[', ']']);
        assert!(refused.starts_with(&format!("{key}.")), "{refused}");
    }
}

#[test]
fn what_devices_here_do_not_speak_is_left_out_and_said() {
    let text = "[mqtt]\nlisten = \"0.0.0.0:8883\"\n[mqtt.tls]\ncert_file = \"/a.pem\"\n[[users]]\nname = \"u\"\n";
    let derived = derive(text).unwrap();
    let after = root(&derived);
    assert!(!after["mqtt"].as_table().unwrap().contains_key("tls") && !after.contains_key("users"));
    let said = derived.remarks.join("\n");
    assert!(said.contains("mqtt.tls: left out") && said.contains("users: left out"), "{said}");
}

#[test]
fn what_makes_other_points_of_readings_is_left_out_and_said() {
    let derived = derive(&everything()).unwrap();
    let after = root(&derived);
    let said = derived.remarks.join("\n");
    for step in ["select", "dedup", "deadband", "window"] {
        assert_eq!(after["output"][0].get(step), None);
        assert!(said.contains(&format!("{step}: left out")), "{step}: {said}");
    }
}

#[test]
fn the_rule_of_the_simulated_devices_comes_first() {
    let after = root(&derive(DEV).unwrap());
    let rules = after["rule"].as_array().unwrap();
    assert_eq!(rules[0]["topic"].as_str(), Some("tidegate-torture/{measurement}/{device}"));
    assert_eq!(rules[1]["topic"].as_str(), Some("garden/{device}/{field}"));
    assert_eq!(after["tags"]["site"].as_str(), Some("dev"));
}

#[test]
fn secrets_are_replaced_wherever_they_come_from() {
    let output = "type = \"influxdb\"\nurl = \"https://db\"\nca_file = \"ca.pem\"";
    let text = format!(
        "[mqtt]\n[[output]]\nid = \"a\"\n{output}\norg = \"o\"\nbucket = \"b\"\ntoken = {{ env = \"T\" }}\n\
         [[output]]\nid = \"b\"\n{output}\ndatabase = \"d\"\nusername = \"u\"\npassword = {{ file = \"p\" }}\n"
    );
    let derived = derive(&text).unwrap();
    let after = root(&derived);
    let ours: Table = "file = \"/trial/dir/secret\"".parse().unwrap();
    assert_eq!(after["output"][0]["token"], Value::Table(ours.clone()));
    assert_eq!(after["output"][1]["password"], Value::Table(ours));
    assert!(after["output"][0].get("ca_file").is_none());
    let to = |id: &str, place| Output { id: id.to_owned(), to: Destination::Database(place) };
    assert_eq!(derived.outputs, [to("a", 0), to("b", 1)]);
}

#[test]
fn a_version_that_would_be_asked_for_is_told_by_the_keys() {
    for (keys, version, name) in [
        ("org = \"o\"\nbucket = \"x\"\ntoken = { env = \"T\" }", "v2", "bucket"),
        ("bucket = \"x\"\ntoken = { env = \"T\" }", "v3", "database"),
        ("database = \"x\"\nretention_policy = \"r\"", "v1", "database"),
    ] {
        let head = "[mqtt]\n[[output]]\nid = \"a\"\ntype = \"influxdb\"\nurl = \"http://db\"\n";
        let after = root(&derive(&format!("{head}version = \"auto\"\n{keys}\n")).unwrap());
        assert_eq!(after["output"][0]["version"].as_str(), Some(version));
        assert_eq!(after["output"][0][name].as_str(), Some("x"), "{keys}");
    }
}

#[test]
fn files_stay_in_our_directory_and_are_all_kept() {
    let text = "[http]\n[[output]]\nid = \"../x\"\ntype = \"file\"\npath = \"/var/out.lp\"\nfiles_max = 4\n";
    let derived = derive(text).unwrap();
    assert_eq!(root(&derived)["output"][0]["files_max"].as_integer(), Some(0));
    let dir = PathBuf::from("/trial/dir/files----x");
    assert_eq!(derived.outputs[0].to, Destination::Files(dir));
    assert!(derived.mqtt.is_none() && derived.http.is_some());
}

#[test]
fn bounds_shrink_to_the_disk_and_waits_to_a_run() {
    let text = PI.replace("batch_age_max = \"5s\"", "batch_age_max = \"1h\"");
    let original = Original::parse(&text, Path::new(HOME)).unwrap();
    let derived = original.derive(&Places { room: 1 << 30, ..places(1) }).unwrap();
    let after = root(&derived);
    assert_eq!(after["journal"]["bytes_max"].as_str(), Some("512MiB"));
    assert_eq!(after["dead_letters"]["bytes_max"].as_str(), Some("64MiB"), "it fits");
    assert_eq!(after["output"][0]["limits"]["batch_age_max"].as_str(), Some("10s"));
    assert_eq!(derived.remarks.len(), 2, "{:?}", derived.remarks);
}

#[test]
fn a_gateway_of_brokers_alone_gets_a_port() {
    let derived = derive("[[broker]]\nurl = \"mqtt://b\"\ntopics = [\"#\"]\n").unwrap();
    assert!(derived.mqtt.is_some() && derived.http.is_none());
    assert_eq!(derived.remarks.len(), 2, "{:?}", derived.remarks);
}

#[test]
fn the_journal_is_found_where_the_gateway_would_find_it() {
    let of = |text: &str| Original::parse(text, Path::new(HOME)).unwrap().journal_dir();
    assert_eq!(of(ALL), Path::new("/var/lib/tidegate/journal"));
    assert_eq!(of("[journal]\ndir = \"x/j\"\n"), Path::new("/etc/tidegate/x/j"));
}

#[test]
fn what_is_no_configuration_says_so() {
    for wrong in ["= 1", "mqtt = 3", "[output]\nid = \"a\"", "rule = [1]"] {
        assert!(derive(wrong).is_err(), "took {wrong}");
    }
    let missing = Original::load(Path::new("/no/such/file.toml")).unwrap_err().to_string();
    assert!(missing.starts_with("/no/such/file.toml: "), "{missing}");
}
