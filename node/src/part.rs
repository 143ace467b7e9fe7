//! Tasks of a node that stop together, and how each ended.

use crate::boot;
use crate::error::Failure;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What a part of a running node is called, and how it ended.
pub(crate) type PartEnd = (&'static str, Result<(), Failure>);

/// Tasks that stop together.
pub(crate) struct Part {
    pub(crate) tasks: JoinSet<PartEnd>,
    pub(crate) stop: CancellationToken,
}

impl Part {
    /// No task yet.
    pub(crate) fn new() -> Self {
        Self { tasks: JoinSet::new(), stop: CancellationToken::new() }
    }

    /// Tells the tasks to stop and awaits them.
    pub(crate) async fn finish(&mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok((_, Ok(()))) => {}
                Ok((part, Err(error))) => tracing::error!(part, %error, "did not stop cleanly"),
                Err(error) => tracing::error!(%error, "a part of the node panicked"),
            }
        }
    }

    /// Waits for a task that ends although nobody told it to.
    ///
    /// # Errors
    /// Always, with what ended.
    pub(crate) async fn next_end(&mut self) -> Result<(), Failure> {
        loop {
            match self.tasks.join_next().await {
                None => return std::future::pending().await,
                // The boot proposal ends when it is done.
                Some(Ok((boot::NAME, Ok(())))) => {}
                Some(Ok((part, Ok(())))) => return Err(Failure::PartEnded(part)),
                Some(Ok((_, Err(error)))) => return Err(error),
                Some(Err(error)) => {
                    tracing::error!(%error, "a part of the node panicked");
                    return Err(Failure::PartEnded("a task"));
                }
            }
        }
    }
}
