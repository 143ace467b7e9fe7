//! Requests put together from nasty pieces.

use super::dice::pick;
use rand::{Rng, RngCore, rngs::StdRng};

/// What exists on the server.
pub(super) struct Known {
    pub(super) image: String,
    pub(super) blob: String,
    /// Locations of sessions.
    pub(super) sessions: Vec<String>,
}

const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"];
/// Those that no parser should take.
const NO_METHODS: [&str; 6] = ["G\0T", "", " ", "GET\t", "P\u{e9}T", "CONNECT"];
/// Targets, each with a method that it answers.
const TARGETS: [(&str, &str); 26] = [
    ("GET", "/v2/NAME/tags/list"),
    ("GET", "/v2/NAME/manifests/REF"),
    ("PUT", "/v2/NAME/manifests/REF"),
    ("HEAD", "/v2/NAME/manifests/REF"),
    ("DELETE", "/v2/NAME/manifests/REF"),
    ("GET", "/v2/NAME/blobs/REF"),
    ("GET", "/v2/NAME/blobs/BLOB"),
    ("GET", "/v2/a/blobs/BLOB"),
    ("DELETE", "/v2/NAME/blobs/REF"),
    ("POST", "/v2/NAME/blobs/uploads/"),
    ("POST", "/v2/NAME/blobs/uploads"),
    ("PATCH", "/v2/NAME/blobs/uploads/REF"),
    ("GET", "/v2/NAME/referrers/REF"),
    ("PATCH", "SESSION"),
    ("PATCH", "SESSION"),
    ("PUT", "SESSION"),
    ("GET", "/v2/_catalog"),
    ("GET", "/v2/"),
    ("GET", "/v2//"),
    ("GET", "/api/v1/cluster"),
    ("GET", "/api/v1/REF"),
    ("GET", "//v2//a"),
    ("GET", "http://x/v2/NAME/manifests/REF"),
    ("GET", "http://user@[::1]:99999/v2/"),
    ("OPTIONS", "*"),
    ("GET", "REF"),
];
const NAMES: [&str; 26] = [
    "a",
    "a",
    "a",
    "b/c",
    "A",
    "..",
    "a/../b",
    ".",
    "a//b",
    "",
    "a%2Fb",
    "a%2fb",
    "a%252Fb",
    "%2e%2e%2f",
    "%00",
    "a%00",
    "%c0%af",
    "%ED%A0%80",
    "%FF%FE",
    "a%",
    "a%2",
    "%zz",
    "\u{e9}",
    "a\\b",
    "_",
    "blobs/uploads",
];
const REFERENCES: [&str; 22] = [
    "t",
    "none",
    "IMAGE",
    "BLOB",
    "IMAGE",
    "BLOB",
    "-x",
    "LONG",
    "sha256:",
    "sha256:zz",
    "sha512:00",
    "md5:00",
    ":",
    "@",
    "%00",
    "1.x",
    "1.01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "9.01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "18446744073709551616.x",
    "..%2f..",
    "%c0%ae",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
];
const QUERIES: [&str; 26] = [
    "",
    "",
    "",
    "",
    "digest=BLOB",
    "digest=IMAGE",
    "digest=REF",
    "digest=",
    "n=0",
    "n=-1",
    "n=99999999999999999999",
    "n=%00",
    "n=1&last=REF",
    "last=%FF",
    "mount=BLOB&from=a",
    "mount=REF&from=NAME",
    "mount=&from=",
    "tag=x&tag=y",
    "tag=REF",
    "artifactType=%0d%0aX:%20y",
    "ns=evil%0d%0aX-Injected:%201",
    "&&&==&%",
    "?",
    "LONG",
    "n=1#x",
    "ns=%C3%A9",
];
/// What no target may have as it stands.
const RAW: [&str; 6] =
    ["/v2/\u{e9}/tags/list", "/v2/a b/tags/list", "a/b", "/v2/\0", "/v2/\t", "/v2/a/tags/list?x=\u{e9} y"];
