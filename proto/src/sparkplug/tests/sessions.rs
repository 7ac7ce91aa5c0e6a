//! Sessions: gaps, deaths, rebirths that are asked for, and their bounds.

use proptest::prelude::*;

use super::*;

/// A node, for as long as a test lasts: writes what it would send, with its sequence numbers.
struct Node {
    sessions: Sessions,
    seq: u8,
    now: Duration,
}

fn varint(number: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::put_varint(u64::from(number), &mut bytes);
    bytes
}

fn metric_of(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&[0x12, u8::try_from(body.len()).unwrap()][..], &body].concat()
}

/// `name` and `alias` of a metric in a birth; in data only the alias.
fn birth_metric(name: &str, alias: u8) -> Vec<u8> {
    let len = u8::try_from(name.len()).unwrap();
    metric_of(&[&[0x0A, len], name.as_bytes(), &[0x10], &varint(alias), &[0x20, 3, 0x50, 1]])
}

fn data_metric(alias: u8) -> Vec<u8> {
    metric_of(&[&[0x10], &varint(alias), &[0x50, 2]])
}

fn bd_seq(number: u8) -> Vec<u8> {
    [&hex("120b 0a05")[..], b"bdSeq", &[0x20, 4, 0x58, number]].concat()
}

impl Node {
    fn new(limits: SessionLimits) -> Self {
        Self { sessions: Sessions::new(limits), seq: 0, now: Duration::ZERO }
    }

    fn say(&mut self, topic: &str, metrics: &[Vec<u8>]) -> (Vec<String>, Heard) {
        let payload = [metrics.concat(), vec![0x18], varint(self.seq)].concat();
        self.seq = self.seq.wrapping_add(1);
        self.say_bytes(topic, &payload)
    }

    fn say_bytes(&mut self, topic: &str, payload: &[u8]) -> (Vec<String>, Heard) {
        let topic = Topic::parse(topic).unwrap();
        let mut heard = Heard::default();
        self.now += Duration::from_millis(10);
        let (readings, bad) = decoded(|out, bad| {
            let context = context_of_sparkplug();
            heard = hear((&topic, payload), &mut self.sessions, self.now, &context, out, bad);
        });
        assert!(bad.is_empty(), "{bad:?}");
        (readings.iter().map(line).collect(), heard)
    }

    fn born(&mut self) -> Heard {
        self.seq = 0;
        self.say("spBv1.0/g/NBIRTH/n", &[bd_seq(7), birth_metric("a", 1)]).1
    }
}

const A: &str = "sparkplug,group=g,node=n a=2i";

#[test]
fn sequence_numbers_go_round_at_256() {
    let mut node = Node::new(SessionLimits::default());
    assert_eq!(node.born(), Heard { born: true, ..Heard::default() });
    for _ in 0..600 {
        let (lines, heard) = node.say("spBv1.0/g/NDATA/n", &[data_metric(1)]);
        assert_eq!((lines, heard), (vec![A.to_owned()], Heard::default()));
    }
}

#[test]
fn a_gap_asks_for_a_rebirth_and_an_alias_is_not_trusted_until_it_comes() {
    let mut node = Node::new(SessionLimits::default());
    node.born();
    node.seq = 2;
    let (lines, heard) = node.say("spBv1.0/g/NDATA/n", &[data_metric(1), birth_metric("b", 9)]);
    assert_eq!(lines, ["sparkplug,group=g,node=n b=1i"], "what names itself is taken");
    assert_eq!(heard, Heard { ask_rebirth: true, unresolved: 1, ..Heard::default() });
    let (_, heard) = node.say("spBv1.0/g/NDATA/n", &[data_metric(1)]);
    assert_eq!(heard, Heard { unresolved: 1, ..Heard::default() }, "it was asked just now");
    node.now += SessionLimits::default().rebirth_every;
    let (_, heard) = node.say("spBv1.0/g/NDATA/n", &[data_metric(1)]);
    assert!(heard.ask_rebirth, "and once more, since nothing came");
    assert!(node.born().born);
    let (lines, heard) = node.say("spBv1.0/g/NDATA/n", &[data_metric(1)]);
    assert_eq!((lines, heard), (vec![A.to_owned()], Heard::default()));
    // What was kept can be resolved now.
    let topic = Topic::parse("spBv1.0/g/NDATA/n").unwrap();
    let (readings, _) = decoded(|out, bad| {
        let payload = data_metric(1);
        let context = context_of_sparkplug();
        let told = node.sessions.told(&topic);
        assert_eq!(resolve((&topic, &payload), &told, &context, out, bad), 0);
    });
    assert_eq!(readings.iter().map(line).collect::<Vec<_>>(), [A]);
}

