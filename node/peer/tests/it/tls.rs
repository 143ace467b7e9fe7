//! Mutual TLS over the loopback interface.

use crate::support::{PATIENCE, Served, append, client, eventually, identity, member};
use futures::StreamExt;
use futures::future::BoxFuture;
use portolan_meta::id::NodeId;
use portolan_oci::Digest;
use portolan_peer::tls::{SERVER_NAME, TlsError, accept_stream};
use portolan_peer::{
    Config, Connector, IdentityTable, Io, LocalIdentity, PeerError, Peers, ReadBlob, TlsAcceptor, TlsConnector,
    TlsMaterial,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const TWO: NodeId = NodeId(2);

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn node(&self, name: &str) -> TlsMaterial {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        TlsMaterial { ca: self.pem.clone().into(), cert: cert.pem().into(), key: key.serialize_pem().into() }
    }
}

async fn serve(material: &TlsMaterial, config: &Config) -> (Served, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = accept_stream(listener, TlsAcceptor::new(material).unwrap(), config);
    let table = IdentityTable::new(LocalIdentity::known(identity(2)));
    (Served::start(config.clone(), identity(2), table, incoming), address)
}

fn caller(connector: Arc<dyn Connector>, address: SocketAddr) -> Arc<Peers> {
    let (peers, _) = client(Config::default(), 1, connector);
    peers.set_members(vec![member(2, &address.to_string())]);
    peers
}

fn tls_caller(material: &TlsMaterial, address: SocketAddr) -> Arc<Peers> {
    caller(Arc::new(TlsConnector::new(material).unwrap()), address)
}

#[tokio::test]
async fn nodes_of_one_authority_talk() {
    let authority = Authority::new();
    let (served, address) = serve(&authority.node(SERVER_NAME), &Config::default()).await;
    let peers = tls_caller(&authority.node(SERVER_NAME), address);
    peers.ping(TWO, PATIENCE).await.unwrap();
    let (sender, mut answers) = append(&peers).await;
    sender.send("a".into()).await.unwrap();
    assert_eq!(answers.next().await, Some(Ok("a".into())));
    let bytes = bytes::Bytes::from(vec![3; 3 << 20]);
    let digest = Digest::sha256_of(&bytes);
    served.echo.blobs.lock().unwrap().insert(digest, bytes.clone());
    let read = ReadBlob { digest, offset: 0, limit: None, relay: false };
    let blob = peers.read_blob(TWO, read).await.unwrap();
    let pieces: Vec<_> = blob.stream.map(Result::unwrap).collect().await;
    assert_eq!(pieces.concat(), bytes);
    served.stop().await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_or_name_is_refused_by_either_end() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let mixed = |ca: &Authority, own: TlsMaterial| TlsMaterial { ca: ca.pem.clone().into(), ..own };
    // (server, caller): each row has one end that shows a wrong certificate.
    let cases = [
        (ours.node(SERVER_NAME), mixed(&ours, theirs.node(SERVER_NAME)), "the caller is a stranger"),
        (mixed(&ours, theirs.node(SERVER_NAME)), ours.node(SERVER_NAME), "the server is a stranger"),
        (ours.node("somebody"), ours.node(SERVER_NAME), "the server has another name"),
    ];
    for (server, calling, what) in cases {
        let (served, address) = serve(&server, &Config::default()).await;
        let result = tls_caller(&calling, address).ping(TWO, PATIENCE).await;
        assert!(matches!(result, Err(PeerError::Unreachable(_))), "{what}: {result:?}");
        served.stop().await;
    }
}

/// Trusts the authority but shows no certificate.
struct Anonymous(tokio_rustls::TlsConnector);

impl Anonymous {
    fn new(authority: &Authority) -> Self {
        use rustls_pki_types::pem::PemObject;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(rustls_pki_types::CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
        let mut config =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self(tokio_rustls::TlsConnector::from(Arc::new(config)))
    }
}

impl Connector for Anonymous {
    fn connect(&self, address: String) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let tls = self.0.clone();
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            let name = rustls_pki_types::ServerName::try_from(SERVER_NAME).unwrap();
            Ok(Box::new(tls.connect(name, stream).await?) as Box<dyn Io>)
        })
    }
}

