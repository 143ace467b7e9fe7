//! The registry's beginning and end.

use crate::clock::FreshClock;
use crate::config::{Config, ms};
use crate::readings::{Readings, Shared};
use crate::registry::{Floors, Registry};
use crate::sessions::Sessions;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

impl Registry {
    /// Takes up the upload sessions that an earlier start of this node left on disk, and starts the sweep of expired
    /// ones and the count of the load. [`Registry::shutdown`] ends them. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(config: Config, floors: Floors) -> Arc<Self> {
        let (node, tasks) = (floors.consensus.node(), TaskTracker::new());
        let registry = Arc::new(Self {
            node,
            floors,
            sessions: Sessions::new(config.uploads.sessions),
            fresh: FreshClock::new(),
            traffic: Arc::default(),
            started: Instant::now(),
            readings: Readings::new(config.limits.reports, tasks.clone()),
            rpo: Shared::default(),
            tasks,
            stop: CancellationToken::new(),
            left: CancellationToken::new(),
            unreadable: Mutex::default(),
            workers: Mutex::default(),
            config,
        });
        registry.resume_sessions();
        let (sweeping, telling) = (Arc::clone(&registry), Arc::clone(&registry));
        let sweeper = tokio::spawn(async move { sweeping.sweep_until_stopped().await });
        let teller = tokio::spawn(async move { telling.tell_load().await });
        *registry.workers.lock().unwrap_or_else(PoisonError::into_inner) = vec![sweeper, teller];
        registry
    }

    /// Says that the node is about to stop: it is not ready from here on, while it still serves whatever comes.
    pub fn leave(&self) {
        self.left.cancel();
    }

    /// Ends the workers and cuts uploads that still run (their bytes stay for resumption); awaits every task.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        let workers = std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        for worker in workers {
            if let Err(error) = worker.await {
                tracing::error!(%error, "a worker of the registry ended badly");
            }
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn sweep_until_stopped(&self) {
        let mut ticks = tokio::time::interval(ms(self.config.uploads.sweep_interval_ms.max(1)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = ticks.tick() => self.sweep_sessions().await,
            }
        }
    }
}