/// Headers that contradict each other or themselves, or that are none.
const BAD_HEADERS: [&str; 21] = [
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: gzip",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 5",
    "Content-Length: 5\r\nContent-Length: 6",
    "Content-Length: 5\r\nContent-Length: 5",
    "Content-Length: -1",
    "Content-Length: +5",
    "Content-Length: 5, 5",
    "Content-Length: 18446744073709551615",
    "Content-Length: 99999999999999999999",
    "Content-Length: 0x5",
    "X-Request-Id: \u{1}x",
    "Content-Type: \u{7f}",
    "no colon at all",
    " folded: line",
    ": nameless",
    "X\0: y",
    "X: \0y",
    "Host: a\r\nHost: b",
    "Transfer-Encoding : chunked",
];
const HEADERS: [&str; 44] = [
    "Content-Range: 0-4",
    "Content-Range: 0-4",
    "Content-Range: 5-9",
    "Content-Range: 9-5",
    "Content-Range: bytes 0-4/5",
    "Content-Range: x",
    "Content-Range: 0-18446744073709551615",
    "Content-Range: 18446744073709551614-18446744073709551615",
    "Content-Range: 0-18446744073709551614",
    "Content-Range: -",
    "Range: bytes=0-0",
    "Range: bytes=1-",
    "Range: bytes=-1",
    "Range: bytes=-0",
    "Range: bytes=9-1",
    "Range: bytes=0-0,2-2,1-1",
    "Range: bytes=18446744073709551615-",
    "Range: x",
    "Range: bytes=\u{e9}",
    "If-Range: \"x\"",
    "If-Range: BLOB",
    "If-None-Match: *",
    "If-None-Match: \"BLOB\"",
    "If-None-Match: W/\"IMAGE\",,",
    "If-Match: \"x\"",
    "Content-Type: application/vnd.oci.image.manifest.v1+json",
    "Content-Type: application/vnd.oci.image.index.v1+json",
    "Content-Type: x/y",
    "Content-Type: ;",
    "Content-Type: application/vnd.docker.distribution.manifest.v1+json",
    "Expect: 100-continue",
    "Expect: 200-ok",
    "Transfer-Encoding: chunked",
    "Content-Length: 0",
    "Content-Length: 5",
    "Host: ",
    "X-Request-Id: LONG",
    "traceparent: 00-x",
    "Authorization: Bearer s3cret",
    "Authorization: Basic ====",
    "Accept: \u{e9};q=2",
    "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nConnection: Upgrade, HTTP2-Settings",
    "Connection: keep-alive",
    "Trailer: Content-Length",
];
const BODIES: [&str; 14] = [
    "",
    "",
    "12345",
    "12345",
    "5\r\n12345\r\n0\r\n\r\n",
    "zz\r\n12345\r\n0\r\n\r\n",
    "FFFFFFFFFFFFFFFFF\r\nx",
    "5\r\n123",
    "5;ext=\"\r\n12345\r\n0\r\nContent-Length: 9\r\n\r\n",
    "-5\r\n12345\r\n0\r\n\r\n",
    "{\"schemaVersion\":2}",
    "{}",
    "\0\0\0\0\0",
    "0\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
];
const VERSIONS: [&str; 9] =
    ["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/9.9", "http/1.1 x"];
/// One request in so many is wrong in its very form.
const BROKEN: u32 = 8;

/// Where requests come from.
pub(super) struct Grammar<'k> {
    random: StdRng,
    known: &'k Known,
}

impl<'k> Grammar<'k> {
    pub(super) fn new(random: StdRng, known: &'k Known) -> Self {
        Self { random, known }
    }

    fn one_in(&mut self, many: u32) -> bool {
        self.random.random_range(0..many) == 0
    }

