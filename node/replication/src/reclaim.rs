//! Gives up own copies that policy does not want here, and unlinks the files that this node was told to.
//!
//! The order is that of the design's section 7: a file is unlinked only after this node has applied that it no longer
//! counts, and what is to be unlinked is found in rows, so that neither a restart nor a snapshot loses any. A file whose
//! announcement has no known outcome yet stays: it is announced again, and once its row is gone nothing would refuse that.

use crate::config::Config;
use crate::confirm::Confirm;
use crate::desk::Desk;
use crate::landing::blocking;
use crate::telemetry;
use futures::StreamExt;
use futures::stream::iter;
use portolan_consensus::{Change, Consensus};
use portolan_meta::command::{Command, DropReason};
use portolan_meta::id::{FileId, StoreId};
use portolan_meta::limits;
use portolan_meta::outcome::Outcome;
use portolan_meta::query;
use portolan_oci::Digest;
use portolan_store::{Blobs, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

/// How many drops are proposed at once.
const DROPS_AT_ONCE: usize = 16;
/// How many copies one round gives up.
const DROPS_PER_ROUND: usize = 1_024;

/// The loop.
pub(crate) struct Reclaim {
    store: StoreId,
    desk: Arc<Desk>,
    confirm: Arc<Confirm>,
    blobs: Arc<Blobs>,
    consensus: Arc<Consensus>,
    period: Duration,
    propose_timeout: Duration,
    refused_pause: Duration,
}

impl Reclaim {
    pub(crate) fn new(
        config: &Config,
        store: StoreId,
        (desk, confirm): (Arc<Desk>, Arc<Confirm>),
        blobs: Arc<Blobs>,
        consensus: Arc<Consensus>,
    ) -> Self {
        Self {
            store,
            desk,
            confirm,
            blobs,
            consensus,
            period: config.reclaim(),
            propose_timeout: config.confirm_timeout(),
            refused_pause: config.rescan(),
        }
    }

    /// Works until the node stops.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut changes = self.consensus.changes();
        let mut ticks = interval(self.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
                // A policy may have changed: what must not lie here goes without waiting for the clock.
                change = changes.recv() => match change {
                    Ok(Change::Topology | Change::Reset) => {}
                    Ok(Change::Blobs(_)) | Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return,
                },
            }
            let round = async {
                self.drop_surplus().await;
                self.unlink_given_up().await;
            };
            tokio::select! {
                () = round => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn drop_surplus(&self) {
        let mut due = self.desk.surplus().due(Instant::now(), DROPS_PER_ROUND);
        due.retain(|(digest, file)| !self.confirm.needs(digest, *file));
        if due.is_empty() {
            return;
        }
        debug!(copies = due.len(), "giving up surplus copies");
        let drops = iter(due).map(|(digest, file)| self.drop_one(digest, file));
        drops.buffer_unordered(DROPS_AT_ONCE).collect::<()>().await;
    }

    /// Only the apply judges whether every target has a copy by then.
    async fn drop_one(&self, digest: Digest, file: FileId) {
        let command = Command::DropLocation { digest, store: self.store, file, reason: DropReason::Surplus };
        match self.consensus.propose(command, Instant::now() + self.propose_timeout).await {
            Ok(Outcome::Done) => telemetry::dropped().increment(1),
            Ok(outcome) => {
                debug!(%digest, ?outcome, "a surplus copy stays for now");
                self.desk.surplus().put_off(&digest, Instant::now() + self.refused_pause);
            }
            // Unknown: the applied state will tell, and the next round asks again.
            Err(error) => debug!(%digest, %error, "a surplus copy could not be given up yet"),
        }
    }

    async fn unlink_given_up(&self) {
        loop {
            let page =
                self.consensus.local().read(|view| query::reclaims(view, self.store, None, limits::LOCATIONS_PER_ADD));
            let page = match page {
                Ok(page) if page.is_empty() => return,
                Ok(page) => page,
                Err(error) => {
                    error!(%error, "the files to unlink could not be read");
                    return;
                }
            };
            let page: Vec<_> = page.into_iter().filter(|(file, digest)| !self.confirm.needs(digest, *file)).collect();
            let blobs = Arc::clone(&self.blobs);
            let gone = blocking(move || Ok::<_, StoreError>(unlink(&blobs, &page))).await.unwrap_or_default();
            if gone.is_empty() {
                return;
            }
            let count = gone.len();
            let command = Command::Unlinked { store: self.store, files: gone };
            match self.consensus.propose(command, Instant::now() + self.propose_timeout).await {
                Ok(Outcome::Done) => info!(files = count, "unlinked files that no longer count"),
                Ok(outcome) => {
                    warn!(?outcome, "unlinked files could not be reported");
                    return;
                }
                Err(error) => {
                    debug!(%error, "unlinked files could not be reported yet");
                    return;
                }
            }
        }
    }
}

/// Which of the files are gone now.
fn unlink(blobs: &Blobs, files: &[(FileId, Digest)]) -> Vec<FileId> {
    let mut gone = Vec::with_capacity(files.len());
    for (file, digest) in files {
        match blobs.remove(digest, *file) {
            Ok(_) | Err(StoreError::NotFound { .. }) => gone.push(*file),
            Err(error) => error!(%digest, %error, "a file that no longer counts could not be unlinked"),
        }
    }
    gone
}
