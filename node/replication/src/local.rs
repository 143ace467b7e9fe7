//! Files of this node's own disk, and what happens when one is found damaged.

use crate::config::Config;
use crate::error::ReadError;
use crate::landing::blocking;
use crate::telemetry;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use portolan_consensus::{Consensus, ProposeError};
use portolan_meta::command::{Command, DropReason};
use portolan_meta::id::{FileId, StoreId};
use portolan_meta::query;
use portolan_oci::Digest;
use portolan_store::{BlobReader, Blobs, CHUNK_BYTES, StoreError};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

/// Opens own files, and hashes again those that are accused.
pub(crate) struct Local {
    store: StoreId,
    blobs: Arc<Blobs>,
    consensus: Arc<Consensus>,
    /// Accused files: `None` while one is looked at, else until when further accusations are ignored.
    accused: Mutex<HashMap<FileId, Option<Instant>>>,
    /// Files that were put aside: whoever still reads one through an open handle is cut short. The oldest knowledge
    /// may be lost beyond `max_accusations`.
    damaged: Mutex<HashSet<FileId>>,
    /// Whole files are hashed one after the other, beside the serving of others.
    hashing: Semaphore,
    max_accusations: usize,
    pause: Duration,
    propose_timeout: Duration,
    retry_pause: Duration,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Local {
    pub(crate) fn new(
        config: &Config,
        store: StoreId,
        blobs: Arc<Blobs>,
        consensus: Arc<Consensus>,
        (tasks, stop): (TaskTracker, CancellationToken),
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            blobs,
            consensus,
            accused: Mutex::default(),
            damaged: Mutex::default(),
            hashing: Semaphore::new(1),
            max_accusations: config.max_accusations,
            pause: Duration::from_millis(config.accusation_pause_ms),
            propose_timeout: config.confirm_timeout(),
            retry_pause: Duration::from_millis(config.backoff_ms),
            tasks,
            stop,
        })
    }

    /// Opens the first of some files that can be opened; `None` when none can, and those are looked after.
    pub(crate) async fn open(self: &Arc<Self>, digest: &Digest, size: u64, files: &[FileId]) -> Option<LocalFile> {
        for &file in files {
            let (blobs, name) = (Arc::clone(&self.blobs), *digest);
            match blocking(move || blobs.reader(&name, file)).await {
                Ok(reader) if reader.size() == size => {
                    return Some(LocalFile { local: Arc::clone(self), digest: *digest, file, reader });
                }
                Ok(reader) => {
                    warn!(%digest, recorded = size, found = reader.size(), "an own file has another size");
                    self.accuse(*digest, file);
                }
                Err(error) => {
                    warn!(%digest, %error, "an own file cannot be opened");
                    if matches!(error, StoreError::NotFound { .. } | StoreError::Corrupt { .. }) {
                        self.accuse(*digest, file);
                    }
                }
            }
        }
        None
    }

    /// Opens any file of a digest that lies here whole, announced or not; `None` when none can be opened. Costs a listing
    /// of a folder: for misses only.
    pub(crate) async fn open_any(self: &Arc<Self>, digest: &Digest) -> Option<LocalFile> {
        let (blobs, name) = (Arc::clone(&self.blobs), *digest);
        let files = blocking(move || blobs.files_of(&name)).await.unwrap_or_else(|error| {
            warn!(%digest, %error, "the disk could not be asked for a blob");
            Vec::new()
        });
        for file in files {
            let blobs = Arc::clone(&self.blobs);
            match blocking(move || blobs.reader(&name, file)).await {
                Ok(reader) => return Some(LocalFile { local: Arc::clone(self), digest: name, file, reader }),
                // Nobody counts on it: what is wrong with it is found when it is announced, or swept.
                Err(error) => debug!(%digest, %error, "an unrecorded file cannot be opened"),
            }
        }
        None
    }

    /// The sums of a blob that lies here whole, announced or `finished`; `None` when no file of it can be read.
    pub(crate) async fn sums(self: &Arc<Self>, digest: Digest, finished: Option<FileId>) -> Option<Vec<u32>> {
        let local = Arc::clone(self);
        let found = blocking(move || {
            let (recorded, others) = local.files(&digest, finished)?;
            for file in recorded.into_iter().chain(others) {
                match local.blobs.chunk_sums(&digest, file) {
                    Ok(sums) => return Ok(Some(sums)),
                    Err(error) => debug!(%digest, %error, "the sums of an own file cannot be read"),
                }
            }
            Ok(None)
        });
        found.await.unwrap_or_else(|error| {
            warn!(%digest, %error, "the disk could not be asked for a blob's sums");
            None
        })
    }

    /// The whole bytes of a small blob that lies here, announced or `finished`; `None` when no file of it can be read. A
    /// recorded file that should be there and is not what it should be is looked after. Blocks.
    pub(crate) fn read_small(
        self: &Arc<Self>,
        digest: Digest,
        finished: Option<FileId>,
        limit: u64,
    ) -> Result<Option<Bytes>, TooLong> {
        let (recorded, others) = self.files(&digest, finished).unwrap_or_else(|error| {
            warn!(%digest, %error, "the disk could not be asked for a blob");
            (Vec::new(), Vec::new())
        });
        let tried = recorded.len();
        for (index, file) in recorded.into_iter().chain(others).enumerate() {
            let read = self.blobs.reader(&digest, file).and_then(|reader| match reader.size() {
                size if size > limit => Ok(Err(TooLong { size })),
                _ => reader.read_whole().map(Ok),
            });
            match read {
                Ok(Ok(bytes)) if !self.is_damaged(file) => return Ok(Some(bytes)),
                Ok(Ok(_)) => {}
                Ok(Err(too_long)) => return Err(too_long),
                Err(error) => {
                    debug!(%digest, %error, "an own file cannot be read");
                    if index < tried && matches!(error, StoreError::NotFound { .. } | StoreError::Corrupt { .. }) {
                        self.accuse(digest, file);
                    }
                }
            }
        }
        Ok(None)
    }

    /// The files of a digest here: those that are recorded, and, only when there are none, the one that is `finished` and
    /// waits to be. A blob of which this node's state knows no copy at all may be one that it has just announced itself:
    /// then its disk is asked, which costs a listing.
    fn files(&self, digest: &Digest, finished: Option<FileId>) -> Result<(Vec<FileId>, Vec<FileId>), StoreError> {
        let locations = self.consensus.local().read(|view| query::locations(view, digest)).unwrap_or_else(|error| {
            error!(%digest, %error, "a blob's locations cannot be read");
            Vec::new()
        });
        let own = locations.iter().filter(|location| location.store == self.store);
        let recorded: Vec<FileId> = own.map(|location| location.file).collect();
        let others = match finished {
            _ if !recorded.is_empty() => Vec::new(),
            Some(file) => vec![file],
            None if locations.is_empty() => self.blobs.files_of(digest)?,
            None => Vec::new(),
        };
        Ok((recorded, others))
    }

    /// Hashes a file again, soon; a damaged one is put aside and its location dropped. Somebody's word alone changes
    /// nothing.
    pub(crate) fn accuse(self: &Arc<Self>, digest: Digest, file: FileId) {
        let now = Instant::now();
        {
            let mut accused = self.accused.lock().unwrap_or_else(PoisonError::into_inner);
            accused.retain(|_, ignored_until| ignored_until.is_none_or(|until| until > now));
            if accused.contains_key(&file) || accused.len() >= self.max_accusations {
                return;
            }
            accused.insert(file, None);
        }
        let local = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::select! {
                () = local.examine(digest, file) => {}
                () = local.stop.clone().cancelled_owned() => {}
            }
            let mut accused = local.accused.lock().unwrap_or_else(PoisonError::into_inner);
            accused.insert(file, Some(Instant::now() + local.pause));
        });
    }

    async fn examine(&self, digest: Digest, file: FileId) {
        let Ok(_one_at_a_time) = self.hashing.acquire().await else { return };
        let blobs = Arc::clone(&self.blobs);
        match blocking(move || blobs.verify_whole(&digest, file)).await {
            Ok(()) => {
                info!(%digest, "an accused file was hashed again and is sound");
                return;
            }
            Err(StoreError::NotFound { .. }) => error!(%digest, "a recorded file is missing"),
            Err(error @ StoreError::Corrupt { .. }) => {
                error!(%digest, %error, "a file is damaged; it is put aside and fetched anew");
                telemetry::damaged().increment(1);
                self.note_damaged(file);
                let blobs = Arc::clone(&self.blobs);
                if let Err(error) = blocking(move || blobs.quarantine(&digest, file)).await {
                    error!(%digest, %error, "a damaged file could not be put aside");
                }
            }
            // Not being able to read now does not prove damage.
            Err(error) => {
                error!(%digest, %error, "an accused file cannot be read");
                return;
            }
        }
        self.drop_location(digest, file).await;
    }

    fn note_damaged(&self, file: FileId) {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        if damaged.len() >= self.max_accusations {
            damaged.clear();
        }
        damaged.insert(file);
    }

    fn is_damaged(&self, file: FileId) -> bool {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).contains(&file)
    }

    async fn drop_location(&self, digest: Digest, file: FileId) {
        loop {
            let command = Command::DropLocation { digest, store: self.store, file, reason: DropReason::Damaged };
            match self.consensus.propose(command, Instant::now() + self.propose_timeout).await {
                // Refused when it is not recorded (any more), which is what was wanted.
                Ok(outcome) => {
                    info!(%digest, ?outcome, "the damaged copy's location was dropped");
                    return;
                }
                Err(ProposeError::Stopped) => return,
                Err(error) => {
                    info!(%digest, %error, "the damaged copy's location could not be dropped yet");
                    sleep(self.retry_pause).await;
                }
            }
        }
    }
}

