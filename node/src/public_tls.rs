//! The certificate that clients see, and how a renewed one takes its place while the node serves.
//!
//! The files are compared by what is in them, every `public.tls_reload_ms`: a file that was rewritten, one that was
//! replaced, and a link that points elsewhere (as Kubernetes swaps its secrets) then look alike, on any file system.
//! Connections keep the certificate that they began with.

use crate::error::{Failure, chain};
use crate::recorder;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long a changed pair must have been the same before it is tried: whoever renews writes two files, one after the
/// other.
const SETTLE: Duration = Duration::from_secs(1);
/// The largest file that is read, in bytes.
const LARGEST_FILE: u64 = 1 << 20;

/// What the next handshake is done with.
pub(crate) type CurrentTls = watch::Receiver<Arc<ServerConfig>>;

/// A certificate chain and its key, in files.
#[derive(Clone, Debug)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

/// What both files held.
struct Pair {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// Tells two pairs apart without a second copy of a key in memory.
type Fingerprint = [u8; 32];

/// A pair that handshakes can be done with.
struct Usable {
    server: Arc<ServerConfig>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Files {
    fn read(&self) -> Result<Pair, String> {
        let read = |path: &Path| {
            let mut bytes = Vec::new();
            let read = File::open(path).and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes));
            match read {
                Ok(_) if bytes.len() as u64 > LARGEST_FILE => Err(io::Error::other("the file is too large")),
                Ok(_) => Ok(bytes),
                Err(error) => Err(error),
            }
            .map_err(|error| format!("{}: {error}", path.display()))
        };
        Ok(Pair { cert: read(&self.cert)?, key: read(&self.key)? })
    }
}

impl Pair {
    fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        hash.update((self.cert.len() as u64).to_be_bytes());
        hash.update(&self.cert);
        hash.update(&self.key);
        hash.finalize().into()
    }

    fn usable(&self) -> Result<Usable, String> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&self.cert)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("public.tls_cert: {}", chain(&error)))?;
        let key =
            PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| format!("public.tls_key: {}", chain(&error)))?;
        let mut server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| chain(&error))?
            .with_no_client_auth()
            .with_single_cert(certificates.clone(), key)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => "public.tls_key is not the key of public.tls_cert".to_owned(),
                error => chain(&error),
            })?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Usable { server: Arc::new(server), certificates })
    }
}

/// What the files hold at one look; why they cannot be read, in words.
type Seen = Result<Fingerprint, String>;

/// What to do after a look.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing is new.
    Rest,
    /// Something is, and may still be being written.
    LookAgain,
    /// It stays as it is: try it.
    Try,
}

/// What the looks have shown so far.
struct Watch {
    /// What is served.
    current: Fingerprint,
    /// What the last look has shown, when it is not what is served.
    candidate: Option<Seen>,
    /// What was tried in vain, so that it is said once.
    refused: Option<Seen>,
}

impl Watch {
    fn judge(&mut self, seen: Seen) -> Verdict {
        if seen == Ok(self.current) {
            (self.candidate, self.refused) = (None, None);
            return Verdict::Rest;
        }
        let is_settled = self.candidate.as_ref() == Some(&seen);
        let is_refused = self.refused.as_ref() == Some(&seen);
        self.candidate = Some(seen);
        match (is_refused, is_settled) {
            (true, _) => Verdict::Rest,
            (false, true) => Verdict::Try,
            (false, false) => Verdict::LookAgain,
        }
    }

    fn served(&mut self, fingerprint: Fingerprint) {
        *self = Self { current: fingerprint, candidate: None, refused: None };
    }

    fn refuse(&mut self) {
        self.refused.clone_from(&self.candidate);
    }
}

/// The public port's certificate.
pub(crate) struct PublicTls {
    files: Files,
    every: Duration,
    watch: Watch,
    current: watch::Sender<Arc<ServerConfig>>,
}

impl PublicTls {
    /// Reads the files, and will look at them again that often.
    ///
    /// # Errors
    /// When they cannot be used.
    pub(crate) fn load(cert: &Path, key: &Path, every: Duration) -> Result<Self, Failure> {
        let wrong = |reason| Failure::Tls { table: "public", reason };
        let files = Files { cert: cert.to_owned(), key: key.to_owned() };
        let pair = files.read().map_err(wrong)?;
        let usable = pair.usable().map_err(wrong)?;
        let watch = Watch { current: pair.fingerprint(), candidate: None, refused: None };
        Ok(Self { files, every, watch, current: watch::Sender::new(usable.server) })
    }

    /// What the next handshake is done with, from now on.
    pub(crate) fn current(&self) -> CurrentTls {
        self.current.subscribe()
    }

    /// Looks at the files until told to stop, and serves what they hold when that can be used.
    pub(crate) async fn keep_renewed(mut self, stop: CancellationToken) {
        let mut pause = self.every;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = match self.look().await {
                Verdict::LookAgain => self.every.min(SETTLE),
                Verdict::Rest | Verdict::Try => self.every,
            };
        }
    }

    /// One look.
    async fn look(&mut self) -> Verdict {
        let files = self.files.clone();
        let read = tokio::task::spawn_blocking(move || files.read()).await;
        let read = read.unwrap_or_else(|error| Err(error.to_string()));
        let seen = read.as_ref().map(Pair::fingerprint).map_err(Clone::clone);
        let verdict = self.watch.judge(seen);
        if verdict == Verdict::Try {
            match read.and_then(|pair| Ok((pair.fingerprint(), renewal(&pair)?))) {
                Ok((fingerprint, usable)) => self.serve(fingerprint, usable),
                Err(reason) => {
                    self.watch.refuse();
                    tracing::warn!(
                        cert = %self.files.cert.display(),
                        reason,
                        "the changed certificate of the public port cannot be used; the one before it is served on"
                    );
                }
            }
        }
        verdict
    }

    fn serve(&mut self, fingerprint: Fingerprint, usable: Usable) {
        self.watch.served(fingerprint);
        self.current.send_replace(usable.server);
        let ends = recorder::first_end(&usable.certificates);
        recorder::certificate_ends("public", ends);
        let valid_until = ends.map_or_else(|| "unknown".to_owned(), |ends| ends.to_string());
        tracing::info!(cert = %self.files.cert.display(), valid_until, "the public port serves a renewed certificate");
    }
}

/// The pair as one to renew with. Unlike at a start there is another one to serve, and one that has ended is a mistake.
fn renewal(pair: &Pair) -> Result<Usable, String> {
    let usable = pair.usable()?;
    // Only the node's own: chains carry ended certificates for old clients.
    let own = usable.certificates.get(..1).unwrap_or_default();
    match recorder::first_end(own) {
        Some(ends) if ends < x509_parser::time::ASN1Time::now() => Err(format!("it ended on {ends}")),
        _ => Ok(usable),
    }
}

#[cfg(test)]
mod tests;
