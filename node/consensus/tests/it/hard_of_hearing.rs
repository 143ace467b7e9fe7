//! A node that does not hear well when it is to hand the leadership over; all else it hears.

use bytes::Bytes;
use futures::FutureExt;
use futures::stream::BoxStream;
use portolan_peer::{Answer, Append, PeerError, PeerIdentity, RaftHandler, SnapshotFrame};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What it makes of being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hearing {
    /// It does what is asked, and says so.
    Good,
    /// It does not know the call, as an older version.
    Deaf,
    /// It does what is asked, and says so in words of its own, as a newer version.
    Mumbles,
    /// It does nothing, and says so in words of its own.
    MumblesOnly,
}

/// In front of a node's own handler.
pub(crate) struct HardOfHearing {
    inner: Arc<dyn RaftHandler>,
    hearing: Mutex<Hearing>,
    asked: AtomicU64,
}

impl HardOfHearing {
    pub(crate) fn new(inner: Arc<dyn RaftHandler>) -> Arc<Self> {
        Arc::new(Self { inner, hearing: Mutex::new(Hearing::Good), asked: AtomicU64::new(0) })
    }

    pub(crate) fn set(&self, hearing: Hearing) {
        *self.hearing.lock().expect("no holder panics") = hearing;
    }

    /// How often it was asked to hand over.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

impl RaftHandler for HardOfHearing {
    fn append_stream(
        &self,
        from: PeerIdentity,
        requests: BoxStream<'static, Result<Append, PeerError>>,
    ) -> Answer<'_, BoxStream<'static, Result<Bytes, PeerError>>> {
        self.inner.append_stream(from, requests)
    }

    fn vote(&self, from: PeerIdentity, request: Bytes) -> Answer<'_, Bytes> {
        self.inner.vote(from, request)
    }

    fn pre_vote(&self, from: PeerIdentity, request: Bytes) -> Answer<'_, Bytes> {
        self.inner.pre_vote(from, request)
    }

    fn transfer_leader(&self, from: PeerIdentity, request: Bytes) -> Answer<'_, Bytes> {
        self.inner.transfer_leader(from, request)
    }

    fn hand_over(&self, from: PeerIdentity, request: Bytes) -> Answer<'_, Bytes> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let hearing = *self.hearing.lock().expect("no holder panics");
        async move {
            match hearing {
                Hearing::Good => self.inner.hand_over(from, request).await,
                Hearing::Deaf => Err(PeerError::Malformed(String::new())),
                Hearing::Mumbles => {
                    self.inner.hand_over(from, request).await?;
                    Ok(Bytes::from_static(b"mumble"))
                }
                Hearing::MumblesOnly => Ok(Bytes::from_static(b"mumble")),
            }
        }
        .boxed()
    }

    fn snapshot(
        &self,
        from: PeerIdentity,
        frames: BoxStream<'static, Result<SnapshotFrame, PeerError>>,
    ) -> Answer<'_, Bytes> {
        self.inner.snapshot(from, frames)
    }
}
