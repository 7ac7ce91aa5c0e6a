//! Every mistake: where it is, and what to do about it.

use proptest::prelude::*;

use super::*;

fn errors_of(text: &str) -> ConfigErrors {
    parse(text).map(|config| panic!("taken: {config:?}")).unwrap_err()
}

/// The problems of a text, one a line, without the file's name.
fn told(text: &str) -> String {
    errors_of(text).to_string().replace("t.toml:", "")
}

/// The same for a text that is otherwise complete.
fn told_of(text: &str) -> String {
    told(&format!("{text}\n[http]\n{OUTPUT}"))
}

fn told_of_output(keys: &str) -> String {
    told(&format!("[http]\n[[output]]\nid = \"x\"\n{keys}\n"))
}

#[test]
fn many_mistakes_are_told_in_one_run_in_the_order_of_the_text() {
    let text = "\
[tags]
time = \"x\"
[mqtt]
listne = \"0.0.0.0:1883\"
[mqtt.limits]
packet_bytes_max = 5
receive_max = 70000
handshake_max = \"5 sec\"
[limits]
max_tags = 3
json_depth = 3
[journal]
when_full = \"blok\"
[jurnal]
[[rule]]
topic = \"a/{devcie}\"
[[output]]
id = \"Home\"
type = \"influx\"
";
    assert_eq!(
        told(text),
        "\
2:8: InfluxDB keeps `time` for itself
4:1: unknown key `listne`; did you mean `listen`?
6:20: `packet_bytes_max`: a number needs its unit, in quotes, for example \"64MiB\"
7:15: `receive_max`: 70000 is not between 1 and 65535
8:17: `handshake_max`: `5 sec` is no time; write for example \"500ms\", \"10s\" or \"5m\"
10:1: unknown key `max_tags`; did you mean `tags_max`?
11:1: unknown key `json_depth`; did you mean `json_depth_max`?
13:13: `when_full`: `blok` is not known; did you mean `block`?
14:2: unknown key `jurnal`; did you mean `journal`?
16:13: did you mean `{device}`?
18:6: `id`: write 1 to 32 of a-z, 0-9 and `-`
19:8: `type`: `influx` is not known; did you mean `influxdb`?"
    );
}

#[test]
fn an_empty_file_is_told_what_a_gateway_needs() {
    let errors = errors_of("");
    let [sources, outputs] = errors.problems() else { panic!("{errors}") };
    assert_eq!((sources.place, outputs.place), (None, None));
    assert_eq!(
        sources.text,
        "nothing comes in: add `[mqtt]` or `[http]` (ports that devices connect to) or `[[broker]]` \
         (an MQTT broker to subscribe to)"
    );
    assert_eq!(
        outputs.text,
        "no output: add `[[output]]` with an `id`, `type = \"influxdb\"`, `url`, `org`, `bucket` and \
         `token`, or `type = \"file\"` and a `path`"
    );
}

/// What cannot be read is said once; what could be read is checked; nothing is called missing.
#[test]
fn broken_toml_does_not_hide_other_mistakes() {
    assert_eq!(
        told("[mqtt]\nlisten = \n[http]\nlistem = 5\n"),
        "2:10: string values must be quoted, expected literal string\n\
         4:1: unknown key `listem`; did you mean `listen`?"
    );
    assert_eq!(told("[mqtt\nlisten = \"127.0.0.1:1\"\n"), "1:6: unclosed table, expected `]`");
    assert_eq!(
        told(&format!("{OUTPUT}id = \"again\"\n[http]\nx y\n")),
        "5:1: duplicate key\n7:3: key with no value, expected `=`"
    );
}

#[test]
fn one_table_and_several_tables_are_told_apart() {
    assert_eq!(
        told("[output]\nid = \"a\"\n[[mqtt]]\n"),
        "1:1: write `[[output]]`, not `[output]`: there may be several\n\
         3:1: write `[mqtt]`, not `[[mqtt]]`: there is only one"
    );
    assert_eq!(
        told_of("mqtt = 5\nrule = [1]\n"),
        "1:8: expected a table, found a whole number\n2:9: expected a table, found a whole number"
    );
}

