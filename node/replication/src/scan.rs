//! Passes over all blobs of the state: how each of them stands, page by page.
//!
//! What changes while a pass runs does not begin it anew, or a cluster in which something always changes would never see
//! its last blobs; where the change may concern every blob, another pass follows.

use crate::desk::Desk;
use futures::FutureExt;
use futures::future::BoxFuture;
use portolan_consensus::Consensus;
use portolan_meta::placement::{Standing, Topology, standing};
use portolan_meta::query;
use portolan_meta::view::{View, ViewError};
use portolan_oci::Digest;
use std::collections::HashSet;
use std::sync::Arc;

/// Blobs with how each of them stands.
pub(crate) type Facts = Vec<(Digest, Option<Standing>)>;

type Page = BoxFuture<'static, Result<Facts, ViewError>>;

enum Stage {
    Idle,
    /// Over the blobs that have a row.
    Rows(Page),
    /// Over what is known of others, which no page of rows has.
    Known(Page, Vec<Digest>),
}

/// The pass that runs, if one does.
pub(crate) struct Scan {
    consensus: Arc<Consensus>,
    desk: Arc<Desk>,
    page_blobs: usize,
    stage: Stage,
    /// Something changed that may concern every blob.
    again: bool,
    /// What changed since the page is being read: the page may show how it was before.
    fresher: HashSet<Digest>,
}

impl Scan {
    pub(crate) fn new(consensus: Arc<Consensus>, desk: Arc<Desk>, page_blobs: usize) -> Self {
        let fresher = HashSet::new();
        Self { consensus, desk, page_blobs: page_blobs.max(1), stage: Stage::Idle, again: false, fresher }
    }

    /// Begins a pass, unless one runs.
    pub(crate) fn begin(&mut self) {
        if matches!(self.stage, Stage::Idle) {
            self.again = false;
            self.desk.begin_scan();
            self.read_rows(None);
        }
    }

    /// Sees to it that every blob is looked at after this moment.
    pub(crate) fn begin_again(&mut self) {
        match self.stage {
            Stage::Idle => self.begin(),
            Stage::Rows(_) | Stage::Known(..) => self.again = true,
        }
    }

    /// Takes note of blobs whose facts are newer than those of the page that is being read.
    pub(crate) fn changed(&mut self, digests: &HashSet<Digest>) {
        if !matches!(self.stage, Stage::Idle) {
            self.fresher.extend(digests);
        }
    }

    /// The page that is being read; never returns while there is none. May be dropped and called again.
    pub(crate) async fn page(&mut self) -> Result<Facts, ViewError> {
        match &mut self.stage {
            Stage::Idle => std::future::pending().await,
            Stage::Rows(page) | Stage::Known(page, _) => page.await,
        }
    }

    /// Notes a page and goes on to the next one; says whether it was the last of its pass.
    ///
    /// # Errors
    /// The page could not be read: the pass ends, and is not complete.
    pub(crate) fn turn(&mut self, page: Result<Facts, ViewError>) -> Result<bool, ViewError> {
        let stage = std::mem::replace(&mut self.stage, Stage::Idle);
        let fresher = std::mem::take(&mut self.fresher);
        let mut page = page?;
        let last = page.last().map(|(digest, _)| *digest).filter(|_| page.len() == self.page_blobs);
        page.retain(|(digest, _)| !fresher.contains(digest));
        self.desk.note(page);
        let mut known = match (stage, last) {
            (Stage::Known(_, left), _) => left,
            (Stage::Rows(_) | Stage::Idle, None) => self.desk.digests(),
            (Stage::Rows(_) | Stage::Idle, Some(last)) => {
                self.read_rows(Some(last));
                return Ok(false);
            }
        };
        if known.is_empty() {
            return Ok(true);
        }
        let page = known.split_off(known.len().saturating_sub(self.page_blobs));
        self.stage = Stage::Known(facts(&self.consensus, move |_| Ok(page)), known);
        Ok(false)
    }

    /// Ends a pass whose last page was noted; another one begins if it must.
    pub(crate) fn end(&mut self) {
        self.desk.end_scan();
        if self.again {
            self.begin();
        }
    }

    fn read_rows(&mut self, after: Option<Digest>) {
        let limit = self.page_blobs;
        self.stage = Stage::Rows(facts(&self.consensus, move |view| {
            let page = query::blobs_after(view, after.as_ref(), limit)?;
            Ok(page.into_iter().map(|(digest, _)| digest).collect())
        }));
    }
}

/// How some blobs stand, read where it may block.
pub(crate) fn facts(
    consensus: &Consensus,
    pick: impl FnOnce(&dyn View) -> Result<Vec<Digest>, ViewError> + Send + 'static,
) -> Page {
    let state = consensus.local();
    let read = tokio::task::spawn_blocking(move || {
        state.read(|view| {
            let topology = Topology::read(view)?;
            let digests = pick(view)?;
            digests.into_iter().map(|digest| Ok((digest, standing(view, &topology, &digest)?))).collect()
        })
    });
    let joined = async {
        match read.await {
            Ok(facts) => facts,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => Err(ViewError::Read { family: "blobs", source: Box::new(error) }),
        }
    };
    joined.boxed()
}
