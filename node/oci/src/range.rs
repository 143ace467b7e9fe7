//! Which part of a blob: the headers of downloads and of uploads.

use crate::digest::Digest;
use crate::invalid::{Invalid, shown};
use std::fmt;
use std::ops::Range;

/// One range of a `Range` header (RFC 9110, section 14.1.2), before the blob's size is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// `a-b`: both ends included.
    FromTo(u64, u64),
    /// `a-`: from there to the end.
    From(u64),
    /// `-n`: the last n bytes.
    Last(u64),
}

/// The range lies outside the blob: 416 with `Content-Range: bytes */size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the range lies outside the {size} bytes")]
pub struct Unsatisfiable {
    /// The blob's size in bytes.
    pub size: u64,
}

impl ByteRange {
    /// Reads a `Range` header's value. `None` means: answer with the whole, as for a unit other than bytes or for
    /// several ranges at once, which a server may ignore (RFC 9110, section 14.2).
    ///
    /// # Errors
    /// [`Invalid::Range`] when it says `bytes=` and then no range.
    pub fn parse(header: &str) -> Result<Option<Self>, Invalid> {
        let refuse = |reason| Err(Invalid::Range { value: shown(header), reason });
        let Some((unit, set)) = header.split_once('=') else {
            return refuse("should read bytes=first-last, bytes=first- or bytes=-length");
        };
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return Ok(None);
        }
        if set.contains(',') {
            return Ok(None);
        }
        let Some((first, last)) = set.trim().split_once('-') else {
            return refuse("has no '-'");
        };
        match (number(first), number(last)) {
            (Number::None, Number::None) => refuse("names neither end"),
            (Number::Some(first), Number::None) => Ok(Some(Self::From(first))),
            (Number::None, Number::Some(length)) => Ok(Some(Self::Last(length))),
            (Number::Some(first), Number::Some(last)) if first <= last => Ok(Some(Self::FromTo(first, last))),
            (Number::Some(_), Number::Some(_)) => refuse("ends before it begins"),
            (Number::Bad, _) | (_, Number::Bad) => refuse("has an end that is not a number"),
        }
    }

    /// The bytes it means in a blob of that size, end excluded and never past the size.
    ///
    /// # Errors
    /// [`Unsatisfiable`] when no byte of the blob lies in it.
    pub fn resolve(self, size: u64) -> Result<Range<u64>, Unsatisfiable> {
        let range = match self {
            Self::FromTo(first, last) => first..last.saturating_add(1).min(size),
            Self::From(first) => first..size,
            Self::Last(length) => size.saturating_sub(length)..size,
        };
        if range.is_empty() { Err(Unsatisfiable { size }) } else { Ok(range) }
    }
}

/// Whether an `If-Range` names the content of that digest, so that the `Range` beside it counts (RFC 9110, section
/// 13.1.5). A date, a weak tag and what is no text name something else. Clients that leave out the quotes are
/// understood.
#[must_use]
pub fn if_range_names(if_range: &[u8], digest: &Digest) -> bool {
    let tag = if_range.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(if_range);
    tag == digest.to_string().as_bytes()
}

enum Number {
    None,
    Some(u64),
    Bad,
}

/// Digits only: `u64::from_str` would take a plus sign as well. What does not fit lies beyond any blob, as does the
/// greatest number that fits.
fn number(text: &str) -> Number {
    if text.is_empty() {
        return Number::None;
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Number::Bad;
    }
    Number::Some(text.parse().unwrap_or(u64::MAX))
}

/// The `Content-Range` of an upload's chunk: `first-last`, both included (distribution-spec, "Pushing a blob in
/// chunks"). `bytes first-last/total` of RFC 9110 is taken too, for clients that send it; the total is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    first: u64,
    last: u64,
}

impl ContentRange {
    /// Reads the header's value.
    ///
    /// # Errors
    /// [`Invalid::ContentRange`] when it is neither form.
    pub fn parse(header: &str) -> Result<Self, Invalid> {
        let refuse = |reason| Err(Invalid::ContentRange { value: shown(header), reason });
        let text = header.trim();
        let text = text.strip_prefix("bytes ").or_else(|| text.strip_prefix("bytes=")).unwrap_or(text);
        let (ends, total) = text.split_once('/').map_or((text, "*"), |(ends, total)| (ends, total));
        if total != "*" && !matches!(number(total), Number::Some(_)) {
            return refuse("has a total that is not a number");
        }
        let Some((first, last)) = ends.split_once('-') else {
            return refuse("should read first-last");
        };
        match (number(first), number(last)) {
            (Number::Some(_), Number::Some(u64::MAX)) => refuse("ends beyond any blob"),
            (Number::Some(first), Number::Some(last)) if first <= last => Ok(Self { first, last }),
            (Number::Some(_), Number::Some(_)) => refuse("ends before it begins"),
            _ => refuse("has an end that is not a number"),
        }
    }

    /// Where the chunk's first byte belongs.
    #[must_use]
    pub const fn first(self) -> u64 {
        self.first
    }

    /// Where its last byte belongs.
    #[must_use]
    pub const fn last(self) -> u64 {
        self.last
    }

