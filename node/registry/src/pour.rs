//! Streams a request's body into a session's part, and decides what becomes of the part when that ends badly.

use crate::config::ms;
use crate::error::{BodyError, RegistryError};
use crate::registry::Registry;
use crate::session::{Session, Turn};
use crate::telemetry;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use portolan_oci::ContentRange;
pub use portolan_peer::Chunk;
use portolan_store::{Part, PartWriter};

/// A request's body.
pub type UploadBody = BoxStream<'static, Result<Bytes, BodyError>>;

/// Refuses a chunk that does not begin where the session ends, or that contradicts itself.
pub(crate) fn check(chunk: Chunk, length: u64) -> Result<(), RegistryError> {
    let Some(range) = chunk.range else { return Ok(()) };
    if range.first() != length {
        return Err(RegistryError::OutOfOrder { start: range.first(), length });
    }
    match chunk.length {
        Some(found) if found != range.len() => Err(RegistryError::SizeMismatch { expected: range.len(), found }),
        _ => Ok(()),
    }
}

fn expected(chunk: Chunk) -> Option<u64> {
    chunk.range.map(ContentRange::len).or(chunk.length)
}

/// What is left after a pour: the part with everything that arrived in it, durable, and how the body ended.
pub(crate) struct Poured {
    pub(crate) part: Part,
    pub(crate) end: Result<(), RegistryError>,
}

impl Registry {
    /// Appends a body to a part. Whatever ends it (the client goes away or falls silent, another request takes over,
    /// the node stops), the bytes that arrived are durable when this returns.
    ///
    /// # Errors
    /// The disk failed: the part is closed, and what it holds is what was synced before.
    pub(crate) async fn pour(
        &self,
        session: &Session,
        turn: &Turn,
        part: Part,
        chunk: Chunk,
        body: UploadBody,
    ) -> Result<Poured, RegistryError> {
        let mut writer = part.into_writer();
        let end = tokio::select! {
            biased;
            () = turn.taken_over.cancelled() => Err(RegistryError::Superseded),
            () = self.stop.cancelled() => Err(RegistryError::Stopping),
            end = self.copy(session, &mut writer, chunk, body) => end,
        };
        if let Err(error @ (RegistryError::StorageFull | RegistryError::Store(_))) = end {
            return Err(error);
        }
        let part = writer.finish().await?.sync_async().await?;
        session.set_length(part.len());
        session.touch();
        Ok(Poured { part, end })
    }

    async fn copy(
        &self,
        session: &Session,
        writer: &mut PartWriter,
        chunk: Chunk,
        mut body: UploadBody,
    ) -> Result<(), RegistryError> {
        let idle_ms = self.config.uploads.idle_timeout_ms;
        let expected = expected(chunk);
        let written = writer.written();
        let limit = self.config.limits.blob_bytes;
        let most = limit.saturating_sub(*written.borrow());
        if expected.is_some_and(|expected| expected > most) {
            return Err(RegistryError::BlobTooLarge { limit });
        }
        let mut found = 0_u64;
        loop {
            let next = tokio::time::timeout(ms(idle_ms), body.next()).await;
            let mut bytes = match next.map_err(|_| RegistryError::Idle { idle_ms })? {
                Some(bytes) => bytes?,
                None => break,
            };
            let room = expected.unwrap_or(most) - found;
            let excess = bytes.len() as u64 > room;
            if excess {
                bytes.truncate(usize::try_from(room).unwrap_or(usize::MAX));
            }
            found += bytes.len() as u64;
            if !bytes.is_empty() {
                telemetry::upload_bytes().increment(bytes.len() as u64);
                writer.write(bytes).await?;
                session.set_length(*written.borrow());
            }
            if excess {
                return Err(match expected {
                    Some(expected) => RegistryError::SizeMismatch { expected, found: expected + 1 },
                    None => RegistryError::BlobTooLarge { limit },
                });
            }
        }
        match expected {
            Some(expected) if expected != found => Err(RegistryError::SizeMismatch { expected, found }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::{Chunk, check};
    use crate::error::RegistryError;
    use portolan_oci::ContentRange;

    #[test]
    fn a_chunk_must_begin_where_the_session_ends_and_agree_with_itself() {
        let range = |text: &str| Some(ContentRange::parse(text).unwrap());
        let cases = [
            (Chunk { range: None, length: None }, 5, "ok"),
            (Chunk { range: None, length: Some(9) }, 5, "ok"),
            (Chunk { range: range("5-9"), length: None }, 5, "ok"),
            (Chunk { range: range("5-9"), length: Some(5) }, 5, "ok"),
            (Chunk { range: range("5-9"), length: Some(4) }, 5, "size"),
            (Chunk { range: range("4-9"), length: None }, 5, "order"),
            (Chunk { range: range("6-9"), length: None }, 5, "order"),
            (Chunk { range: range("6-9"), length: Some(1) }, 5, "order"),
        ];
        for (chunk, length, want) in cases {
            let got = match check(chunk, length) {
                Ok(()) => "ok",
                Err(RegistryError::SizeMismatch { .. }) => "size",
                Err(RegistryError::OutOfOrder { .. }) => "order",
                Err(other) => panic!("{other}"),
            };
            assert_eq!(got, want, "{chunk:?} at {length}");
        }
    }
}
