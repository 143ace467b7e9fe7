//! The cluster's own business.

use super::entry::{Later, caller, ready};
use crate::convert::{hello_from_wire, hello_reply_to_wire, ping_to_wire, propose_reply_to_wire};
use crate::handlers::HelloHandler;
use crate::message::ProposeCall;
use crate::status::to_status;
use portolan_proto::v1::cluster_server::Cluster;
use portolan_proto::v1::{
    HelloReply, HelloRequest, PingReply, PingRequest, ProposeReply, ProposeRequest, ReadIndexReply, ReadIndexRequest,
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

pub(crate) struct ClusterService {
    pub(crate) handlers: Later,
    pub(crate) hello: Arc<dyn HelloHandler>,
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let reply = self.hello.hello(hello_from_wire(request.into_inner())).await;
        reply.map(|reply| Response::new(hello_reply_to_wire(reply))).map_err(|error| to_status(&error))
    }

    async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PingReply>, Status> {
        let from = caller(request.extensions())?;
        let reply = ready(&self.handlers)?.cluster.ping(from).await;
        reply.map(|reply| Response::new(ping_to_wire(reply))).map_err(|error| to_status(&error))
    }

    async fn propose(&self, request: Request<ProposeRequest>) -> Result<Response<ProposeReply>, Status> {
        let from = caller(request.extensions())?;
        let call = ProposeCall { proposal: request.into_inner().proposal };
        let reply = ready(&self.handlers)?.cluster.propose(from, call).await;
        reply.map(|reply| Response::new(propose_reply_to_wire(reply))).map_err(|error| to_status(&error))
    }

    async fn read_index(&self, request: Request<ReadIndexRequest>) -> Result<Response<ReadIndexReply>, Status> {
        let from = caller(request.extensions())?;
        let reply = ready(&self.handlers)?.cluster.read_index(from).await;
        reply.map(|index| Response::new(ReadIndexReply { index })).map_err(|error| to_status(&error))
    }
}
