//! One thread that makes log writes durable: it takes all that wait, syncs once, and tells each in order.

use crate::error::StoreError;
use crate::telemetry;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

/// Told once: the write is durable, or it never will be known to be.
pub type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// What happens when the log cannot be made durable, before the callbacks are told. The default aborts the process.
pub type FsyncFailure = Box<dyn Fn(&StoreError) + Send + Sync>;

/// How many waiting writes one fsync answers at most; bounds the memory of a drain.
const MAX_GROUP: usize = 4096;

/// The thread and the way to it.
pub(super) struct Flusher {
    queue: Mutex<Option<SyncSender<Done>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Flusher {
    /// Starts the thread. `sync` makes durable whatever was written before it was called.
    pub(super) fn start(
        queue: u32,
        sync: impl Fn() -> Result<(), StoreError> + Send + 'static,
        on_failure: Arc<FsyncFailure>,
    ) -> Result<Self, StoreError> {
        let (sender, receiver) = sync_channel(usize::try_from(queue).unwrap_or(MAX_GROUP));
        let thread = std::thread::Builder::new()
            .name("raft-log-flusher".to_owned())
            .spawn(move || run(&receiver, sync, &on_failure))
            .map_err(|source| StoreError::Io {
                action: "starting the flusher thread of",
                path: "raft".into(),
                source,
            })?;
        Ok(Self { queue: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) })
    }

    /// Has `done` told once everything that was written before this call is durable. Blocks while the queue is full.
    pub(super) fn enqueue(&self, done: Done) -> Result<(), StoreError> {
        let closed = StoreError::Closed { what: "the Raft log" };
        // The clone is sent on without the lock, so that a full queue holds back nobody but its senders.
        let Some(sender) = lock(&self.queue).clone() else { return Err(closed) };
        sender.send(done).map_err(|_| closed)
    }

    /// Answers what waits, then ends the thread. A second call does nothing.
    pub(super) fn close(&self) {
        drop(lock(&self.queue).take());
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that syncs the Raft log panicked");
        }
    }
}

/// A lock whose holders cannot leave it half changed, so that a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn run(queue: &Receiver<Done>, sync: impl Fn() -> Result<(), StoreError>, on_failure: &FsyncFailure) {
    while let Ok(first) = queue.recv() {
        let mut group = vec![first];
        group.extend(queue.try_iter().take(MAX_GROUP - 1));
        let began = Instant::now();
        let synced = sync();
        telemetry::fsync_seconds().record(began.elapsed());
        match synced {
            Ok(()) => group.into_iter().for_each(|done| done(Ok(()))),
            Err(failure) => {
                // After a failed fsync the kernel may have dropped the pages: trying again would succeed and lie.
                tracing::error!(error = %failure, "the Raft log could not be made durable");
                on_failure(&failure);
                for done in group {
                    done(Err(StoreError::Closed { what: "the Raft log" }));
                }
                return;
            }
        }
    }
}
