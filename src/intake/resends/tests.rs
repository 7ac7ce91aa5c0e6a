//! What is never taken for a resend, what always is, and that a start changes neither.

use proptest::prelude::*;

use super::*;

const SECRET: [u8; 16] = *b"0123456789abcdef";
const WALL: Timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000);

fn resends(limits: Limits) -> Resends {
    Resends::new(limits, SECRET)
}

/// One connection that stores these messages, and the notes that go to the journal.
fn store(sender: &Sender, messages: &[(u16, &[u8])], now: Instant) -> Bytes {
    let mut identities = Identities::default();
    for (id, payload) in messages {
        identities.push(*id, sender.fingerprint(false, "t", payload));
    }
    let note = sender.note(WALL, &identities);
    sender.offer(&note).unwrap().arrived(now);
    note
}

fn look(sender: &Sender, id: u16, payload: &[u8]) -> Known {
    sender.look(id, sender.fingerprint(false, "t", payload), Instant::now())
}

#[test]
fn a_resend_is_known_on_the_next_connection_and_only_there() {
    let resends = resends(Limits::default());
    let now = Instant::now();
    let first = resends.connect("d1", now);
    store(&first, &[(7, b"21.5"), (8, b"21.6")], now);
    assert_eq!(look(&first, 7, b"21.5"), Known::New, "on its own connection");
    drop(first);

    let other = resends.connect("d2", now);
    assert_eq!(look(&other, 7, b"21.5"), Known::New, "of another client");
    let second = resends.connect("d1", now);
    assert_eq!(look(&second, 7, b"21.5"), Known::Stored);
    assert_eq!(look(&second, 8, b"21.6"), Known::Stored);
    assert_eq!(look(&second, 8, b"21.5"), Known::New, "another identifier");
    assert_eq!(look(&second, 7, b"21.6"), Known::New, "another payload");
    let elsewhere = second.fingerprint(false, "u", b"21.5");
    assert_eq!(second.look(7, elsewhere, now), Known::New, "another topic");
    let qos_2 = second.fingerprint(true, "t", b"21.5");
    assert_eq!(second.look(7, qos_2, now), Known::New, "another QoS");
    let late = now + Limits::default().age_max + Duration::from_secs(1);
    let same = second.fingerprint(false, "t", b"21.5");
    assert_eq!(second.look(7, same, late), Known::New, "too late");

    // Cut off before it sent all of them again, it does so on its third connection.
    drop(second);
    let third = resends.connect("d1", now);
    assert_eq!(look(&third, 8, b"21.6"), Known::Stored);
    // The fourth brings new ones only: the client is done with the others.
    let fourth = resends.connect("d1", now);
    store(&fourth, &[(9, b"21.7")], now);
    let fifth = resends.connect("d1", now);
    assert_eq!(look(&fifth, 9, b"21.7"), Known::Stored);
    assert_eq!(look(&fifth, 8, b"21.6"), Known::New);
}

#[test]
fn an_identifier_that_is_used_again_so_soon_tells_nothing() {
    let resends = resends(Limits::default());
    let now = Instant::now();
    let first = resends.connect("d1", now);
    store(&first, &[(1, b"closed"), (1, b"closed"), (2, b"open")], now);
    let second = resends.connect("d1", now);
    assert_eq!(look(&second, 1, b"closed"), Known::New);
    assert_eq!(look(&second, 2, b"open"), Known::Stored);
}

#[test]
fn what_is_on_its_way_is_undecided_and_what_came_to_nothing_is_new() {
    let resends = resends(Limits::default());
    let now = Instant::now();
    let first = resends.connect("d1", now);
    let mut identities = Identities::default();
    identities.push(1, first.fingerprint(false, "t", b"a"));
    let note = first.note(WALL, &identities);
    let offer = first.offer(&note).unwrap();
    let second = resends.connect("d1", now);
    assert_eq!(look(&second, 1, b"a"), Known::Undecided);
    drop(offer);
    assert_eq!(look(&second, 1, b"a"), Known::New);
    assert!(first.offer(&note).is_none(), "after the client has come again");
    assert!(second.offer(&Bytes::new()).is_some());
}

