//! What runs, and how it ends: inputs first, then, as the end of input arrives, the outputs.
//!
//! Inputs are tasks of the one runtime. An output has a thread of its own: on the reactor it would be
//! one task among thousands of connections, and at full load come to nothing (measured: no reading
//! delivered in 7 s while 64 connections sent what they could). The kernel shares the cores fairly.
//!
//! Leaves out what the stages are; `app::start` fills it.

use std::{collections::HashMap, io, time::Duration};

use tokio::{
    runtime::Builder,
    task::{Id, JoinError, JoinSet},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// The running stages. Dropping this aborts whatever still runs.
#[derive(Debug, Default)]
pub struct Running {
    inputs: Stages,
    outputs: Stages,
    /// Heard by inputs only.
    pub shutdown: CancellationToken,
    /// Heard by outputs when the grace is over: what is in flight stays in the journal.
    pub give_up: CancellationToken,
    /// Ends an output's thread whatever the output does; what is dropped says so.
    cut: Cut,
}

#[derive(Debug, Default)]
struct Cut(CancellationToken);

impl Drop for Cut {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Tasks and their names: what a task that panics cannot say itself.
#[derive(Debug, Default)]
struct Stages {
    tasks: JoinSet<()>,
    names: HashMap<Id, String>,
}

/// A stage that is over, and how.
type Ended = (String, Result<(), JoinError>);

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything taken is acknowledged and delivered.
    Empty,
    /// Everything acknowledged is in the journal; some of it was not delivered yet.
    Pending,
    /// A stage died on the way; the journal still holds what was acknowledged.
    Failed,
}

impl Running {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn input(&mut self, name: String, stage: impl Future<Output = ()> + Send + 'static) {
        self.inputs.spawn(name, stage);
    }

    pub fn output(&mut self, name: String, stage: impl Future<Output = ()> + Send + 'static) {
        self.outputs.spawn(name, stage);
    }

    /// An output on a thread and a reactor of its own.
    pub fn output_apart(
        &mut self,
        name: String,
        stage: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let cut = self.cut.0.clone();
        let run = move || {
            runtime.block_on(cut.run_until_cancelled(stage));
            // Not waited for: a request's compression, a file's write.
            runtime.shutdown_background();
        };
        self.outputs.spawn_blocking(name, run);
        Ok(())
    }

    /// Resolves when a stage stops by itself. Nobody asked it to, so the process must end with an
    /// error: a gateway that takes readings with a dead stage inside is worse than one that is down.
    /// Cancel safe.
    pub async fn stage_stopped(&mut self) {
        let stopped = tokio::select! {
            Some(stopped) = self.inputs.next_ended() => stopped,
            Some(stopped) = self.outputs.next_ended() => stopped,
            else => std::future::pending().await, // Nothing runs: nothing can stop.
        };
        match stopped {
            (stage, Ok(())) => error!(stage, "stage stopped by itself"),
            (stage, Err(panic)) => error!(stage, %panic, "stage died"),
        }
    }

    /// Stops the inputs, waits for `inputs_ended` (which hands in the last counts and drops what
    /// still holds the journal open), then lets the outputs run dry, all within `grace`. Past it they
    /// are told to give up, and past another tenth of it they are aborted: what they had is in the
    /// journal.
    pub async fn drain(
        mut self,
        grace: Duration,
        inputs_ended: impl Future<Output = ()>,
    ) -> Drained {
        let deadline = Instant::now() + grace;
        self.shutdown.cancel();
        let inputs = join_all(&mut self.inputs, deadline).await;
        if inputs == Drained::Pending {
            warn!("some connections did not end in time and are cut; their devices send again");
            self.inputs.tasks.shutdown().await;
        }
        if timeout_at(deadline, inputs_ended).await.is_err() {
            warn!("the last counts of what was filtered or dropped did not reach the journal");
        }
        let mut outputs = join_all(&mut self.outputs, deadline).await;
        if outputs == Drained::Pending {
            info!("grace is over; what was not delivered stays in the journal");
            self.give_up.cancel();
            let last = Instant::now() + grace.div_f32(10.0).max(Duration::from_millis(500));
            if join_all(&mut self.outputs, last).await == Drained::Failed {
                outputs = Drained::Failed;
            }
            self.cut.0.cancel();
            self.outputs.tasks.shutdown().await;
        }
        worse(inputs, outputs)
    }
}

fn worse(a: Drained, b: Drained) -> Drained {
    match (a, b) {
        (Drained::Failed, _) | (_, Drained::Failed) => Drained::Failed,
        (Drained::Pending, _) | (_, Drained::Pending) => Drained::Pending,
        (Drained::Empty, Drained::Empty) => Drained::Empty,
    }
}

impl Stages {
    fn spawn(&mut self, name: String, stage: impl Future<Output = ()> + Send + 'static) {
        let id = self.tasks.spawn(stage).id();
        self.names.insert(id, name);
    }

    fn spawn_blocking(&mut self, name: String, stage: impl FnOnce() + Send + 'static) {
        let id = self.tasks.spawn_blocking(stage).id();
        self.names.insert(id, name);
    }

    /// `None` if nothing runs. Cancel safe.
    async fn next_ended(&mut self) -> Option<Ended> {
        let ended = self.tasks.join_next_with_id().await?;
        let (id, how) = match ended {
            Ok((id, ())) => (id, Ok(())),
            Err(panic) => (panic.id(), Err(panic)),
        };
        Some((self.names.remove(&id).unwrap_or_default(), how))
    }
}

async fn join_all(stages: &mut Stages, deadline: Instant) -> Drained {
    let mut so_far = Drained::Empty;
    loop {
        match timeout_at(deadline, stages.next_ended()).await {
            Ok(None) => return so_far,
            Ok(Some(ended)) => so_far = worse(so_far, ending(ended)),
            Err(_) => return worse(so_far, Drained::Pending),
        }
    }
}

fn ending(ended: Ended) -> Drained {
    match ended {
        (stage, Ok(())) => {
            info!(stage, "stage ended");
            Drained::Empty
        }
        (stage, Err(panic)) => {
            error!(stage, %panic, "stage died while draining");
            Drained::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn outputs_end_because_inputs_ended() {
        let mut running = Running::new();
        let (tx, mut rx) = tokio::sync::mpsc::channel::<u32>(4);
        let stop = running.shutdown.clone();
        let held = tx.clone();
        running.input("source".into(), async move {
            stop.cancelled().await;
            tx.send(7).await.unwrap();
        });
        running.output("sink".into(), async move {
            assert_eq!(rx.recv().await, Some(7));
            assert_eq!(rx.recv().await, None);
        });
        assert_eq!(running.drain(GRACE, async { drop(held) }).await, Drained::Empty);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_output_is_told_to_give_up_when_grace_is_over() {
        let mut running = Running::new();
        let give_up = running.give_up.clone();
        running.output("sink".into(), async move { give_up.cancelled().await });
        let started = Instant::now();
        assert_eq!(running.drain(GRACE, async {}).await, Drained::Pending);
        assert_eq!(started.elapsed(), GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deaf_stage_is_aborted() {
        let mut running = Running::new();
        running.input("deaf".into(), std::future::pending());
        running.output("deaf too".into(), std::future::pending());
        assert_eq!(running.drain(GRACE, async {}).await, Drained::Pending);
    }

    #[tokio::test]
    async fn a_deaf_stage_on_a_thread_of_its_own_is_cut() {
        let mut running = Running::new();
        running.output_apart("deaf".into(), std::future::pending()).unwrap();
        assert_eq!(running.drain(Duration::from_millis(10), async {}).await, Drained::Pending);

        let mut running = Running::new();
        running.output_apart("deaf".into(), std::future::pending()).unwrap();
        drop(running); // Or this test would not end.
    }

    #[tokio::test]
    async fn a_panic_on_a_thread_of_its_own_is_noticed() {
        let mut running = Running::new();
        running.output_apart("sink".into(), async { panic!("boom") }).unwrap();
        timeout_at(Instant::now() + GRACE, running.stage_stopped()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_dying_stage_is_noticed_while_running_and_while_draining() {
        let mut running = Running::new();
        running.output("sink".into(), async { panic!("boom") });
        running.stage_stopped().await;

        let stop = running.shutdown.clone();
        running.input("source".into(), async move {
            stop.cancelled().await;
            panic!("boom");
        });
        assert_eq!(running.drain(GRACE, async {}).await, Drained::Failed);
    }
}
