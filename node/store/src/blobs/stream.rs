//! A blob file as a stream: batches are read on the blocking pool, up to two ahead of the consumer, so that a slow
//! client holds no thread and a fast one never waits for the disk.

use super::reader::BlobReader;
use crate::error::StoreError;
use bytes::Bytes;
use futures::Stream;
use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::task::{JoinHandle, spawn_blocking};

/// How many batches are being read while the consumer has one.
const READ_AHEAD: usize = 2;

/// See [`BlobReader::stream`]. After an error it ends. Dropped, a read that is under way ends by itself.
#[derive(Debug)]
pub struct BlobStream {
    reader: BlobReader,
    /// Where the next batch begins.
    next: u64,
    end: u64,
    reading: VecDeque<JoinHandle<Result<Bytes, StoreError>>>,
    batch: Bytes,
    chunk_bytes: usize,
    /// Whether the stream covers the whole file, so that its end proves the whole.
    covers_all: bool,
    /// How many bytes were handed out or lie in `batch`.
    arrived: u64,
}

impl BlobReader {
    /// Streams a range (cut to the file's size) in pieces of at most `chunk_bytes`, reading ahead on the blocking
    /// pool; holds at most three batches of [`crate::Config::read_batch_bytes`]. Needs a tokio runtime when polled.
    #[must_use]
    pub fn stream(self, range: Range<u64>, chunk_bytes: usize) -> BlobStream {
        BlobStream::new(self, range, chunk_bytes)
    }
}

impl BlobStream {
    fn new(reader: BlobReader, range: Range<u64>, chunk_bytes: usize) -> Self {
        let end = range.end.min(reader.size());
        Self {
            covers_all: range.start == 0 && end == reader.size(),
            next: range.start,
            end,
            reader,
            reading: VecDeque::with_capacity(READ_AHEAD),
            batch: Bytes::new(),
            chunk_bytes: chunk_bytes.max(1),
            arrived: 0,
        }
    }

    fn read_ahead(&mut self) {
        while self.reading.len() < READ_AHEAD && self.next < self.end {
            // Batches end where checksums do, so that no chunk is read twice.
            let boundary = (self.next + 1).next_multiple_of(self.reader.batch_bytes()).min(self.end);
            let (reader, offset) = (self.reader.clone(), self.next);
            let length = usize::try_from(boundary - offset).unwrap_or(usize::MAX);
            self.next = boundary;
            self.reading.push_back(spawn_blocking(move || reader.read_at(offset, length)));
        }
    }

    fn take_batch(&mut self, batch: Bytes) {
        self.arrived += batch.len() as u64;
        self.batch = batch;
        if self.covers_all && self.arrived == self.end && self.reader.is_checked() {
            self.reader.note_verified();
        }
    }

    /// Ends the stream.
    fn fail(&mut self, error: StoreError) -> Poll<Option<Result<Bytes, StoreError>>> {
        self.next = self.end;
        self.reading.clear();
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for BlobStream {
    type Item = Result<Bytes, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.read_ahead();
        if this.batch.is_empty() {
            let Some(front) = this.reading.front_mut() else { return Poll::Ready(None) };
            let read = ready!(Pin::new(front).poll(context));
            this.reading.pop_front();
            match read {
                Ok(Ok(batch)) => this.take_batch(batch),
                Ok(Err(error)) => return this.fail(error),
                Err(_) => return this.fail(StoreError::Closed { what: "the blob reader" }),
            }
            this.read_ahead();
        }
        let length = this.batch.len().min(this.chunk_bytes);
        Poll::Ready(Some(Ok(this.batch.split_to(length))))
    }
}