/// It asked too early, and was told to come again: what it asked for is known to who comes then.
#[test]
fn who_comes_again_after_an_undecided_answer_is_told_what_became_of_it() {
    let resends = resends(Limits::default());
    let now = Instant::now();
    let first = resends.connect("d1", now);
    let mut identities = Identities::default();
    identities.push(1, first.fingerprint(false, "t", b"a"));
    let offer = first.offer(&first.note(WALL, &identities)).unwrap();
    let second = resends.connect("d1", now);
    assert_eq!(look(&second, 1, b"a"), Known::Undecided);
    drop(second);
    offer.arrived(now);
    let third = resends.connect("d1", now);
    assert_eq!(look(&third, 1, b"a"), Known::Stored);
    drop((first, third));
    assert_eq!(look(&resends.connect("d1", now), 1, b"a"), Known::Stored);
}

#[test]
fn a_released_identifier_is_forgotten() {
    let resends = resends(Limits::default());
    let now = Instant::now();
    let first = resends.connect("d1", now);
    store(&first, &[(1, b"a"), (2, b"b")], now);
    first.released(1);
    let second = resends.connect("d1", now);
    assert_eq!(look(&second, 1, b"a"), Known::New);
    assert_eq!(look(&second, 2, b"b"), Known::Stored);
    second.released(2);
    assert_eq!(look(&second, 2, b"b"), Known::New);
}

#[test]
fn messages_and_clients_are_bounded_and_the_oldest_leave() {
    let limits = Limits { messages_max: 4, senders_max: 3, ..Limits::default() };
    let resends = resends(limits);
    let now = Instant::now();
    for client in ["a", "b", "c", "d"] {
        let sender = resends.connect(client, now);
        let all: Vec<(u16, &[u8])> = (1..=10).map(|id| (id, &b"x"[..])).collect();
        store(&sender, &all[..3], now);
        store(&sender, &all[3..], now);
        assert_eq!(lock(&sender.own).len(), 4);
    }
    assert_eq!(resends.senders(), 3);
    assert_eq!(look(&resends.connect("d", now), 7, b"x"), Known::Stored);
    assert_eq!(look(&resends.connect("d", now), 6, b"x"), Known::New);
    assert_eq!(look(&resends.connect("a", now), 10, b"x"), Known::New);
}

/// A sensor that stays connected, and a cron job that connects under a new name each time.
#[test]
fn a_client_that_stays_is_known_however_many_come_and_go() {
    let resends = resends(Limits { senders_max: 3, ..Limits::default() });
    let now = Instant::now();
    let stays = resends.connect("d1", now);
    store(&stays, &[(7, b"21.5")], now);
    for n in 0..10 {
        store(&resends.connect(&format!("cron-{n}"), now), &[(1, b"x")], now);
    }
    let again = resends.connect("d1", now);
    assert_eq!(look(&again, 7, b"21.5"), Known::Stored);
    assert_eq!(resends.senders(), 4);
    drop(stays);
    for n in 10..20 {
        store(&resends.connect(&format!("cron-{n}"), now), &[(1, b"x")], now);
    }
    drop(again);
    assert_eq!(look(&resends.connect("d1", now), 7, b"21.5"), Known::Stored, "after a takeover");
}

#[test]
fn who_sends_at_qos_0_only_takes_no_place_of_anyone() {
    let resends = resends(Limits { senders_max: 3, ..Limits::default() });
    let now = Instant::now();
    store(&resends.connect("d1", now), &[(7, b"21.5")], now);
    resends.stream("boot-7", now).unwrap().offer(5).unwrap().arrived(now);
    for n in 0..10 {
        drop(resends.connect(&format!("qos-0-{n}"), now));
        drop(resends.stream(&format!("silent-{n}"), now));
    }
    assert_eq!(resends.senders(), 2);
    assert_eq!(look(&resends.connect("d1", now), 7, b"21.5"), Known::Stored);
    assert_eq!(resends.stream("boot-7", now).unwrap().upto(), 5);
}

