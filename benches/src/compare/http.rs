//! One bare HTTP connection that is kept open: what a client costs beside the server is as little as can be.

use super::load::Meter;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use portolan_chaos_tests::Result;
use portolan_oci::{Algorithm, Digest, Hasher};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// No single answer takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// A connection to one server, opened at the first request and again after a failure.
pub struct Connection {
    address: String,
    open: Option<Open>,
}

struct Open {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What must be true of an answer's body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Check {
    /// Its length; none for any.
    pub length: Option<u64>,
    /// Its digest; none when it is not hashed.
    pub digest: Option<Digest>,
}

impl Connection {
    /// To a server at `host:port`.
    #[must_use]
    pub fn new(address: &str) -> Self {
        Self { address: address.to_owned(), open: None }
    }

    /// Sends a GET or a HEAD, drops the body as it comes, and checks what it was.
    ///
    /// # Errors
    /// When the status is not 200, or the body is not what it must be.
    pub async fn read(&mut self, method: Method, path: &str, check: Check, meter: &Meter) -> Result<()> {
        let is_head = method == Method::HEAD;
        let answer = self.send(method, path, &[], Bytes::new()).await?;
        if answer.status() != StatusCode::OK {
            return Err(format!("{path}: {}", answer.status()).into());
        }
        let mut body = answer.into_body();
        let (mut length, mut hasher) = (0, check.digest.map(|_| Hasher::new(Algorithm::Sha256)));
        while let Some(frame) = tokio::time::timeout(LIMIT, body.frame()).await? {
            let Ok(data) = frame?.into_data() else { continue };
            meter.add(data.len());
            length += data.len() as u64;
            if let Some(hasher) = &mut hasher {
                hasher.update(&data);
            }
        }
        if is_head {
            return Ok(());
        }
        match (check.length, hasher.map(Hasher::finish)) {
            (Some(wanted), _) if wanted != length => Err(format!("{path}: {length} bytes of {wanted}").into()),
            (_, found) if found != check.digest => Err(format!("{path}: wrong bytes").into()),
            _ => Ok(()),
        }
    }

    /// Sends a GET and gives the body and the path in its `Link`.
    ///
    /// # Errors
    /// When the status is not 200.
    pub async fn page(&mut self, path: &str, meter: &Meter) -> Result<(Bytes, Option<String>)> {
        let answer = self.send(Method::GET, path, &[], Bytes::new()).await?;
        if answer.status() != StatusCode::OK {
            return Err(format!("{path}: {}", answer.status()).into());
        }
        let next = answer.headers().get(header::LINK).and_then(|link| next_page(link.to_str().ok()?));
        let body = tokio::time::timeout(LIMIT, answer.into_body().collect()).await??.to_bytes();
        meter.add(body.len());
        Ok((body, next))
    }

    /// Sends a PUT with a body in memory.
    ///
    /// # Errors
    /// When the status is not 201.
    pub async fn put(&mut self, path: &str, media_type: &str, body: Bytes, meter: &Meter) -> Result<()> {
        let length = body.len();
        let answer = self.send(Method::PUT, path, &[(header::CONTENT_TYPE, media_type)], body).await?;
        let status = answer.status();
        let text = tokio::time::timeout(LIMIT, answer.into_body().collect()).await??.to_bytes();
        if status != StatusCode::CREATED {
            return Err(format!("{path}: {status}: {}", String::from_utf8_lossy(&text)).into());
        }
        meter.add(length);
        Ok(())
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(header::HeaderName, &str)],
        body: Bytes,
    ) -> Result<Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.address);
        request = request.header(header::ACCEPT, ACCEPTED);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.body(Full::new(body))?;
        // A connection that failed is not used again, and one whose body was given up cannot be.
        let mut open = match self.open.take().filter(|open| !open.sender.is_closed()) {
            Some(open) => open,
            None => connect(&self.address).await?,
        };
        tokio::time::timeout(LIMIT, open.sender.ready()).await??;
        let answer = tokio::time::timeout(LIMIT, open.sender.send_request(request)).await??;
        self.open = Some(open);
        Ok(answer)
    }
}

const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*";

async fn connect(address: &str) -> Result<Open> {
    let stream = tokio::time::timeout(LIMIT, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // What breaks a connection is told by the request that was on it.
    let driver = tokio::spawn(async move { drop(connection.await) });
    Ok(Open { sender, driver })
}

/// The path in `<PATH>; rel="next"`.
fn next_page(link: &str) -> Option<String> {
    let (target, _) = link.strip_prefix('<')?.split_once('>')?;
    let path = target.strip_prefix("http://").and_then(|rest| rest.find('/').map(|at| &rest[at..]));
    Some(path.unwrap_or(target).to_owned())
}

#[cfg(test)]
mod tests {
    use super::next_page;

    #[test]
    fn the_next_page_is_a_path_whoever_wrote_the_link() {
        for (link, want) in [
            ("</v2/a/tags/list?last=b&n=2>; rel=\"next\"", Some("/v2/a/tags/list?last=b&n=2")),
            ("<http://h:1/v2/a/tags/list?n=2>; rel=\"next\"", Some("/v2/a/tags/list?n=2")),
            ("nonsense", None),
        ] {
            assert_eq!(next_page(link).as_deref(), want, "{link}");
        }
    }
}