#[tokio::test]
async fn a_caller_without_a_certificate_gets_nowhere() {
    let authority = Authority::new();
    let (served, address) = serve(&authority.node(SERVER_NAME), &Config::default()).await;
    let peers = caller(Arc::new(Anonymous::new(&authority)), address);
    let result = peers.ping(TWO, PATIENCE).await;
    assert!(matches!(result, Err(PeerError::Unreachable(_))), "{result:?}");
    let hello = peers.hello(&address.to_string(), portolan_peer::HelloCall::default(), PATIENCE).await;
    assert!(matches!(hello, Err(PeerError::Unreachable(_))), "{hello:?}");
    served.stop().await;
}

#[tokio::test]
async fn connections_that_say_nothing_are_dropped_and_do_not_hold_others_up() {
    let authority = Authority::new();
    let config = Config { handshake_timeout_ms: 200, max_handshakes: 4, ..Config::default() };
    let (served, address) = serve(&authority.node(SERVER_NAME), &config).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let peers = tls_caller(&authority.node(SERVER_NAME), address);
    timeout(PATIENCE, peers.ping(TWO, PATIENCE)).await.unwrap().unwrap();
    for mut stream in silent {
        let ended = timeout(PATIENCE, stream.read(&mut [0; 64])).await.unwrap();
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
    served.stop().await;
}

#[tokio::test]
async fn no_more_connections_are_accepted_than_allowed() {
    let authority = Authority::new();
    let config = Config { max_connections: 1, ..Config::default() };
    let (served, address) = serve(&authority.node(SERVER_NAME), &config).await;
    let first = tls_caller(&authority.node(SERVER_NAME), address);
    first.ping(TWO, PATIENCE).await.unwrap();
    let second = tls_caller(&authority.node(SERVER_NAME), address);
    let result = second.ping(TWO, PATIENCE).await;
    assert!(matches!(result, Err(PeerError::Unreachable(_))), "{result:?}");
    first.close();
    drop(first);
    eventually("the free place", async || second.ping(TWO, PATIENCE).await.is_ok()).await;
    served.stop().await;
}

#[tokio::test]
async fn a_process_that_restarts_on_its_port_is_called_again() {
    let authority = Authority::new();
    let material = authority.node(SERVER_NAME);
    let (served, address) = serve(&material, &Config::default()).await;
    let peers = tls_caller(&authority.node(SERVER_NAME), address);
    peers.ping(TWO, PATIENCE).await.unwrap();
    served.stop().await;
    assert!(matches!(peers.ping(TWO, PATIENCE).await, Err(PeerError::Unreachable(_))));
    let listener = TcpListener::bind(address).await.unwrap();
    let incoming = accept_stream(listener, TlsAcceptor::new(&material).unwrap(), &Config::default());
    let table = IdentityTable::new(LocalIdentity::known(identity(2)));
    let served = Served::start(Config::default(), identity(2), table, incoming);
    eventually("the reconnection", async || peers.ping(TWO, PATIENCE).await.is_ok()).await;
    served.stop().await;
}

#[test]
fn material_that_is_none_is_named() {
    let good = Authority::new().node(SERVER_NAME);
    let cases = [
        (TlsMaterial { ca: b"?".to_vec(), ..good.clone() }, "CA"),
        (TlsMaterial { cert: Vec::new(), ..good.clone() }, "certificate"),
        (TlsMaterial { key: b"-----BEGIN".to_vec(), ..good }, "key"),
    ];
    for (material, want) in cases {
        let error = TlsConnector::new(&material).err().unwrap();
        assert!(matches!(error, TlsError::Pem { what } if what == want), "{error}");
        assert!(TlsAcceptor::new(&material).is_err());
    }
}