#[test]
fn a_message_that_comes_again_is_no_gap() {
    let mut node = Node::new(SessionLimits::default());
    node.born();
    node.say("spBv1.0/g/NDATA/n", &[data_metric(1)]);
    node.seq -= 1;
    let (_, heard) = node.say("spBv1.0/g/NDATA/n", &[data_metric(1)]);
    assert_eq!(heard, Heard::default());
    let (_, heard) = node.say("spBv1.0/g/NDATA/n", &[data_metric(1)]);
    assert_eq!(heard, Heard::default());
}

#[test]
fn a_node_that_was_never_born_is_asked() {
    let mut node = Node::new(SessionLimits::default());
    node.seq = 17;
    let (lines, heard) = node.say("spBv1.0/g/DDATA/n/d", &[data_metric(1)]);
    assert!(lines.is_empty());
    assert_eq!(heard, Heard { ask_rebirth: true, unresolved: 1, ..Heard::default() });
    // A device's birth names its own metrics, whatever is known of the node.
    let (_, heard) = node.say("spBv1.0/g/DBIRTH/n/d", &[birth_metric("a", 1)]);
    assert!(heard.born);
    let (lines, _) = node.say("spBv1.0/g/DDATA/n/d", &[data_metric(1)]);
    assert_eq!(lines, ["sparkplug,device=d,group=g,node=n a=2i"]);
}

#[test]
fn a_death_of_an_earlier_birth_says_nothing() {
    let mut node = Node::new(SessionLimits::default());
    node.born();
    let (lines, heard) = node.say_bytes("spBv1.0/g/NDEATH/n", &bd_seq(6));
    assert!(lines.is_empty());
    assert_eq!(heard, Heard { is_outdated: true, ..Heard::default() });
    let (lines, heard) = node.say("spBv1.0/g/NDATA/n", &[data_metric(1)]);
    assert_eq!((lines, heard), (vec![A.to_owned()], Heard::default()), "it lives");
    let (lines, _) = node.say_bytes("spBv1.0/g/NDEATH/n", &bd_seq(7));
    assert_eq!(lines, ["sparkplug,group=g,node=n online=f"]);
    let (lines, heard) = node.say("spBv1.0/g/NDATA/n", &[data_metric(1)]);
    assert!(lines.is_empty() && heard.ask_rebirth && heard.unresolved == 1);
}

#[test]
fn a_device_dies_alone_and_is_forgotten() {
    let mut node = Node::new(SessionLimits::default());
    node.born();
    let before = node.sessions.bytes();
    node.say("spBv1.0/g/DBIRTH/n/d", &[birth_metric("a", 1)]);
    assert!(node.sessions.bytes() > before);
    let at = hex("08 80d8c1a28c34");
    let (lines, heard) = node.say("spBv1.0/g/DDEATH/n/d", &[at]);
    assert_eq!(lines, ["sparkplug,device=d,group=g,node=n online=f 1790000000000000000"]);
    assert_eq!((heard, node.sessions.bytes()), (Heard::default(), before));
    let (_, heard) = node.say("spBv1.0/g/DDATA/n/d", &[data_metric(1)]);
    assert!(heard.ask_rebirth && heard.unresolved == 1);
}