#[test]
fn a_stream_that_stays_is_known_however_many_come_and_go() {
    let resends = resends(Limits { senders_max: 3, ..Limits::default() });
    let now = Instant::now();
    let others = |from: u32| {
        for n in from..from + 10 {
            let other = resends.stream(&format!("other-{n}"), now).unwrap();
            other.offer(1).unwrap().arrived(now);
        }
    };
    let stays = resends.stream("boot-7", now).unwrap();
    stays.offer(5).unwrap().arrived(now);
    others(0);
    let again = resends.stream("boot-7", now).unwrap();
    assert_eq!(again.upto(), 5);
    drop(stays);
    others(10);
    again.offer(6).unwrap().arrived(now);
    drop(again);
    assert_eq!(resends.stream("boot-7", now).unwrap().upto(), 6, "after a takeover");
    others(20);
    assert_eq!(resends.senders(), 3);
    assert_eq!(resends.stream("boot-7", now).unwrap().upto(), 0, "the others left last");
}

#[test]
fn old_and_foreign_notes_are_passed_by() {
    let resends = resends(Limits::default());
    let now = Instant::now();
    let sender = resends.connect("d1", now);
    let note = store(&sender, &[(1, b"a")], now);
    let fresh = super::Resends::new(Limits::default(), SECRET);
    let later = Timestamp::from_nanos(WALL.nanos() + 2 * 3_600_000_000_000);
    fresh.recall(&note, now, later);
    fresh.recall(&note[..note.len() - 1], now, WALL);
    fresh.recall(&[99, 1, 2, 3], now, WALL);
    fresh.recall(&[], now, WALL);
    assert_eq!(fresh.senders(), 0);
    let earlier = Timestamp::from_nanos(0);
    fresh.recall(&note, now, earlier);
    assert_eq!(look(&fresh.connect("d1", now), 1, b"a"), Known::Stored, "the clock went back");
}

#[test]
fn what_is_noted_again_is_bounded_and_the_most_recent() {
    let resends = resends(Limits::default());
    let now = Instant::now();
    for client in ["a", "b", "c"] {
        store(&resends.connect(client, now), &[(1, b"x")], now);
    }
    let notes = resends.notes(2 * 31, now, WALL);
    let fresh = super::Resends::new(Limits::default(), SECRET);
    for note in &notes {
        fresh.recall(note, now, WALL);
    }
    assert_eq!((notes.len(), fresh.senders()), (2, 2));
    let again = fresh.notes(usize::MAX, now, WALL);
    assert_eq!(again, notes);
    let fresh = super::Resends::new(Limits::default(), SECRET);
    fresh.recall(&resends.note(2 * 31, now, WALL).unwrap(), now, WALL);
    assert_eq!(fresh.notes(usize::MAX, now, WALL), notes, "all in one");
    assert_eq!(look(&fresh.connect("a", now), 1, b"x"), Known::New);
    assert_eq!(look(&fresh.connect("c", now), 1, b"x"), Known::Stored);
}

#[derive(Clone, Debug)]
enum Step {
    Connect(usize),
    Store(usize, Vec<Message>),
    Resend(usize, Message),
    Start,
}

/// A packet identifier and a payload of one byte.
type Message = (u16, u8);

fn message() -> impl Strategy<Value = Message> {
    (1..6_u16, 0..3_u8)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..3_usize).prop_map(Step::Connect),
        3 => (0..3_usize, prop::collection::vec(message(), 1..5))
            .prop_map(|(client, messages)| Step::Store(client, messages)),
        3 => (0..3_usize, message()).prop_map(|(client, message)| Step::Resend(client, message)),
        1 => Just(Step::Start),
    ]
}

const MESSAGES_MAX: usize = 6;

/// Messages of one connection, and its number.
#[derive(Clone, Debug, Default)]
struct Record {
    connection: usize,
    stored: Vec<Message>,
}

impl Record {
    fn extend(&mut self, messages: &[Message]) {
        self.stored.extend(messages);
        self.stored.drain(..self.stored.len().saturating_sub(MESSAGES_MAX));
    }

    fn knows(&self, message: Message) -> bool {
        let of_id: Vec<_> = self.stored.iter().filter(|(id, _)| *id == message.0).collect();
        of_id == [&message]
    }
}

/// What is to be known of a client.
#[derive(Clone, Debug, Default)]
struct Model {
    previous: Record,
    own: Record,
    /// What a start finds.
    noted: Record,
}

struct World {
    resends: Resends,
    notes: Vec<Bytes>,
    live: [Option<Sender>; 3],
    models: [Model; 3],
    connections: usize,
    now: Instant,
}

