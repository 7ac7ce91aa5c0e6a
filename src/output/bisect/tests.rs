//! A database that knows which lines are bad, and speaks of them in several ways.
#![expect(clippy::single_range_in_vec_init, reason = "lines are given as ranges")]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::output::lines::{count, split_off};

/// How the database speaks of bad lines.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Stores nothing, names every bad line.
    NamesAll,
    /// Stores the good ones, names the first bad line.
    NamesOne,
    /// Says that something is wrong.
    Vague,
    /// Says that something is wrong among every third line.
    Hints,
    /// Falls over.
    Fails,
}

struct Database {
    manner: Manner,
    bad: BTreeSet<u32>,
    /// Lines it takes at once.
    lines_max: u32,
    probe: Answer,
    stored: BTreeSet<u32>,
    requests: u32,
    probes: u32,
    /// Of its requests and probes, those that meet a wrong setting.
    wrong: std::ops::Range<u32>,
}

fn refusal(text: &str) -> Refusal {
    Refusal::new(Fault::Malformed, text)
}

impl Database {
    fn new(manner: Manner, bad: impl IntoIterator<Item = u32>) -> Self {
        Self {
            manner,
            bad: bad.into_iter().collect(),
            lines_max: u32::MAX,
            probe: Answer::Stored,
            stored: BTreeSet::new(),
            requests: 0,
            probes: 0,
            wrong: 0..0,
        }
    }

    fn is_wrong(&self) -> bool {
        self.wrong.contains(&(self.requests + self.probes))
    }

    fn probed(&mut self) -> Answer {
        let is_wrong = self.is_wrong();
        self.probes += 1;
        if is_wrong { Answer::Bad(vec![(0, refusal("wrong"))]) } else { self.probe.clone() }
    }

    fn write(&mut self, lines: &Lines) -> Answer {
        let is_wrong = self.is_wrong();
        self.requests += 1;
        let sent: Vec<u32> = lines.iter().cloned().flatten().collect();
        assert!(!sent.is_empty());
        if count(lines) > self.lines_max {
            return Answer::TooLarge(refusal("too large"));
        }
        let (bad, good): (Vec<u32>, Vec<u32>) =
            sent.iter().partition(|line| is_wrong || self.bad.contains(line));
        if bad.is_empty() {
            self.stored.extend(good);
            return Answer::Stored;
        }
        match self.manner {
            Manner::NamesAll => {
                Answer::Bad(bad.iter().map(|line| (*line, refusal("named"))).collect())
            }
            Manner::NamesOne => {
                self.stored.extend(good);
                Answer::Bad(vec![(bad[0], refusal("named"))])
            }
            Manner::Vague => Answer::Suspect { refusal: refusal("vague"), among: Vec::new() },
            Manner::Hints => {
                let among = sent.iter().copied().filter(|line| line % 3 == 0).collect();
                Answer::Suspect { refusal: refusal("hint"), among }
            }
            Manner::Fails => Answer::Failed("HTTP 500".into()),
        }
    }
}

fn body(lines: u32) -> Arc<Body> {
    let mut body = Body::default();
    for line in 0..lines {
        body.bytes.extend_from_slice(format!("m,n={line} v=1 {line}\n").as_bytes());
        body.end_line(i64::from(line));
    }
    Arc::new(body)
}

/// Drives an episode to its end; the findings that were not `Works`.
fn drive(episode: &mut Episode, database: &mut Database) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut now = Instant::now();
    for _ in 0..100_000 {
        now += Duration::from_millis(500);
        let finding = match episode.next(usize::MAX) {
            Want::Done => {
                assert!(episode.is_done());
                return findings;
            }
            Want::Probe => {
                let answer = database.probed();
                episode.probed(&answer, now)
            }
            Want::Send(lines) => {
                let answer = database.write(&lines);
                episode.answer(lines, answer, now)
            }
        };
        if let Finding::Misconfigured(_) = finding {
            findings.push(finding);
            return findings;
        }
        if finding != Finding::Works {
            findings.push(finding);
        }
    }
    panic!("it does not end");
}

fn guilty(episode: &mut Episode) -> BTreeSet<u32> {
    episode.guilty().0.into_iter().map(|(line, _)| line).collect()
}

fn any_manner() -> impl Strategy<Value = Manner> {
    prop::sample::select(vec![
        Manner::NamesAll,
        Manner::NamesOne,
        Manner::Vague,
        Manner::Hints,
        Manner::Fails,
    ])
}

