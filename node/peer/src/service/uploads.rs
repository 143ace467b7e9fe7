//! Upload sessions that other nodes' clients go on with.

use super::entry::{Later, caller, ready};
use crate::status::to_status;
use crate::upload::{answers, incoming, request};
use futures::StreamExt;
use futures::stream::BoxStream;
use portolan_proto::v1::uploads_server::Uploads;
use portolan_proto::v1::{UploadFrame, UploadReply};
use std::sync::Arc;
use std::time::Duration;
use tonic::{Request, Response, Status, Streaming};

pub(crate) struct UploadsService {
    pub(crate) handlers: Later,
    /// How long the first frame may take.
    pub(crate) open: Duration,
}

#[tonic::async_trait]
impl Uploads for UploadsService {
    type ForwardStream = BoxStream<'static, Result<UploadReply, Status>>;

    async fn forward(&self, frames: Request<Streaming<UploadFrame>>) -> Result<Response<Self::ForwardStream>, Status> {
        let from = caller(frames.extensions())?;
        let handler = Arc::clone(&ready(&self.handlers)?.uploads);
        let mut frames = frames.into_inner();
        let call = request(&mut frames, self.open).await.map_err(|error| to_status(&error))?;
        let (going, body) = incoming(frames);
        let answer = async move { handler.forwarded(from, call, body).await };
        Ok(Response::new(answers(going, answer).boxed()))
    }
}
