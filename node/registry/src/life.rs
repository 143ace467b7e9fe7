//! The registry's beginning and end.

use crate::clock::FreshClock;
use crate::config::{Config, ms};
use crate::registry::{Floors, Registry};
use crate::sessions::Sessions;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

impl Registry {
    /// Takes up the upload sessions that an earlier start of this node left on disk, and starts the sweep of expired
    /// ones. [`Registry::shutdown`] ends it. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(config: Config, floors: Floors) -> Arc<Self> {
        let node = floors.consensus.node();
        let registry = Arc::new(Self {
            node,
            floors,
            sessions: Sessions::new(config.uploads.sessions),
            fresh: FreshClock::new(),
            traffic: Arc::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            leaving: AtomicBool::new(false),
            sweeper: Mutex::new(None),
            config,
        });
        registry.resume_sessions();
        let worker = Arc::clone(&registry);
        let sweeper = tokio::spawn(async move { worker.sweep_until_stopped().await });
        *registry.sweeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(sweeper);
        registry
    }

    /// Says that the node is about to stop: it is not ready from here on, while it still serves whatever comes.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    /// Ends the sweep and cuts uploads that still run (their bytes stay for resumption); awaits every task.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        let sweeper = self.sweeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sweeper) = sweeper
            && let Err(error) = sweeper.await
        {
            tracing::error!(%error, "the sweep of upload sessions ended badly");
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
