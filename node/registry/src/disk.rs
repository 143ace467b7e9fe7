//! The disk blocks; the async threads must not.

use crate::error::RegistryError;
use portolan_store::StoreError;
use tokio::task::JoinHandle;

/// Runs what blocks on the disk off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, RegistryError> {
    Ok(outcome(tokio::task::spawn_blocking(work)).await??)
}

/// What a task came to. A panic in it is one of whoever awaits it; only a runtime that ends takes a task away.
pub(crate) async fn outcome<T>(task: JoinHandle<T>) -> Result<T, RegistryError> {
    match task.await {
        Ok(outcome) => Ok(outcome),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(RegistryError::Stopping),
    }
}
