//! Why a string was refused.

use crate::error::ErrorCode;

/// A string that is not what it should be. The message is for the client: it shows the offending value, escaped and
/// cut short, and says what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not a repository name.
    #[error("repository name {value}: {reason}")]
    Name {
        /// The refused value, quoted, at most 64 characters of it.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not a tag.
    #[error("tag {value}: {reason}")]
    Tag {
        /// The refused value, quoted, at most 64 characters of it.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not a digest, or one of an algorithm that is not supported.
    #[error("digest {value}: {reason}")]
    Digest {
        /// The refused value, quoted, at most 64 characters of it.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not a `Range` header.
    #[error("range {value}: {reason}")]
    Range {
        /// The refused value, quoted, at most 64 characters of it.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not a `Content-Range` header of an upload.
    #[error("content range {value}: {reason}")]
    ContentRange {
        /// The refused value, quoted, at most 64 characters of it.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not a number of entries for one page.
    #[error("page size {value}: {reason}")]
    PageSize {
        /// The refused value, quoted, at most 64 characters of it.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Invalid {
    /// The OCI code that tells a client of it.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Name { .. } => ErrorCode::NameInvalid,
            Self::Tag { .. } => ErrorCode::TagInvalid,
            Self::Digest { .. } => ErrorCode::DigestInvalid,
            Self::Range { .. } => ErrorCode::RangeInvalid,
            Self::ContentRange { .. } => ErrorCode::BlobUploadInvalid,
            Self::PageSize { .. } => ErrorCode::PaginationNumberInvalid,
        }
    }
}

/// The value as a message may show it: quoted, control characters escaped, cut at 64 characters.
pub(crate) fn shown(value: &str) -> String {
    const LIMIT: usize = 64;
    let mut cut: String = value.chars().take(LIMIT).collect();
    if cut.len() < value.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_long_or_hostile_value_is_cut_and_escaped() {
        let cases = [
            ("plain", "\"plain\"".to_owned()),
            ("line\nbreak", "\"line\\nbreak\"".to_owned()),
            ("é", "\"é\"".to_owned()),
        ];
        for (value, want) in cases {
            assert_eq!(shown(value), want);
        }
        let long = "ü".repeat(300);
        assert_eq!(shown(&long).chars().count(), 64 + 1 + 2);
    }
}
