//! Sparkplug B: what nodes and their devices say. Commands, and the states of hosts, are nothing to
//! store.

use proto::sparkplug::{Message, Topic};

use super::{Look, Ruled, Seen};
use crate::intake::Format;
use crate::intake::route::{Matched, Rule};

pub(super) fn rules() -> Vec<Ruled> {
    let rule = |topic: &str| Rule {
        topic: topic.into(),
        measurement: Some("sparkplug".into()),
        format: Format::Sparkplug,
        ..Rule::default()
    };
    vec![super::ignore("spBv1.0/STATE/+"), (rule("spBv1.0/#"), Some(look as Look))]
}

fn look(matched: &mut Matched<'_>, _: &[u8]) -> Seen {
    match Topic::parse(matched.topic) {
        Some(Topic { message: Message::Command, .. }) => Seen::Nothing,
        Some(_) => Seen::Take,
        None => Seen::NotOurs,
    }
}