#[test]
fn a_port_that_others_can_reach_must_be_meant() {
    for listen in ["0.0.0.0:1883", "[::]:1883", "192.168.1.5:1883"] {
        assert_eq!(
            told_of(&format!("[mqtt]\nlisten = \"{listen}\"")),
            format!(
                "2:10: anyone who can reach {listen} could write here; if that is meant, add \
                 `allow_anonymous = true`, else listen on 127.0.0.1:1883"
            )
        );
    }
    for listen in ["127.0.0.1:0", "127.0.0.53:1", "[::1]:1883", "localhost:1883"] {
        good(&format!("[mqtt]\nlisten = \"{listen}\"\n{OUTPUT}"));
    }
    for listen in ["1883", "example.org:1883", "127.0.0.1", ":1883", ""] {
        assert_eq!(
            told_of(&format!("[mqtt]\nlisten = \"{listen}\"")),
            format!(
                "2:10: `listen`: `{listen}` is no address to listen on; write an IP address and a \
                 port, for example \"127.0.0.1:1883\" or \"[::]:1883\""
            )
        );
    }
    assert_eq!(
        told(&format!(
            "[mqtt]\nlisten = \"127.0.0.1:80\"\n[http]\nlisten = \"127.0.0.1:80\"\n{OUTPUT}"
        )),
        "4:10: [mqtt] and [http] cannot both listen on port 80"
    );
}

#[test]
fn secrets_stay_out_of_the_file_and_out_of_what_is_told() {
    let influx = "type = \"influxdb\"\nurl = \"http://h\"\norg = \"o\"\nbucket = \"b\"\n";
    for (token, problem) in [
        (
            "\"hunter2\"",
            "a secret does not belong into this file; write `token = { file = \"...\" }` with the \
             name of a file that holds it, or `token = { env = \"...\" }` with a variable's",
        ),
        ("{}", "`token` needs either `file` or `env`"),
        ("{ file = \"a\", env = \"B\" }", "`token` needs either `file` or `env`"),
    ] {
        assert_eq!(told_of_output(&format!("{influx}token = {token}")), format!("8:9: {problem}"));
    }
    assert_eq!(
        told_of_output(&format!("{influx}token = {{ file = \"none\" }}")),
        "8:18: cannot take the secret from /etc/tidegate/none: entity not found"
    );
    assert_eq!(
        told_of_output(&format!("{influx}token = {{ file = \"empty\" }}")),
        "8:18: cannot take the secret from /etc/tidegate/empty: it is empty"
    );
    assert_eq!(
        told_of_output(&format!("{influx}token = {{ env = \"UNSET\" }}")),
        "8:17: the environment variable `UNSET` is not set, or empty"
    );
    assert_eq!(
        told_of_output(&format!("{influx}token = {{ path = \"x\" }}")),
        "8:9: `token` needs either `file` or `env`\n\
         8:11: unknown key `path`; [output.token] takes `file`, `env`"
    );
}

#[test]
fn steps_are_checked_where_they_stand() {
    for (table, told) in [
        (
            "[output.window]",
            "5:1: write `[[output.window]]`, not `[output.window]`: there may be several",
        ),
        (
            "[[output.window]]\nfunctions = [\"mean\"]",
            "5:1: `every` is missing in [[output.window]]",
        ),
        ("[[output.window]]\nevery = \"10s\"", "5:1: `functions` is missing in [[output.window]]"),
        (
            "[[output.window]]\nevery = \"10s\"\nfunctions = [\"mean\", \"maxx\"]",
            "7:22: `maxx` is not known; did you mean `max`?",
        ),
        (
            "[[output.window]]\nevery = \"36h\"\nfunctions = [\"sum\"]\ntime_zone = \"Europe/Berlin\"",
            "8:13: `time_zone` is for windows of whole days",
        ),
        (
            "[[output.window]]\nevery = \"1d\"\nfunctions = [\"sum\"]\ntime_zone = \"Europe/Brelin\"",
            "8:13: `time_zone`: `Europe/Brelin` is no time zone that this machine knows",
        ),
        (
            "[[output.window]]\nevery = \"1d\"\nfunctions = [\"sum\"]\ninto = \"a\\nb\"",
            "8:8: `into`: `a\\nb` is no measurement",
        ),
        ("[[output.deadband]]\nabsolute = -1", "6:12: `absolute`: expected a number from 0 on"),
        ("[[output.deadband]]\nfield = 3", "6:9: `field`: write a pattern such as"),
        (
            "[output.select]\nmeasurements = \"x\"",
            "6:1: unknown key `measurements`; did you mean `measurement`?",
        ),
        (
            "[output.dedup]\nreadings_max = 0",
            "6:16: `readings_max`: 0 is not between 1 and 1000000",
        ),
    ] {
        let problems = parse(&format!("{OUTPUT}{table}\n")).unwrap_err().to_string();
        assert!(problems.contains(told), "{problems}\nnot\n{told}");
    }
}

