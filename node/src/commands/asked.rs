//! What a reference on the command line means, and whom to ask about it.

use crate::cli::RefAskArgs;
use crate::client::{Client, ClientError, Report};
use crate::error::{Failure, UsageError};
use portolan_oci::{Digest, ErrorCode, Invalid};
use portolan_registry::ImageRef;

/// Who is asked when nobody says whom.
const SERVER: &str = "127.0.0.1:5000";

/// An image, and whom to ask about it.
pub(super) struct Asked {
    pub(super) client: Client,
    pub(super) image: ImageRef,
    /// What it means if the node knows no such image.
    otherwise: Option<ImageRef>,
}

impl Asked {
    /// Whom and what a command line means.
    ///
    /// # Errors
    /// When the reference names no image, or the server is no address.
    pub(super) fn new(reference: &str, ask: &RefAskArgs) -> Result<Self, Failure> {
        let (host, _) = ImageRef::split_host(reference);
        let server = ask.server.clone().or_else(|| host.map(server_of)).unwrap_or_else(|| SERVER.to_owned());
        let client = Client::new_trusting(&server, ask.ca.as_deref())?;
        let (asked, _) = client.host();
        let (image, otherwise) = meanings(reference, ask.server.as_ref().map(|_| asked.as_str())).map_err(|wrong| {
            Failure::Usage(UsageError::ImageRef { reference: reference.to_owned(), reason: wrong.to_string() })
        })?;
        Ok(Self { client, image, otherwise })
    }

    /// Asks about what the reference means, and where that is not known, about what else it may mean.
    ///
    /// # Errors
    /// What was answered about the one that is more likely meant.
    pub(super) async fn ask<T>(
        &mut self,
        ask: impl AsyncFn(&Client, &ImageRef) -> Result<Report<T>, ClientError>,
    ) -> Result<Report<T>, ClientError> {
        let unknown = match ask(&self.client, &self.image).await {
            Err(error) if error.is_unknown() => error,
            answer => return answer,
        };
        let Some(otherwise) = self.otherwise.take() else { return Err(unknown) };
        match ask(&self.client, &otherwise).await {
            // The words are those for what was typed, unless there is such a repository.
            Err(error) if error.is_unknown() => {
                Err(if error.has_code(ErrorCode::ManifestUnknown) { error } else { unknown })
            }
            answer => {
                self.image = otherwise;
                answer
            }
        }
    }

    /// From now on this very manifest is meant, wherever its tag moves.
    pub(super) fn hold(&mut self, digest: &Digest) {
        self.image.reference = (*digest).into();
        self.otherwise = None;
    }
}

/// What a reference means, and what else it may mean. Where no server is named, the host in front of it is asked. Where
/// one is, that may be how clients reach it, or the beginning of a repository's name, which may have dots: a port stands
/// in no name, and the server's own name is taken for that; else the name as it stands is tried first.
fn meanings(text: &str, server: Option<&str>) -> Result<(ImageRef, Option<ImageRef>), Invalid> {
    let (Some(host), rest) = ImageRef::split_host(text) else { return Ok((text.parse()?, None)) };
    if server.is_none_or(|server| server == host) || host.contains(':') {
        return Ok((rest.parse()?, None));
    }
    match (text.parse(), rest.parse()) {
        (Ok(whole), rest) => Ok((whole, rest.ok())),
        (Err(_), Ok(rest)) => Ok((rest, None)),
        (Err(wrong), Err(_)) => Err(wrong),
    }
}

/// Where a registry's host in a reference answers, as clients have it: plain HTTP on this machine, TLS elsewhere.
fn server_of(host: &str) -> String {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    let is_here = name == "localhost" || name == "::1" || name.starts_with("127.");
    format!("{}://{host}", if is_here { "http" } else { "https" })
}

#[cfg(test)]
mod tests {
    use super::{meanings, server_of};

    #[test]
    fn a_name_with_a_dot_is_a_repository_before_it_is_a_registry() {
        for (text, server, want, otherwise) in [
            ("team/app:v1", Some("node"), "team/app:v1", None),
            ("ghcr.io/org/app:v1", Some("node"), "ghcr.io/org/app:v1", Some("org/app:v1")),
            ("ghcr.io/org/app:v1", Some("ghcr.io"), "org/app:v1", None),
            ("ghcr.io/org/app:v1", None, "org/app:v1", None),
            ("node:5000/org/app:v1", Some("10.0.0.1"), "org/app:v1", None),
            ("localhost:5000/ghcr.io/org/app:v1", Some("node"), "ghcr.io/org/app:v1", None),
            ("localhost:5000/ghcr.io/org/app:v1", None, "ghcr.io/org/app:v1", None),
            ("localhost/app", Some("node"), "localhost/app:latest", Some("app:latest")),
            ("Registry.Example/app", Some("node"), "app:latest", None),
        ] {
            let got = meanings(text, server).map(|(image, other)| (image.to_string(), other.map(|it| it.to_string())));
            let want = (want.to_owned(), otherwise.map(str::to_owned));
            assert_eq!(got.ok(), Some(want), "{text} {server:?}");
        }
        for text in ["ghcr.io/ORG/app", "Team/app", "node:5000/App"] {
            assert!(meanings(text, Some("node")).is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_in_a_reference_is_asked_as_clients_ask_it() {
        for (host, want) in [
            ("localhost:5001", "http://localhost:5001"),
            ("localhost", "http://localhost"),
            ("127.0.0.1:5001", "http://127.0.0.1:5001"),
            ("[::1]:5001", "http://[::1]:5001"),
            ("registry.example.com", "https://registry.example.com"),
            ("registry.example.com:5000", "https://registry.example.com:5000"),
        ] {
            assert_eq!(server_of(host), want);
        }
    }
}
