//! Blobs.

use super::entry::{Later, caller, ready};
use crate::blob::frames;
use crate::convert::{digest_from_wire, read_from_wire};
use crate::many;
use crate::status::to_status;
use futures::StreamExt;
use futures::stream::BoxStream;
use portolan_proto::v1::blobs_server::Blobs;
use portolan_proto::v1::{
    AccuseReply, AccuseRequest, BlobFrame, ManyFrame, ReadBlobRequest, ReadManyRequest, SumsReply, SumsRequest,
    TransfersReply, TransfersRequest,
};
use tonic::{Request, Response, Status};

pub(crate) struct BlobsService {
    pub(crate) handlers: Later,
    pub(crate) chunk: usize,
}

#[tonic::async_trait]
impl Blobs for BlobsService {
    type ReadStream = BoxStream<'static, Result<BlobFrame, Status>>;
    type ReadManyStream = BoxStream<'static, Result<ManyFrame, Status>>;

    async fn read(&self, request: Request<ReadBlobRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let from = caller(request.extensions())?;
        let handler = &ready(&self.handlers)?.blobs;
        let read = read_from_wire(request.get_ref()).map_err(|error| to_status(&error))?;
        let offset = read.offset;
        let blob = handler.read_blob(from, read).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(frames(blob, offset, self.chunk).boxed()))
    }

    async fn accuse(&self, request: Request<AccuseRequest>) -> Result<Response<AccuseReply>, Status> {
        let from = caller(request.extensions())?;
        let handler = &ready(&self.handlers)?.blobs;
        let digest = digest_from_wire(&request.get_ref().digest).map_err(|error| to_status(&error))?;
        let noted = handler.accuse(from, digest).await;
        noted.map(|()| Response::new(AccuseReply {})).map_err(|error| to_status(&error))
    }

    async fn sums(&self, request: Request<SumsRequest>) -> Result<Response<SumsReply>, Status> {
        let from = caller(request.extensions())?;
        let handler = &ready(&self.handlers)?.blobs;
        let digest = digest_from_wire(&request.get_ref().digest).map_err(|error| to_status(&error))?;
        let sums = handler.sums(from, digest).await;
        sums.map(|sums| Response::new(many::sums_to_wire(sums))).map_err(|error| to_status(&error))
    }

    async fn read_many(&self, request: Request<ReadManyRequest>) -> Result<Response<Self::ReadManyStream>, Status> {
        let from = caller(request.extensions())?;
        let handler = &ready(&self.handlers)?.blobs;
        let digests = many::digests_from_wire(&request.get_ref().digests).map_err(|error| to_status(&error))?;
        let count = digests.len();
        let blobs = handler.read_many(from, digests).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(many::frames(blobs, count).boxed()))
    }

    async fn transfers(&self, request: Request<TransfersRequest>) -> Result<Response<TransfersReply>, Status> {
        let from = caller(request.extensions())?;
        let handler = &ready(&self.handlers)?.blobs;
        let digests = many::digests_from_wire(&request.get_ref().digests).map_err(|error| to_status(&error))?;
        let transfers = handler.transfers(from, digests).await;
        transfers.map(|found| Response::new(many::transfers_to_wire(found))).map_err(|error| to_status(&error))
    }
}
