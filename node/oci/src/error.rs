//! The error codes of the specification and the body that carries them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+) => {
        /// What went wrong, for programs. The codes of the distribution specification, those that existing registries
        /// add to it, and ours.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ErrorCode {
            $($(#[doc = $doc])+ #[serde(rename = $text)] $variant,)+
            /// Something else: a fault of the registry itself, or a code that this list lacks.
            #[serde(rename = "UNKNOWN", other)]
            Unknown,
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+ Self::Unknown];

            /// As it stands in an error body.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Unknown => "UNKNOWN",
                }
            }
        }
    };
}

error_codes! {
    /// The blob is not known to the registry in this repository.
    BlobUnknown = "BLOB_UNKNOWN",
    /// An upload's request is wrong in itself.
    BlobUploadInvalid = "BLOB_UPLOAD_INVALID",
    /// No such upload session.
    BlobUploadUnknown = "BLOB_UPLOAD_UNKNOWN",
    /// A digest is malformed, or the content has another.
    DigestInvalid = "DIGEST_INVALID",
    /// A manifest names blobs or manifests that the repository does not show.
    ManifestBlobUnknown = "MANIFEST_BLOB_UNKNOWN",
    /// A manifest does not parse or contradicts itself.
    ManifestInvalid = "MANIFEST_INVALID",
    /// No such manifest in this repository.
    ManifestUnknown = "MANIFEST_UNKNOWN",
    /// A malformed repository name.
    NameInvalid = "NAME_INVALID",
    /// No such repository.
    NameUnknown = "NAME_UNKNOWN",
    /// The content has another length than was announced, or is too long.
    SizeInvalid = "SIZE_INVALID",
    /// A malformed tag.
    TagInvalid = "TAG_INVALID",
    /// The request needs credentials.
    Unauthorized = "UNAUTHORIZED",
    /// The caller may not do that.
    Denied = "DENIED",
    /// The registry does not do that.
    Unsupported = "UNSUPPORTED",
    /// Too much at once; try again later.
    TooManyRequests = "TOOMANYREQUESTS",
    /// A malformed or unsatisfiable range.
    RangeInvalid = "RANGE_INVALID",
    /// A page size that is not a number, or negative.
    PaginationNumberInvalid = "PAGINATION_NUMBER_INVALID",
    /// Committed nowhere yet: the copies that the ack policy demands are not there. The push may be repeated.
    AckPending = "ACK_PENDING",
    /// Not now: no leader, or no holder that can be reached.
    Unavailable = "UNAVAILABLE",
    /// A query or a body of the admin API is not what it takes.
    RequestInvalid = "REQUEST_INVALID",
    /// Settings of repositories that this cluster cannot keep.
    PolicyInvalid = "POLICY_INVALID",
    /// An image is waited for in a region where nothing would bring it.
    RegionUnwanted = "REGION_UNWANTED",
    /// A node that is wanted as the leader is none, or cannot lead now.
    NodeUnfit = "NODE_UNFIT",
    /// No room for the upload.
    StorageFull = "STORAGE_FULL",
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One error of an [`ErrorBody`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorEntry {
    /// For programs.
    pub code: ErrorCode,
    /// For people. Empty when the registry that sent it gave none.
    #[serde(default)]
    pub message: String,
    /// For programs that know more of the code: say, the digests in question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
}

/// The body of every failed request (distribution-spec, "Error Codes").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong; at least one entry.
    pub errors: Vec<ErrorEntry>,
}

impl ErrorBody {
    /// A body with one entry and no detail.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { errors: vec![ErrorEntry { code, message: message.into(), detail: None }] }
    }

    /// The same with a detail on its first entry.
    #[must_use]
    pub fn with_detail(mut self, detail: Value) -> Self {
        if let Some(entry) = self.errors.first_mut() {
            entry.detail = Some(detail);
        }
        self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::{ErrorBody, ErrorCode};
    use serde_json::json;

    #[test]
    fn serde_and_as_str_agree_on_every_code() {
        for &code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), json!(code.as_str()));
            assert_eq!(serde_json::from_value::<ErrorCode>(json!(code.as_str())).unwrap(), code);
        }
    }

    #[test]
    fn a_code_of_another_registry_reads_as_unknown() {
        let body: ErrorBody = serde_json::from_str(r#"{"errors":[{"code":"TEAPOT"}]}"#).unwrap();
        assert_eq!(body, ErrorBody::new(ErrorCode::Unknown, ""));
    }

    #[test]
    fn the_body_has_the_shape_of_the_specification() {
        let body = ErrorBody::new(ErrorCode::DigestInvalid, "no").with_detail(json!({"digest": "x"}));
        assert_eq!(
            serde_json::to_value(&body).unwrap(),
            json!({"errors": [{"code": "DIGEST_INVALID", "message": "no", "detail": {"digest": "x"}}]}),
        );
        assert_eq!(
            serde_json::to_value(ErrorBody::new(ErrorCode::Denied, "no")).unwrap(),
            json!({"errors": [{"code": "DENIED", "message": "no"}]}),
        );
    }
}
