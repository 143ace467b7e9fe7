//! A blob handler between a node and its peers that can misbehave, and counts what goes through it.

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, unfold};
use portolan_oci::Digest;
use portolan_peer::{Answer, BlobHandler, PeerError, PeerIdentity, ReadBlob, RemoteBlob, TransferState};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// How blobs leave a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// As they are.
    Honest,
    /// With one bit of the byte at this offset turned.
    Flips(u64),
    /// Only up to this offset, and then a proper end.
    EndsAt(u64),
    /// With so many bytes more than there are.
    Adds(usize),
    /// With another size in the header.
    Resizes,
    /// Up to this offset, and then nothing until the behaviour changes.
    HoldsAt(u64),
    /// Everything but the bytes between these offsets, until the behaviour changes.
    HoldsWithin(u64, u64),
    /// As if the node lacked every blob, in its own time: streams end, and reads wait until the behaviour changes to be
    /// told that there is nothing.
    Withholds,
}

impl Behaviour {
    /// Which bytes are not given.
    fn holds(self) -> Option<Range<u64>> {
        match self {
            Self::HoldsAt(limit) => Some(limit..u64::MAX),
            Self::HoldsWithin(from, to) => Some(from..to),
            _ => None,
        }
    }
}

/// See the module.
pub(crate) struct Tamper {
    inner: Mutex<Option<Arc<dyn BlobHandler>>>,
    behaviour: watch::Sender<Behaviour>,
    reads: Mutex<Vec<ReadBlob>>,
    batches: Mutex<Vec<Vec<Digest>>>,
    bytes: Mutex<u64>,
    accusations: Mutex<Vec<Digest>>,
}

impl Tamper {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            behaviour: watch::Sender::new(Behaviour::Honest),
            reads: Mutex::default(),
            batches: Mutex::default(),
            bytes: Mutex::default(),
            accusations: Mutex::default(),
        })
    }

    pub(crate) fn wrap(&self, inner: Arc<dyn BlobHandler>) {
        *self.inner.lock().unwrap() = Some(inner);
    }

    pub(crate) fn set(&self, behaviour: Behaviour) {
        self.behaviour.send_replace(behaviour);
    }

    /// Every read that came so far.
    pub(crate) fn reads(&self) -> Vec<ReadBlob> {
        self.reads.lock().unwrap().clone()
    }

    /// What every batch of small blobs asked for so far.
    pub(crate) fn batches(&self) -> Vec<Vec<Digest>> {
        self.batches.lock().unwrap().clone()
    }

    /// How many bytes went out so far.
    pub(crate) fn bytes(&self) -> u64 {
        *self.bytes.lock().unwrap()
    }

    pub(crate) fn accusations(&self) -> Vec<Digest> {
        self.accusations.lock().unwrap().clone()
    }

    fn inner(&self) -> Arc<dyn BlobHandler> {
        Arc::clone(self.inner.lock().unwrap().as_ref().expect("set before the server starts"))
    }

    fn stream(self: Arc<Self>, remote: RemoteBlob, offset: u64) -> BoxStream<'static, Result<Bytes, PeerError>> {
        let state = (self, remote.stream, offset, false);
        unfold(state, |(tamper, mut inner, offset, over)| async move {
            if over {
                return None;
            }
            let mut changes = tamper.behaviour.subscribe();
            let Some(held) = changes.borrow_and_update().holds() else {
                return tamper.pass(inner, offset).await;
            };
            if held.contains(&offset) {
                changes.changed().await.expect("the tamper is alive");
                return tamper.pass(inner, offset).await;
            }
            if offset >= held.end {
                return tamper.pass(inner, offset).await;
            }
            let limit = held.start;
            let bytes = inner.next().await?.ok()?;
            let kept = bytes.len().min(usize::try_from(limit - offset).unwrap());
            tamper.count(kept);
            let rest = match bytes.slice(kept..) {
                rest if rest.is_empty() => inner,
                rest => futures::stream::iter([Ok(rest)]).chain(inner).boxed(),
            };
            Some((Ok(bytes.slice(..kept)), (tamper, rest, offset + kept as u64, false)))
        })
        .boxed()
    }

    async fn pass(self: Arc<Self>, mut inner: BoxStream<'static, Result<Bytes, PeerError>>, offset: u64) -> Passed {
        let behaviour = *self.behaviour.borrow();
        if behaviour == Behaviour::Withholds {
            return None;
        }
        let Some(item) = inner.next().await else {
            let Behaviour::Adds(count) = behaviour else { return None };
            return Some((Ok(Bytes::from(vec![7; count])), (self, inner, offset, true)));
        };
        let Ok(bytes) = item else { return Some((item, (self, inner, offset, true))) };
        let end = offset + bytes.len() as u64;
        let bytes = match behaviour {
            Behaviour::Flips(at) if (offset..end).contains(&at) => {
                let mut wrong = bytes.to_vec();
                wrong[usize::try_from(at - offset).unwrap()] ^= 1;
                Bytes::from(wrong)
            }
            Behaviour::EndsAt(at) if end > at => {
                let kept = bytes.slice(..usize::try_from(at.saturating_sub(offset)).unwrap());
                return Some((Ok(kept), (self, inner, at, true)));
            }
            _ => bytes,
        };
        self.count(bytes.len());
        Some((Ok(bytes), (self, inner, end, false)))
    }

    fn small(
        self: Arc<Self>,
        inner: BoxStream<'static, Result<Option<Bytes>, PeerError>>,
    ) -> BoxStream<'static, Result<Option<Bytes>, PeerError>> {
        let state = (self, inner);
        unfold(state, |(tamper, mut inner)| async move {
            let mut changes = tamper.behaviour.subscribe();
            let holds = changes.borrow_and_update().holds().is_some();
            if holds {
                changes.changed().await.expect("the tamper is alive");
            }
            let item = inner.next().await?;
            let Ok(Some(bytes)) = item else { return Some((item, (tamper, inner))) };
            let behaviour = *tamper.behaviour.borrow();
            let bytes = match behaviour {
                Behaviour::Flips(at) => {
                    let mut wrong = bytes.to_vec();
                    let at = usize::try_from(at).unwrap() % wrong.len().max(1);
                    wrong.get_mut(at).into_iter().for_each(|byte| *byte ^= 1);
                    Some(Bytes::from(wrong))
                }
                Behaviour::EndsAt(_) => return None,
                Behaviour::Adds(count) => Some(Bytes::from([&bytes[..], &vec![7; count]].concat())),
                Behaviour::Withholds => None,
                Behaviour::Honest | Behaviour::Resizes | Behaviour::HoldsAt(_) | Behaviour::HoldsWithin(..) => {
                    Some(bytes)
                }
            };
            tamper.count(bytes.as_ref().map_or(0, Bytes::len));
            Some((Ok(bytes), (tamper, inner)))
        })
        .boxed()
    }

    fn count(&self, bytes: usize) {
        *self.bytes.lock().unwrap() += bytes as u64;
    }
}

