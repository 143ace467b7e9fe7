//! The client's side of the identity check, around every channel, so that no call can forget it.

use crate::config::Config;
use crate::error::PeerError;
use crate::guard::Guard;
use crate::header::{check_node, has_identity, read_identity, write_addressee, write_identity};
use crate::health::HealthCell;
use crate::identity::LocalIdentity;
use crate::refusals::Refusals;
use crate::rejection::{Rejection, Side};
use crate::span;
use crate::status::{ERROR, REFUSED, STARTING, from_status, to_status};
use futures::future::BoxFuture;
use portolan_meta::id::NodeId;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;
use tonic::transport::Channel;
use tower::Service;

/// What all calls of this node share.
pub(crate) struct Shared {
    pub(crate) local: Arc<LocalIdentity>,
    pub(crate) guard: Arc<dyn Guard>,
    pub(crate) refusals: Refusals,
    pub(crate) config: Config,
}

/// Whom a stub calls.
pub(crate) struct Target {
    pub(crate) node: NodeId,
    pub(crate) address: String,
    pub(crate) health: HealthCell,
}

/// A channel that signs each request and checks who answers. Without a target it is for `hello` only.
#[derive(Clone)]
pub(crate) struct Stub {
    pub(crate) channel: Channel,
    pub(crate) target: Option<Arc<Target>>,
    pub(crate) shared: Arc<Shared>,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Shared {
    fn sign<B>(&self, request: &mut http::Request<B>, target: &Target) -> Result<(), PeerError> {
        let local = self.local.get().ok_or(PeerError::NoIdentity)?;
        let expected = self.guard.expected(target.node);
        write_identity(request.headers_mut(), &local)
            .and_then(|()| write_addressee(request.headers_mut(), target.node, expected.as_ref()))
            .map_err(|rejection| PeerError::Refused { by: Side::Us, rejection })
    }

    fn check_answer(&self, headers: &http::HeaderMap, target: &Target) -> Result<(), Rejection> {
        let peer = read_identity(headers)?;
        check_node(target.node, peer.node)?;
        self.guard.check(&peer)
    }

    /// Looks at an answer's headers, which an error has too.
    fn receive(&self, response: &mut http::Response<Body>, target: &Target) -> Result<(), PeerError> {
        let headers = response.headers_mut();
        let name = headers.get(ERROR).and_then(|name| name.to_str().ok());
        if name == Some(REFUSED) {
            if let Some(status) = Status::from_header_map(headers)
                && let PeerError::Refused { rejection, .. } = from_status(&status)
            {
                self.refusals.note(Side::Peer, Some(target.node), &target.address, &rejection);
            }
            return Ok(());
        }
        if name == Some(STARTING) && !has_identity(headers) {
            return Ok(());
        }
        if !has_identity(headers) && Status::from_header_map(headers).is_some_and(|s| s.code() != tonic::Code::Ok) {
            // The transport of the other side failed before our layer; nobody vouches for a handler's verdict.
            headers.remove(ERROR);
            return Ok(());
        }
        match self.check_answer(headers, target) {
            Ok(()) => {
                target.health.seen();
                Ok(())
            }
            Err(rejection) => {
                self.refusals.note(Side::Us, Some(target.node), &target.address, &rejection);
                Err(PeerError::Refused { by: Side::Us, rejection })
            }
        }
    }
}

fn local_error(error: &PeerError) -> BoxError {
    Box::new(to_status(error))
}

impl Service<http::Request<Body>> for Stub {
    type Response = http::Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.channel.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        if let Some(target) = &self.target
            && let Err(error) = self.shared.sign(&mut request, target)
        {
            return Box::pin(async move { Err(local_error(&error)) });
        }
        let span = span::call(&mut request, self.target.as_ref().map(|target| target.node));
        let answer = self.channel.call(request);
        let target = self.target.clone();
        let shared = Arc::clone(&self.shared);
        span::within(span, async move {
            let mut response = answer.await?;
            if let Some(target) = target {
                shared.receive(&mut response, &target).map_err(|error| local_error(&error))?;
            }
            Ok(response)
        })
    }
}
