//! What holds for repository names, tags and references.

use super::refusal::check_message;
use portolan_oci::{Digest, ErrorCode, Reference, RepoName, Tag};

/// Any bytes: what a path segment decodes to.
pub(crate) fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let name = name(&text);
    let tag = tag(&text);
    reference(&text, tag.as_ref());
    if let (Some(name), Some(tag)) = (name, tag) {
        // The name of an image falls apart in one way only.
        let image = format!("{name}:{tag}");
        let (left, right) = image.split_once(':').expect("it was just written");
        assert_eq!((left.parse(), right.parse()), (Ok(name), Ok(tag)), "{image}");
    }
}

fn name(text: &str) -> Option<RepoName> {
    let parsed = text.parse::<RepoName>();
    assert_eq!(parsed.is_ok(), is_name(text), "{text:?}: {parsed:?}");
    match parsed {
        Ok(name) => {
            assert_eq!((name.as_str(), name.to_string().as_str()), (text, text));
            assert!(name.as_str().len() <= RepoName::MAX_BYTES);
            let components: Vec<_> = name.components().collect();
            assert_eq!(components.join("/"), text);
            assert!(components.iter().all(|component| !component.is_empty() && !component.starts_with('.')));
            assert_eq!(through_json(&name), name);
            Some(name)
        }
        Err(invalid) => {
            assert_eq!(invalid.code(), ErrorCode::NameInvalid);
            check_message(&invalid.to_string());
            None
        }
    }
}

fn tag(text: &str) -> Option<Tag> {
    let parsed = text.parse::<Tag>();
    assert_eq!(parsed.is_ok(), is_tag(text), "{text:?}: {parsed:?}");
    match parsed {
        Ok(tag) => {
            assert_eq!((tag.as_str(), tag.to_string().as_str()), (text, text));
            assert!(tag.as_str().len() <= Tag::MAX_BYTES);
            assert_eq!(through_json(&tag), tag);
            Some(tag)
        }
        Err(invalid) => {
            assert_eq!(invalid.code(), ErrorCode::TagInvalid);
            check_message(&invalid.to_string());
            None
        }
    }
}

fn reference(text: &str, tag: Option<&Tag>) {
    match text.parse::<Reference>() {
        Ok(reference) => {
            assert_eq!(reference.to_string(), text);
            assert_eq!(reference.to_string().parse::<Reference>().as_ref(), Ok(&reference));
            match &reference {
                Reference::Tag(found) => assert_eq!(Some(found), tag),
                Reference::Digest(found) => assert_eq!(text.parse::<Digest>().as_ref(), Ok(found)),
            }
        }
        Err(invalid) => {
            assert!(tag.is_none() && text.parse::<Digest>().is_err(), "{text:?} is refused as a reference only");
            let code = if text.contains(':') { ErrorCode::DigestInvalid } else { ErrorCode::TagInvalid };
            assert_eq!(invalid.code(), code, "{text:?}");
            check_message(&invalid.to_string());
        }
    }
}

/// Written as a JSON string and read again.
fn through_json<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    let text = serde_json::to_string(value).expect("a string is written");
    serde_json::from_str(&text).expect("what was written is read")
}

/// The grammar of names a second time, as a machine that reads one byte at a time (distribution-spec, "Pulling
/// manifests").
fn is_name(text: &str) -> bool {
    #[derive(Clone, Copy)]
    enum At {
        Start,
        Word,
        Dot,
        Underscore,
        TwoUnderscores,
        Dashes,
    }
    let mut at = At::Start;
    for byte in text.bytes() {
        at = match (at, byte) {
            (_, b'a'..=b'z' | b'0'..=b'9') => At::Word,
            (At::Word, b'.') => At::Dot,
            (At::Word, b'_') => At::Underscore,
            (At::Underscore, b'_') => At::TwoUnderscores,
            (At::Word | At::Dashes, b'-') => At::Dashes,
            (At::Word, b'/') => At::Start,
            _ => return false,
        };
    }
    matches!(at, At::Word) && text.len() <= 255
}

/// The grammar of tags a second time.
fn is_tag(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_'));
    let rest = bytes.all(|byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-'));
    first && rest && text.chars().count() <= 128
}
