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
use portolan_proto::v1::{
    AccuseReply, AccuseRequest, BlobChunk, BlobFrame, BlobHeader, ManyFrame, ReadBlobRequest, ReadManyRequest,
    SmallBlob, SumsReply, SumsRequest, Transfer, TransfersReply, TransfersRequest,
};
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

impl Liar {
    fn signed<T>(&self, message: T) -> Response<T> {
        let mut response = Response::new(message);
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
        response
    }
}

#[tonic::async_trait]
impl Blobs for Liar {
    type ReadStream = BoxStream<'static, Result<BlobFrame, Status>>;
    type ReadManyStream = BoxStream<'static, Result<ManyFrame, Status>>;

    async fn read(&self, _: Request<ReadBlobRequest>) -> Result<Response<Self::ReadStream>, Status> {
        Ok(self.signed(iter(frames()).map(Ok).boxed()))
    }

    async fn sums(&self, _: Request<SumsRequest>) -> Result<Response<SumsReply>, Status> {
        Ok(self.signed(SumsReply { sums: vec![1, 2], crc32c: 3 }))
    }

    async fn read_many(&self, _: Request<ReadManyRequest>) -> Result<Response<Self::ReadManyStream>, Status> {
        let blob = |index, bytes: &'static [u8], crc32c| {
            let blob = SmallBlob { crc32c, bytes: Bytes::from_static(bytes) };
            Ok(ManyFrame { index, blob: Some(blob) })
        };
        let good = crc32c::crc32c(b"good");
        Ok(self.signed(iter([blob(0, b"good", good), blob(1, b"evil", good)]).boxed()))
    }

    async fn transfers(&self, _: Request<TransfersRequest>) -> Result<Response<TransfersReply>, Status> {
        let digest = Digest::sha256_of(b"never asked for").to_string();
        let transfer = Transfer { digest, received: 1, from: None, bytes_per_second: 0 };
        Ok(self.signed(TransfersReply { transfers: vec![transfer] }))
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
async fn small_blobs_with_a_wrong_checksum_never_pass() {
    with_liar(true, async |peers| {
        let digest = Digest::sha256_of(b"x");
        let mut blobs = peers.read_many(NodeId(2), vec![digest; 2]).await.unwrap();
        assert_eq!(blobs.next().await, Some(Ok((0, Some(Bytes::from("good"))))));
        assert_eq!(blobs.next().await, Some(Err(PeerError::Corrupt { offset: 0 })));
        assert_eq!(blobs.next().await, None);
        assert_eq!(peers.blob_sums(NodeId(2), &digest).await, Err(PeerError::Corrupt { offset: 0 }));
    })
    .await;
}

#[tokio::test]
async fn an_answer_about_what_nobody_asked_for_is_malformed() {
    with_liar(true, async |peers| {
        let answer = peers.transfers(NodeId(2), vec![Digest::sha256_of(b"x")], PATIENCE).await;
        assert!(matches!(answer, Err(PeerError::Malformed(_))), "{answer:?}");
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
