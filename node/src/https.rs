//! Requests over TLS for the command line. The demo's and the scripts' client speaks plain HTTP only: its TLS would bring a
//! second set of certificates and verifiers into every binary that uses it.

use crate::ask::{Answered, Ask};
use crate::remarks::Remarks;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Whom Debian trusts.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Names another file, as in other programs.
const AUTHORITIES_VARIABLE: &str = "SSL_CERT_FILE";
/// The longest answer that is read.
const LONGEST_ANSWER: usize = 4 << 20;

/// A server, and whom to trust about it.
#[derive(Clone)]
pub(crate) struct Https {
    tls: TlsConnector,
    name: ServerName<'static>,
    host: String,
    port: u16,
    /// The file with the trusted authorities.
    pub(crate) authorities: PathBuf,
}

impl Https {
    /// A client of the server of `url` that trusts the authorities in `ca`, or those of this machine.
    ///
    /// # Errors
    /// When the file cannot be read, with its name, or the host is none.
    pub(crate) fn new(url: &Url, ca: Option<&Path>) -> Result<Self, (PathBuf, io::Error)> {
        let authorities = ca.map_or_else(
            || std::env::var_os(AUTHORITIES_VARIABLE).unwrap_or_else(|| SYSTEM_AUTHORITIES.into()).into(),
            Path::to_owned,
        );
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        match connector(&authorities, &host) {
            Ok((tls, name)) => {
                Ok(Self { tls, name, host, port: url.port_or_known_default().unwrap_or(443), authorities })
            }
            Err(error) => Err((authorities, error)),
        }
    }

    /// The host and port that is asked.
    pub(crate) fn address(&self) -> (String, u16) {
        (self.host.clone(), self.port)
    }

    /// An answer.
    ///
    /// # Errors
    /// When the server does not answer, or is not to be trusted.
    pub(crate) async fn send(&self, ask: &Ask<'_>) -> io::Result<Answered> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let tls = self.tls.connect(self.name.clone(), tcp).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await.map_err(io::Error::other)?;
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(ask.target)
            .header(header::HOST, format!("{}:{}", self.host, self.port));
        if let Some(token) = ask.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if ask.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = Full::new(Bytes::from(ask.body.clone().unwrap_or_default()));
        let request = request.body(body).map_err(io::Error::other)?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(io::Error::other)?;
            let status = answer.status().as_u16();
            let remarks = Remarks::of_headers(answer.headers());
            let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await.map_err(io::Error::other)?;
            let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            Ok(Answered { status, body, remarks })
        };
        // The connection is driven here, and ends with the answer.
        tokio::select! {
            answer = answer => answer,
            Err(error) = connection => Err(io::Error::other(error)),
        }
    }
}

fn connector(authorities: &Path, host: &str) -> io::Result<(TlsConnector, ServerName<'static>)> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_file_iter(authorities).map_err(io::Error::other)? {
        roots.add(authority.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    if roots.is_empty() {
        return Err(io::Error::other("the file holds no certificate"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    Ok((Arc::new(config).into(), name))
}
