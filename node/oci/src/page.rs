//! Which part of a list.

use crate::invalid::{Invalid, shown};

/// How many entries a page holds, from the query's `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(usize);

impl PageSize {
    /// Reads `n`. Without one the page holds `limit` entries, and never more than that: a longer list goes on behind
    /// a `Link`.
    ///
    /// # Errors
    /// [`Invalid::PageSize`] when it is not a whole number of digits.
    pub fn parse(n: Option<&str>, limit: usize) -> Result<Self, Invalid> {
        let Some(n) = n else {
            return Ok(Self(limit));
        };
        if n.is_empty() || !n.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Invalid::PageSize { value: shown(n), reason: "is not a number of entries" });
        }
        // What does not fit is more than the limit.
        Ok(Self(n.parse().map_or(limit, |n: usize| n.min(limit))))
    }

    /// As a number; zero asks for an empty list.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0
    }
}

/// A page of a list in lexical order (distribution-spec, "Listing Tags").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// At most so many entries.
    pub n: PageSize,
    /// Only those after this one, which need not exist.
    pub last: Option<String>,
}

impl Page {
    /// Reads `n` and `last`, both already percent-decoded. An empty `last` is none.
    ///
    /// # Errors
    /// As [`PageSize::parse`].
    pub fn parse(n: Option<&str>, last: Option<&str>, limit: usize) -> Result<Self, Invalid> {
        let last = last.filter(|last| !last.is_empty()).map(str::to_owned);
        Ok(Self { n: PageSize::parse(n, limit)?, last })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::{Page, PageSize};
    use crate::error::ErrorCode;

    #[test]
    fn a_page_size_is_a_number_and_bounded() {
        let cases = [
            (None, Some(100)),
            (Some("0"), Some(0)),
            (Some("7"), Some(7)),
            (Some("007"), Some(7)),
            (Some("101"), Some(100)),
            (Some("99999999999999999999999999"), Some(100)),
            (Some(""), None),
            (Some("-1"), None),
            (Some("+1"), None),
            (Some("1.5"), None),
            (Some("ten"), None),
            (Some(" 1"), None),
        ];
        for (n, want) in cases {
            let got = PageSize::parse(n, 100);
            if let Err(error) = &got {
                assert_eq!(error.code(), ErrorCode::PaginationNumberInvalid);
            }
            assert_eq!(got.ok().map(PageSize::get), want, "{n:?}");
        }
    }

    #[test]
    fn an_empty_last_is_none() {
        assert_eq!(Page::parse(None, Some(""), 5).unwrap().last, None);
        assert_eq!(Page::parse(None, Some("v1"), 5).unwrap().last.as_deref(), Some("v1"));
    }
}
