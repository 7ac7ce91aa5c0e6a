//! A Sparkplug topic: who speaks, and what kind of message it is.

/// What a message is, from the third level of its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    Birth,
    Data,
    Death,
    /// To a node or a device, not from it.
    Command,
}

/// `spBv1.0/<group>/<type>/<node>[/<device>]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic<'t> {
    pub group: &'t str,
    pub message: Message,
    pub node: &'t str,
    /// `None`: the node speaks of itself.
    pub device: Option<&'t str>,
}

impl<'t> Topic<'t> {
    /// `None`: no topic of an edge node. `spBv1.0/STATE/<host>` is one of a host: nothing to store.
    pub fn parse(topic: &'t str) -> Option<Self> {
        let mut levels = topic.split('/');
        if levels.next() != Some("spBv1.0") {
            return None;
        }
        let group = levels.next().filter(|level| !level.is_empty())?;
        let kind = levels.next()?;
        let node = levels.next().filter(|level| !level.is_empty())?;
        let device = levels.next();
        if levels.next().is_some() || device == Some("") {
            return None;
        }
        let message = match (kind, device) {
            ("NBIRTH", None) | ("DBIRTH", Some(_)) => Message::Birth,
            ("NDATA", None) | ("DDATA", Some(_)) => Message::Data,
            ("NDEATH", None) | ("DDEATH", Some(_)) => Message::Death,
            ("NCMD", None) | ("DCMD", Some(_)) => Message::Command,
            _ => return None,
        };
        Some(Self { group, message, node, device })
    }

    /// Where a command to the node goes.
    pub fn command(&self) -> String {
        format!("spBv1.0/{}/NCMD/{}", self.group, self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_says_who_speaks() {
        let topic = Topic::parse("spBv1.0/G 1/DDATA/node/pump").unwrap();
        assert_eq!(
            topic,
            Topic { group: "G 1", message: Message::Data, node: "node", device: Some("pump") }
        );
        assert_eq!(topic.command(), "spBv1.0/G 1/NCMD/node");
        for (topic, message) in [
            ("spBv1.0/g/NBIRTH/n", Message::Birth),
            ("spBv1.0/g/NDATA/n", Message::Data),
            ("spBv1.0/g/NDEATH/n", Message::Death),
            ("spBv1.0/g/NCMD/n", Message::Command),
            ("spBv1.0/g/DBIRTH/n/d", Message::Birth),
            ("spBv1.0/g/DDEATH/n/d", Message::Death),
            ("spBv1.0/g/DCMD/n/d", Message::Command),
        ] {
            assert_eq!(Topic::parse(topic).map(|topic| topic.message), Some(message), "{topic}");
        }
    }

    #[test]
    fn other_topics_are_none() {
        for topic in [
            "",
            "spBv1.0",
            "spBv1.0/STATE/host1",
            "spAv1.0/g/NDATA/n",
            "spBv1.0//NDATA/n",
            "spBv1.0/g/NDATA/",
            "spBv1.0/g/NDATA",
            "spBv1.0/g/NDATA/n/d",
            "spBv1.0/g/DDATA/n",
            "spBv1.0/g/DDATA/n/",
            "spBv1.0/g/DDATA/n/d/e",
            "spBv1.0/g/XDATA/n",
        ] {
            assert_eq!(Topic::parse(topic), None, "{topic}");
        }
    }
}
