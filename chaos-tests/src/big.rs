//! Blobs that are not held in memory: made and checked mebibyte by mebibyte.

use crate::cluster::Node;
use futures::stream;
use portolan_oci::{Algorithm, Digest, Hasher};
use reqwest::{Body, Client};
use std::ops::Range;
use std::path::PathBuf;

const MIB: u64 = 1 << 20;

/// A blob of so many mebibytes; the same seed gives the same bytes.
#[derive(Clone, Copy, Debug)]
pub struct Big {
    seed: u64,
    mib: u64,
    /// Its digest.
    pub digest: Digest,
}

/// How a pull ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Pulled {
    /// Every promised byte came, and they have the digest.
    Whole,
    /// The response broke off after so many bytes.
    Cut(u64),
    /// Another status.
    Refused(u16),
    /// Nobody answered.
    Unanswered,
}

impl Big {
    /// Computes its digest.
    #[must_use]
    pub fn new(seed: u64, mib: u64) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        (0..mib).for_each(|number| hasher.update(&mebibyte(seed, number)));
        Self { seed, mib, digest: hasher.finish() }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.mib * MIB
    }

    /// Some of its bytes, which must lie inside it.
    #[must_use]
    pub fn bytes(&self, range: Range<u64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in range.start / MIB..range.end.div_ceil(MIB) {
            let (piece, begin) = (mebibyte(self.seed, number), number * MIB);
            let within = |offset: u64| usize::try_from(offset.saturating_sub(begin).min(MIB)).unwrap_or(usize::MAX);
            bytes.extend_from_slice(&piece[within(range.start)..within(range.end)]);
        }
        bytes
    }

    /// Pushes it in one stream.
    ///
    /// # Errors
    /// When it is not acknowledged.
    pub async fn push(&self, node: &Node, repo: &str) -> crate::Result<()> {
        self.push_across(node, node, repo).await
    }

    /// Pushes it in one stream, in a session that was begun at another node.
    ///
    /// # Errors
    /// When it is not acknowledged.
    pub async fn push_across(&self, begin: &Node, node: &Node, repo: &str) -> crate::Result<()> {
        let (http, Self { seed, mib, digest }) = (Client::new(), *self);
        let start = format!("http://{}/v2/{repo}/blobs/uploads/", begin.registry);
        let start = http.post(start).send().await?.error_for_status()?;
        let session = start.headers()["location"].to_str()?.to_owned();
        let separator = if session.contains('?') { '&' } else { '?' };
        let body = stream::iter((0..mib).map(move |number| Ok::<_, std::io::Error>(mebibyte(seed, number))));
        let finish = format!("http://{}{session}{separator}digest={digest}", node.registry);
        let done = http.put(finish).body(Body::wrap_stream(body)).send().await?;
        match done.status().as_u16() {
            201 => Ok(()),
            other => Err(format!("{other}: {}", done.text().await?).into()),
        }
    }

    /// Pulls it. `midway` is told, piece by piece, how many bytes have come.
    ///
    /// # Errors
    /// When a completed response has other bytes: that must never happen.
    pub async fn pull(&self, node: &Node, repo: &str, mut midway: impl AsyncFnMut(u64)) -> crate::Result<Pulled> {
        let url = format!("http://{}/v2/{repo}/blobs/{}", node.registry, self.digest);
        let Ok(mut answer) = Client::new().get(url).send().await else { return Ok(Pulled::Unanswered) };
        if answer.status() != 200 {
            return Ok(Pulled::Refused(answer.status().as_u16()));
        }
        if answer.content_length() != Some(self.size()) {
            return Err(format!("{:?} bytes are promised instead of {}", answer.content_length(), self.size()).into());
        }
        let (mut hasher, mut length) = (Hasher::new(Algorithm::Sha256), 0);
        loop {
            match answer.chunk().await {
                Ok(Some(bytes)) => {
                    hasher.update(&bytes);
                    length += bytes.len() as u64;
                    midway(length).await;
                }
                Ok(None) => break,
                Err(_) => return Ok(Pulled::Cut(length)),
            }
        }
        match hasher.finish() {
            _ if length != self.size() => Err(format!("completed after {length} bytes").into()),
            actual if actual != self.digest => Err(format!("completed with the bytes of {actual}").into()),
            _ => Ok(Pulled::Whole),
        }
    }

    /// Its files at a node.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn files(&self, node: &Node) -> crate::Result<Vec<PathBuf>> {
        let hex = self.digest.hex();
        let folder = node.data.join("blobs/sha256").join(&hex[..2]);
        let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(&hex) && !name.ends_with(".sum") {
                found.push(path);
            }
        }
        Ok(found)
    }

    /// Whether a node has one file of it, and that is right.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_file(&self, node: &Node) -> Result<(), String> {
        let files = self.files(node).map_err(|error| error.to_string())?;
        let [file] = &files[..] else { return Err(format!("{} files at {}", files.len(), node.name)) };
        let mut bytes = std::fs::File::open(file).map_err(|error| error.to_string())?;
        let (mut hasher, mut buffer) = (Hasher::new(Algorithm::Sha256), vec![0; 1 << 20]);
        loop {
            match std::io::Read::read(&mut bytes, &mut buffer) {
                Ok(0) => break,
                Ok(length) => hasher.update(&buffer[..length]),
                Err(error) => return Err(error.to_string()),
            }
        }
        if hasher.finish() == self.digest { Ok(()) } else { Err(format!("other bytes at {}", node.name)) }
    }
}

/// One mebibyte: cheap to make, different from its neighbours.
fn mebibyte(seed: u64, number: u64) -> Vec<u8> {
    let mut bytes = vec![0_u8; 1 << 20];
    let mut state = ((seed << 32) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for word in bytes.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    bytes
}
