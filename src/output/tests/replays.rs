//! Dead letters that are offered once more.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

use super::*;
use crate::output::dead::{Cursor, Letter};
use crate::output::replay::Outcomes;

/// Refuses points whose time ends in 7 while it is `strict`.
fn strict(strict: &'static AtomicBool) -> Arc<Twin> {
    Twin::new(move |request, numbers| {
        let refused = request.lines.iter().zip(numbers).filter(|(line, _)| line.ends_with('7'));
        let bad: Vec<_> = refused
            .filter(|_| strict.load(Ordering::Relaxed))
            .map(|(_, n)| (*n, Refusal::new(Fault::Malformed, "not a 7")))
            .collect();
        (NOW, if bad.is_empty() { Answer::Stored } else { Answer::Bad(bad) })
    })
}

impl Running {
    /// The letters that wait to be replayed, once there are so many.
    async fn letters(&self, count: usize) -> Vec<Letter> {
        let dead = DeadLetters::new(Settings::in_dir(self.dir.path().join("dead")));
        loop {
            let page = dead.page(Cursor::default(), 100, |letter| !letter.replayed).unwrap();
            if page.letters.len() >= count {
                return page.letters;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn replays(&self, letters: Vec<Letter>) -> Outcomes {
        let (done, outcomes) = oneshot::channel();
        self.replay.send(Replay { letters, done }).await.unwrap();
        outcomes.await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_now_is_stored_with_its_own_time_and_confirms_nothing() {
    static STRICT: AtomicBool = AtomicBool::new(true);
    let running = start(limits(10), strict(&STRICT));
    running.send(&series("a", 0, 20));
    let letters = running.letters(2).await;
    let refused = running.replays(letters.clone()).await;
    assert_eq!(refused, vec![Err("not a 7".to_owned()); 2]);
    STRICT.store(false, Ordering::Relaxed);
    assert_eq!(running.replays(letters).await, [Ok(()), Ok(())]);
    assert_eq!(running.stats.letters_replayed.get(), 2);
    let ended = running.end().await;
    assert_eq!(ended.fates, Fates { confirmed: 18, dead: 2, ..Fates::default() });
    assert_eq!(ended.dead.len(), 2, "no letter about a letter");
    let stored: BTreeSet<_> = ended.stored.into_iter().collect();
    assert_eq!(stored, lines_of(&series("a", 0, 20)));
}

#[tokio::test(start_paused = true)]
async fn of_a_refused_field_only_the_field_is_offered() {
    let running = start(limits(10), Twin::answering(Answer::Stored, NOW));
    let letter = |line: Option<&str>, field: Option<&str>| {
        let (line, field) = (line.map(str::to_owned), field.map(str::to_owned));
        let entry = Entry { field, line, ..Entry::default() };
        Letter { id: "1-0-0".to_owned(), replayed: false, entry }
    };
    let line = Some("m,device=a v=1i,w=2i 5");
    let outcomes = running
        .replays(vec![
            letter(line, Some("w")),
            letter(None, None),
            letter(Some("no line"), None),
            letter(Some("m v=1i"), None),
            letter(Some("m v=1i 1\nm v=2i 2"), Some("w")),
            letter(line, Some("z")),
        ])
        .await;
    assert!(outcomes[0].is_ok());
    assert!(outcomes[1..].iter().all(Result::is_err), "{outcomes:?}");
    assert_eq!(running.end().await.stored, ["m,device=a w=2i 5"]);
}

/// Nobody waits any more: then the output has forgotten it too.
#[tokio::test(start_paused = true)]
async fn a_replay_that_nobody_waits_for_is_withdrawn() {
    static STRICT: AtomicBool = AtomicBool::new(true);
    let refusing = Answer::Misconfigured("HTTP 401".into());
    let twin = Twin::new(move |_, _| (NOW, refusing.clone()));
    twin.set_probe(Answer::Misconfigured("HTTP 401".into()));
    let other = start(limits(10), strict(&STRICT));
    other.send(&series("a", 7, 1));
    let letters = other.letters(1).await;
    other.end().await;

    let running = start(limits(10), Arc::clone(&twin));
    let (done, outcomes) = oneshot::channel();
    running.replay.send(Replay { letters, done }).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(running.stats.status().state, State::Misconfigured);
    drop(outcomes);
    assert_eq!(running.end().await.stored, [""; 0]);
}
