//! `[mqtt]`, `[http]`, `[[broker]]` and `[[rule]]`: how readings come in.

use std::net::SocketAddr;

use toml::{Table, Value};

use super::{Listener, Places, Unreadable, set, table, tables};

/// The first level of the topics that simulated devices publish to: no rule but ours is for them.
pub(in super::super) const TOPIC: &str = "tidegate-torture";

/// Simulated devices come over plain loopback, without a name. Of the root and of the two listeners.
const NOT_SPOKEN: [&str; 6] = ["tls", "users", "user", "auth", "access", "acl"];

/// What the gateway allows where the configuration says nothing.
const CONNECTIONS_DEFAULT: u32 = 10_000;

type Listeners = (Option<Listener>, Option<Listener>);

pub(super) fn replace(
    root: &mut Table,
    places: &Places,
    remarks: &mut Vec<String>,
) -> Result<Listeners, Unreadable> {
    let brokers = tables(root, "broker")?.len();
    if brokers > 0 {
        root.remove("broker");
        remarks.push(format!("[[broker]]: {brokers} left out, no broker is touched"));
    }
    leave_out(root, "", remarks);
    if !root.contains_key("mqtt") && !root.contains_key("http") {
        root.insert("mqtt".to_owned(), Value::Table(Table::new()));
        remarks.push("[mqtt]: added, there is no port that devices connect to".to_owned());
    }
    let mqtt = listener(root, "mqtt", places.mqtt, remarks)?;
    let http = listener(root, "http", places.http, remarks)?;
    rules(root, remarks)?;
    Ok((mqtt, http))
}

fn listener(
    root: &mut Table,
    name: &str,
    address: SocketAddr,
    remarks: &mut Vec<String>,
) -> Result<Option<Listener>, Unreadable> {
    if !root.contains_key(name) {
        return Ok(None);
    }
    let listener = table(root, name)?;
    leave_out(listener, &format!("{name}."), remarks);
    set(listener, "listen", address.to_string());
    // Of loopback alone: whoever comes is one of ours.
    set(listener, "allow_anonymous", true);
    let limits = table(listener, "limits")?;
    let most = limits.get("connections_max").and_then(Value::as_integer);
    let connections_max = most.and_then(|most| u32::try_from(most).ok());
    Ok(Some(Listener { address, connections_max: connections_max.unwrap_or(CONNECTIONS_DEFAULT) }))
}

fn leave_out(table: &mut Table, within: &str, remarks: &mut Vec<String>) {
    for key in NOT_SPOKEN {
        if table.remove(key).is_some() {
            let why = "simulated devices come over plain loopback, without a name";
            remarks.push(format!("{within}{key}: left out, {why}"));
        }
    }
}

/// The operator's rules stay. Ours comes first: what the simulated devices mean must not be changed,
/// or nobody could tell a wrong value from a right one.
fn rules(root: &mut Table, remarks: &mut Vec<String>) -> Result<(), Unreadable> {
    let theirs = tables(root, "rule")?.len();
    let mut ours = Table::new();
    set(&mut ours, "topic", format!("{TOPIC}/{{measurement}}/{{device}}"));
    let rules = root.entry("rule").or_insert_with(|| Value::Array(Vec::new()));
    if let Some(rules) = rules.as_array_mut() {
        rules.insert(0, Value::Table(ours));
    }
    if theirs > 0 {
        let words = "kept, but not tried: simulated devices have a rule of their own in front";
        remarks.push(format!("[[rule]]: {theirs} {words}"));
    }
    Ok(())
}