proptest! {
    /// Whatever the manner: the bad lines and no others are guilty, all others are stored.
    #[test]
    fn finds_exactly_the_bad_lines(
        lines in 1u32..300,
        bad in prop::collection::btree_set(0u32..300, 0..20),
        manner in any_manner(),
        lines_max in prop::option::of(1u32..300),
    ) {
        let bad: BTreeSet<u32> = bad.into_iter().filter(|line| *line < lines).collect();
        let mut database = Database::new(manner, bad.clone());
        database.lines_max = lines_max.unwrap_or(u32::MAX);
        let mut episode = Episode::new(body(lines));
        drive(&mut episode, &mut database);
        let good: BTreeSet<u32> = (0..lines).filter(|line| !bad.contains(line)).collect();
        prop_assert_eq!(&database.stored, &good);
        prop_assert_eq!(guilty(&mut episode), bad);
    }

    /// One halving per level for each bad line, and a probe before and after.
    #[test]
    fn asks_few_times(bad in prop::collection::btree_set(0u32..5000, 1..10)) {
        let mut database = Database::new(Manner::Vague, bad.clone());
        drive(&mut Episode::new(body(5000)), &mut database);
        let per_line = 2 * 13; // 2^13 > 5000
        prop_assert!(database.requests <= 1 + per_line * u32::try_from(bad.len()).unwrap());
        prop_assert!(database.probes <= 2);
    }

    /// Nothing is guilty and nothing is taken apart where the probe point is refused too.
    #[test]
    fn a_fault_of_ours_accuses_no_line(
        lines in 1u32..200,
        manner in prop::sample::select(vec![Manner::NamesAll, Manner::Vague, Manner::Hints]),
    ) {
        let mut database = Database::new(manner, 0..lines);
        database.probe = Answer::Suspect { refusal: refusal("no"), among: Vec::new() };
        let mut episode = Episode::new(body(lines));
        let findings = drive(&mut episode, &mut database);
        prop_assert!(matches!(findings[..], [Finding::Misconfigured(_)]));
        prop_assert_eq!((database.requests, database.probes), (1, 1));
        prop_assert!(!episode.is_done());

        // Somebody puts it right: then everything is stored and nothing is guilty.
        database.bad.clear();
        drive(&mut episode, &mut database);
        prop_assert_eq!(database.stored.len(), lines as usize);
        prop_assert_eq!(guilty(&mut episode), BTreeSet::new());
    }

    /// Every request is judged by the setting of its moment; somebody puts it right, or changes it and
    /// changes it back once the output stands still. No good line pays for that.
    #[test]
    fn a_setting_that_changes_meanwhile_accuses_no_line(
        lines in 1u32..60,
        bad in prop::collection::btree_set(0u32..60, 0..4),
        manner in prop::sample::select(vec![Manner::NamesAll, Manner::Vague, Manner::Hints]),
        right_until in 0u32..30,
        wrong_for in prop::option::of(0u32..30),
    ) {
        let bad: BTreeSet<u32> = bad.into_iter().filter(|line| *line < lines).collect();
        let mut database = Database::new(manner, bad.clone());
        database.wrong = match wrong_for {
            None => right_until..u32::MAX,
            // From the beginning: what was right before would be a proof, and what is right after too.
            Some(requests) => 0..requests,
        };
        let mut episode = Episode::new(body(lines));
        while !episode.is_done() {
            if !drive(&mut episode, &mut database).is_empty() && wrong_for.is_none() {
                database.wrong = 0..0;
            }
        }
        prop_assert_eq!(guilty(&mut episode), bad.clone());
        prop_assert_eq!(database.stored, (0..lines).filter(|line| !bad.contains(line)).collect());
    }

    #[test]
    fn sets_split_without_loss(
        picked in prop::collection::btree_set(0u32..100, 1..60),
        keep in 0u32..100,
        numbers in prop::collection::btree_set(0u32..100, 0..30),
    ) {
        let lines = ranges_of(picked.iter().copied());
        let mut first = lines.clone();
        let rest = split_off(&mut first, keep);
        prop_assert_eq!(count(&first), keep.min(count(&lines)));
        let joined: Vec<u32> = first.into_iter().chain(rest).flatten().collect();
        prop_assert_eq!(&joined, &picked.iter().copied().collect::<Vec<_>>());

        let sorted: Vec<u32> = numbers.iter().copied().collect();
        let (named, others) = partition(&lines, &sorted);
        let named: BTreeSet<u32> = named.into_iter().flatten().collect();
        prop_assert_eq!(&named, &picked.intersection(&numbers).copied().collect());
        let others: BTreeSet<u32> = others.into_iter().flatten().collect();
        prop_assert_eq!(&others, &picked.difference(&numbers).copied().collect());
    }
}