    /// How many bytes the chunk has; never zero.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a content range is never empty")]
    pub const fn len(self) -> u64 {
        self.last - self.first + 1
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::{ByteRange, ContentRange, Unsatisfiable};
    use crate::error::ErrorCode;
    use proptest::{prelude::any, prop_assert, prop_assert_eq, proptest};

    #[test]
    fn a_range_header_is_read_ignored_or_refused() {
        let cases = [
            ("bytes=0-0", Ok(Some(ByteRange::FromTo(0, 0)))),
            ("bytes=5-9", Ok(Some(ByteRange::FromTo(5, 9)))),
            ("Bytes=5-", Ok(Some(ByteRange::From(5)))),
            ("bytes= 5-9 ", Ok(Some(ByteRange::FromTo(5, 9)))),
            ("bytes=-7", Ok(Some(ByteRange::Last(7)))),
            ("bytes=-0", Ok(Some(ByteRange::Last(0)))),
            ("bytes=0-18446744073709551615", Ok(Some(ByteRange::FromTo(0, u64::MAX)))),
            ("bytes=0-1,5-9", Ok(None)),
            ("lines=1-2", Ok(None)),
            ("bytes=9-5", Err(())),
            ("bytes=-", Err(())),
            ("bytes=", Err(())),
            ("bytes", Err(())),
            ("", Err(())),
            ("0-5", Err(())),
            ("bytes=a-b", Err(())),
            ("bytes=+1-2", Err(())),
            ("bytes=--5", Err(())),
            ("bytes=1-2-3", Err(())),
            ("bytes=0-18446744073709551616", Ok(Some(ByteRange::FromTo(0, u64::MAX)))),
            ("bytes=99999999999999999999-", Ok(Some(ByteRange::From(u64::MAX)))),
            ("bytes=-99999999999999999999", Ok(Some(ByteRange::Last(u64::MAX)))),
        ];
        for (header, want) in cases {
            let got = ByteRange::parse(header);
            if let Err(error) = &got {
                assert_eq!(error.code(), ErrorCode::RangeInvalid);
            }
            assert_eq!(got.map_err(|_| ()), want, "{header:?}");
        }
    }

    #[test]
    fn a_range_is_cut_at_the_end_or_unsatisfiable() {
        let cases = [
            (ByteRange::FromTo(0, 0), 10, Some(0..1)),
            (ByteRange::FromTo(0, 99), 10, Some(0..10)),
            (ByteRange::FromTo(9, 9), 10, Some(9..10)),
            (ByteRange::FromTo(10, 12), 10, None),
            (ByteRange::FromTo(0, u64::MAX), 10, Some(0..10)),
            (ByteRange::From(0), 10, Some(0..10)),
            (ByteRange::From(9), 10, Some(9..10)),
            (ByteRange::From(10), 10, None),
            (ByteRange::From(u64::MAX), 10, None),
            (ByteRange::FromTo(u64::MAX, u64::MAX), 10, None),
            (ByteRange::Last(3), 10, Some(7..10)),
            (ByteRange::Last(99), 10, Some(0..10)),
            (ByteRange::Last(0), 10, None),
            (ByteRange::From(0), 0, None),
            (ByteRange::Last(1), 0, None),
        ];
        for (range, size, want) in cases {
            assert_eq!(range.resolve(size), want.ok_or(Unsatisfiable { size }), "{range:?} of {size}");
        }
    }

    #[test]
    fn a_content_range_is_read_in_both_forms() {
        let cases = [
            ("0-0", Some((0, 0))),
            ("10-19", Some((10, 19))),
            ("bytes 10-19/*", Some((10, 19))),
            ("bytes 10-19/1000", Some((10, 19))),
            ("bytes=10-19", Some((10, 19))),
            (" 10-19 ", Some((10, 19))),
            ("19-10", None),
            ("10-", None),
            ("-10", None),
            ("", None),
            ("bytes */10", None),
            ("bytes 1-2/x", None),
            ("a-b", None),
            ("bytes10-19", None),
            ("0-18446744073709551615", None),
            ("0-99999999999999999999", None),
        ];
        for (header, want) in cases {
            let got = ContentRange::parse(header);
            if let Err(error) = &got {
                assert_eq!(error.code(), ErrorCode::BlobUploadInvalid);
            }
            assert_eq!(got.ok().map(|range| (range.first(), range.last())), want, "{header:?}");
        }
        let range = ContentRange::parse("10-19").unwrap();
        assert_eq!((range.len(), range.to_string().as_str()), (10, "10-19"));
    }

    proptest! {
        #[test]
        fn a_resolved_range_lies_within_the_size(first in any::<u64>(), last in any::<u64>(), size in any::<u64>()) {
            for range in [ByteRange::FromTo(first.min(last), last), ByteRange::From(first), ByteRange::Last(last)] {
                if let Ok(resolved) = range.resolve(size) {
                    prop_assert!(resolved.start < resolved.end && resolved.end <= size);
                }
            }
        }

        #[test]
        fn a_content_range_survives_its_text(first in 0u64..u64::MAX / 2, extra in 0u64..u64::MAX / 2) {
            let range = ContentRange { first, last: first + extra };
            prop_assert_eq!(ContentRange::parse(&range.to_string()).unwrap(), range);
        }
    }
}
