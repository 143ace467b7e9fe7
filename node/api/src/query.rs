//! The query of a request, and percent-decoding of its path.

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What is encoded in a value of a query: what names and digests have stays readable.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b':');

/// Keys and values, percent-decoded, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what follows the question mark. What is malformed is taken as it stands: the types judge it.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(&key.replace('+', " ")), decode(&value.replace('+', " ")))
                })
                .collect(),
        )
    }

    pub(crate) fn of(uri: &Uri) -> Self {
        Self::parse(uri.query().unwrap_or_default())
    }

    /// The first value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    /// Every value of a key.
    pub(crate) fn all<'q>(&'q self, key: &'q str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(found, _)| found == key).map(|(_, value)| value.as_str())
    }
}

/// Percent-decoding. What does not decode to UTF-8 gets a replacement character, which no name, tag or digest may
/// have.
pub(crate) fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// [`decode`] for a path. An escaped slash stays as it was written: it is data and separates nothing (RFC 3986, section
/// 2.2), and since a percent sign stands in no name, tag or digest, what has one is refused. No client escapes the
/// slashes of a name; a proxy that judges by the path would else see another one than this registry.
pub(crate) fn decode_path(path: &str) -> String {
    path.split('/').map(|segment| decode(segment).replace('/', "%2F")).collect::<Vec<_>>().join("/")
}

/// Percent-encodes a value for a query.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::{Query, decode, decode_path, encode};

    #[test]
    fn percent_signs_are_decoded_once_and_never_refused() {
        let cases = [
            ("plain", "plain"),
            ("sha256%3Aab", "sha256:ab"),
            ("a%2Fb", "a/b"),
            ("a%252Fb", "a%2Fb"),
            ("%", "%"),
            ("%2", "%2"),
            ("%zz", "%zz"),
            ("%%41", "%A"),
            ("%ff", "\u{fffd}"),
            ("%C3%A9", "é"),
        ];
        for (text, want) in cases {
            assert_eq!(decode(text), want, "{text}");
        }
    }

    #[test]
    fn an_escaped_slash_of_a_path_separates_nothing() {
        let cases = [
            ("a/b", "a/b"),
            ("a%2Fb/c", "a%2Fb/c"),
            ("a%2fb", "a%2Fb"),
            ("%2e%2e%2Fb", "..%2Fb"),
            ("sha256%3Aab/", "sha256:ab/"),
            ("a%252Fb", "a%2Fb"),
            ("", ""),
            ("/", "/"),
        ];
        for (path, want) in cases {
            assert_eq!(decode_path(path), want, "{path}");
        }
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        for text in ["a/b", "v1.0", "a b&c=d", "é%", "application/vnd.a+json"] {
            assert_eq!(decode(&encode(text)), text);
        }
        assert_eq!(encode("a b+c"), "a%20b%2Bc");
    }

    #[test]
    fn a_query_keeps_order_and_repetitions() {
        let query = Query::parse("tag=a&n=&tag=b+c&flag&&x=1=2");
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b c"]);
        assert_eq!(query.get("n"), Some(""));
        assert_eq!(query.get("flag"), Some(""));
        assert_eq!(query.get("x"), Some("1=2"));
        assert_eq!(query.get("y"), None);
    }
}
