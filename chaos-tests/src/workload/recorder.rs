//! The one writer of what clients saw: into memory, into a file of JSON lines, and as live counts.

use crate::history::{Call, History, Micros, Outcome, Record, Seen};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::{mpsc, watch};

/// Records that wait for the writer; clients wait when there are more.
const QUEUE: usize = 4096;

/// The clock of a run. Copies of it tell the same time.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Default for Clock {
    /// One that begins now.
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock {
    /// How long the run goes on.
    #[must_use]
    pub fn now(&self) -> Micros {
        Micros(u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

/// What has happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Calls that ended.
    pub calls: u64,
    /// Those that were acknowledged or answered.
    pub ok: u64,
    /// Those that certainly did nothing, and reads that failed.
    pub failed: u64,
    /// Writes whose effect nobody knows.
    pub unknown: u64,
    /// Answers with wrong bytes.
    pub wrong: u64,
    /// Acknowledged writes.
    pub writes: u64,
    /// Answered calls by their words in JSON: `put_tag`, `get_blob`, ...
    pub by_call: BTreeMap<&'static str, u64>,
    /// When a write was acknowledged last, by the client's region.
    pub last_write: BTreeMap<String, Micros>,
    /// When a read was answered last, by the client's region.
    pub last_read: BTreeMap<String, Micros>,
}

impl Counts {
    fn add(&mut self, record: &Record) {
        self.calls += 1;
        self.wrong += u64::from(record.seen.right == Some(false) && record.seen.whole);
        match record.outcome() {
            Outcome::Failed => self.failed += 1,
            Outcome::Unknown => self.unknown += 1,
            Outcome::Ok => {
                self.ok += 1;
                *self.by_call.entry(word(&record.call)).or_default() += 1;
                let write = record.call.is_write();
                self.writes += u64::from(write);
                let last = if write { &mut self.last_write } else { &mut self.last_read };
                match last.get_mut(&record.region) {
                    Some(last) => *last = record.end,
                    None => {
                        last.insert(record.region.clone(), record.end);
                    }
                }
            }
        }
    }
}

/// A call's word in JSON.
#[must_use]
pub fn word(call: &Call) -> &'static str {
    match call {
        Call::PutTag { .. } => "put_tag",
        Call::PutManifest { .. } => "put_manifest",
        Call::PutBlob { .. } => "put_blob",
        Call::DeleteTag { .. } => "delete_tag",
        Call::DeleteManifest { .. } => "delete_manifest",
        Call::GetTag { .. } => "get_tag",
        Call::GetManifest { .. } => "get_manifest",
        Call::GetBlob { .. } => "get_blob",
        Call::ListTags { .. } => "list_tags",
        Call::Catalog { .. } => "catalog",
        Call::Referrers { .. } => "referrers",
    }
}

/// What a client knows of its call before it ends.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub(super) client: u32,
    pub(super) region: Arc<str>,
    pub(super) node: usize,
    pub(super) start: Micros,
}

/// Where clients hand in what they saw.
#[derive(Clone)]
pub(super) struct Desk {
    clock: Clock,
    /// The next record's number. Taken together with its end, so that numbers are in the order of the ends.
    next: Arc<Mutex<u64>>,
    queue: mpsc::Sender<Record>,
}

impl Desk {
    pub(super) fn now(&self) -> Micros {
        self.clock.now()
    }

    /// A call has ended now.
    pub(super) async fn note(&self, begun: Begun, call: Call, seen: Seen) {
        let (id, end) = {
            let mut next = self.next.lock().expect("no holder panics");
            let id = *next;
            *next += 1;
            (id, self.clock.now())
        };
        let Begun { client, region, node, start } = begun;
        let region = region.to_string();
        let record = Record { id, client, region, node, start, end, call, seen: seen.bounded() };
        // The writer ends only after all desks are closed, or on a full disk, which it tells by itself.
        let _ = self.queue.send(record).await;
    }
}

/// The writer.
pub(super) struct Recorder {
    writer: JoinHandle<crate::Result<History>>,
    counts: watch::Receiver<Counts>,
}

