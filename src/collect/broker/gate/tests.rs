//! The gate against a model of a broker's session, over connections that break anywhere.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    mem,
};

use proptest::prelude::*;

use super::*;

/// What can happen next. Numbers choose among what is possible.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The broker has a new message; some repeat the payload of the one before, as sensors do.
    Publish { repeats: bool },
    /// One poll's worth of messages reaches us and is handed to the journal.
    Poll { most: usize },
    /// The journal keeps everything up to some ticket.
    Sync { part: u8 },
    /// So many acknowledgements are written, and reach the broker.
    Write { count: usize },
    /// The connection breaks; so many acknowledgements had left, though we did not see it.
    Break { left: usize },
    /// The journal refuses the newest submission: the mark breaks, we close.
    Refuse,
    /// The broker loses its session.
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => any::<bool>().prop_map(|repeats| Step::Publish { repeats }),
        4 => (1_usize..6).prop_map(|most| Step::Poll { most }),
        3 => any::<u8>().prop_map(|part| Step::Sync { part }),
        3 => (1_usize..6).prop_map(|count| Step::Write { count }),
        2 => (0_usize..2).prop_map(|left| Step::Break { left }),
        1 => Just(Step::Refuse),
        1 => Just(Step::Forget),
    ];
    proptest::collection::vec(step, 1..120)
}

/// How the collector under test behaves: as it does, or with one fault that the property must find.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Collector {
    Correct,
    /// Acknowledgements that were not written move on to the next connection.
    KeepsAcksOverConnections,
    /// Carries the acknowledgement that may have left, too.
    CarriesWhatMayHaveLeft,
}

/// Few identifiers, so that they are used again soon.
const WINDOW: u16 = 4;

#[derive(Debug)]
struct World {
    collector: Collector,
    /// Message number -> payload.
    payloads: Vec<u64>,
    /// The broker: not sent yet; sent and unacknowledged (identifier -> message); on the wire.
    queued: VecDeque<usize>,
    inflight: Vec<(u16, usize)>,
    wire: VecDeque<(u16, usize, bool)>,
    /// Acknowledged by us, as the broker understands it.
    done: BTreeSet<usize>,
    /// Lost by the broker itself.
    forgotten: BTreeSet<usize>,
    gate: Gate<()>,
    carry: Carry,
    /// The journal: message -> times stored; tickets not kept yet.
    stored: HashMap<usize, u32>,
    pending: VecDeque<(u64, Vec<usize>)>,
    last_ticket: u64,
    /// Acknowledgements handed to the network, not written.
    network: VecDeque<u16>,
    /// Messages that may be stored twice, rightly.
    ambiguous: BTreeSet<usize>,
}

impl World {
    fn new(collector: Collector) -> Self {
        Self {
            collector,
            payloads: Vec::new(),
            queued: VecDeque::new(),
            inflight: Vec::new(),
            wire: VecDeque::new(),
            done: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            gate: Gate::new(),
            carry: Carry::default(),
            stored: HashMap::new(),
            pending: VecDeque::new(),
            last_ticket: 0,
            network: VecDeque::new(),
            ambiguous: BTreeSet::new(),
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Publish { repeats } => self.publish(repeats),
            Step::Poll { most } => self.poll(most),
            Step::Sync { part } => self.sync(part),
            Step::Write { count } => {
                for _ in 0..count {
                    self.write()?;
                }
            }
            Step::Break { left } => self.reconnect(left, false, false)?,
            Step::Refuse => self.reconnect(0, true, false)?,
            Step::Forget => self.reconnect(0, false, true)?,
        }
        Ok(())
    }

    fn publish(&mut self, repeats: bool) {
        let number = self.payloads.len();
        let payload = match self.payloads.last() {
            Some(last) if repeats => *last,
            _ => number as u64,
        };
        self.payloads.push(payload);
        self.queued.push_back(number);
        self.fill();
    }

    /// The broker sends as much as its window allows.
    fn fill(&mut self) {
        for packet_id in 1..=WINDOW {
            if self.inflight.iter().any(|(id, _)| *id == packet_id) {
                continue;
            }
            let Some(number) = self.queued.pop_front() else { return };
            self.inflight.push((packet_id, number));
            self.wire.push_back((packet_id, number, false));
        }
    }

    fn poll(&mut self, most: usize) {
        let (mut messages, mut fresh) = (Vec::new(), Vec::new());
        for _ in 0..most {
            let Some((packet_id, number, dup)) = self.wire.pop_front() else { break };
            let payload = self.payloads[number].to_le_bytes();
            let fingerprint = self.carry.fingerprint(b"t", &payload);
            if !self.carry.is_resend(packet_id, dup, fingerprint) {
                fresh.push(number);
            }
            messages.push(Message { packet_id, exactly_once: false, fingerprint });
        }
        if messages.is_empty() {
            return;
        }
        let ticket = (!fresh.is_empty()).then(|| {
            self.last_ticket += 1;
            self.pending.push_back((self.last_ticket, fresh));
            self.last_ticket
        });
        self.gate.took(ticket, messages, ());
        if ticket.is_none() {
            self.release(self.kept());
        }
    }

    fn kept(&self) -> u64 {
        self.pending.front().map_or(self.last_ticket, |(ticket, _)| ticket - 1)
    }

    fn sync(&mut self, part: u8) {
        self.store(self.pending.len() * usize::from(part) / 255);
        self.release(self.kept());
    }

    fn store(&mut self, count: usize) {
        for (_, numbers) in self.pending.drain(..count.min(self.pending.len())) {
            for number in numbers {
                *self.stored.entry(number).or_default() += 1;
            }
        }
    }

    fn release(&mut self, kept: u64) {
        let released = self.gate.keep(kept);
        self.network.extend(released.iter().map(|message| message.packet_id));
    }

