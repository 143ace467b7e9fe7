//! Descriptors: how one thing names another.

use crate::digest::Digest;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// A descriptor (image-spec, "Content Descriptors"): the fields that a registry reads or lists. Others are ignored;
/// manifests are kept verbatim anyway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Its artifact type, in lists of referrers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Its annotations.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

// `remote = "Self"` makes what is derived inherent, so that these two can stand in front of it.
impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Descriptor;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a descriptor")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Descriptor, A::Error> {
                Descriptor::deserialize(MapAccessDeserializer::new(map))
            }
        }

        // Only an object: the derived code would take an array of the fields as well, which no client does.
        deserializer.deserialize_map(Object)
    }
}

/// Go clients write `null` for an empty list or map.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::Descriptor;
    use crate::digest::Digest;
    use serde_json::json;

    #[test]
    fn a_descriptor_keeps_what_a_list_shows() {
        let digest = Digest::sha256_of(b"x");
        let value = json!({
            "mediaType": "a/b", "digest": digest, "size": 1, "artifactType": "c/d", "annotations": {"k": "v"},
        });
        let descriptor: Descriptor = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(serde_json::to_value(&descriptor).unwrap(), value);
    }

    #[test]
    fn unknown_fields_and_nulls_are_taken_and_bad_sizes_refused() {
        let digest = Digest::sha256_of(b"x");
        let cases = [
            (json!({"mediaType": "a/b", "digest": digest, "size": 0, "platform": {"os": "x"}, "data": "e30="}), true),
            (json!({"mediaType": "a/b", "digest": digest, "size": 0, "annotations": null}), true),
            (json!({"mediaType": "a/b", "digest": digest, "size": -1}), false),
            (json!({"mediaType": "a/b", "digest": digest, "size": 1.5}), false),
            (json!({"mediaType": "a/b", "digest": digest, "size": "1"}), false),
            (json!({"mediaType": "a/b", "digest": digest}), false),
            (json!({"mediaType": "a/b", "size": 1}), false),
            (json!({"digest": digest, "size": 1}), false),
            (json!(["a/b", digest, 1, null, {}]), false),
            (json!({"mediaType": "a/b", "digest": "sha256:xyz", "size": 1}), false),
            (json!({"mediaType": "a/b", "digest": "md5:00", "size": 1}), false),
        ];
        for (value, valid) in cases {
            assert_eq!(serde_json::from_value::<Descriptor>(value.clone()).is_ok(), valid, "{value}");
        }
    }
}
