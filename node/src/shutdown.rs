//! When to stop: SIGTERM, SIGINT, or the end of a pipe whose other end a parent holds.

use crate::error::{Failure, UsageError};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::process;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The exit code of a process that a second signal ended at once.
const ENDED_BY_SECOND_SIGNAL: i32 = 130;

/// Tells everybody who holds its token that the process is to stop.
pub(crate) struct Stop {
    token: CancellationToken,
    watcher: JoinHandle<()>,
}

impl Stop {
    /// Watches for signals from now on, and for the end of standard input when `stdin_eof` is set. The second signal
    /// ends the process at once.
    ///
    /// # Errors
    /// When signals cannot be watched, or standard input is no pipe though its end is to be watched.
    pub(crate) fn watch(stdin_eof: bool) -> Result<Self, Failure> {
        let terminate = signal(SignalKind::terminate()).map_err(Failure::start("watching signals"))?;
        let interrupt = signal(SignalKind::interrupt()).map_err(Failure::start("watching signals"))?;
        let parent =
            if stdin_eof { Some(stdin_pipe().map_err(|_| Failure::Usage(UsageError::StdinNotAPipe))?) } else { None };
        let token = CancellationToken::new();
        let watcher = tokio::spawn(watch(terminate, interrupt, parent, token.clone()));
        Ok(Self { token, watcher })
    }

    /// Cancelled when the process is to stop.
    pub(crate) fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Stops watching, once everything else has stopped.
    pub(crate) async fn finish(self) {
        self.watcher.abort();
        // It was aborted: there is nothing to learn from its end.
        let _ = self.watcher.await;
    }
}

async fn watch(mut terminate: Signal, mut interrupt: Signal, parent: Option<pipe::Receiver>, token: CancellationToken) {
    let reason = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = end_of(parent) => "the parent process ended",
    };
    tracing::info!(reason, "stopping");
    token.cancel();
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::warn!("a second signal: ending at once");
    process::exit(ENDED_BY_SECOND_SIGNAL);
}

/// Standard input as a pipe that can be waited for without a blocked thread, which would hold up the exit.
fn stdin_pipe() -> io::Result<pipe::Receiver> {
    let stdin = io::stdin().as_fd().try_clone_to_owned()?;
    pipe::Receiver::from_file(File::from(stdin))
}

/// Returns when the other end of the pipe is closed; never when there is no pipe.
async fn end_of(parent: Option<pipe::Receiver>) {
    let Some(mut parent) = parent else {
        return std::future::pending().await;
    };
    let mut ignored = [0; 64];
    // A failed read means the same as the end: nobody is there any more.
    while parent.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
}
