//! openraft's log traits over the store's Raft log.

use crate::disk::blocking;
use crate::traces::EntryTraces;
use crate::types::{Entry, LogId, Types, Vote, decode, encode};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use openraft::OptionalSend;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use portolan_store::RaftLog;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

const VOTE: &str = "vote";

/// The log as openraft sees it. Cheap to clone: readers share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    log: Arc<RaftLog>,
    /// See [`crate::Config::append_max_bytes`].
    read_bytes: u64,
    traces: Arc<EntryTraces>,
}

impl LogStore {
    pub(crate) fn new(log: Arc<RaftLog>, read_bytes: u64, traces: Arc<EntryTraces>) -> Self {
        Self { log, read_bytes, traces }
    }

    fn purged(&self) -> io::Result<Option<LogId>> {
        self.log.purge_marker().map_err(io::Error::other)?.map(|marker| decode(&marker)).transpose()
    }

    fn read(&self, from: u64, to: u64, max_bytes: u64) -> io::Result<Vec<Entry>> {
        let rows = self.log.entries(from, to, max_bytes).map_err(io::Error::other)?;
        rows.iter().map(|(_, bytes)| decode(bytes)).collect()
    }

    /// All entries of `[from, to)`, each page bounded in bytes.
    fn pages(self, from: u64, to: u64) -> impl Stream<Item = io::Result<Vec<Entry>>> + Send {
        stream::try_unfold((self, from), move |(store, from)| async move {
            if from >= to {
                return Ok(None);
            }
            let reader = store.clone();
            let page = blocking(move || reader.read(from, to, reader.read_bytes)).await?;
            match (page.first(), page.last()) {
                (Some(first), Some(last)) if first.index() == from => {
                    let next = last.index() + 1;
                    Ok(Some((page, (store, next))))
                }
                // The log ends before the range does.
                (None, _) | (_, None) => Ok(None),
                _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("entry {from} is missing from the log"))),
            }
        })
    }

    /// What is not a range with both ends counted is made one: `[from, to)`.
    fn bounds(&self, range: &impl RangeBounds<u64>) -> io::Result<(u64, u64)> {
        let from = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => self.last_index()?.map_or(0, |last| last.saturating_add(1)),
        };
        Ok((from, to))
    }

    fn last_index(&self) -> io::Result<Option<u64>> {
        Ok(self.log.last().map_err(io::Error::other)?.map(|(index, _)| index))
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (from, to) = self.bounds(&range)?;
        if from >= to { Ok(Vec::new()) } else { self.read(from, to, u64::MAX) }
    }

    /// What is applied: page by page, so that a node with much to catch up does not hold it all in memory, and away
    /// from the tasks. An entry that is missing before others must not be skipped in silence.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let bounds = self.bounds(&range);
        let store = self.clone();
        stream::once(async move { bounds })
            .map_ok(move |(from, to)| store.clone().pages(from, to))
            .try_flatten()
            .map_ok(|page| stream::iter(page.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.log.get_meta(VOTE).map_err(io::Error::other)?.map(|bytes| decode(&bytes)).transpose()
    }

    /// One append message: bounded in bytes, at least one entry.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        if start >= end { Ok(Vec::new()) } else { self.read(start, end, self.read_bytes) }
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let last_purged_log_id = self.purged()?;
        let last_log_id = match self.log.last().map_err(io::Error::other)? {
            Some((_, bytes)) => Some(decode::<Entry>(&bytes)?.log_id()),
            None => last_purged_log_id,
        };
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    /// In the same queue as appends, so that the two reach the disk in the order in which openraft asked.
    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (done, flushed) = oneshot::channel();
        let done = Box::new(move |result| {
            // The receiver is gone only when Raft stops while it waits.
            let _ = done.send(result);
        });
        self.log.put_meta(VOTE, &encode(vote)?, done).map_err(io::Error::other)?;
        flushed.await.map_err(io::Error::other)?.map_err(io::Error::other)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut spans = Vec::new();
        let rows = entries
            .into_iter()
            .map(|entry| {
                spans.extend(self.traces.append(&entry));
                Ok((entry.index(), encode(&entry)?))
            })
            .collect::<io::Result<Vec<(u64, Vec<u8>)>>>()?;
        let began = Instant::now();
        let done = Box::new(move |result: Result<(), portolan_store::StoreError>| {
            crate::metrics::appended(began.elapsed());
            drop(spans);
            callback.io_completed(result.map_err(io::Error::other));
        });
        self.log.append(rows, done).map_err(io::Error::other)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let from = last_log_id.map_or(0, |last| last.index.saturating_add(1));
        self.traces.forget_from(from);
        let log = Arc::clone(&self.log);
        blocking(move || log.truncate_from(from).map_err(io::Error::other)).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let marker = Bytes::from(encode(&log_id)?);
        let log = Arc::clone(&self.log);
        blocking(move || log.purge_to(log_id.index, &marker).map_err(io::Error::other)).await
    }
}