impl Recorder {
    /// Starts it; `file` gets each record as a line of JSON.
    pub(super) fn start(clock: Clock, file: Option<&Path>) -> crate::Result<(Self, Desk)> {
        let file = file.map(File::create).transpose()?.map(BufWriter::new);
        let (queue, records) = mpsc::channel(QUEUE);
        let (counted, counts) = watch::channel(Counts::default());
        let writer = std::thread::Builder::new().name("recorder".to_owned());
        let writer = writer.spawn(move || write(records, &counted, file))?;
        Ok((Self { writer, counts }, Desk { clock, next: Arc::default(), queue }))
    }

    pub(super) fn counts(&self) -> watch::Receiver<Counts> {
        self.counts.clone()
    }

    /// Waits until all desks are closed, and gives everything.
    pub(super) async fn finish(self) -> crate::Result<History> {
        let joined = tokio::task::spawn_blocking(move || self.writer.join()).await?;
        joined.map_err(|_| "the recorder panicked")?
    }
}

fn write(
    mut records: mpsc::Receiver<Record>,
    counts: &watch::Sender<Counts>,
    mut file: Option<BufWriter<File>>,
) -> crate::Result<History> {
    let mut history = Vec::new();
    // Clients of several threads overtake each other on the way here.
    let mut early: BTreeMap<u64, Record> = BTreeMap::new();
    while let Some(record) = records.blocking_recv() {
        early.insert(record.id, record);
        while let Some(record) = early.remove(&(history.len() as u64)) {
            counts.send_modify(|counts| counts.add(&record));
            if let Some(file) = &mut file {
                serde_json::to_writer(&mut *file, &record)?;
                file.write_all(b"\n")?;
            }
            history.push(record);
        }
        // A run that is killed leaves what it saw.
        if let (true, Some(file)) = (records.is_empty(), &mut file) {
            file.flush()?;
        }
    }
    if let Some(file) = &mut file {
        file.flush()?;
    }
    if early.is_empty() { Ok(History(history)) } else { Err(format!("{} records wait for one", early.len()).into()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]
mod tests {
    use super::{Begun, Clock, Recorder};
    use crate::history::{Call, History, LONGEST_ERROR, MOST_NAMES, Micros, Seen};

    fn begun(client: u32, start: Micros) -> Begun {
        Begun { client, region: "a".into(), node: 0, start }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn records_of_many_clients_are_in_the_order_of_their_ends_in_memory_and_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let (recorder, desk) = Recorder::start(Clock::default(), Some(&path)).unwrap();
        let clients = (0..8).map(|client| {
            let desk = desk.clone();
            tokio::spawn(async move {
                for _ in 0..500 {
                    let start = desk.now();
                    tokio::task::yield_now().await;
                    let seen = Seen { status: Some(200), whole: true, ..Seen::default() };
                    desk.note(begun(client, start), Call::Catalog { last: None }, seen).await;
                }
            })
        });
        futures::future::join_all(clients.collect::<Vec<_>>()).await;
        let counts = recorder.counts();
        drop(desk);
        let history = recorder.finish().await.unwrap();
        assert_eq!(history.0.len(), 4000);
        assert!(history.0.windows(2).all(|two| two[0].end <= two[1].end && two[0].id + 1 == two[1].id));
        assert_eq!(History::read(std::fs::File::open(path).unwrap()).unwrap(), history);
        let counts = counts.borrow().clone();
        assert_eq!((counts.calls, counts.ok, counts.by_call["catalog"]), (4000, 4000, 4000));
        assert_eq!(counts.last_read["a"], history.0[3999].end);
    }

    #[tokio::test]
    async fn a_record_holds_only_so_many_names_and_so_long_an_error() {
        let (recorder, desk) = Recorder::start(Clock::default(), None).unwrap();
        let names = (0..=MOST_NAMES).map(|number| number.to_string()).collect();
        let seen = Seen { names, error: Some("ü".repeat(LONGEST_ERROR)), ..Seen::default() };
        desk.note(begun(1, desk.now()), Call::Catalog { last: None }, seen).await;
        drop(desk);
        let history = recorder.finish().await.unwrap();
        let seen = &history.0[0].seen;
        assert_eq!((seen.names.len(), seen.more), (MOST_NAMES, true));
        assert_eq!(seen.error.as_ref().unwrap().len(), LONGEST_ERROR);
    }
}