#[test]
fn a_single_line_needs_the_probe_point_as_proof_before_and_after() {
    let mut database = Database::new(Manner::NamesAll, [0]);
    let mut episode = Episode::new(body(1));
    drive(&mut episode, &mut database);
    assert_eq!(guilty(&mut episode), [0].into());
    assert_eq!((database.requests, database.probes), (2, 2));
}

#[test]
fn named_lines_are_judged_again_once_the_rest_is_accepted() {
    let mut database = Database::new(Manner::NamesAll, [7, 70]);
    let mut episode = Episode::new(body(5000));
    drive(&mut episode, &mut database);
    assert_eq!(guilty(&mut episode), [7, 70].into());
    assert_eq!((database.requests, database.probes), (3, 1));
}

#[test]
fn a_database_that_is_down_gives_no_proof() {
    let mut episode = Episode::new(body(10));
    for _ in 0..50 {
        let finding = match episode.next(usize::MAX) {
            Want::Send(lines) => {
                assert_eq!(lines, vec![0..10], "it is not taken apart");
                episode.answer(lines, Answer::Unknown("reset".into()), Instant::now())
            }
            Want::Probe => episode.probed(&Answer::Failed("refused".into()), Instant::now()),
            Want::Done => panic!("nothing was stored"),
        };
        assert!(matches!(finding, Finding::Fails { .. }));
    }
}

#[test]
fn busy_is_no_failure_of_a_line() {
    let mut episode = Episode::new(body(10));
    let wait = Some(Duration::from_secs(7));
    for _ in 0..50 {
        let Want::Send(lines) = episode.next(usize::MAX) else { panic!("only sending") };
        let answer = Answer::Busy { retry_after: wait, text: "later".into() };
        let finding = episode.answer(lines, answer, Instant::now());
        assert_eq!(finding, Finding::Fails { retry_after: wait, text: "later".into() });
    }
}

#[test]
fn a_request_holds_no_more_bytes_than_it_may() {
    let all = body(100);
    let mut episode = Episode::new(body(100));
    let mut sent = Vec::new();
    while let Want::Send(lines) = episode.next(200) {
        assert!(all.len_of(&lines) <= 200);
        sent.extend(lines.iter().cloned().flatten());
        episode.answer(lines, Answer::Stored, Instant::now());
    }
    assert_eq!(sent, (0..100).collect::<Vec<_>>());
    let mut episode = Episode::new(body(1));
    assert_eq!(episode.next(1), Want::Send(vec![0..1]), "a line is never split");
}

#[test]
fn an_answer_that_names_lines_which_were_not_sent_is_only_a_suspicion() {
    let mut episode = Episode::new(body(4));
    let Want::Send(lines) = episode.next(usize::MAX) else { panic!() };
    episode.answer(lines, Answer::Bad(vec![(9, refusal("?"))]), Instant::now());
    assert_eq!(episode.next(usize::MAX), Want::Probe);
}

/// One shard of theirs may be ill for a while; the line is not to blame.
#[test]
fn a_line_that_fails_is_not_accused_before_its_time() {
    let mut episode = Episode::new(body(1));
    let began = Instant::now();
    let mut now = began;
    loop {
        now += Duration::from_millis(500);
        match episode.next(usize::MAX) {
            Want::Send(lines) => {
                episode.answer(lines, Answer::Failed("HTTP 500".into()), now);
            }
            Want::Probe => {
                episode.probed(&Answer::Stored, now);
            }
            Want::Done => break,
        }
    }
    assert!(now - began >= FAILING_MIN, "{:?}", now - began);
    assert!(now - began <= 2 * FAILING_MIN, "{:?}", now - began);
    assert_eq!(guilty(&mut episode), [0].into());
}

