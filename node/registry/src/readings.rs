//! Readings of the state that take long: off the async threads, and only so many at once.

use crate::disk::outcome;
use crate::error::RegistryError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// The places of such readings.
pub(crate) struct Readings {
    places: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Readings {
    /// As many at once as `limit`; `tasks` awaits them.
    pub(crate) fn new(limit: usize, tasks: TaskTracker) -> Self {
        Self { places: Arc::new(Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS))), tasks }
    }

    /// Reads once there is a place. The reading keeps its place until it is over, also when whoever asked has gone: nobody
    /// makes more of them run by asking and leaving.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RegistryError> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| RegistryError::Stopping)?;
        let reading = self.tasks.spawn_blocking(move || {
            let _place = place;
            read()
        });
        outcome(reading).await
    }
}

/// The outcome of a reading that everybody may share for a while. One runs at a time.
pub(crate) struct Shared<T> {
    last: Arc<Mutex<Option<(Instant, T)>>>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { last: Arc::default() }
    }
}

impl<T: Clone + Send + 'static> Shared<T> {
    /// The last outcome when it is at most so old, else a new one. A failure is shared with nobody.
    pub(crate) async fn get<E: Send + 'static>(
        &self,
        readings: &Readings,
        most: Duration,
        read: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, RegistryError>
    where
        RegistryError: From<E>,
    {
        let mut last = Arc::clone(&self.last).lock_owned().await;
        if let Some((_, outcome)) = last.as_ref().filter(|(at, _)| at.elapsed() <= most) {
            return Ok(outcome.clone());
        }
        // The reading holds the lock, not who waits for it: another must not begin when this one is given up.
        let outcome = readings.run(move || {
            let outcome = read()?;
            *last = Some((Instant::now(), outcome.clone()));
            Ok::<_, E>(outcome)
        });
        Ok(outcome.await??)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::{Arc, Duration, Instant, Readings, RegistryError, Shared, TaskTracker};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    const PATIENCE: Duration = Duration::from_secs(30);
    const LONG: Duration = Duration::from_secs(3_600);

    /// A reading that tells how many ran before it.
    fn counting(count: &Arc<AtomicUsize>) -> impl FnOnce() -> Result<usize, RegistryError> + Send + 'static {
        let count = Arc::clone(count);
        move || Ok(count.fetch_add(1, Ordering::SeqCst))
    }

    #[tokio::test]
    async fn an_outcome_is_shared_for_a_while_and_then_made_anew() {
        let (readings, shared) = (Readings::new(1, TaskTracker::new()), Shared::default());
        let count = Arc::new(AtomicUsize::new(0));
        let ask = |most| shared.get(&readings, most, counting(&count));
        let (first, second) = tokio::join!(ask(LONG), ask(LONG));
        assert_eq!((first.unwrap(), second.unwrap()), (0, 0), "they ask at once, and one reads");
        assert_eq!(ask(LONG).await.unwrap(), 0);
        let deadline = Instant::now() + PATIENCE;
        while ask(Duration::from_millis(1)).await.unwrap() == 0 {
            assert!(Instant::now() < deadline, "it is never too old");
        }
    }

    #[tokio::test]
    async fn a_failure_is_shared_with_nobody() {
        let (readings, shared) = (Readings::new(1, TaskTracker::new()), Shared::default());
        let failing = shared.get(&readings, LONG, || Err(RegistryError::NotConfirmed));
        assert!(matches!(failing.await, Err(RegistryError::NotConfirmed)));
        let count = Arc::new(AtomicUsize::new(5));
        assert_eq!(shared.get(&readings, LONG, counting(&count)).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn a_reading_that_is_given_up_keeps_its_place_and_its_outcome() {
        let tasks = TaskTracker::new();
        let (readings, shared) = (Arc::new(Readings::new(1, tasks.clone())), Arc::new(Shared::default()));
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (go, may_go) = mpsc::channel::<()>();
        let leaving = tokio::spawn({
            let (readings, shared) = (Arc::clone(&readings), Arc::clone(&shared));
            async move {
                let slow = move || {
                    begun.send(()).unwrap();
                    may_go.recv().map_err(|_| RegistryError::Stopping)?;
                    Ok::<_, RegistryError>(7)
                };
                shared.get(&readings, LONG, slow).await
            }
        });
        has_begun.await.unwrap();
        leaving.abort();
        assert!(leaving.await.unwrap_err().is_cancelled());
        assert_eq!(readings.places.available_permits(), 0);
        assert!(shared.last.try_lock().is_err(), "nobody begins another");
        go.send(()).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let never = || Ok::<usize, RegistryError>(0);
        let got = tokio::time::timeout_at(deadline, shared.get(&readings, LONG, never)).await.unwrap();
        assert_eq!(got.unwrap(), 7, "what it found is not lost");
        tasks.close();
        tokio::time::timeout_at(deadline, tasks.wait()).await.unwrap();
        assert_eq!(readings.places.available_permits(), 1);
    }
}
