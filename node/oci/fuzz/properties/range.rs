//! What holds for `Range` and `If-Range`.

use super::refusal::check_message;
use portolan_oci::range::if_range_names;
use portolan_oci::{ByteRange, Digest, ErrorCode, Unsatisfiable};

/// A `Range` on the first line, an `If-Range` on the second.
pub(crate) fn check(input: &[u8]) {
    let (header, validator) = match input.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (input, &[][..]),
    };
    // A header that is no text is none.
    if let Ok(header) = std::str::from_utf8(header) {
        range(header);
    }
    if_range(validator);
}

fn range(header: &str) {
    let parsed = ByteRange::parse(header);
    if let Some(want) = by_the_book(header) {
        assert_eq!(parsed, Ok(Some(want)), "{header:?}");
    }
    match parsed {
        Ok(Some(range)) => {
            let text = printed(range);
            assert_eq!(ByteRange::parse(&text), Ok(Some(range)), "{header:?} as {text:?}");
            for size in sizes(range) {
                resolved(range, size);
            }
        }
        Ok(None) => {
            let unit = header.split_once('=').map_or("", |(unit, _)| unit);
            let is_other = !unit.trim().eq_ignore_ascii_case("bytes");
            assert!(header.contains('=') && (is_other || header.contains(',')), "{header:?} is ignored");
        }
        Err(invalid) => {
            assert_eq!(invalid.code(), ErrorCode::RangeInvalid);
            check_message(&invalid.to_string());
        }
    }
}

/// Just the bytes of the blob that lie in the range, and never none.
fn resolved(range: ByteRange, size: u64) {
    let end = u128::from(size);
    // First and last byte, were the blob endless.
    let (first, last) = match range {
        ByteRange::FromTo(first, last) => (u128::from(first), u128::from(last)),
        ByteRange::From(first) => (u128::from(first), u128::MAX),
        ByteRange::Last(length) => (end.saturating_sub(u128::from(length)), if length == 0 { 0 } else { u128::MAX }),
    };
    let is_empty = first >= end || range == ByteRange::Last(0);
    match range.resolve(size) {
        Ok(bytes) => {
            assert!(bytes.start < bytes.end && bytes.end <= size, "{range:?} of {size}: {bytes:?}");
            assert!(!is_empty, "{range:?} of {size}: {bytes:?}");
            assert_eq!(u128::from(bytes.start), first, "{range:?} of {size}");
            assert_eq!(u128::from(bytes.end) - 1, last.min(end - 1), "{range:?} of {size}");
        }
        Err(Unsatisfiable { size: said }) => {
            assert!(is_empty && said == size, "{range:?} of {size} is refused");
        }
    }
}

/// Sizes at which something may change.
fn sizes(range: ByteRange) -> Vec<u64> {
    let ends = match range {
        ByteRange::FromTo(first, last) => [first, last],
        ByteRange::From(end) | ByteRange::Last(end) => [end, end],
    };
    let around = ends.into_iter().flat_map(|end| [end.saturating_sub(1), end, end.saturating_add(1)]);
    around.chain([0, 1, 2, 1 << 32, u64::MAX - 1, u64::MAX]).collect()
}

fn printed(range: ByteRange) -> String {
    match range {
        ByteRange::FromTo(first, last) => format!("bytes={first}-{last}"),
        ByteRange::From(first) => format!("bytes={first}-"),
        ByteRange::Last(length) => format!("bytes=-{length}"),
    }
}

/// A single range as RFC 9110, section 14.1.2, writes it; `None` for everything else.
fn by_the_book(header: &str) -> Option<ByteRange> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|digit| digit.is_ascii_digit());
    // Digit by digit: a number past 64 bits lies beyond any blob.
    let number = |text: &str| {
        text.bytes().fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    };
    match (is_number(first), is_number(last)) {
        (true, true) if number(first) <= number(last) => Some(ByteRange::FromTo(number(first), number(last))),
        (true, false) if last.is_empty() => Some(ByteRange::From(number(first))),
        (false, true) if first.is_empty() => Some(ByteRange::Last(number(last))),
        _ => None,
    }
}

/// Only the content's own tag makes a range count, and a weak one never does.
fn if_range(validator: &[u8]) {
    let digest = Digest::sha256_of(b"portolan");
    let tag = format!("\"{digest}\"");
    assert!(if_range_names(tag.as_bytes(), &digest) && !if_range_names(format!("W/{tag}").as_bytes(), &digest));
    let names_it = [tag.as_bytes(), digest.to_string().as_bytes()].contains(&validator);
    assert_eq!(if_range_names(validator, &digest), names_it, "{:?}", String::from_utf8_lossy(validator));
}