impl World {
    fn apply(&mut self, step: Step, is_carried_over: bool) -> Result<(), TestCaseError> {
        match step {
            Step::Connect(at) => {
                self.live[at] = Some(self.resends.connect(&at.to_string(), self.now));
                self.connections += 1;
                let own = Record { connection: self.connections, stored: Vec::new() };
                let model = &mut self.models[at];
                model.previous = std::mem::replace(&mut model.own, own);
            }
            Step::Store(at, messages) => {
                let Some(sender) = &self.live[at] else { return Ok(()) };
                let owned: Vec<_> = messages.iter().map(|(id, byte)| (*id, [*byte])).collect();
                let all: Vec<_> = owned.iter().map(|(id, byte)| (*id, &byte[..])).collect();
                self.notes.push(store(sender, &all, self.now));
                let Model { own, noted, .. } = &mut self.models[at];
                own.extend(&messages);
                if noted.connection != own.connection {
                    *noted = Record { connection: own.connection, stored: Vec::new() };
                }
                noted.extend(&messages);
            }
            Step::Resend(at, (id, byte)) => {
                let Some(sender) = &self.live[at] else { return Ok(()) };
                let Model { previous, own, .. } = &mut self.models[at];
                let is_known = look(sender, id, &[byte]) == Known::Stored;
                prop_assert_eq!(is_known, previous.knows((id, byte)), "{:?}", previous);
                if is_known && own.connection != previous.connection {
                    let brought = std::mem::replace(own, previous.clone()).stored;
                    own.extend(&brought);
                }
            }
            Step::Start => {
                self.live = Default::default();
                self.resends = Resends::new(*self.resends.limits(), SECRET);
                for note in &self.notes {
                    self.resends.recall(note, self.now, WALL);
                }
                if is_carried_over {
                    self.notes.extend(self.resends.note(usize::MAX, self.now, WALL));
                }
                for model in &mut self.models {
                    model.own = model.noted.clone();
                }
            }
        }
        Ok(())
    }
}

proptest! {
    /// A resend is known if and only if the record before has just that message under its
    /// identifier; a start goes on from what the journal says.
    #[test]
    fn answers_are_right_and_survive_a_start(
        steps in prop::collection::vec(step(), 0..60),
        is_carried_over: bool,
    ) {
        let limits = Limits { messages_max: MESSAGES_MAX, senders_max: 8, ..Limits::default() };
        let mut world = World {
            resends: resends(limits),
            notes: Vec::new(),
            live: Default::default(),
            models: Default::default(),
            connections: 0,
            now: Instant::now(),
        };
        for step in steps {
            world.apply(step, is_carried_over)?;
        }
    }

    #[test]
    fn no_bytes_make_the_recall_panic(note: Vec<u8>) {
        resends(Limits::default()).recall(&note, Instant::now(), WALL);
    }
}

#[test]
fn a_stream_goes_on_where_it_was_and_only_its_newest_connection_may() {
    let resends = resends(Limits::default());
    let now = Instant::now();
    let first = resends.stream("boot-7", now).unwrap();
    assert_eq!(first.upto(), 0);
    first.offer(5).unwrap().arrived(now);
    drop(first.offer(9).unwrap());
    assert_eq!(first.upto(), 5, "what came to nothing is not stored");
    let advance = first.offer(9).unwrap();
    assert!(resends.stream("boot-7", now).is_none(), "while something is on its way");
    advance.arrived(now);
    let second = resends.stream("boot-7", now).unwrap();
    assert_eq!(second.upto(), 9);
    assert!(first.offer(12).is_none());
    assert_eq!(resends.stream("boot-8", now).unwrap().upto(), 0);

    let fresh = super::Resends::new(Limits::default(), SECRET);
    fresh.recall(&first.note(WALL.nanos(), 5), now, WALL);
    fresh.recall(&second.note(WALL.nanos(), 9), now, WALL);
    assert_eq!(fresh.stream("boot-7", now).unwrap().upto(), 9);
    let again = super::Resends::new(Limits::default(), SECRET);
    for note in fresh.notes(usize::MAX, now, WALL) {
        again.recall(&note, now, WALL);
    }
    assert_eq!(again.stream("boot-7", now).unwrap().upto(), 9);
    let late = now + Limits::default().age_max + Duration::from_secs(1);
    assert_eq!(again.stream("boot-7", late).unwrap().upto(), 0);
}
