//! The server's side of the identity check, around every service, so that no handler can forget it.

use crate::error::PeerError;
use crate::guard::Guard;
use crate::header::{check_addressee, read_identity, speaker, write_identity};
use crate::identity::{LocalIdentity, PeerIdentity};
use crate::io::Remote;
use crate::refusals::Refusals;
use crate::rejection::{Rejection, Side};
use crate::span;
use crate::status::to_status;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::body::Body;
use tower::{Layer, Service};

/// The one call that needs no identity.
pub(crate) const HELLO_PATH: &str = "/portolan.v1.Cluster/Hello";

/// Wraps services so that each request is checked and each answer says who answers.
#[derive(Clone)]
pub(crate) struct Admit {
    pub(crate) local: Arc<LocalIdentity>,
    pub(crate) guard: Arc<dyn Guard>,
    pub(crate) refusals: Arc<Refusals>,
}

impl Admit {
    fn check(&self, headers: &http::HeaderMap, local: &PeerIdentity) -> Result<PeerIdentity, Rejection> {
        let peer = read_identity(headers)?;
        check_addressee(headers, local)?;
        self.guard.check(&peer)?;
        Ok(peer)
    }

    /// Lets a request in, or says what to answer instead.
    fn admit<B>(&self, request: &mut http::Request<B>) -> Result<(), PeerError> {
        if request.uri().path() == HELLO_PATH {
            return Ok(());
        }
        let Some(local) = self.local.get() else { return Err(PeerError::Starting) };
        match self.check(request.headers(), &local) {
            Ok(peer) => {
                request.extensions_mut().insert(peer);
                Ok(())
            }
            Err(rejection) => {
                let remote = request.extensions().get::<Remote>().map_or("", |remote| &*remote.0);
                self.refusals.note(Side::Us, speaker(request.headers()), remote, &rejection);
                // Seen from the caller, it is the peer that refuses.
                Err(PeerError::Refused { by: Side::Peer, rejection })
            }
        }
    }

    fn sign(&self, response: &mut http::Response<Body>) {
        let Some(local) = self.local.get() else { return };
        if let Err(rejection) = write_identity(response.headers_mut(), &local) {
            tracing::error!(%rejection, "an answer goes out without an identity");
        }
    }
}

impl<S> Layer<S> for Admit {
    type Service = Admitted<S>;

    fn layer(&self, inner: S) -> Admitted<S> {
        Admitted { admit: self.clone(), inner }
    }
}

/// A service behind [`Admit`].
#[derive(Clone)]
pub(crate) struct Admitted<S> {
    admit: Admit,
    inner: S,
}

impl<S> Service<http::Request<Body>> for Admitted<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let admit = self.admit.clone();
        if let Err(error) = admit.admit(&mut request) {
            let mut response = to_status(&error).into_http();
            admit.sign(&mut response);
            return Box::pin(async move { Ok(response) });
        }
        let span = span::answer(&request);
        let answer = self.inner.call(request);
        span::within(span, async move {
            let mut response = answer.await?;
            admit.sign(&mut response);
            Ok(response)
        })
    }
}
