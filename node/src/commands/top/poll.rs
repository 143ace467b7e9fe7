//! Asks the node again and again.

use super::model::{Memory, Model};
use crate::client::{Client, ClientError};
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// One node, and what it said so far.
pub(crate) struct Source {
    client: Client,
    server: String,
    memory: Memory,
}

impl Source {
    /// Nothing is asked yet.
    pub(crate) fn new(client: Client, server: String) -> Self {
        Self { client, server, memory: Memory::default() }
    }

    /// The address that is asked.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Asks once.
    ///
    /// # Errors
    /// When there is no answer, or one that does not read.
    pub(crate) async fn sample(&mut self) -> Result<Model, ClientError> {
        let (answer, _) = self.client.cluster().await?;
        Ok(self.memory.take(&self.server, now_ms(), answer))
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Asks in the background, so that a server that hangs does not hold up the screen.
pub(crate) struct Poller {
    /// What was answered, in order; a full queue makes the next question wait.
    pub(crate) samples: mpsc::Receiver<Result<Model, ClientError>>,
    paused: watch::Sender<bool>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Poller {
    /// Asks from now on, once per interval.
    pub(crate) fn start(mut source: Source, interval: Duration) -> Self {
        let (sender, samples) = mpsc::channel(1);
        let (paused, mut pauses) = watch::channel(false);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let asking = async move {
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                // The sender of pauses lives as long as this task's owner.
                if pauses.wait_for(|paused| !paused).await.is_err() || sender.send(source.sample().await).await.is_err()
                {
                    return;
                }
            }
        };
        let task = tokio::spawn(async move {
            stopped.run_until_cancelled(asking).await;
        });
        Self { samples, paused, stop, task }
    }

    /// Asks no more for a while, or again.
    pub(crate) fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// Ends it, also in the middle of a question.
    pub(crate) async fn finish(self) {
        self.stop.cancel();
        // A panic in there has been printed; there is nothing else to learn from its end.
        let _ = self.task.await;
    }
}