/// A blob that was asked for among small ones is not small.
#[derive(Debug)]
pub(crate) struct TooLong {
    /// Its length in bytes.
    pub(crate) size: u64,
}

/// An opened own file.
pub(crate) struct LocalFile {
    local: Arc<Local>,
    digest: Digest,
    file: FileId,
    reader: BlobReader,
}

impl LocalFile {
    /// The blob's length.
    pub(crate) fn size(&self) -> u64 {
        self.reader.size()
    }

    /// Streams a range. Damage that shows on the way ends the stream with an error and accuses the file; damage that
    /// somebody else found meanwhile ends it too, before its last piece (design, P4).
    pub(crate) fn stream(self, range: Range<u64>) -> BoxStream<'static, Result<Bytes, ReadError>> {
        let Self { local, digest, file, reader } = self;
        let chunk = usize::try_from(CHUNK_BYTES).expect("a chunk is small");
        reader
            .stream(range, chunk)
            .map(move |item| {
                if local.is_damaged(file) {
                    return Err(ReadError::WrongBytes { digest });
                }
                item.map_err(|error| {
                    if matches!(error, StoreError::Corrupt { .. }) {
                        local.accuse(digest, file);
                        return ReadError::WrongBytes { digest };
                    }
                    warn!(%digest, %error, "reading an own file failed");
                    ReadError::Disk { digest, reason: error.to_string() }
                })
            })
            .boxed()
    }
}
