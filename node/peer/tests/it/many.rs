//! Calls that name many blobs, and the sums of one, on their way to the handler and back.

use crate::support::{PATIENCE, eventually, pair};
use bytes::Bytes;
use futures::StreamExt;
use portolan_meta::id::NodeId;
use portolan_oci::Digest;
use portolan_peer::{Config, MANY_BLOB_BYTES, MANY_BLOBS, PeerError, TransferState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const TWO: NodeId = NodeId(2);

/// Blobs of one length, each of its own bytes.
fn blobs(count: usize, length: usize) -> Vec<(Digest, Bytes)> {
    let bytes = |number: usize| -> Bytes { number.to_le_bytes().into_iter().cycle().take(length).collect() };
    (0..count).map(bytes).map(|bytes| (Digest::sha256_of(&bytes), bytes)).collect()
}

#[tokio::test]
async fn small_blobs_come_in_the_order_asked_for_and_what_is_not_there_is_said() {
    let (_network, peers, served) = pair(&Config::default());
    let all = blobs(MANY_BLOBS, 10_240);
    // Every seventh is not there.
    let is_there = |place: usize| !place.is_multiple_of(7);
    served.echo.blobs.lock().unwrap().extend(
        all.iter()
            .enumerate()
            .filter(|(place, _)| is_there(*place))
            .map(|(_, (digest, bytes))| (*digest, bytes.clone())),
    );
    let digests: Vec<Digest> = all.iter().map(|(digest, _)| *digest).collect();
    let came: Vec<_> = peers.read_many(TWO, digests).await.unwrap().map(Result::unwrap).collect().await;
    assert_eq!(came.len(), all.len());
    for (place, ((got, bytes), (_, wanted))) in came.into_iter().zip(&all).enumerate() {
        assert_eq!((got, bytes.as_ref()), (place, Some(wanted).filter(|_| is_there(place))));
    }
    // Nothing is a stream that ends at once, and the same may be asked for twice.
    assert_eq!(peers.read_many(TWO, Vec::new()).await.unwrap().count().await, 0);
    let twice: Vec<_> = peers.read_many(TWO, vec![all[1].0; 2]).await.unwrap().collect().await;
    assert_eq!(twice, [0, 1].map(|place| Ok((place, Some(all[1].1.clone())))));
    served.stop().await;
}

#[tokio::test]
async fn what_is_over_the_bounds_is_refused() {
    let (_network, peers, served) = pair(&Config::default());
    let too_many = vec![Digest::sha256_of(b"x"); MANY_BLOBS + 1];
    let refused = peers.read_many(TWO, too_many.clone()).await.map(|_| ());
    assert!(matches!(refused, Err(PeerError::Malformed(_))), "{refused:?}");
    let refused = peers.transfers(TWO, too_many, PATIENCE).await;
    assert!(matches!(refused, Err(PeerError::Malformed(_))), "{refused:?}");

    let largest = usize::try_from(MANY_BLOB_BYTES).unwrap();
    let (fits, not) = (blobs(1, largest).remove(0), blobs(1, largest + 1).remove(0));
    served.echo.blobs.lock().unwrap().extend([fits.clone(), not.clone()]);
    let mut came = peers.read_many(TWO, vec![fits.0, not.0, fits.0]).await.unwrap();
    assert_eq!(came.next().await, Some(Ok((0, Some(fits.1)))));
    let refused = came.next().await;
    assert!(matches!(refused, Some(Err(PeerError::Malformed(_)))), "{refused:?}");
    assert_eq!(came.next().await, None);
    served.stop().await;
}

#[tokio::test]
async fn a_reader_of_small_blobs_that_pauses_holds_the_source_back() {
    let config = Config { stream_window_bytes: 1 << 20, connection_window_bytes: 2 << 20, ..Config::default() };
    let (_network, peers, served) = pair(&config);
    let all = blobs(MANY_BLOBS, 64 << 10);
    served.echo.blobs.lock().unwrap().extend(all.iter().cloned());
    let digests = all.iter().map(|(digest, _)| *digest).collect();
    let mut came = peers.read_many(TWO, digests).await.unwrap();
    assert_eq!(came.next().await, Some(Ok((0, Some(all[0].1.clone())))));
    let counter = Arc::clone(&served.echo.read);
    // Until the source stands still.
    let mut before = 0;
    eventually("the standstill", async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = counter.load(Ordering::SeqCst);
        std::mem::replace(&mut before, now) == now
    })
    .await;
    assert!(before < 4 << 20, "{before} bytes were read ahead");
    assert_eq!(came.map(Result::unwrap).count().await, all.len() - 1);
    served.stop().await;
}

#[tokio::test]
async fn sums_and_transfers_reach_their_handlers() {
    let (_network, peers, served) = pair(&Config::default());
    let (digest, _) = blobs(1, 0).remove(0);
    served.echo.blobs.lock().unwrap().insert(digest, Bytes::from_static(&[3, 1, 2]));
    assert_eq!(peers.blob_sums(TWO, &digest).await, Ok(vec![3, 1, 2]));
    let unknown = Digest::sha256_of(b"?");
    assert_eq!(peers.blob_sums(TWO, &unknown).await, Err(PeerError::NotFound));
    // As many as a blob of a tebibyte has.
    served.echo.blobs.lock().unwrap().insert(unknown, vec![9; (4 << 20) - 64].into());
    assert_eq!(peers.blob_sums(TWO, &unknown).await.unwrap().len(), (4 << 20) - 64);

    let state = |digest| TransferState { digest, received: 7, from: Some(NodeId(1)), bytes_per_second: 9 };
    let asked = vec![digest, unknown];
    assert_eq!(peers.transfers(TWO, asked, PATIENCE).await, Ok(vec![state(digest), state(unknown)]));
    assert_eq!(peers.transfers(TWO, Vec::new(), PATIENCE).await, Ok(Vec::new()));
    assert_eq!(peers.transfers(NodeId(9), Vec::new(), PATIENCE).await, Err(PeerError::UnknownNode(NodeId(9))));
    served.stop().await;
}

#[tokio::test]
async fn a_node_that_starts_answers_none_of_these_calls() {
    let network = portolan_peer::MemoryNetwork::new();
    let local = portolan_peer::LocalIdentity::known(crate::support::identity(2));
    let table = portolan_peer::IdentityTable::new(Arc::clone(&local));
    let incoming = network.listen(&crate::support::address(2));
    let served = crate::support::Served::without_handlers(Config::default(), local, table, incoming);
    let connector = network.connector(&crate::support::address(1));
    let (peers, _) = crate::support::client(Config::default(), 1, connector);
    let digest = Digest::sha256_of(b"x");
    assert_eq!(peers.blob_sums(TWO, &digest).await, Err(PeerError::Starting));
    assert_eq!(peers.read_many(TWO, vec![digest]).await.map(|_| ()).err(), Some(PeerError::Starting));
    assert_eq!(peers.transfers(TWO, vec![digest], PATIENCE).await, Err(PeerError::Starting));
    served.stop().await;
}
