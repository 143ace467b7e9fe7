//! Pushes of many small blobs.

use crate::transfer::Payload;
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use portolan_chaos_tests::Result;
use portolan_oci::Digest;

/// Blobs that are pushed at once.
const AT_ONCE: usize = 64;

/// Pushes a blob in one request.
///
/// # Errors
/// When it is not acknowledged.
pub async fn push(http: &reqwest::Client, address: &str, repo: &str, digest: Digest, bytes: Bytes) -> Result<()> {
    let url = format!("http://{address}/v2/{repo}/blobs/uploads/?digest={digest}");
    let post = http.post(url).header("content-type", "application/octet-stream").body(bytes).send().await?;
    match post.status() {
        reqwest::StatusCode::CREATED => Ok(()),
        status => Err(format!("{digest}: {status}: {}", post.text().await?).into()),
    }
}

/// Pushes blobs of at most a MiB, many at once.
///
/// # Errors
/// When one is not acknowledged.
pub async fn push_all(http: &reqwest::Client, address: &str, repo: &str, payloads: &[Payload]) -> Result<()> {
    let whole = |payload: &Payload| payload.chunks().first().cloned().unwrap_or_default();
    let pushes = payloads.iter().map(|payload| push(http, address, repo, payload.digest(), whole(payload)));
    stream::iter(pushes).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
    Ok(())
}
