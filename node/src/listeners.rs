//! The ports of a node and the TLS material of each.

use crate::config::Config;
use crate::error::{Failure, chain};
use crate::public_tls::{CurrentTls, PublicTls};
use futures::{Stream, StreamExt};
use portolan_peer::tls::{SERVER_NAME, TlsError};
use portolan_peer::{Connector, TlsAcceptor as PeerAcceptor, TlsConnector, TlsMaterial};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a client's TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How many handshakes of clients may be under way; more connections wait in the listen queue.
const HANDSHAKES: usize = 256;

/// The TLS material, read and accepted before any port is bound.
pub(crate) struct Materials {
    /// Connects to peers.
    pub(crate) connector: Arc<dyn Connector>,
    /// Accepts peers.
    pub(crate) acceptor: PeerAcceptor,
    /// Accepts clients; `None` is plain HTTP.
    pub(crate) public: Option<PublicTls>,
}

impl Materials {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// When they do not go together.
    pub(crate) fn load(config: &Config) -> Result<Self, Failure> {
        let read = |path: &Path| std::fs::read(path).map_err(Failure::file(path));
        let peer = &config.peer;
        let material = TlsMaterial { ca: read(&peer.ca)?, cert: read(&peer.cert)?, key: read(&peer.key)? };
        let wrong = |error: portolan_peer::tls::TlsError| {
            let reason = match error {
                TlsError::Rustls(rustls::Error::InconsistentKeys(_)) => {
                    "peer.key is not the key of peer.cert".to_owned()
                }
                error => chain(&error),
            };
            Failure::Tls { table: "peer", reason }
        };
        let connector = TlsConnector::new(&material).map_err(wrong)?;
        check_own_certificate(&material)?;
        Ok(Self {
            connector: Arc::new(connector),
            acceptor: PeerAcceptor::new(&material).map_err(wrong)?,
            public: match &config.public.tls {
                Some((cert, key)) => Some(PublicTls::load(cert, key, config.public.tls_reload)?),
                None => None,
            },
        })
    }
}

/// Whether the other nodes would accept this node's certificate, which is better said at its start than found out from
/// the silence of the others. One that is out of its time is only reported: what lies here can still be pulled.
fn check_own_certificate(material: &TlsMaterial) -> Result<(), Failure> {
    let refused = |error: String| Failure::Tls {
        table: "peer",
        reason: format!(
            "the other nodes would refuse peer.cert: {error}; it must be signed by peer.ca, for servers and clients, \
             with the DNS name {SERVER_NAME}"
        ),
    };
    match verify_as_others_do(material) {
        Ok(()) => Ok(()),
        Err(rustls::Error::InvalidCertificate(
            error @ (CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }),
        )) => {
            tracing::error!(%error, "the other nodes refuse peer.cert, or will: renew it and restart this node");
            Ok(())
        }
        Err(error) => Err(refused(error.to_string())),
    }
}

fn verify_as_others_do(material: &TlsMaterial) -> Result<(), rustls::Error> {
    let general = |error: &dyn std::error::Error| rustls::Error::General(chain(error));
    let read = |pem: &[u8]| CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let mut roots = RootCertStore::empty();
    for authority in read(&material.ca).map_err(|error| general(&error))? {
        roots.add(authority)?;
    }
    let roots = Arc::new(roots);
    let chain = read(&material.cert).map_err(|error| general(&error))?;
    let Some((own, intermediates)) = chain.split_first() else {
        return Err(rustls::Error::NoCertificatesPresented);
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let name = ServerName::try_from(SERVER_NAME).map_err(|error| general(&error))?;
    let now = UnixTime::now();
    WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
        .build()
        .map_err(|error| general(&error))?
        .verify_server_cert(own, intermediates, &name, &[], now)?;
    WebPkiClientVerifier::builder_with_provider(roots, provider)
        .build()
        .map_err(|error| general(&error))?
        .verify_client_cert(own, intermediates, now)?;
    Ok(())
}

/// The TLS connections of clients: handshakes run side by side under a deadline, each with what is current when it
/// begins; those that fail are only noted.
pub(crate) fn tls_incoming(
    incoming: impl Stream<Item = io::Result<TcpStream>> + Send,
    current: CurrentTls,
) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> + Send {
    incoming
        .map(move |accepted| {
            let acceptor = TlsAcceptor::from(Arc::clone(&current.borrow()));
            async move {
                match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(accepted?)).await {
                    Ok(Ok(stream)) => Ok(Some(stream)),
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "a client's TLS handshake failed");
                        Ok(None)
                    }
                    Err(_) => Ok(None),
                }
            }
        })
        .buffer_unordered(HANDSHAKES)
        .filter_map(|handshake| std::future::ready(handshake.transpose()))
}

/// Every port of the node, bound before anything else happens, so that a taken port is the first thing that is said.
pub(crate) struct Listeners {
    /// Peers.
    pub(crate) peer: TcpListener,
    /// Clients.
    pub(crate) public: TcpListener,
    /// Health and metrics.
    pub(crate) ops: TcpListener,
}

impl Listeners {
    /// Binds them all.
    ///
    /// # Errors
    /// The first that is taken or not this machine's.
    pub(crate) async fn bind(config: &Config) -> Result<Self, Failure> {
        let peer = bind("peer.listen", config.peer.listen).await?;
        let public = bind("public.listen", config.public.listen).await?;
        let ops = bind("ops.listen", config.ops_listen).await?;
        Ok(Self { peer, public, ops })
    }
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|source| Failure::Listen { key, address, source })
}
