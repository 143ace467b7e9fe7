//! Waiting for conditions, always with a deadline.

use std::future::Future;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Waits until `condition` gives a value.
///
/// # Errors
/// When the deadline passes first; the message says what was waited for and the last reason why not.
pub async fn until<T, F, Fut>(what: &str, within: Duration, mut condition: F) -> crate::Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let started = Instant::now();
    loop {
        match condition().await {
            Ok(value) => return Ok(value),
            Err(reason) if started.elapsed() > within => {
                return Err(format!("waited {within:?} for {what}: {reason}").into());
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}
