//! Mutual TLS: both ends show a certificate that the cluster's CA signed for the name [`SERVER_NAME`].

use crate::config::Config;
use crate::io::{Connector, Io, PeerIo};
use crate::refusals::Throttle;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered, unfold};
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

/// The name that every node's certificate carries, and that callers ask for whatever the address.
pub const SERVER_NAME: &str = "portolan-peer";

/// How long accepting pauses after an error such as "too many open files".
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that are turned away are logged once in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// PEM texts: the cluster's CA, and this node's certificate chain and key.
#[derive(Clone)]
pub struct TlsMaterial {
    /// Who signs the nodes' certificates.
    pub ca: Vec<u8>,
    /// This node's certificate chain.
    pub cert: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
}

/// Why TLS could not be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A PEM text cannot be read or lacks what it should have.
    #[error("the {what} cannot be read as PEM")]
    Pem {
        /// Which one.
        what: &'static str,
    },
    /// rustls does not accept the material.
    #[error("the TLS material is not accepted")]
    Rustls(#[from] rustls::Error),
    /// The CA cannot verify client certificates.
    #[error("the CA cannot verify peers")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The material, parsed.
struct Parsed {
    roots: RootCertStore,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl TlsMaterial {
    fn parse(&self) -> Result<Parsed, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates("CA", &self.ca)? {
            roots.add(certificate)?;
        }
        let chain = certificates("certificate", &self.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| TlsError::Pem { what: "key" })?;
        Ok(Parsed { roots, chain, key })
    }
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or(TlsError::Pem { what })
}

/// Named explicitly: a process in which two providers are linked has no default one.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Connects over TCP and mutual TLS.
#[derive(Clone)]
pub struct TlsConnector {
    tls: tokio_rustls::TlsConnector,
    name: ServerName<'static>,
}

impl TlsConnector {
    /// A connector with this node's certificate.
    ///
    /// # Errors
    /// The material is not usable.
    pub fn new(material: &TlsMaterial) -> Result<Self, TlsError> {
        let parsed = material.parse()?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(parsed.roots)
            .with_client_auth_cert(parsed.chain, parsed.key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from(SERVER_NAME).expect("the constant is a DNS name");
        Ok(Self { tls: tokio_rustls::TlsConnector::from(Arc::new(config)), name })
    }
}

impl Connector for TlsConnector {
    fn connect(&self, address: String) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let (tls, name) = (self.tls.clone(), self.name.clone());
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let stream = tls.connect(name, stream).await?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}

/// Accepts TLS connections whose certificate the cluster's CA signed.
#[derive(Clone)]
pub struct TlsAcceptor {
    tls: tokio_rustls::TlsAcceptor,
}

impl TlsAcceptor {
    /// An acceptor with this node's certificate.
    ///
    /// # Errors
    /// The material is not usable.
    pub fn new(material: &TlsMaterial) -> Result<Self, TlsError> {
        let parsed = material.parse()?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(parsed.roots), provider()).build()?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(parsed.chain, parsed.key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { tls: tokio_rustls::TlsAcceptor::from(Arc::new(config)) })
    }
}

/// The accepting side: no tasks of its own, handshakes are driven by whoever polls the stream.
struct Accepting {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    handshakes: FuturesUnordered<BoxFuture<'static, (SocketAddr, io::Result<PeerIo>)>>,
    connections: Arc<Semaphore>,
    max_handshakes: usize,
    deadline: Duration,
    log: Throttle<&'static str>,
}

/// Accepted connections: handshakes run side by side, each under a deadline and all within a bound. A peer without a
/// certificate of the cluster's CA never gets as far as this stream's items.
pub fn accept_stream(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    config: &Config,
) -> BoxStream<'static, io::Result<PeerIo>> {
    let accepting = Accepting {
        listener,
        acceptor,
        handshakes: FuturesUnordered::new(),
        connections: Arc::new(Semaphore::new(config.max_connections)),
        max_handshakes: config.max_handshakes.max(1),
        deadline: Duration::from_millis(config.handshake_timeout_ms),
        log: Throttle::new(LOG_INTERVAL),
    };
    unfold(accepting, |mut accepting| async move {
        let io = accepting.next().await;
        Some((Ok(io), accepting))
    })
    .boxed()
}

impl Accepting {
    async fn next(&mut self) -> PeerIo {
        loop {
            tokio::select! {
                Some((remote, done)) = self.handshakes.next(), if !self.handshakes.is_empty() => match done {
                    Ok(io) => return io,
                    Err(error) => {
                        if self.log.allow("handshake") {
                            tracing::warn!(%remote, %error, "a TLS handshake of a peer failed");
                        }
                    }
                },
                accepted = self.listener.accept(), if self.handshakes.len() < self.max_handshakes => match accepted {
                    Ok((stream, remote)) => self.begin(stream, remote),
                    Err(error) => {
                        if self.log.allow("accept") {
                            tracing::error!(%error, "the peer port cannot accept connections");
                        }
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    fn begin(&self, stream: TcpStream, remote: SocketAddr) {
        let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() else {
            if self.log.allow("full") {
                tracing::warn!(%remote, "a peer is turned away: max_connections is reached");
            }
            return;
        };
        let (tls, deadline) = (self.acceptor.tls.clone(), self.deadline);
        self.handshakes.push(Box::pin(async move {
            let result = match timeout(deadline, handshake(tls, stream, remote, permit)).await {
                Ok(result) => result,
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            };
            (remote, result)
        }));
    }
}

async fn handshake(
    tls: tokio_rustls::TlsAcceptor,
    stream: TcpStream,
    remote: SocketAddr,
    permit: OwnedSemaphorePermit,
) -> io::Result<PeerIo> {
    stream.set_nodelay(true)?;
    let stream = tls.accept(stream).await?;
    Ok(PeerIo::counted(stream, remote.to_string(), permit))
}