/// What a restart keeps: the births as payloads, and where each node's messages stood.
#[test]
fn births_that_are_heard_again_tell_the_same_but_are_trusted_only_where_nothing_was_missed() {
    let mut before = Node::new(SessionLimits::default());
    before.born();
    before.say("spBv1.0/g/DBIRTH/n/d", &[birth_metric("a", 1), birth_metric("b", 200)]);
    let next = before.sessions.next_seq(&Topic::parse("spBv1.0/g/NDATA/n").unwrap());
    assert_eq!(next, Some(2));
    let births = before.sessions.births();
    let topics: Vec<_> = births.iter().map(|(topic, _)| topic.as_str()).collect();
    assert_eq!(topics, ["spBv1.0/g/NBIRTH/n", "spBv1.0/g/DBIRTH/n/d"]);

    let restarted = || {
        let mut node = Node::new(SessionLimits::default());
        for (topic, payload) in &births {
            node.say_bytes(topic, payload);
        }
        node.sessions.suspend();
        node
    };
    let mut node = restarted();
    assert_eq!(node.sessions.bytes(), before.sessions.bytes());
    node.seq = 2;
    let (lines, heard) = node.say("spBv1.0/g/DDATA/n/d", &[data_metric(200)]);
    assert!(lines.is_empty() && heard.ask_rebirth && heard.unresolved == 1, "{lines:?} {heard:?}");

    let mut node = restarted();
    node.sessions.resume("g/n", next);
    node.sessions.resume("g/who", next);
    node.seq = 2;
    let (lines, heard) = node.say("spBv1.0/g/DDATA/n/d", &[data_metric(200)]);
    assert_eq!(lines, ["sparkplug,device=d,group=g,node=n b=2i"]);
    assert_eq!(heard, Heard::default());
    node.say_bytes("spBv1.0/g/NDEATH/n", &bd_seq(6));
    assert_eq!(node.sessions.births().len(), 2, "a death of an earlier life, as before");

    let mut node = restarted();
    node.sessions.resume("g/n", next);
    node.seq = 3;
    assert!(node.say("spBv1.0/g/DDATA/n/d", &[data_metric(200)]).1.ask_rebirth, "one was missed");
}

#[test]
fn what_is_kept_of_a_payload_is_what_no_birth_names_and_has_a_time() {
    let mut node = Node::new(SessionLimits::default());
    node.born();
    let payload = [data_metric(1), data_metric(9), birth_metric("b", 8)].concat();
    let topic = Topic::parse("spBv1.0/g/NDATA/n").unwrap();
    let kept = unresolved((&topic, &payload), &node.sessions, Some(1_790_000_000_000));
    assert_eq!(kept, [hex("08 80d8c1a28c34"), data_metric(9)].concat());
    let sent = [hex("08 01"), data_metric(9)].concat();
    assert_eq!(unresolved((&topic, &sent), &node.sessions, Some(2)), sent);
    assert_eq!(unresolved((&topic, b"\x12"), &node.sessions, None), b"");
}

#[test]
fn a_birth_of_another_life_says_so() {
    let mut node = Node::new(SessionLimits::default());
    assert!(!node.born().is_another_life, "nothing was known");
    let heard = node.born();
    assert!(!heard.is_another_life && heard.is_same_life, "a rebirth");
    node.seq = 0;
    let (_, heard) = node.say("spBv1.0/g/NBIRTH/n", &[bd_seq(8), birth_metric("a", 1)]);
    assert!(heard.is_another_life && !heard.is_same_life);
}

/// Its own birth is owed, so it is not known what comes next; but what came is.
#[test]
fn a_gap_is_noticed_while_the_nodes_own_birth_is_owed() {
    let mut node = Node::new(SessionLimits::default());
    node.seq = 20;
    node.say("spBv1.0/g/DBIRTH/n/d", &[birth_metric("b", 2)]);
    let (lines, _) = node.say("spBv1.0/g/DDATA/n/d", &[data_metric(2)]);
    assert_eq!(lines, ["sparkplug,device=d,group=g,node=n b=2i"], "nothing was missed");
    node.seq -= 1;
    let (lines, _) = node.say("spBv1.0/g/DDATA/n/d", &[data_metric(2)]);
    assert_eq!(lines.len(), 1, "sent again");
    node.seq = 26;
    let (lines, heard) = node.say("spBv1.0/g/DDATA/n/d", &[data_metric(2)]);
    assert_eq!((lines.len(), heard.unresolved), (0, 1));
    let (lines, heard) = node.say("spBv1.0/g/DDATA/n/d", &[data_metric(2)]);
    assert_eq!((lines.len(), heard.unresolved), (0, 1), "not until it is born");
    node.say("spBv1.0/g/DBIRTH/n/d", &[birth_metric("c", 2)]);
    let (lines, _) = node.say("spBv1.0/g/DDATA/n/d", &[data_metric(2)]);
    assert_eq!(lines, ["sparkplug,device=d,group=g,node=n c=2i"]);
}

#[test]
fn what_is_in_doubt_names_nothing_though_its_number_is_known() {
    let mut node = Node::new(SessionLimits::default());
    node.born();
    node.say("spBv1.0/g/DBIRTH/n/d", &[birth_metric("b", 2)]);
    let topic = Topic::parse("spBv1.0/g/NDATA/n").unwrap();
    let next = node.sessions.next_seq(&topic);
    node.sessions.doubt();
    node.sessions.resume("g/n", next);
    for topic in ["spBv1.0/g/NDATA/n", "spBv1.0/g/DDATA/n/d"] {
        let (lines, heard) = node.say(topic, &[data_metric(1)]);
        assert_eq!((lines.len(), heard.unresolved), (0, 1));
    }
    assert!(node.sessions.knows_life(&topic));
    assert!(node.born().is_same_life);
}

