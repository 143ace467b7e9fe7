//! Tags.

use crate::invalid::{Invalid, shown};
use crate::text::validated_string;
use std::sync::Arc;

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}` (distribution-spec, "Pulling manifests"). Ordered by bytes, which is
/// the order of the tag list. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<str>);

validated_string!(Tag);

impl Tag {
    /// The longest tag, in bytes.
    pub const MAX_BYTES: usize = 128;

    fn check(value: &str) -> Result<(), Invalid> {
        let refuse = |reason| Err(Invalid::Tag { value: shown(value), reason });
        let Some(&first) = value.as_bytes().first() else {
            return refuse("is empty");
        };
        if value.len() > Self::MAX_BYTES {
            return refuse("is longer than 128 characters");
        }
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !value.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-')) {
            return refuse("has a character other than letters, digits, '_', '.' and '-'");
        }
        if !is_word(first) {
            return refuse("begins with '.' or '-'");
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::Tag;
    use crate::error::ErrorCode;
    use proptest::{prop_assert, prop_assert_eq, proptest};

    #[test]
    fn the_grammar_of_the_specification_is_kept() {
        let longest = "t".repeat(128);
        let too_long = "t".repeat(129);
        let cases = [
            ("latest", true),
            ("v1.2.3-rc_1", true),
            ("_", true),
            ("A", true),
            ("0", true),
            ("a..b--c__d", true),
            ("a.", true),
            (longest.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
            (".a", false),
            ("-a", false),
            ("a/b", false),
            ("a:b", false),
            ("a b", false),
            ("ä", false),
            ("a\n", false),
            ("a+b", false),
        ];
        for (value, valid) in cases {
            let parsed = value.parse::<Tag>();
            assert_eq!(parsed.is_ok(), valid, "{value:?}: {parsed:?}");
            if let Err(error) = parsed {
                assert_eq!(error.code(), ErrorCode::TagInvalid);
            }
        }
    }

    #[test]
    fn serde_validates_on_the_way_in() {
        let tag: Tag = serde_json::from_str("\"v1\"").unwrap();
        assert_eq!(serde_json::to_string(&tag).unwrap(), "\"v1\"");
        assert!(serde_json::from_str::<Tag>("\".v1\"").is_err());
        assert!(serde_json::from_str::<Tag>("1").is_err());
    }

    proptest! {
        #[test]
        fn whatever_the_grammar_makes_parses_and_keeps_its_order(
            left in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}",
            right in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,8}",
        ) {
            let (a, b): (Tag, Tag) = (left.parse().unwrap(), right.parse().unwrap());
            prop_assert_eq!(a.cmp(&b), left.as_bytes().cmp(right.as_bytes()));
            prop_assert_eq!(a.as_str(), left);
        }

        #[test]
        fn anything_at_all_is_answered_without_a_panic(value in ".{0,140}") {
            prop_assert!(value.parse::<Tag>().is_err() || value.is_ascii());
        }
    }
}
