//! A client that costs next to nothing: it lets the kernel drop what it receives, so that two cores can stand for two
//! hundred machines.

use portolan_chaos_tests::Result;
use portolan_oci::{Algorithm, Digest, Hasher};
use rustix::net::RecvFlags;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpSocket, TcpStream};

/// What is dropped or read at a time.
const BLOCK: usize = 1 << 20;
/// What a connection may have in the kernel: 600 of them must fit into memory.
const RECEIVE_BUFFER: u32 = 512 * 1024;
/// The longest head of an answer.
const LONGEST_HEAD: usize = 16 * 1024;
/// The largest body that is kept.
const LARGEST_KEPT: u64 = 8 << 20;
/// How long nothing may come.
const PATIENCE: Duration = Duration::from_secs(60);

const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*";

/// What becomes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// It is kept.
    Keep,
    /// It is dropped unseen: its length is all that is checked.
    Drop,
    /// It is hashed, then dropped.
    Hash,
}

/// What came.
#[derive(Debug)]
pub struct Received {
    /// How long it was.
    pub length: u64,
    /// The bytes, of [`Body::Keep`].
    pub bytes: Vec<u8>,
    /// Their digest, of [`Body::Hash`] and [`Body::Keep`].
    pub digest: Option<Digest>,
}

/// One connection to one node.
pub struct Wire {
    stream: TcpStream,
    address: String,
    block: Vec<u8>,
}

impl Wire {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn open(address: &str) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        let stream = tokio::time::timeout(PATIENCE, socket.connect(address.parse()?)).await??;
        stream.set_nodelay(true)?;
        Ok(Self { stream, address: address.to_owned(), block: vec![0; BLOCK] })
    }

    /// Gets something whose length the server tells.
    ///
    /// # Errors
    /// When the status is not 200, or the body ends early.
    pub async fn get(&mut self, path: &str, body: Body) -> Result<Received> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\naccept: {ACCEPTED}\r\n\r\n", self.address);
        self.stream.write_all(request.as_bytes()).await?;
        let (head, mut early) = self.head().await?;
        let (status, length) = parse(&head).ok_or_else(|| format!("{path}: an answer of another form: {head}"))?;
        if status != 200 {
            return Err(format!("{path}: {status}").into());
        }
        if body == Body::Keep && length > LARGEST_KEPT {
            return Err(format!("{path}: {length} bytes are too many to keep").into());
        }
        early.truncate(usize::try_from(length)?);
        let mut hasher = (body != Body::Drop).then(|| Hasher::new(Algorithm::Sha256));
        if let Some(hasher) = &mut hasher {
            hasher.update(&early);
        }
        let mut left = length - early.len() as u64;
        let mut bytes = if body == Body::Keep { early } else { Vec::new() };
        while left > 0 {
            let got = match &mut hasher {
                None => self.drop_some(left).await?,
                Some(hasher) => {
                    let got = self.read_some(left).await?;
                    hasher.update(&self.block[..got]);
                    if body == Body::Keep {
                        bytes.extend_from_slice(&self.block[..got]);
                    }
                    got
                }
            };
            if got == 0 {
                return Err(format!("{path}: cut short by {left} of {length} bytes").into());
            }
            left -= got as u64;
        }
        Ok(Received { length, bytes, digest: hasher.map(Hasher::finish) })
    }

    /// The head of an answer, and what came of the body with it.
    async fn head(&mut self) -> Result<(String, Vec<u8>)> {
        let mut head = Vec::new();
        loop {
            let got = self.read_some(LONGEST_HEAD as u64).await?;
            head.extend_from_slice(&self.block[..got]);
            if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                let body = head.split_off(end + 4);
                return Ok((String::from_utf8_lossy(&head).into_owned(), body));
            }
            if got == 0 || head.len() > LONGEST_HEAD {
                return Err(format!("{}: no answer", self.address).into());
            }
        }
    }

    async fn read_some(&mut self, most: u64) -> Result<usize> {
        let most = usize::try_from(most).unwrap_or(BLOCK).min(BLOCK);
        Ok(tokio::time::timeout(PATIENCE, self.stream.read(&mut self.block[..most])).await??)
    }

    /// Has the kernel drop what is there: with this flag TCP copies nothing to us.
    async fn drop_some(&mut self, most: u64) -> Result<usize> {
        let most = usize::try_from(most).unwrap_or(BLOCK).min(BLOCK);
        let (stream, block) = (&self.stream, &mut self.block);
        let dropped = stream.async_io(Interest::READABLE, || {
            let (_, dropped) = rustix::net::recv(stream, &mut block[..most], RecvFlags::TRUNC)?;
            Ok::<_, io::Error>(dropped)
        });
        Ok(tokio::time::timeout(PATIENCE, dropped).await??)
    }
}

/// Status and length of an answer.
fn parse(head: &str) -> Option<(u16, u64)> {
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Some((status, length.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::{Body, Wire, parse};
    use portolan_oci::Digest;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers every request with the same bytes, and ends the connection after so many of them.
    async fn server(body: Vec<u8>, says: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            while stream.read(&mut request).await.unwrap_or(0) > 0 {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {says}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(&body).await.unwrap();
                if body.len() < says {
                    return;
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn bytes_are_dropped_hashed_or_kept_and_the_connection_goes_on() {
        let body: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
        let address = server(body.clone(), body.len()).await;
        let mut wire = Wire::open(&address).await.unwrap();
        for what in [Body::Drop, Body::Hash, Body::Drop, Body::Keep] {
            let received = wire.get("/x", what).await.unwrap();
            assert_eq!(received.length, 3_000_000, "{what:?}");
            assert_eq!(received.digest, (what != Body::Drop).then(|| Digest::sha256_of(&body)), "{what:?}");
            assert_eq!(received.bytes, if what == Body::Keep { body.clone() } else { Vec::new() });
        }
    }

    #[tokio::test]
    async fn an_answer_that_ends_early_is_no_answer() {
        for what in [Body::Drop, Body::Hash] {
            let address = server(vec![7; 1_000], 2_000).await;
            let refused = Wire::open(&address).await.unwrap().get("/x", what).await.err().unwrap().to_string();
            assert!(refused.contains("cut short by 1000 of 2000"), "{refused}");
        }
    }

    #[test]
    fn heads_are_read_whatever_their_case() {
        assert_eq!(parse("HTTP/1.1 200 OK\r\nA: b\r\ncontent-LENGTH: 12\r\n\r\n"), Some((200, 12)));
        assert_eq!(parse("HTTP/1.1 503 Service Unavailable\r\n\r\n"), Some((503, 0)));
        assert_eq!(parse("nonsense"), None);
    }
}
