//! What a database can do wrong, and what must come of it.

use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::twin::Act;
use super::*;
use crate::sink::Amendment;

/// A batch of 5,000 with one bad line, in three manners of telling.
#[tokio::test(start_paused = true)]
async fn one_bad_line_costs_itself() {
    let is_bad = |line: &str| line.ends_with(" 2345");
    let named = Twin::new(move |request, numbers| {
        let bad = request.lines.iter().zip(numbers).find(|(line, _)| is_bad(line));
        (NOW, bad.map_or(Answer::Stored, |(_, n)| Answer::Bad(vec![(*n, malformed("no"))])))
    });
    let vague = Twin::new(move |request, _| {
        let bad = request.lines.iter().any(|line| is_bad(line));
        let suspect = Answer::Suspect { refusal: malformed("no"), among: Vec::new() };
        (NOW, if bad { suspect } else { Answer::Stored })
    });
    let falls_over = Twin::new(move |request, _| {
        let bad = request.lines.iter().any(|line| is_bad(line));
        (NOW, if bad { Answer::Failed("no".into()) } else { Answer::Stored })
    });
    for (twin, requests_max) in [(named, 3), (vague, 27), (falls_over, 600)] {
        let running = start(limits(5000), Arc::clone(&twin));
        let readings = series("a", 0, 5000);
        running.send(&readings);
        let ended = running.end().await;
        assert_eq!(ended.fates, Fates { confirmed: 4999, dead: 1, ..Fates::default() });
        assert_eq!(ended.dead.len(), 1);
        let letter = &ended.dead[0];
        assert_eq!((letter.seq, letter.index, letter.readings), (1, 2345, 1));
        assert_eq!(letter.line.as_deref(), Some("m,device=a v=2345i 2345"));
        assert_eq!(letter.answer, "no");
        let mut good = lines_of(&readings);
        good.remove("m,device=a v=2345i 2345");
        assert_eq!(ended.stored.into_iter().collect::<BTreeSet<_>>(), good);
        assert!(twin.requests().len() <= requests_max, "{}", twin.requests().len());
    }
}

