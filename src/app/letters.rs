//! `dead list|show|replay` on the control socket: looks at the dead letters, and has an output offer
//! its own once more.
//!
//! ```text
//!   dead folders                       {"folders":[{"id":"home","replays":true}, ...]}
//!   dead list FOLDER COUNT             {"letters":[...], "total":7}        the youngest ones
//!   dead show ID                       {"letter":{...}}
//!   dead replay ID                     {"replayed":1, "refused":[{"id":..., "why":...}]}
//!   dead replay FOLDER FROM            the same, and "next" if there are more from there on
//! ```
//!
//! Every answer is bounded; a replay that takes too long is withdrawn, and marks nothing. What
//! intake refused belongs to no output: it can be looked at only.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::output::Replay;
use crate::output::dead::{Cursor, DeadLetters, Letter, Page};

const LIST_MAX: usize = 1_000;
/// Letters offered at once.
const REPLAY_LETTERS: usize = 500;
/// For the output to take them and settle them.
const REPLAY_MAX: Duration = Duration::from_secs(45);

#[derive(Debug, Default)]
pub(super) struct Letters(Vec<Folder>);

#[derive(Debug)]
struct Folder {
    id: String,
    letters: DeadLetters,
    /// `None`: of no output.
    output: Option<mpsc::Sender<Replay>>,
}

impl Letters {
    pub(super) fn add(
        &mut self,
        id: &str,
        letters: DeadLetters,
        output: Option<mpsc::Sender<Replay>>,
    ) {
        self.0.push(Folder { id: id.to_owned(), letters, output });
    }

    /// What follows `dead` in a command. Blocks; within a runtime.
    pub(super) fn answer(&self, command: &str) -> Value {
        let words: Vec<&str> = command.split_whitespace().collect();
        let answer = match words[..] {
            ["folders"] => Ok(self.folders()),
            ["list", folder, count] => self.list(folder, count),
            ["show", id] => self.find(id).map(|(_, letter)| json!({ "letter": letter })),
            ["replay", id] => self.replay_one(id),
            ["replay", folder, from] => self.replay_from(folder, from),
            _ => Err(format!("unknown command `dead {command}`")),
        };
        answer.unwrap_or_else(|error| json!({ "error": error }))
    }

    fn folders(&self) -> Value {
        let of = |folder: &Folder| json!({ "id": folder.id, "replays": folder.output.is_some() });
        json!({ "folders": self.0.iter().map(of).collect::<Vec<_>>() })
    }

    fn list(&self, folder: &str, count: &str) -> Result<Value, String> {
        let count = count.parse().map_or(LIST_MAX, |count: usize| count.min(LIST_MAX));
        let found = self.folder(folder)?.letters.newest(count);
        let (letters, total) = found.map_err(|error| error.to_string())?;
        Ok(json!({ "letters": letters, "total": total }))
    }

    fn folder(&self, id: &str) -> Result<&Folder, String> {
        let found = self.0.iter().find(|folder| folder.id == id);
        found.ok_or_else(|| format!("no output has the id `{id}`"))
    }

    fn find(&self, id: &str) -> Result<(&Folder, Letter), String> {
        for folder in &self.0 {
            let found = folder.letters.page(Cursor::default(), 1, |letter| letter.id == id);
            if let Some(letter) = found.map_err(|error| error.to_string())?.letters.pop() {
                return Ok((folder, letter));
            }
        }
        Err(format!("no dead letter has the id `{id}`"))
    }

    fn replay_one(&self, id: &str) -> Result<Value, String> {
        let (folder, letter) = self.find(id)?;
        if letter.replayed {
            return Err(format!("{id} was replayed already"));
        }
        folder.replay(Page { letters: vec![letter], next: None })
    }

    fn replay_from(&self, folder: &str, from: &str) -> Result<Value, String> {
        let (folder, from) = (self.folder(folder)?, from.parse::<Cursor>()?);
        let page = folder.letters.page(from, REPLAY_LETTERS, |letter| !letter.replayed);
        folder.replay(page.map_err(|error| error.to_string())?)
    }
}

impl Folder {
    /// Offers these to the output, and marks those that were stored.
    fn replay(&self, page: Page) -> Result<Value, String> {
        let Some(output) = &self.output else {
            return Err("what was refused on its way in belongs to no output: \
                        send it again to the gateway, mended"
                .to_owned());
        };
        let Page { letters, next } = page;
        let ids: Vec<String> = letters.iter().map(|letter| letter.id.clone()).collect();
        let (done, outcomes) = oneshot::channel();
        let asked = async {
            output.send(Replay { letters, done }).await.ok()?;
            outcomes.await.ok()
        };
        // An asker that goes away withdraws what it asked for.
        let waited = Handle::current().block_on(async { timeout(REPLAY_MAX, asked).await });
        let outcomes = match waited {
            Ok(Some(outcomes)) => outcomes,
            Ok(None) => return Err(format!("output {} has ended", self.id)),
            Err(_) => {
                return Err(format!(
                    "output {} did not get through with it in {} s; nothing is marked as replayed",
                    self.id,
                    REPLAY_MAX.as_secs()
                ));
            }
        };
        let (mut stored, mut refused) = (Vec::new(), Vec::new());
        for (id, outcome) in ids.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => stored.push(id),
                Err(why) => refused.push(json!({ "id": id, "why": why })),
            }
        }
        let replayed = stored.len();
        self.letters.mark(stored).map_err(|error| {
            format!("{replayed} were stored, but cannot be marked as replayed: {error}")
        })?;
        let next = next.map(|next| next.to_string());
        Ok(json!({ "replayed": replayed, "refused": refused, "next": next }))
    }
}
