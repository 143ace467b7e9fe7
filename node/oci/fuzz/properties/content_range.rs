//! What holds for the `Content-Range` of an upload's chunk.

use super::refusal::check_message;
use portolan_oci::{ContentRange, ErrorCode};

/// A header's value.
pub(crate) fn check(input: &[u8]) {
    // A header that is no text is none.
    let Ok(header) = std::str::from_utf8(input) else { return };
    let parsed = ContentRange::parse(header);
    if let Some((first, last)) = by_the_book(header) {
        let found = parsed.as_ref().ok().map(|range| (u128::from(range.first()), u128::from(range.last())));
        assert_eq!(found, Some((first, last)), "{header:?}");
    }
    match parsed {
        Ok(range) => {
            assert!(range.first() <= range.last(), "{header:?}: {range:?}");
            assert_eq!(u128::from(range.len()), u128::from(range.last()) - u128::from(range.first()) + 1);
            // An offset after the chunk is a number too.
            assert!(range.first().checked_add(range.len()).is_some(), "{header:?}: {range:?}");
            let text = range.to_string();
            let others = [format!("bytes {text}/*"), format!("bytes {text}/0"), format!("bytes={text}")];
            for form in others.into_iter().chain([text]) {
                assert_eq!(ContentRange::parse(&form), Ok(range), "{header:?} as {form:?}");
            }
        }
        Err(invalid) => {
            assert_eq!(invalid.code(), ErrorCode::BlobUploadInvalid);
            check_message(&invalid.to_string());
        }
    }
}

/// The form of the distribution specification, and that of RFC 9110, section 14.4, with ends that a blob can have.
fn by_the_book(header: &str) -> Option<(u128, u128)> {
    let ends = match header.strip_prefix("bytes ") {
        None => header,
        Some(rest) => {
            let (ends, total) = rest.split_once('/')?;
            let is_total = total == "*" || (!total.is_empty() && total.bytes().all(|byte| byte.is_ascii_digit()));
            is_total.then_some(ends)?
        }
    };
    let (first, last) = ends.split_once('-')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.len() <= 30 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.bytes().fold(0u128, |sum, digit| sum * 10 + u128::from(digit - b'0')))
    };
    let (first, last) = (number(first)?, number(last)?);
    (first <= last && last < u128::from(u64::MAX)).then_some((first, last))
}
