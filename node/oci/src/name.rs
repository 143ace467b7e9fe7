//! Repository names.

use crate::invalid::{Invalid, shown};
use crate::text::validated_string;
use std::sync::Arc;

/// A repository's name: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` joined by slashes (distribution-spec, "Pulling
/// manifests"), at most [`RepoName::MAX_BYTES`] long. Ordered by bytes, which is the order of the catalog. Cheap to
/// clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoName(Arc<str>);

validated_string!(RepoName);

impl RepoName {
    /// The longest name, in bytes. The specification leaves the limit open and says that many clients stop at 255
    /// characters, the registry's host included.
    pub const MAX_BYTES: usize = 255;

    /// Its components, outermost first; never empty.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    fn check(value: &str) -> Result<(), Invalid> {
        let refuse = |reason| Err(Invalid::Name { value: shown(value), reason });
        if value.is_empty() {
            return refuse("is empty");
        }
        if value.len() > Self::MAX_BYTES {
            return refuse("is longer than 255 characters");
        }
        for component in value.split('/') {
            if let Err(reason) = check_component(component.as_bytes()) {
                return refuse(reason);
            }
        }
        Ok(())
    }
}

/// Runs of `[a-z0-9]` with one separator between each two: `.`, `_`, `__` or any number of `-`.
fn check_component(component: &[u8]) -> Result<(), &'static str> {
    if component.is_empty() {
        return Err("has an empty component: no slash may stand at an end or beside another");
    }
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if let Some(&byte) = component.iter().find(|&&byte| !is_word(byte) && !matches!(byte, b'.' | b'_' | b'-')) {
        return Err(if byte.is_ascii_uppercase() {
            "has an upper-case letter; only lower-case letters are allowed"
        } else {
            "has a character other than a-z, 0-9, '.', '_', '-' and '/'"
        });
    }
    let separators = component.split(|&byte| is_word(byte)).filter(|run| !run.is_empty());
    if !is_word(component[0]) || !is_word(component[component.len() - 1]) {
        return Err("has a component that begins or ends with a separator");
    }
    for separator in separators {
        let allowed = matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|&byte| byte == b'-');
        if !allowed {
            return Err("has two separators side by side; only '__' and a row of '-' may be");
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::RepoName;
    use crate::error::ErrorCode;
    use proptest::{prop_assert, prop_assert_eq, proptest};

    #[test]
    fn the_grammar_of_the_specification_is_kept() {
        let a = "a";
        let longest = a.repeat(255);
        let too_long = a.repeat(256);
        let cases = [
            ("a", true),
            ("0", true),
            ("library/busybox", true),
            ("a/b/c/d/e/f", true),
            ("a.b", true),
            ("a_b", true),
            ("a__b", true),
            ("a-b", true),
            ("a------b", true),
            ("a--b__c.d_e", true),
            ("blobs/uploads/manifests/tags", true),
            (longest.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
            ("/", false),
            ("/a", false),
            ("a/", false),
            ("a//b", false),
            ("A", false),
            ("a/B", false),
            (".", false),
            ("..", false),
            ("../a", false),
            ("a/../b", false),
            ("a..b", false),
            ("a___b", false),
            ("a_.b", false),
            ("a.-b", false),
            ("a-_b", false),
            ("-a", false),
            ("a-", false),
            ("_a", false),
            ("a.", false),
            ("a b", false),
            ("a\0", false),
            ("a\n", false),
            ("ä", false),
            ("a:b", false),
            ("a@b", false),
            ("a%2fb", false),
            ("a\\b", false),
        ];
        for (value, valid) in cases {
            let parsed = value.parse::<RepoName>();
            assert_eq!(parsed.is_ok(), valid, "{value:?}: {parsed:?}");
            match parsed {
                Ok(name) => assert_eq!(name.as_str(), value),
                Err(error) => assert_eq!(error.code(), ErrorCode::NameInvalid),
            }
        }
    }

    #[test]
    fn a_refusal_says_what_is_wrong() {
        let error = "Library/x".parse::<RepoName>().unwrap_err().to_string();
        assert!(error.contains("upper-case") && error.contains("Library/x"), "{error}");
    }

    #[test]
    fn serde_validates_on_the_way_in() {
        let name: RepoName = serde_json::from_str("\"a/b\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"a/b\"");
        assert!(serde_json::from_str::<RepoName>("\"A\"").is_err());
    }

    proptest! {
        #[test]
        fn whatever_the_grammar_makes_parses(name in "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,3}){0,3}(/[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}){0,4}") {
            prop_assert_eq!(name.parse::<RepoName>().unwrap().to_string(), name);
        }

        #[test]
        fn anything_else_is_refused_without_a_panic(value in "[a-zA-Z./_ -]{0,12}|.{0,12}") {
            let matches = by_the_book(&value);
            prop_assert_eq!(value.parse::<RepoName>().is_ok(), matches);
            prop_assert!(!matches || !value.contains(' '));
        }
    }

    /// The grammar once more, written as the specification writes it: one separator at a time.
    fn by_the_book(value: &str) -> bool {
        let component = |text: &str| {
            let mut rest = text;
            loop {
                let word = rest.len() - rest.trim_start_matches(|c: char| matches!(c, 'a'..='z' | '0'..='9')).len();
                if word == 0 {
                    return false;
                }
                rest = &rest[word..];
                if rest.is_empty() {
                    return true;
                }
                rest =
                    match rest.strip_prefix("__").or_else(|| rest.strip_prefix('_')).or_else(|| rest.strip_prefix('.'))
                    {
                        Some(after) => after,
                        None if rest.starts_with('-') => rest.trim_start_matches('-'),
                        None => return false,
                    };
            }
        };
        !value.is_empty() && value.len() <= 255 && value.split('/').all(component)
    }
}