#[test]
fn outputs_are_asked_for_what_their_type_needs() {
    assert_eq!(
        told_of_output("token = 5\nfoo = 1"),
        "2:1: `type` is missing in [[output]]: write `type = \"influxdb\"` or `type = \"file\"`"
    );
    assert_eq!(
        told_of_output("type = \"influxdb\""),
        "\
2:1: `url` is missing in [[output]]: write for example url = \"http://127.0.0.1:8086\"
2:1: `org` is missing in [[output]]: the organisation that the bucket belongs to
2:1: `bucket` is missing in [[output]]: the bucket to write to
2:1: `token` is missing in [[output]]: write token = { file = \"influx.token\" } or token = { env = \"INFLUX_TOKEN\" }"
    );
    assert_eq!(
        told_of_output("type = \"file\"\nurl = \"http://x\""),
        "2:1: `path` is missing in [[output]]: the file to write line protocol to\n\
         5:1: unknown key `url`; [[output]] takes `id`, `start`, `limits`, `select`, `dedup`, `deadband`, `window`, `state_bytes_max`, `type`, `path`, \
         `file_bytes_max`, `files_max`, `sync`"
    );
    let influx = "type = \"influxdb\"\nurl = \"http://h\"\n";
    assert_eq!(
        told_of_output(&format!("{influx}database = \"d\"\nbucket = \"b\"")),
        "7:10: `bucket` belongs to InfluxDB v2, other keys here to v1; say which with `version`"
    );
    assert_eq!(
        told_of_output(&format!("{influx}version = \"v1\"\ndatabase = \"d\"\norg = \"o\"")),
        "8:7: `org` belongs to InfluxDB v2"
    );
    assert_eq!(
        told_of_output(&format!("{influx}database = \"d\"\nusername = \"u\"")),
        "7:12: `username` without `password`"
    );
    for (url, problem) in [
        ("influx.local", "`influx.local` does not start with http:// or https://"),
        ("ftp://h", "`ftp://h` does not start with http:// or https://"),
        (
            "http://u:p@h",
            "a secret does not belong into a URL; use `token`, or `username` and `password`",
        ),
        (
            "http://h/write?db=x",
            "a query does not belong here; bucket, database and so on have their own keys",
        ),
    ] {
        assert_eq!(
            told_of_output(&format!("type = \"influxdb\"\ndatabase = \"d\"\nurl = \"{url}\"")),
            format!("6:7: `url`: {problem}")
        );
    }
}

#[test]
fn outputs_do_not_share_ids_or_files() {
    assert_eq!(
        told(&format!("[http]\n{OUTPUT}{OUTPUT}")),
        "7:6: `id`: another output has the id `home` already\n\
         9:8: output `home` writes to this file already"
    );
    for id in ["intake-dead", "intake"] {
        assert_eq!(
            told(&format!("[http]\n[[output]]\nid = \"{id}\"\ntype = \"file\"\npath = \"x\"")),
            format!("3:6: `id`: `{id}` is the gateway's own; choose another")
        );
    }
}

#[test]
fn brokers_are_checked_down_to_their_topic_filters() {
    let broker = |keys: &str| told(&format!("[[broker]]\n{keys}\n{OUTPUT}"));
    assert_eq!(
        broker(
            "url = \"http://h\"\ntopics = [\"a/#/b\", \"ok/+\", \"{device}/x\", \"a+\", \"$share/g\"]"
        ),
        "\
2:7: `url`: `http` is neither mqtt nor mqtts; write for example url = \"mqtt://localhost\"
3:11: `a/#/b`: nothing may come after `#`
3:28: `{device}/x`: captures belong into a `[[rule]]`; here `+` and `#` are wildcards
3:42: `a+`: `+` and `#` stand for whole levels, between slashes
3:48: `$share/g`: an empty topic filter"
    );
    assert_eq!(
        broker("url = \"mqtt://u:p@h\"\ntopics = []"),
        "2:7: `url`: put the user into `username` and `password`, not into the URL\n\
         3:10: `topics` is empty: nothing would come in"
    );
    let one = "[[broker]]\nurl = \"mqtt://h\"\ntopics = [\"#\"]\n";
    assert_eq!(
        told(&format!("{one}id = \"a\"\n{one}id = \"a\"\n{one}{OUTPUT}")),
        "8:6: another broker has the id `a` already\n\
         9:1: `id` is missing in [[broker]]: with several brokers each needs its own"
    );
}

#[test]
fn rules_are_checked_where_they_stand() {
    let rule = |keys: &str| told_of(&format!("[[rule]]\n{keys}"));
    assert_eq!(
        rule("measurement = \"x\""),
        "1:1: `topic` is missing in [[rule]]: write for example topic = \"garden/{device}/{field}\""
    );
    // With escapes the place inside is not known: then it is the value's own.
    assert_eq!(rule("topic = \"\\u0061/{devcie}\""), "2:9: did you mean `{device}`?");
    assert_eq!(rule("topic = 'a/{devcie}'"), "2:13: did you mean `{device}`?");
    assert_eq!(
        rule(
            "topic = \"a/{room}\"\nmeasurement = \"\"\ntags = { room = \"1\", x = 5 }\ndrop = true"
        ),
        "\
3:15: a rule with `drop = true` stores nothing, so `measurement` has no use
3:15: a measurement must not be empty or hold control characters
4:8: a rule with `drop = true` stores nothing, so `tags` has no use
4:17: `{room}` is captured and set as well; one of them must go
4:26: expected a text in quotes, found a whole number"
    );
    assert_eq!(
        rule("topic = \"#\"\n[[rule]]\ntopic = \"a/{device}\""),
        "4:10: this rule can never match: rule 1 (`#`) comes first and takes all it could take"
    );
}

#[test]
fn limits_that_do_not_fit_each_other_are_told() {
    assert_eq!(
        told_of("[mqtt.limits]\npacket_bytes_max = \"1MiB\"\nunacked_bytes_max = \"64KiB\""),
        "3:21: `unacked_bytes_max` must be at least `packet_bytes_max`, which is 1048576 bytes"
    );
    assert_eq!(
        told_of_output("type = \"file\"\npath = \"x\"\nlimits = { backoff_first = \"60s\" }"),
        "6:28: `backoff_first` is longer than `backoff_max`"
    );
    assert_eq!(
        told_of(
            "[limits]\nreading_bytes_max = \"1MiB\"\n[log]\nfilter = \"info,=x=\"\nformat = \"xml\""
        ),
        "2:21: `reading_bytes_max`: must be between 1024 and 524288 bytes\n\
         4:10: `filter`: `info,=x=`: invalid filter directive: too many '=' in filter directive, \
         expected 0 or 1; write for example \"info\" or \"info,tidegate::listen=debug\"\n\
         5:10: `format`: `xml` is not known; it is one of `text`, `json`"
    );
}

#[test]
fn a_budget_that_the_queue_could_use_up_is_told() {
    assert_eq!(
        told_of("[limits]\nbudget_bytes = \"12MiB\""),
        "2:16: `budget_bytes` must be at least twice `queue_bytes_max` (8388608 bytes)"
    );
    good(&format!(
        "[http]\n[limits]\nbudget_bytes = \"12MiB\"\n[journal]\nqueue_bytes_max = \"4MiB\"\n{OUTPUT}"
    ));
}

#[test]
fn a_file_that_is_not_there_is_told_by_name() {
    let error = Config::load(Path::new("/nowhere/tidegate.toml")).unwrap_err().to_string();
    assert_eq!(error, "/nowhere/tidegate.toml: No such file or directory (os error 2)");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A config is typed by hand: whatever is left out, doubled or swapped, the answer is a text.
    #[test]
    fn no_damaged_file_is_a_panic(
        cuts in prop::collection::vec((0.0..1.0_f64, 0_usize..30, "[\\[\\]{}=\"#a-z0-9.\n ä]{0,4}"), 1..6),
    ) {
        let mut text = include_str!("../../../config/tidegate.toml").replace("\n#", "\n");
        for (at, len, patch) in cuts {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "any place will do")]
            let start = (at * text.len() as f64) as usize;
            let (start, end) = (text.floor_char_boundary(start), text.floor_char_boundary(start + len));
            text.replace_range(start..end, &patch);
        }
        if let Err(errors) = parse(&text) {
            prop_assert!(!errors.to_string().is_empty());
        }
    }
}