#[test]
fn commands_are_not_ours() {
    let mut node = Node::new(SessionLimits::default());
    let (lines, heard) = node.say("spBv1.0/g/NCMD/n", &[birth_metric("a", 1)]);
    assert_eq!((lines.len(), heard, node.sessions.nodes()), (0, Heard::default(), 0));
}

#[test]
fn rebirths_are_asked_of_so_many_nodes_and_no_more() {
    let limits = SessionLimits { rebirths_max: 3, ..SessionLimits::default() };
    let mut node = Node::new(limits);
    let ask = |node: &mut Node| {
        let asked =
            |at| node.say(&format!("spBv1.0/g/NDATA/n{at}"), &[data_metric(1)]).1.ask_rebirth;
        (0..10).map(asked).filter(|asked| *asked).count()
    };
    assert_eq!(ask(&mut node), 3);
    assert_eq!(ask(&mut node), 0);
    node.now += limits.rebirth_every;
    assert_eq!(ask(&mut node), 3);
}

#[test]
fn the_node_that_was_heard_longest_ago_leaves_first() {
    let limits = SessionLimits { nodes_max: 2, ..SessionLimits::default() };
    let mut node = Node::new(limits);
    for name in ["n1", "n2", "n1", "n3"] {
        node.seq = 0;
        node.say(&format!("spBv1.0/g/NBIRTH/{name}"), &[birth_metric("a", 1)]);
    }
    let known = |name: &str| {
        let topic = format!("spBv1.0/g/NDATA/{name}");
        let topic = Topic::parse(&topic).unwrap();
        node.sessions.names(&topic).bytes > 0
    };
    assert_eq!(["n1", "n2", "n3"].map(known), [true, false, true]);
}

#[test]
fn one_node_cannot_have_all_the_room() {
    let limits = SessionLimits { bytes_max: 20_000, ..SessionLimits::default() };
    let mut node = Node::new(limits);
    let metrics: Vec<_> = (0..200).map(|at| birth_metric(&format!("m{at}"), at)).collect();
    let (_, heard) = node.say("spBv1.0/g/NBIRTH/n", &metrics);
    assert!(heard.forgotten > 100, "{heard:?}");
    assert!(node.sessions.bytes() < 6_000, "{}", node.sessions.bytes());
    let (_, heard) = node.say("spBv1.0/g/NDATA/n", &[data_metric(1), data_metric(199)]);
    assert_eq!(heard.unresolved, 1);
}

proptest! {
    /// Whatever comes, the tables stay within their bounds, and count what they hold.
    #[test]
    fn tables_stay_within_their_bounds(
        messages in prop::collection::vec((0..8_u8, 0..4_u8, 0..6_usize, 0..20_u8), 1..200),
    ) {
        let limits = SessionLimits { nodes_max: 4, bytes_max: 8_000, ..SessionLimits::default() };
        let mut node = Node::new(limits);
        for (at, device, kind, metrics) in messages {
            let kinds = ["NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH"];
            let device = if kind < 3 { String::new() } else { format!("/d{device}") };
            let topic = format!("spBv1.0/g/{}/n{at}{device}", kinds[kind]);
            let metrics: Vec<_> = (0..metrics).map(|at| birth_metric(&format!("m{at}"), at)).collect();
            node.say(&topic, &metrics);
            prop_assert!(node.sessions.nodes() <= limits.nodes_max);
            prop_assert!(node.sessions.bytes() <= limits.bytes_max);
        }
        prop_assert_eq!(node.sessions.bytes() > 0, node.sessions.nodes() > 0);
    }

    #[test]
    fn arbitrary_bytes_never_panic(payload: Vec<u8>, flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5)) {
        let mut births = example(DBIRTH).1;
        for (at, byte) in flips {
            let at = at.index(births.len());
            births[at] = byte;
        }
        for payload in [&payload, &births] {
            let (_, bad) = decoded(|out, bad| decode(payload, &context(), out, bad));
            for reject in bad.listed() {
                prop_assert!(payload.get(reject.span.clone()).is_some(), "{:?}", reject);
            }
        }
    }
}
