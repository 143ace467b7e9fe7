//! A peer whose bytes are wrong on the wire: a raw service, because ours cannot be made to send such a thing.

use crate::support::{PATIENCE, address, client};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, iter};
use portolan_meta::id::NodeId;
use portolan_oci::Digest;
use portolan_peer::{Config, MemoryNetwork, PeerError, ReadBlob, RejectionKind, Side};
use portolan_proto::v1::blob_frame::Frame;
use portolan_proto::v1::blobs_server::{Blobs, BlobsServer};
use portolan_proto::v1::{AccuseReply, AccuseRequest, BlobChunk, BlobFrame, BlobHeader, ReadBlobRequest};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

struct Liar {
    /// Whether it says who it is.
    signs: bool,
}

fn frames() -> Vec<BlobFrame> {
    let chunk = |offset, bytes: &'static [u8], crc32c| {
        Frame::Chunk(BlobChunk { offset, crc32c, bytes: Bytes::from_static(bytes) })
    };
    let good = crc32c::crc32c(b"good");
    [Frame::Header(BlobHeader { size: 8 }), chunk(0, b"good", good), chunk(4, b"evil", good)]
        .map(|frame| BlobFrame { frame: Some(frame) })
        .to_vec()
}

#[tonic::async_trait]
impl Blobs for Liar {
    type ReadStream = BoxStream<'static, Result<BlobFrame, Status>>;

    async fn read(&self, _: Request<ReadBlobRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let mut response = Response::new(iter(frames()).map(Ok).boxed());
        let identity = [
            ("portolan-protocol", "1"),
            ("portolan-cluster", "cluster-a"),
            ("portolan-epoch", "1"),
            ("portolan-node", "2"),
            ("portolan-storage", "folder-2"),
            ("portolan-incarnation", "5"),
            ("portolan-boot", "first"),
        ];
        for (key, value) in identity.into_iter().filter(|_| self.signs) {
            response.metadata_mut().insert(key, AsciiMetadataValue::from_static(value));
        }
        Ok(response)
    }

    /// A verdict that nobody vouches for.
    async fn accuse(&self, _: Request<AccuseRequest>) -> Result<Response<AccuseReply>, Status> {
        let mut status = Status::not_found("not here");
        status.metadata_mut().insert("portolan-error", AsciiMetadataValue::from_static("not-found"));
        Err(status)
    }
}

async fn with_liar(signs: bool, test: impl AsyncFnOnce(&portolan_peer::Peers)) {
    let network = MemoryNetwork::new();
    let stop = CancellationToken::new();
    let serving = Server::builder()
        .add_service(BlobsServer::new(Liar { signs }))
        .serve_with_incoming_shutdown(network.listen(&address(2)), stop.clone().cancelled_owned());
    let serving = tokio::spawn(serving);
    let (peers, _) = client(Config::default(), 1, network.connector(&address(1)));
    test(&peers).await;
    stop.cancel();
    timeout(PATIENCE, serving).await.unwrap().unwrap().unwrap();
}

fn read() -> ReadBlob {
    ReadBlob { digest: Digest::sha256_of(b"x"), offset: 0, limit: None, relay: false }
}

#[tokio::test]
async fn a_chunk_with_a_wrong_checksum_never_passes() {
    with_liar(true, async |peers| {
        let mut blob = peers.read_blob(NodeId(2), read()).await.unwrap();
        assert_eq!(blob.stream.next().await, Some(Ok(Bytes::from("good"))));
        assert_eq!(blob.stream.next().await, Some(Err(PeerError::Corrupt { offset: 4 })));
        assert_eq!(blob.stream.next().await, None);
    })
    .await;
}

#[tokio::test]
async fn an_answer_without_an_identity_is_refused() {
    with_liar(false, async |peers| {
        let error = peers.read_blob(NodeId(2), read()).await.unwrap_err();
        let PeerError::Refused { by: Side::Us, rejection } = error else { panic!("{error}") };
        assert_eq!(rejection.kind, RejectionKind::Missing);
        // An unsigned "not found" is not believed either.
        let digest = Digest::sha256_of(b"x");
        let error = peers.accuse(NodeId(2), &digest, PATIENCE).await.unwrap_err();
        assert!(matches!(error, PeerError::Unreachable(_)), "{error}");
    })
    .await;
}
