//! `tidegate check`: every problem at its place; what a payload becomes.

use std::{fs, path::Path};

use super::{Said, file, tidegate};

fn check(config: &Path, more: &[&str]) -> Said {
    let arguments = ["check", "-c", config.to_str().unwrap()];
    tidegate(arguments.iter().chain(more))
}

const GOOD: &str = "[tags]\nsite = \"s1\"\n[mqtt]\nlisten = \"127.0.0.1:1883\"\n\
    [[rule]]\ntopic = \"garden/{device}/{field}\"\nmeasurement = \"garden\"\n\
    [[output]]\nid = \"files\"\ntype = \"file\"\npath = \"out.lp\"\n";

#[test]
fn a_good_configuration_is_ok() {
    let (_dir, good) = file("tidegate.toml", GOOD);
    let said = check(&good, &[]);
    let expected = format!("{}: ok\n", good.display());
    assert_eq!((said.code, said.out, said.err), (0, expected, String::new()));
}

#[test]
fn every_problem_comes_at_once_with_file_line_and_column() {
    let bad = "[mqtt]\nlisten = \"here\"\ncolour = \"red\"\n\n[journal]\nbytes_max = \"lots\"\n\
               [[output]]\nid = \"Home!\"\ntype = \"file\"\npath = \"out.lp\"\n";
    let (_dir, bad) = file("tidegate.toml", bad);
    for said in [check(&bad, &[]), tidegate(["run", "-c", bad.to_str().unwrap()])] {
        assert_eq!((said.code, said.out.as_str()), (64, ""), "{said:?}");
        let expected = [
            "2:10: `listen`: `here` is no address",
            "3:1: unknown key `colour`",
            "6:13: `bytes_max`: `lots` is no size",
            "8:6: `id`: write 1 to 32 of",
        ];
        let lines: Vec<&str> = said.err.lines().collect();
        assert_eq!(lines.len(), expected.len(), "{}", said.err);
        for (line, expected) in lines.iter().zip(expected) {
            let expected = format!("{}:{expected}", bad.display());
            assert!(line.starts_with(&expected), "{line} is not {expected}");
        }
    }
}

#[test]
fn what_is_no_toml_and_what_is_not_there_is_bad_config_too() {
    let (dir, syntax) = file("tidegate.toml", "[mqtt]\nlisten = [\n");
    let said = check(&syntax, &[]);
    assert_eq!(said.code, 64, "{said:?}");
    assert!(said.err.starts_with(&format!("{}:2:11: ", syntax.display())), "{}", said.err);
    let nowhere = dir.path().join("nowhere.toml");
    let said = check(&nowhere, &[]);
    assert_eq!(said.code, 64, "{said:?}");
    assert!(said.err.starts_with(&format!("{}: ", nowhere.display())), "{}", said.err);
}

#[test]
fn a_payload_is_shown_as_the_points_it_becomes() {
    let (dir, config) = file("tidegate.toml", GOOD);
    let arguments = ["--topic", "garden/g7/t", "--payload", "21.5"];
    let said = check(&config, &arguments);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    let (rule, point) = said.out.split_once('\n').unwrap();
    assert_eq!(rule, "# rule `garden/{device}/{field}`");
    assert!(point.starts_with("garden,device=g7,site=s1 t=21.5 "), "{point}");

    // From a file, on a topic that no rule takes.
    let payload = dir.path().join("payload");
    fs::write(&payload, "{\"t\":21.5,\"ts\":1700000000000}").unwrap();
    let from_file = format!("@{}", payload.display());
    let said = check(&config, &["--topic", "a/b", "--payload", &from_file]);
    let expected = "# no rule matches: the default route\n\
                    mqtt,site=s1,topic=a/b t=21.5 1700000000000000000\n";
    assert_eq!((said.code, said.out.as_str()), (0, expected), "{said:?}");

    // Without a configuration the defaults answer.
    let nowhere = dir.path().join("nowhere.toml");
    let said = check(&nowhere, &["--topic", "a/b", "--payload", &from_file]);
    let expected = expected.replace("site=s1,", "");
    assert_eq!((said.code, said.out), (0, expected));
}

#[test]
fn a_topic_that_a_preset_would_know_below_another_prefix_says_so() {
    let (_dir, config) = file("tidegate.toml", GOOD);
    let arguments =
        ["--topic", "home/zigbee2mqtt/lamp", "--payload", "{\"t\":1,\"ts\":1700000000}"];
    let said = check(&config, &arguments);
    let expected = "# no rule matches: the default route\n\
        mqtt,site=s1,topic=home/zigbee2mqtt/lamp t=1.0 1700000000000000000\n\
        # if this comes from zigbee2mqtt: `[presets.zigbee2mqtt]` with `prefix = \"home/zigbee2mqtt\"`\n";
    assert_eq!((said.code, said.out.as_str()), (0, expected), "{said:?}");

    let named = format!("{GOOD}[presets.zigbee2mqtt]\nprefix = \"home/zigbee2mqtt\"\n");
    let (_dir, config) = file("tidegate.toml", &named);
    let said = check(&config, &arguments);
    let expected = "# preset `zigbee2mqtt`, rule `home/zigbee2mqtt/{device..}`\n\
        zigbee2mqtt,device=lamp,prefix=home/zigbee2mqtt,site=s1 t=1.0,ts=1700000000.0 ";
    assert!(said.out.starts_with(expected), "{said:?}");
}

#[test]
fn what_a_payload_costs_is_said_with_the_reason() {
    let (dir, config) = file("tidegate.toml", GOOD);
    let half = "{\"t\":1,\"ts\":1700000000000}\n{\"t\":";
    let said = check(&config, &["--topic", "a/b", "--payload", half]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.ends_with("mqtt,site=s1,topic=a/b t=1.0 1700000000000000000\n"));
    assert!(said.err.starts_with("refused: reading 1: byte "), "{}", said.err);

    let missing = dir.path().join("missing");
    let said = check(&config, &["--topic", "a/b", "--payload", &format!("@{}", missing.display())]);
    assert_eq!(said.code, 1);
    assert!(said.err.starts_with(&format!("tidegate: {}: ", missing.display())), "{said:?}");
}