type State = (Arc<Tamper>, BoxStream<'static, Result<Bytes, PeerError>>, u64, bool);
type Passed = Option<(Result<Bytes, PeerError>, State)>;

/// What the peer server gets: the trait has no `Arc<Self>`.
pub(crate) struct Gate(pub(crate) Arc<Tamper>);

impl BlobHandler for Gate {
    fn read_blob(&self, from: PeerIdentity, read: ReadBlob) -> Answer<'_, RemoteBlob> {
        let tamper = Arc::clone(&self.0);
        Box::pin(async move {
            tamper.reads.lock().unwrap().push(read.clone());
            let mut changes = tamper.behaviour.subscribe();
            if *changes.borrow_and_update() == Behaviour::Withholds {
                changes.changed().await.expect("the tamper is alive");
                return Err(PeerError::NotFound);
            }
            let remote = tamper.inner().read_blob(from, read.clone()).await?;
            let size = match *tamper.behaviour.borrow() {
                Behaviour::Resizes => remote.size + 1,
                // A liar who promises what it sends.
                _ => remote.size,
            };
            Ok(RemoteBlob { size, stream: tamper.stream(remote, read.offset) })
        })
    }

    fn accuse(&self, from: PeerIdentity, digest: Digest) -> Answer<'_, ()> {
        self.0.accusations.lock().unwrap().push(digest);
        let tamper = Arc::clone(&self.0);
        Box::pin(async move { tamper.inner().accuse(from, digest).await })
    }

    fn sums(&self, from: PeerIdentity, digest: Digest) -> Answer<'_, Vec<u32>> {
        let tamper = Arc::clone(&self.0);
        Box::pin(async move { tamper.inner().sums(from, digest).await })
    }

    /// Behaves blob by blob, each as if it were a stream of its own; the batch ends where one would end early.
    fn read_many(
        &self,
        from: PeerIdentity,
        digests: Vec<Digest>,
    ) -> Answer<'_, BoxStream<'static, Result<Option<Bytes>, PeerError>>> {
        let tamper = Arc::clone(&self.0);
        Box::pin(async move {
            tamper.batches.lock().unwrap().push(digests.clone());
            let inner = tamper.inner().read_many(from, digests).await?;
            Ok(tamper.small(inner))
        })
    }

    fn transfers(&self, from: PeerIdentity, digests: Vec<Digest>) -> Answer<'_, Vec<TransferState>> {
        let tamper = Arc::clone(&self.0);
        Box::pin(async move { tamper.inner().transfers(from, digests).await })
    }
}