    fn of(&mut self, list: &[&'static str]) -> &'static str {
        pick(&mut self.random, list)
    }

    /// Fills in what stands for something else.
    fn fill(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        // What exists is named half of the time, so that the storm goes deep as well.
        while text.contains("NAME") {
            let name = if self.one_in(2) { "a" } else { self.of(&NAMES) };
            text = text.replacen("NAME", name, 1);
        }
        while text.contains("REF") {
            let reference = if self.one_in(2) { self.of(&["t", "IMAGE", "BLOB"]) } else { self.of(&REFERENCES) };
            text = text.replacen("REF", reference, 1);
        }
        if text.contains("LONG") {
            let length = pick(&mut self.random, &[&129, &300, &9000, &70_000]);
            text = text.replace("LONG", &"l".repeat(*length));
        }
        let session = &self.known.sessions[self.random.random_range(0..self.known.sessions.len())];
        text.replace("IMAGE", &self.known.image).replace("BLOB", &self.known.blob).replace("SESSION", session)
    }

    fn method_and_target(&mut self) -> (&'static str, String) {
        let (method, target) = TARGETS[self.random.random_range(0..TARGETS.len())];
        let target = self.fill(target);
        let query = self.of(&QUERIES);
        let target = match self.fill(query).as_str() {
            "" => target,
            query => format!("{target}?{query}"),
        };
        (if self.one_in(3) { self.of(&METHODS) } else { method }, target)
    }

    fn headers(&mut self) -> Vec<String> {
        let count = self.random.random_range(0..4);
        let mut headers: Vec<String> = (0..count)
            .map(|_| {
                let header = self.of(&HEADERS);
                self.fill(header)
            })
            .collect();
        if self.one_in(100) {
            headers.extend((0..200).map(|number| format!("X-{number}: y")));
        }
        if self.one_in(150) {
            headers.push(format!("X-Huge: {}", "h".repeat(600_000)));
        }
        headers
    }

    /// A request over HTTP/1, with an announced length unless its headers say something of it.
    pub(super) fn request(&mut self) -> Vec<u8> {
        let is_broken = self.one_in(BROKEN);
        let (mut method, mut target) = self.method_and_target();
        if is_broken && self.one_in(2) {
            method = self.of(&NO_METHODS);
        } else if is_broken && self.one_in(2) {
            target = self.of(&RAW).to_owned();
        }
        let version = if is_broken { self.of(&VERSIONS) } else { "HTTP/1.1" };
        let end = if is_broken { pick(&mut self.random, &["\r\n", "\n", "\r", "\0\r\n"]) } else { "\r\n" };
        let (mut headers, body) = (self.headers(), self.of(&BODIES));
        if self.one_in(BROKEN) {
            headers.push(self.of(&BAD_HEADERS).to_owned());
        }
        let mut head = format!("{method} {target} {version}{end}Host: x{end}");
        if !headers.iter().any(|header| header.starts_with("Connection")) {
            head.push_str(&format!("Connection: close{end}"));
        }
        let is_framed = headers.iter().any(|header| header.starts_with("Content-L") || header.starts_with("Transfer"));
        if !is_framed {
            head.push_str(&format!("Content-Length: {}{end}", body.len()));
        }
        for header in &headers {
            head.push_str(&format!("{header}{end}"));
        }
        head.push_str(end);
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body.as_bytes());
        if is_broken && self.one_in(4) {
            // Bytes that are no text at all, somewhere.
            let at = self.random.random_range(0..=bytes.len());
            bytes.splice(at..at, [0xff, 0xc0, 0x80, 0]);
        }
        bytes
    }

    /// A connection over HTTP/2 with a request that is well-formed as such, or with frames that are not.
    pub(super) fn http2(&mut self) -> Vec<u8> {
        const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let mut bytes = [PREFACE, &frame(4, 0, 0, b"")].concat();
        if self.one_in(BROKEN) {
            for _ in 0..self.random.random_range(1..4) {
                let mut payload = vec![0; self.random.random_range(0..40)];
                self.random.fill_bytes(&mut payload);
                let [kind, flags, stream] =
                    [self.random.random_range(0..12), self.random.random(), self.random.random_range(0..4)];
                bytes.extend(frame(kind, flags, stream.into(), &payload));
            }
            return bytes;
        }
        let ((method, target), body) = (self.method_and_target(), self.of(&BODIES));
        // A longer one does not fit into the one frame that a client may send unasked.
        let target: String = target.chars().take(8000).collect();
        let mut block = Vec::new();
        for (name, value) in [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", &target)] {
            literal(&mut block, name, value);
        }
        for header in self.headers().iter().filter(|header| header.len() < 4000).take(20) {
            if let Some((name, value)) = header.split_once(": ") {
                literal(&mut block, &name.to_lowercase(), value);
            }
        }
        const END_STREAM: u8 = 1;
        const END_HEADERS: u8 = 4;
        let is_whole = body.is_empty() || self.one_in(4);
        bytes.extend(frame(1, END_HEADERS | if is_whole { END_STREAM } else { 0 }, 1, &block));
        if !is_whole {
            bytes.extend(frame(0, END_STREAM, 1, body.as_bytes()));
        }
        bytes
    }
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header as a literal without indexing and without Huffman's code (RFC 7541, section 6.2.2).
fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        integer(block, text.len());
        block.extend_from_slice(text.as_bytes());
    }
}

/// A length with a prefix of seven bits (RFC 7541, section 5.1).
fn integer(block: &mut Vec<u8>, length: usize) {
    const PREFIX: usize = 127;
    let Some(mut rest) = length.checked_sub(PREFIX) else {
        block.push(length as u8);
        return;
    };
    block.push(PREFIX as u8);
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}