    fn write(&mut self) -> Result<(), TestCaseError> {
        if let Some(packet_id) = self.network.pop_front() {
            self.gate.written();
            self.broker_hears(packet_id)?;
        }
        Ok(())
    }

    /// The broker drops what is acknowledged: it must be durable here.
    fn broker_hears(&mut self, packet_id: u16) -> Result<(), TestCaseError> {
        let Some(at) = self.inflight.iter().position(|(id, _)| *id == packet_id) else {
            return Ok(()); // Brokers ignore it.
        };
        let (_, number) = self.inflight.remove(at);
        prop_assert!(self.stored.contains_key(&number), "message {number} is lost");
        self.done.insert(number);
        self.fill();
        Ok(())
    }

    fn reconnect(
        &mut self,
        left: usize,
        refused: bool,
        forgets: bool,
    ) -> Result<(), TestCaseError> {
        self.break_connection(left)?;
        self.settle(refused);
        if self.collector != Collector::KeepsAcksOverConnections {
            self.network.clear();
        }
        if forgets {
            let sent = self.inflight.drain(..).map(|(_, number)| number);
            self.forgotten.extend(sent.chain(self.queued.drain(..)));
            self.carry.forget();
        }
        self.wire = self.inflight.iter().map(|(id, number)| (*id, *number, true)).collect();
        self.fill();
        Ok(())
    }

    /// At most one acknowledgement can have left unseen: they are written one by one.
    fn break_connection(&mut self, left: usize) -> Result<(), TestCaseError> {
        let unseen = self.network.front().copied();
        let of_it = self.inflight.iter().filter(|(id, _)| Some(*id) == unseen);
        self.ambiguous.extend(of_it.map(|(_, number)| *number));
        if left > 0
            && let Some(packet_id) = self.network.pop_front()
        {
            self.broker_hears(packet_id)?;
        }
        self.gate.shut();
        self.wire.clear();
        Ok(())
    }

    /// It reconnects only when everything taken is durable, or the mark is broken.
    fn settle(&mut self, refused: bool) {
        if refused {
            // The mark tells nothing any more, though the journal keeps the other submissions.
            self.pending.pop_back();
            self.ambiguous.extend(self.inflight.iter().map(|(_, number)| *number));
            self.store(usize::MAX);
        } else {
            self.sync(255);
        }
        let carry = mem::take(&mut self.carry);
        let gate = mem::replace(&mut self.gate, Gate::new());
        let first = gate.handed.front().copied();
        self.carry = gate.into_carry(carry);
        if let Some(first) = first
            && self.collector == Collector::CarriesWhatMayHaveLeft
        {
            self.carry.messages.insert(first.packet_id, first.fingerprint);
        }
        self.last_ticket = 0;
    }

    /// Lets everything come to its end, and looks at the books.
    fn finish(mut self) -> Result<(), TestCaseError> {
        for _ in 0..self.payloads.len() + 2 {
            self.poll(usize::MAX);
            self.sync(255);
            while !self.network.is_empty() {
                self.write()?;
            }
        }
        for number in 0..self.payloads.len() {
            let stored = self.stored.get(&number).copied().unwrap_or(0);
            let gone = self.forgotten.contains(&number);
            prop_assert!(
                gone || self.done.contains(&number),
                "message {number} was never acknowledged"
            );
            prop_assert!(gone || stored > 0, "message {number} is lost");
            prop_assert!(
                stored <= 1 || self.ambiguous.contains(&number),
                "message {number} is twice there"
            );
        }
        Ok(())
    }
}

fn run(collector: Collector, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut world = World::new(collector);
    for step in steps {
        world.step(*step)?;
    }
    world.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nothing_unkept_is_acknowledged_and_nothing_is_stored_twice(steps in steps()) {
        run(Collector::Correct, &steps)?;
    }
}

/// A property that finds nothing proves nothing: it must find these.
fn finds(collector: Collector) -> bool {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner.run(&steps(), |steps| run(collector, &steps)).is_err()
}

#[test]
fn the_property_finds_acknowledgements_kept_over_connections() {
    assert!(finds(Collector::KeepsAcksOverConnections));
}

#[test]
fn the_property_finds_a_carried_acknowledgement_that_had_left() {
    assert!(finds(Collector::CarriesWhatMayHaveLeft));
}

#[test]
fn acknowledgements_keep_the_order_of_arrival() {
    let message = |packet_id| Message { packet_id, exactly_once: false, fingerprint: 0 };
    let mut gate = Gate::new();
    gate.took(Some(1), vec![message(7), message(3)], ());
    gate.took(None, vec![message(9)], ()); // Filtered: nothing to keep, but not before its elders.
    gate.took(Some(2), vec![message(1)], ());
    assert_eq!(gate.keep(0), []);
    assert_eq!(gate.keep(1), [message(7), message(3), message(9)]);
    assert!(!gate.is_settled());
    assert_eq!(gate.keep(2), [message(1)]);
    assert!(gate.is_settled());
}

#[test]
fn a_shut_gate_lets_nothing_through_and_remembers_it() {
    let message = |packet_id, fingerprint| Message { packet_id, exactly_once: false, fingerprint };
    let mut gate = Gate::new();
    gate.took(Some(1), vec![message(1, 11), message(2, 22)], ());
    gate.took(Some(2), vec![message(3, 33)], ());
    gate.keep(1);
    gate.shut();
    assert_eq!(gate.keep(2), []);
    let mut carry = gate.into_carry(Carry::default());
    assert!(!carry.is_resend(1, true, 11), "it may have left");
    assert!(carry.is_resend(2, true, 22));
    assert!(!carry.is_resend(2, true, 22), "only once");
    assert!(!carry.is_resend(3, false, 33), "a new message that only looks the same");
}