proptest! {
    /// A database that tells nothing but that something is too old: the older half is tried first,
    /// and what is older than a guilty line needs no request of its own.
    #[test]
    fn what_is_too_old_is_found_by_its_time(kept_from in 0u32..1000) {
        let mut episode = Episode::new(body(1000));
        let mut stored = BTreeSet::new();
        let mut requests = 0;
        loop {
            match episode.next(usize::MAX) {
                Want::Done => break,
                Want::Probe => _ = episode.probed(&Answer::Stored, Instant::now()),
                Want::Send(lines) => {
                    requests += 1;
                    let sent: Vec<u32> = lines.iter().cloned().flatten().collect();
                    let answer = if sent[0] < kept_from {
                        let among = sent[..sent.len() / 2].to_vec();
                        Answer::Suspect { refusal: too_old(), among }
                    } else {
                        stored.extend(sent);
                        Answer::Stored
                    };
                    episode.answer(lines, answer, Instant::now());
                }
            }
        }
        let cut_off = episode.cut_off().map(|(time, _)| time);
        prop_assert_eq!(cut_off, kept_from.checked_sub(1).map(i64::from));
        prop_assert_eq!(guilty(&mut episode), (0..kept_from).collect());
        prop_assert_eq!(stored, (kept_from..1000).collect());
        prop_assert!(requests <= 2 * 11, "{requests}");
    }
}

fn too_old() -> Refusal {
    Refusal::new(Fault::BeyondRetention, "outside of the bucket's retention period")
}

#[test]
fn the_condemned_are_guilty_unsent_and_need_no_proof() {
    let mut episode = Episode::new(body(10));
    episode.condemn(6, &too_old());
    let Want::Send(lines) = episode.next(usize::MAX) else { panic!() };
    assert_eq!(lines, vec![7..10]);
    episode.answer(lines, Answer::Stored, Instant::now());
    assert_eq!(episode.cut_off(), None, "it proved nothing itself");
    assert_eq!(guilty(&mut episode), (0..7).collect());
    let mut episode = Episode::new(body(10));
    episode.condemn(9, &too_old());
    assert!(episode.is_done());
}

fn amended(line: &str, lost: Option<&str>) -> Amendment {
    let refusal = Refusal::new(Fault::TypeConflict, "is type integer");
    Amendment { line: line.as_bytes().to_vec(), refusal, lost: lost.map(str::to_owned) }
}

#[test]
fn an_amended_line_is_sent_in_the_place_of_the_other() {
    let mut episode = Episode::new(body(3));
    let Want::Send(lines) = episode.next(usize::MAX) else { panic!() };
    let changes = vec![(1, amended("m,n=1 w=1 1\n", Some("v"))), (2, amended("", Some("v")))];
    episode.answer(lines, Answer::Amend { changes, bad: Vec::new() }, Instant::now());
    let Want::Send(lines) = episode.next(usize::MAX) else { panic!() };
    assert_eq!(lines, vec![0..2], "nothing is left of the third");
    assert_eq!(episode.body().line(1), b"m,n=1 w=1 1\n");
    episode.answer(lines, Answer::Stored, Instant::now());
    let Want::Send(lines) = episode.next(usize::MAX) else { panic!() };
    assert_eq!(lines, vec![2..3], "it was judged before anything was accepted");
    let changes = vec![(2, amended("", Some("v")))];
    episode.answer(lines, Answer::Amend { changes, bad: Vec::new() }, Instant::now());
    assert_eq!(episode.next(usize::MAX), Want::Probe);
    episode.probed(&Answer::Stored, Instant::now());
    assert_eq!(episode.next(usize::MAX), Want::Done);
    let (guilty, lost) = episode.guilty();
    assert_eq!(guilty.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2]);
    assert_eq!(
        lost.iter().map(|lost| (lost.line, lost.field.as_str())).collect::<Vec<_>>(),
        [(1, "v")]
    );
}

/// The address refuses everything: then nothing it said about a field counts.
#[test]
fn without_proof_no_field_is_lost() {
    let mut episode = Episode::new(body(1));
    let Want::Send(lines) = episode.next(usize::MAX) else { panic!() };
    let changes = vec![(0, amended("m,n=0 w=1 0\n", Some("v")))];
    episode.answer(lines, Answer::Amend { changes, bad: Vec::new() }, Instant::now());
    let Want::Send(lines) = episode.next(usize::MAX) else { panic!() };
    episode.answer(lines, Answer::Misconfigured("HTTP 404".into()), Instant::now());
    assert_eq!(episode.body().line(0), b"m,n=0 v=1 0\n");
    let Want::Send(lines) = episode.next(usize::MAX) else { panic!() };
    episode.answer(lines, Answer::Stored, Instant::now());
    let (guilty, lost) = episode.guilty();
    assert!(guilty.is_empty() && lost.is_empty());
}
