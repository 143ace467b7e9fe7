//! How a person names an image: `team/app:v1`, `team/app@sha256:…`, with or without the registry's host before it.

use portolan_meta::image::ImageName;
use portolan_oci::{Invalid, Reference, RepoName, Tag};
use std::fmt;
use std::str::FromStr;

/// What an image without a tag means, to every client.
const LATEST: &str = "latest";

/// An image of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRef {
    /// The repository.
    pub repo: RepoName,
    /// The tag or the digest.
    pub reference: Reference,
}

impl ImageRef {
    /// The registry's host in front of a reference, and the rest. As docker has it: what stands before the first slash
    /// is a host if it has a dot or a colon, or is `localhost`.
    #[must_use]
    pub fn split_host(text: &str) -> (Option<&str>, &str) {
        match text.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (Some(host), rest),
            _ => (None, text),
        }
    }
}

impl FromStr for ImageRef {
    type Err = Invalid;

    /// A host that no repository can be called is passed over: one with a port. With both a tag and a digest the digest
    /// counts; with neither it is `latest`.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let text = match Self::split_host(text) {
            (Some(host), rest) if host.contains(':') => rest,
            _ => text,
        };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        let tag = tag.map(str::parse::<Tag>).transpose()?;
        let reference = match (digest, tag) {
            (Some(digest), _) => Reference::Digest(digest.parse()?),
            (None, Some(tag)) => Reference::Tag(tag),
            (None, None) => Reference::Tag(LATEST.parse()?),
        };
        Ok(Self { repo: name.parse()?, reference })
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ImageName { repo: self.repo.clone(), reference: self.reference.clone() }.fmt(f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::ImageRef;
    use portolan_oci::Digest;

    #[test]
    fn an_image_is_named_as_clients_name_it() {
        let digest = Digest::sha256_of(b"x");
        for (text, want) in [
            ("app", "app:latest".to_owned()),
            ("app:v1", "app:v1".to_owned()),
            ("team/app:v1", "team/app:v1".to_owned()),
            ("localhost:5001/team/app:v1", "team/app:v1".to_owned()),
            ("127.0.0.1:5001/app", "app:latest".to_owned()),
            (&format!("app@{digest}"), format!("app@{digest}")),
            (&format!("team/app:v1@{digest}"), format!("team/app@{digest}")),
            ("my.team/app:v1", "my.team/app:v1".to_owned()),
            ("localhost/app", "localhost/app:latest".to_owned()),
        ] {
            assert_eq!(text.parse::<ImageRef>().unwrap().to_string(), want, "{text}");
        }
    }

    #[test]
    fn what_names_no_image_is_refused_with_the_part_that_is_wrong() {
        for (text, part) in [
            ("", "repository name"),
            ("App:v1", "repository name"),
            ("app:", "tag"),
            ("app:.v1", "tag"),
            ("app@sha256:12", "digest"),
            ("app@latest", "digest"),
            ("@sha256:12", "digest"),
            (":v1", "repository name"),
            ("a/b:5000/c", "repository name"),
        ] {
            let error = text.parse::<ImageRef>().unwrap_err().to_string();
            assert!(error.starts_with(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_host_is_told_from_a_repository_as_docker_does() {
        for (text, host) in [
            ("localhost:5001/app", Some("localhost:5001")),
            ("localhost/app", Some("localhost")),
            ("registry.example.com/team/app", Some("registry.example.com")),
            ("team/app", None),
            ("app:v1", None),
            ("busybox", None),
        ] {
            assert_eq!(ImageRef::split_host(text).0, host, "{text}");
        }
    }
}
