//! Names, digests, ranges, manifests and errors of the OCI distribution specification 1.1.
//!
//! Strings become types here, at the door: [`RepoName`], [`Tag`] and [`Digest`] have private fields and one validating
//! constructor, so that nothing below validates twice. Pure: no IO, no clock, no async, and nothing of HTTP beyond the
//! header values that the specification itself defines.
//!
//! In reading order:
//! - [`invalid`]: why a string was refused;
//! - [`name`], [`tag`], [`digest`], [`reference`]: what a request names;
//! - [`hasher`]: a digest in the making, which can be saved and resumed;
//! - [`range`], [`page`]: which part of a blob, which part of a list;
//! - [`media_type`], [`descriptor`], [`manifest`]: what a manifest says;
//! - [`error`]: the error codes and the body that carries them.

pub mod descriptor;
pub mod digest;
pub mod error;
pub mod hasher;
pub mod invalid;
pub mod manifest;
pub mod media_type;
pub mod name;
pub mod page;
pub mod range;
pub mod reference;
pub mod tag;
mod text;

pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest};
pub use error::{ErrorBody, ErrorCode, ErrorEntry};
pub use hasher::Hasher;
pub use invalid::Invalid;
pub use manifest::{ManifestError, ManifestKind, ParsedManifest};
pub use name::RepoName;
pub use page::{Page, PageSize};
pub use range::{ByteRange, ContentRange, Unsatisfiable};
pub use reference::Reference;
pub use tag::Tag;
