//! Mutual TLS.

use crate::config::Config;
use crate::io::{Connector, Io, PeerIo};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::io;
use std::sync::Arc;
use thiserror::Error;
use tokio::net::TcpListener;

/// The name that every node's certificate carries, and that callers ask for whatever the address.
pub const SERVER_NAME: &str = "portolan-peer";

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

/// Connects over TCP and mutual TLS.
pub struct TlsConnector {}

impl TlsConnector {
    /// A connector with this node's certificate.
    ///
    /// # Errors
    /// The material is not usable.
    pub fn new(material: &TlsMaterial) -> Result<Self, TlsError> {
        todo!()
    }
}

impl Connector for TlsConnector {
    fn connect(&self, address: String) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        todo!()
    }
}

/// Accepts TLS connections whose certificate the cluster's CA signed.
#[derive(Clone)]
pub struct TlsAcceptor {}

impl TlsAcceptor {
    /// An acceptor with this node's certificate.
    ///
    /// # Errors
    /// The material is not usable.
    pub fn new(material: &TlsMaterial) -> Result<Self, TlsError> {
        todo!()
    }
}

/// Accepted connections: handshakes run side by side, each under a deadline and all within a bound.
pub fn accept_stream(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    config: &Config,
) -> BoxStream<'static, io::Result<PeerIo>> {
    todo!()
}
