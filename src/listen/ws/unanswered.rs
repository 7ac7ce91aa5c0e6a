//! What a WebSocket has handed on and not answered yet, and the words of the answers. Sans-io.
//!
//! ```text
//!  {"ack":7}                                    messages 1 to 7 are durable, or were answered by a nack
//!  {"nack":5,"reason":"...","retry":false}      something of message 5 was refused; its record is durable
//!  {"nack":9,"reason":"...","retry":true}       message 9 was not taken at all; send it again later
//! ```
//! A nack that ends a message (`retry` false) goes out before the acknowledgement that covers it.
//! One that asks to come again goes out at once: it may overtake answers that wait for the disk.

use std::collections::VecDeque;

use serde_json::json;
use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Unanswered {
    batches: VecDeque<Batch>,
    messages: usize,
    bytes: usize,
}

/// The messages of one submission.
#[derive(Debug)]
pub(super) struct Batch {
    /// Durable once the mark stands here.
    pub(super) ticket: u64,
    /// The number of the last message.
    pub(super) last: u64,
    pub(super) messages: usize,
    pub(super) bytes: usize,
    pub(super) nacks: Vec<Nack>,
    /// When the last message had come in.
    pub(super) read: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nack {
    pub(super) message: u64,
    pub(super) reason: String,
    pub(super) retry: bool,
}

impl Nack {
    pub(super) fn text(&self) -> String {
        let Self { message, reason, retry } = self;
        // By hand, for the order of the keys: people read this.
        format!("{{\"nack\":{message},\"reason\":{},\"retry\":{retry}}}", json!(reason))
    }
}

impl Unanswered {
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, batch: Batch) {
        self.messages += batch.messages;
        self.bytes += batch.bytes;
        self.batches.push_back(batch);
    }

    /// The mark stands at `kept`: puts what may be said now into `answers`, one acknowledgement for
    /// all batches together. `each` sees every batch that is done.
    pub(super) fn settle(
        &mut self,
        kept: u64,
        answers: &mut Vec<String>,
        mut each: impl FnMut(&Batch),
    ) {
        let mut last = None;
        while let Some(batch) = self.batches.pop_front_if(|batch| batch.ticket <= kept) {
            self.messages -= batch.messages;
            self.bytes -= batch.bytes;
            each(&batch);
            answers.extend(batch.nacks.iter().map(Nack::text));
            last = Some(batch.last);
        }
        answers.extend(last.map(|last| format!("{{\"ack\":{last}}}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn batch(ticket: u64, last: u64, messages: usize, nacks: &[u64]) -> Batch {
        let nack = |message: &u64| Nack { message: *message, reason: "no".into(), retry: false };
        let nacks = nacks.iter().map(nack).collect();
        Batch { ticket, last, messages, bytes: messages * 10, nacks, read: Instant::now() }
    }

    fn settled(unanswered: &mut Unanswered, kept: u64) -> Vec<String> {
        let mut answers = Vec::new();
        unanswered.settle(kept, &mut answers, |_| {});
        answers
    }

    #[test]
    fn batches_that_are_durable_together_get_one_acknowledgement_after_their_nacks() {
        let mut unanswered = Unanswered::default();
        unanswered.push(batch(1, 3, 3, &[2]));
        unanswered.push(batch(2, 4, 1, &[]));
        unanswered.push(batch(2, 5, 1, &[5])); // Nothing of it needed durability of its own.
        unanswered.push(batch(3, 9, 4, &[]));
        assert_eq!((unanswered.messages(), unanswered.bytes()), (9, 90));

        assert!(settled(&mut unanswered, 0).is_empty());
        let nack = |n| format!(r#"{{"nack":{n},"reason":"no","retry":false}}"#);
        assert_eq!(settled(&mut unanswered, 2), [nack(2), nack(5), r#"{"ack":5}"#.to_owned()]);
        assert_eq!((unanswered.messages(), unanswered.bytes()), (4, 40));
        assert_eq!(settled(&mut unanswered, 7), [r#"{"ack":9}"#]);
        assert!(unanswered.is_empty());
    }

    #[test]
    fn a_reason_cannot_break_the_answer() {
        let nack = Nack { message: 1, reason: "key \"a\\\n\u{0}\"".into(), retry: true };
        let read: serde_json::Value = serde_json::from_str(&nack.text()).unwrap();
        assert_eq!(read, json!({"nack": 1, "reason": nack.reason, "retry": true}));
    }

    proptest! {
        /// However the mark moves: every nack once and in order, acknowledgements rise, none runs
        /// ahead of the mark, and none comes before a nack that it covers.
        #[test]
        fn answers_keep_their_order(
            sizes in prop::collection::vec((1_usize..5, any::<bool>()), 1..30),
            moves in prop::collection::vec(0_u64..40, 1..20),
        ) {
            let mut unanswered = Unanswered::default();
            let mut last = 0;
            let mut nacked: Vec<u64> = Vec::new();
            let mut ends = Vec::new();
            for (ticket, (messages, is_bad)) in (1..).zip(&sizes) {
                last += *messages as u64;
                ends.push(last);
                let bad: Vec<u64> = is_bad.then_some(last).into_iter().collect();
                nacked.extend(&bad);
                unanswered.push(batch(ticket, last, *messages, &bad));
            }
            let (mut acked, mut said) = (0, Vec::<u64>::new());
            let mut kept = 0;
            for moved in moves.into_iter().chain([u64::MAX]) {
                kept = kept.max(moved);
                for answer in settled(&mut unanswered, kept) {
                    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
                    if let Some(nack) = answer["nack"].as_u64() {
                        prop_assert!(nack > acked, "covered before it was named");
                        said.push(nack);
                    } else {
                        let ack = answer["ack"].as_u64().unwrap();
                        prop_assert!(ack > acked);
                        let at = ends.iter().position(|end| *end == ack).unwrap() as u64;
                        prop_assert!(at < kept, "message {ack} is not durable at {kept}");
                        acked = ack;
                    }
                }
            }
            prop_assert_eq!(said, nacked);
            prop_assert_eq!(acked, last);
        }
    }
}