#[tokio::test(start_paused = true)]
async fn too_large_is_halved_and_remembered() {
    let twin = Twin::new(|request, _| {
        let bytes: usize = request.lines.iter().map(|line| line.len() + 1).sum();
        (NOW, if bytes > 6000 { Answer::TooLarge(malformed("413")) } else { Answer::Stored })
    });
    let limits = Limits { batch_bytes_max: 20_000, ..limits(1000) };
    let running = start(limits, Arc::clone(&twin));
    let readings = series("a", 1_000_000, 10_000);
    running.send(&readings);
    let ended = running.end().await;
    assert_eq!(ended.fates, confirmed(10_000));
    assert_eq!(ended.stored.into_iter().collect::<BTreeSet<_>>(), lines_of(&readings));
    // Four left before the first answer, and each is halved twice; then everything fits.
    let refused = twin.requests().iter().filter(|r| r.lines.len() * 33 > 6000).count();
    assert!(refused <= 12, "{refused}");
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_then_one_tries_then_all_go() {
    let twin = Twin::new(|request, _| {
        let busy = Answer::Busy { retry_after: Some(Duration::from_secs(7)), text: "503".into() };
        let answer = if request.number < 4 { busy } else { Answer::Stored };
        (Duration::from_millis(100), answer)
    });
    let running = start(limits(10), Arc::clone(&twin));
    for n in 0..8 {
        running.send(&series("a", n * 10, 10));
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(running.stats.status().state, State::BackingOff);
    assert_eq!(&*running.stats.status().last_error.unwrap().1, "503");
    assert_eq!(running.end().await.fates, confirmed(80));
    let sent: Vec<_> = twin.requests().iter().map(|request| request.at).collect();
    assert_eq!(sent[..4], [NOW; 4]);
    assert!(sent[4] >= Duration::from_millis(7100), "{:?}", sent[4]);
    assert!(sent[4] <= Duration::from_millis(7350), "{:?}", sent[4]);
    assert_eq!(
        sent[5..9],
        [sent[4] + Duration::from_millis(100); 4],
        "the trial is answered first"
    );
}

#[tokio::test(start_paused = true)]
async fn what_may_be_stored_is_sent_again() {
    // Applied, and then the connection is closed.
    let twin = Twin::new(|request, _| {
        let answer =
            if request.number % 3 == 0 { Answer::Unknown("reset".into()) } else { Answer::Stored };
        (Duration::from_millis(10), answer)
    });
    let running = start(limits(10), Arc::clone(&twin));
    let readings = series("a", 0, 300);
    running.send(&readings);
    let ended = running.end().await;
    assert_eq!(ended.fates, confirmed(300));
    assert_eq!(ended.stored.into_iter().collect::<BTreeSet<_>>(), lines_of(&readings));
    assert_eq!(ended.dead, []);
}

#[tokio::test(start_paused = true)]
async fn misconfigured_keeps_everything_and_resumes_when_it_is_put_right() {
    static WRONG: AtomicBool = AtomicBool::new(true);
    let twin = Twin::new(|_, _| {
        let wrong = Answer::Misconfigured("HTTP 401: unauthorized access".into());
        (NOW, if WRONG.load(Ordering::Relaxed) { wrong } else { Answer::Stored })
    });
    twin.set_probe(Answer::Misconfigured("HTTP 401: unauthorized access".into()));
    let running = start(limits(10), Arc::clone(&twin));
    for n in 0..20 {
        running.send(&series("a", n * 10, 10));
    }
    tokio::time::sleep(Duration::from_mins(10)).await;
    let status = running.stats.status();
    assert_eq!(status.state, State::Misconfigured);
    assert_eq!(&*status.last_error.unwrap().1, "HTTP 401: unauthorized access");
    assert_eq!(twin.requests().len(), 1, "no data while it is refused");
    let probes = lock(&twin.seen).probes.clone();
    assert_eq!(probes[..3], [30, 60, 90].map(Duration::from_secs));

    WRONG.store(false, Ordering::Relaxed);
    twin.set_probe(Answer::Stored);
    let ended = running.end().await;
    assert_eq!(ended.fates, confirmed(200));
    assert_eq!(ended.dead, []);
}

/// A wrong precision: the database names every line, and would name any.
#[tokio::test(start_paused = true)]
async fn a_fault_of_ours_never_dead_letters_good_lines() {
    static WRONG: AtomicBool = AtomicBool::new(true);
    let twin = Twin::new(|_, numbers| {
        let bad = numbers.iter().map(|n| (*n, malformed("time outside range"))).collect();
        (NOW, if WRONG.load(Ordering::Relaxed) { Answer::Bad(bad) } else { Answer::Stored })
    });
    twin.set_probe(Answer::Bad(vec![(0, malformed("time outside range"))]));
    let running = start(limits(5000), Arc::clone(&twin));
    running.send(&series("a", 0, 10_000));
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(running.stats.status().state, State::Misconfigured);
    assert_eq!(lock(&running.books).fates, Fates::default());
    WRONG.store(false, Ordering::Relaxed);
    twin.set_probe(Answer::Stored);
    let ended = running.end().await;
    assert_eq!(ended.fates, confirmed(10_000));
    assert_eq!(ended.dead, []);
}

/// An hour long nothing of that age is offered again; then it is tried.
#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_remembered_for_an_hour() {
    let twin = Twin::new(|request, numbers| {
        let is_old = |line: &String| line.rsplit(' ').next().unwrap().parse::<i64>().unwrap() < 100;
        let old = request.lines.iter().zip(numbers).filter(|(line, _)| is_old(line));
        let old: Vec<_> = old.map(|(_, n)| (*n, too_old())).collect();
        (NOW, if old.is_empty() { Answer::Stored } else { Answer::Bad(old) })
    });
    let running = start(limits(50), Arc::clone(&twin));
    let requests = || twin.requests().len();
    // Two batches, and the old one again once the probe point has shown that others are taken.
    running.send(&series("a", 50, 100));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(requests(), 3);
    running.send(&series("b", 90, 10));
    running.send(&series("b", 99, 2));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(requests(), 4, "only what is young enough left");
    tokio::time::sleep(Duration::from_hours(1)).await;
    running.send(&series("c", 0, 10));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(requests(), 6, "it is tried again");
    let ended = running.end().await;
    assert_eq!(ended.fates, Fates { confirmed: 51, dead: 71, ..Fates::default() });
    assert!(ended.dead.iter().all(|letter| letter.reason == "beyond_retention"));
}

fn too_old() -> Refusal {
    Refusal::new(Fault::BeyondRetention, "points beyond retention policy")
}

#[tokio::test(start_paused = true)]
async fn a_conflict_costs_one_field_and_the_dead_letter_has_the_line_as_it_came() {
    let twin = Twin::new(|request, numbers| {
        let is_refused = |line: &str| line.contains("v=7i") || line.contains("v=8i");
        let refused = request.lines.iter().zip(numbers).filter(|(line, _)| is_refused(line));
        let change = |line: &str| {
            let (point, at) = (line.split(' ').next().unwrap(), line.rsplit(' ').next().unwrap());
            let fits = line.contains("v=8i");
            let field = if fits { "v=8" } else { "w=1" };
            Amendment {
                line: format!("{point} {field} {at}\n").into_bytes(),
                refusal: Refusal::new(Fault::TypeConflict, "is type float"),
                lost: (!fits).then(|| "v".to_owned()),
            }
        };
        let changes: Vec<_> = refused.map(|(line, n)| (*n, change(line))).collect();
        let bad = Vec::new();
        (NOW, if changes.is_empty() { Answer::Stored } else { Answer::Amend { changes, bad } })
    });
    let running = start(limits(10), Arc::clone(&twin));
    let stats = Arc::clone(&running.stats);
    running.send(&series("a", 0, 10));
    let ended = running.end().await;
    assert_eq!(ended.fates, confirmed(10));
    assert_eq!((stats.fields_dead.get(), stats.fields_coerced.get()), (1, 1));
    for line in ["m,device=a w=1 7", "m,device=a v=8 8"] {
        assert!(ended.stored.contains(&line.to_owned()), "{:?}", ended.stored);
    }
    let [letter] = &ended.dead[..] else { panic!("{:?}", ended.dead) };
    assert_eq!((letter.readings, letter.index, letter.field.as_deref()), (0, 7, Some("v")));
    assert_eq!(letter.line.as_deref(), Some("m,device=a v=7i 7"));
}

#[tokio::test(start_paused = true)]
async fn dead_letters_that_cannot_be_written_are_dropped_and_block_nothing() {
    let bad = |request: &twin::Request, numbers: &[u32]| -> Act {
        let found = request.lines.iter().zip(numbers).find(|(line, _)| line.ends_with(" 7"));
        (NOW, found.map_or(Answer::Stored, |(_, n)| Answer::Bad(vec![(*n, malformed("no"))])))
    };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("dead"), "a file is in the way").unwrap();
    let dead = DeadLetters::new(Settings::in_dir(dir.path().join("dead")));
    for letters in [Some(dead), None] {
        let running = start_with(limits(10), Twin::new(bad), letters, tempfile::tempdir().unwrap());
        running.send(&series("a", 0, 30));
        let fates = running.end().await.fates;
        assert_eq!(fates, Fates { confirmed: 29, dropped: 1, ..Fates::default() });
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_ends_the_output() {
    let twin = Twin::new(|_, _| panic!("a fault of ours"));
    let running = start(limits(1), twin);
    running.send(&series("a", 0, 1));
    assert!(running.task.await.unwrap_err().is_panic());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// However slow, busy, lost or vague the answers: of one point an older value is never stored
    /// after a newer one was stored, every good line arrives, and the books balance.
    #[test]
    fn no_retry_overwrites_a_newer_value(seed: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(random_run(seed));
    }
}

async fn random_run(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let dice = std::sync::Mutex::new(random.fork());
    let twin = Twin::new(move |request, _| {
        let mut dice = lock(&dice);
        let after = Duration::from_millis(dice.u64(0..800));
        let bad = request.has(",device=bad ");
        let answer = match dice.u32(0..10) {
            0 => Answer::Unknown("lost".into()),
            1 => Answer::Failed("500".into()),
            2 => Answer::Busy { retry_after: Some(Duration::from_secs(1)), text: "503".into() },
            3 if request.lines.len() > 4 => Answer::TooLarge(malformed("413")),
            _ if bad => Answer::Suspect { refusal: malformed("no"), among: Vec::new() },
            _ => Answer::Stored,
        };
        (after, answer)
    });
    let running = start(limits(8), Arc::clone(&twin));
    let mut last = std::collections::BTreeMap::new();
    let mut sent = 0;
    for value in 0..60 {
        let readings: Vec<_> = (0..random.i64(1..6))
            .map(|_| {
                let device = ["a", "b", "c", "bad"][random.usize(0..4)];
                (device, random.i64(0..3))
            })
            .collect();
        let readings: Vec<_> = readings
            .into_iter()
            .map(|(device, at)| {
                last.insert((device, at), value);
                reading(device, at, value)
            })
            .collect();
        sent += readings.len() as u64;
        running.send(&readings);
        tokio::time::sleep(Duration::from_millis(random.u64(0..400))).await;
    }
    let ended = running.end().await;
    assert_eq!(ended.fates.total(), sent);
    let mut newest = std::collections::BTreeMap::new();
    for line in &ended.stored {
        let [point, value, at] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let value: i64 = value.trim_start_matches("v=").trim_end_matches('i').parse().unwrap();
        let before = newest.insert((point.to_owned(), at.parse::<i64>().unwrap()), value);
        assert!(before.is_none_or(|before| before <= value), "{line} after {before:?}");
    }
    for ((device, at), value) in last {
        let stored = newest.get(&(format!("m,device={device}"), at)).copied();
        let expected = if device == "bad" { None } else { Some(value) };
        assert_eq!(stored, expected, "device {device} at {at}");
    }
}
