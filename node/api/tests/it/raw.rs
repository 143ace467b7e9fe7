//! Requests as bytes, for what no client library would send.

use portolan_oci::ErrorBody;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer, read by hand.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether `100 Continue` came first.
    pub(crate) continued: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The code of an error's body; empty when there is none, as in an answer to HEAD.
    pub(crate) fn code(&self) -> String {
        let body = serde_json::from_slice::<ErrorBody>(&self.body);
        body.ok().and_then(|body| Some(body.errors.first()?.code.to_string())).unwrap_or_default()
    }
}

/// A request as it is usually written.
pub(crate) fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// Sends bytes over a connection of their own. `None` when it is closed without an answer.
pub(crate) async fn exchange(address: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let answered = timeout(PATIENCE, async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        let bodiless = bytes.starts_with(b"HEAD ");
        // Who refuses early may close before all of it was written.
        let (_, answer) = tokio::join!(writer.write_all(bytes), read(&mut reader, bodiless));
        answer
    });
    answered.await.unwrap_or_else(|_| panic!("no answer to {}", shown(bytes)))
}

/// Bytes as a failure shows them.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(1500)];
    format!("{} bytes: {}", bytes.len(), start.escape_ascii())
}

async fn read(reader: &mut (impl AsyncReadExt + Unpin), bodiless: bool) -> Option<Answer> {
    let mut bytes = Vec::new();
    let mut continued = false;
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let (status, headers) = head(&bytes[..end])?;
            bytes.drain(..end + 4);
            if status == 100 {
                continued = true;
                continue;
            }
            let mut answer = Answer { status, headers, body: bytes, continued };
            let length = answer.header("Content-Length").and_then(|length| length.parse().ok());
            let length: usize = if bodiless || matches!(status, 204 | 304) { 0 } else { length.unwrap_or(usize::MAX) };
            while answer.body.len() < length && reader.read_buf(&mut answer.body).await.unwrap_or(0) > 0 {}
            return Some(answer);
        }
        // A reset ends it as well.
        if reader.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            assert!(bytes.is_empty(), "an answer that breaks off: {}", shown(&bytes));
            return None;
        }
    }
}

fn head(bytes: &[u8]) -> Option<(u16, Vec<(String, String)>)> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let pair = |line: &str| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    Some((status, lines.filter_map(pair).collect()))
}
