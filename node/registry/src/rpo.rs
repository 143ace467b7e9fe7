//! What would be lost with each region now, for whoever asks.

use crate::error::RegistryError;
use crate::registry::Registry;
use crate::rpo_report::RpoReport;
use portolan_replication::Losses;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How old a report may be that is told again: making one may read much.
const SHARED: Duration = Duration::from_secs(1);

impl Registry {
    /// What would be lost with each region, what nobody can read and what is lost; at most a second ago.
    ///
    /// # Errors
    /// The state could not be read.
    pub async fn rpo(&self) -> Result<Arc<RpoReport>, RegistryError> {
        let (replication, view) = (Arc::clone(&self.floors.replication), self.local());
        let read = move || RpoReport::read(&replication, &view, now_ms()).map(Arc::new);
        self.rpo.get(&self.readings, SHARED, read).await
    }

    /// What an operator should know about blobs that nobody can read.
    pub(crate) fn lost_warnings(&self) -> Vec<String> {
        warnings(&self.floors.replication.losses())
    }
}

fn warnings(losses: &Losses) -> Vec<String> {
    let silent = losses.silent_regions.join(" or ");
    let back = if silent.is_empty() { "a node that has a copy" } else { &silent };
    let unreachable = format!("cannot be read until {back} is back");
    let unreachable = sentence(losses.unreachable, &unreachable, &unreachable);
    let damaged = sentence(losses.damaged, "has no copy left", "have no copy left");
    unreachable.into_iter().chain(damaged).collect()
}

/// What is the matter with so many blobs, when there are any.
fn sentence(blobs: u64, one: &str, many: &str) -> Option<String> {
    match blobs {
        0 => None,
        1 => Some(format!("1 blob {one}; `portolan rpo` lists its images")),
        blobs => Some(format!("{blobs} blobs {many}; `portolan rpo` lists their images")),
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Losses, warnings};

    #[test]
    fn an_operator_is_told_whom_to_bring_back_and_what_is_gone() {
        let losses = |damaged, unreachable, silent: &[&str]| Losses {
            damaged,
            unreachable,
            silent_regions: silent.iter().map(|region| (*region).to_owned()).collect(),
        };
        assert!(warnings(&losses(0, 0, &[])).is_empty());
        assert_eq!(
            warnings(&losses(1, 1, &["eu"])),
            [
                "1 blob cannot be read until eu is back; `portolan rpo` lists its images",
                "1 blob has no copy left; `portolan rpo` lists its images"
            ]
        );
        assert_eq!(
            warnings(&losses(3, 2, &["eu", "us"])),
            [
                "2 blobs cannot be read until eu or us is back; `portolan rpo` lists their images",
                "3 blobs have no copy left; `portolan rpo` lists their images"
            ]
        );
        let unknown = warnings(&losses(0, 2, &[]));
        assert_eq!(
            unknown,
            ["2 blobs cannot be read until a node that has a copy is back; `portolan rpo` lists their images"]
        );
    }
}
