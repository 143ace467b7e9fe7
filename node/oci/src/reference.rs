//! References: what stands after `manifests/`.

use crate::digest::Digest;
use crate::invalid::Invalid;
use crate::tag::Tag;
use std::fmt;
use std::str::FromStr;

/// A manifest's name within its repository: a tag, which moves, or a digest, which does not.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reference {
    /// By tag.
    Tag(Tag),
    /// By digest.
    Digest(Digest),
}

impl FromStr for Reference {
    type Err = Invalid;

    /// A colon makes it a digest, since no tag has one: so `sha256:abc` is a bad digest, never an unknown tag.
    fn from_str(value: &str) -> Result<Self, Invalid> {
        if value.contains(':') { value.parse().map(Self::Digest) } else { value.parse().map(Self::Tag) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl From<Tag> for Reference {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}

impl From<Digest> for Reference {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::Reference;
    use crate::digest::Digest;
    use crate::error::ErrorCode;

    #[test]
    fn a_colon_tells_digests_from_tags() {
        let digest = Digest::sha256_of(b"");
        assert_eq!(digest.to_string().parse::<Reference>().unwrap(), Reference::Digest(digest));
        assert_eq!("latest".parse::<Reference>().unwrap(), Reference::Tag("latest".parse().unwrap()));
        // The fallback scheme of referrers is an ordinary tag.
        let fallback = format!("sha256-{}", digest.hex());
        assert!(matches!(fallback.parse::<Reference>().unwrap(), Reference::Tag(_)));
        assert_eq!("sha256:abc".parse::<Reference>().unwrap_err().code(), ErrorCode::DigestInvalid);
        assert_eq!("".parse::<Reference>().unwrap_err().code(), ErrorCode::TagInvalid);
    }
}
