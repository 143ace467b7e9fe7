//! The disk blocks; the async threads must not.

use crate::error::RegistryError;
use portolan_store::StoreError;

/// Runs what blocks on the disk off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, RegistryError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(RegistryError::from),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(RegistryError::Stopping),
    }
}
