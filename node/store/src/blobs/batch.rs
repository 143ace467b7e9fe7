//! Many small blobs made durable together: one by one, each waits three times for the disk, which does that some hundred
//! times a second.
//!
//! The order is that of [`super::part`], for all of them at once: bytes and sidecars written into a folder of the batch →
//! all bytes synced → all renamed → each folder synced once. Syncs that are under way at the same time share the disk's
//! flush and the journal's commit, so that some threads make them several times as fast (a test prints by how much). One
//! `syncfs` is no faster, and waits for whatever else this disk has to write, which may be gigabytes.
//!
//! A blob of one chunk gets no sidecar: making it would cost as much as the blob, and hashing that few bytes costs no more
//! than reading it ([`super::reader`]). Those of longer ones are not synced: one that a crash has taken is made again when
//! its file is next opened. A sidecar gets its name after its file, so that none is ever left alone.

use super::layout;
use super::shared::Shared;
use super::stored::StoredFile;
use super::sums::{Summer, Sums};
use crate::error::StoreError;
use crate::files;
use crate::telemetry::{Action, timed};
use bytes::Bytes;
use portolan_oci::Digest;
use portolan_sabotage::Sabotage;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use ulid::Ulid;

/// How many syncs are under way at the same time.
const SYNC_THREADS: usize = 64;

/// After how many bytes the free space is looked up again.
const LOOK_EVERY_BYTES: u64 = 1 << 20;

/// All the bytes of a blob, which have its digest.
#[derive(Clone, Debug)]
pub struct WholeBlob {
    digest: Digest,
    bytes: Bytes,
}

impl WholeBlob {
    /// Hashes the bytes.
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`] when they have another digest.
    pub fn check(digest: Digest, bytes: Bytes) -> Result<Self, StoreError> {
        let actual = Digest::of(digest.algorithm(), &bytes);
        // Sabotaged: whatever a peer sent is taken.
        if actual != digest && !portolan_sabotage::is(Sabotage::TrustPeerBytes) {
            return Err(StoreError::DigestMismatch { expected: digest, actual: Box::new(actual) });
        }
        Ok(Self { digest, bytes })
    }

    /// What it is.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// Stores them all, durable on return, or leaves nothing behind.
pub(super) fn store(shared: &Shared, blobs: &[WholeBlob]) -> Result<Vec<StoredFile>, StoreError> {
    if blobs.is_empty() {
        return Ok(Vec::new());
    }
    timed(Action::Batch, || {
        shared.space.check()?;
        let folders = shared.layout.durable_folders(blobs.iter().map(|blob| &blob.digest))?;
        // Named like no digest, without what a part has: after a crash it is swept.
        let stage = shared.layout.parts(layout::PartKind::Fetch).join(format!("batch-{}", Ulid::new()));
        let mut batch = Batch { shared, stage, files: Vec::with_capacity(blobs.len()) };
        let done =
            files::create_dir(&batch.stage).and_then(|()| batch.fill(blobs)).and_then(|()| batch.install(&folders));
        if let Err(error) = done {
            batch.undo();
            return Err(error);
        }
        // Need not be durable: it is empty.
        files::remove_dir(&batch.stage)?;
        Ok(batch.files.into_iter().map(|file| file.stored).collect())
    })
}

/// Blobs on their way from a folder of their own to their names.
struct Batch<'a> {
    shared: &'a Shared,
    stage: PathBuf,
    files: Vec<Staged>,
}

struct Staged {
    stored: StoredFile,
    staged: PathBuf,
    named: PathBuf,
    /// Of a blob of several chunks: where its sidecar lies, and where it shall.
    sidecar: Option<(PathBuf, PathBuf)>,
}

impl Batch<'_> {
    /// Writes bytes and sidecars, and makes the bytes durable.
    fn fill(&mut self, blobs: &[WholeBlob]) -> Result<(), StoreError> {
        let mut unlooked = 0;
        for (index, blob) in blobs.iter().enumerate() {
            unlooked += blob.bytes.len() as u64;
            if unlooked >= LOOK_EVERY_BYTES {
                self.shared.space.check()?;
                unlooked = 0;
            }
            let sums = sums_of(&blob.bytes);
            self.files.push(self.plan(index, blob, &sums));
            let Staged { staged, sidecar, .. } = &self.files[index];
            write_new(staged, &blob.bytes)?;
            if let Some((staged, _)) = sidecar {
                write_new(staged, &sums.encode())?;
            }
        }
        let written: Vec<&Path> = self.files.iter().map(|file| &*file.staged).collect();
        side_by_side(&written, |path| {
            let file = File::open(path).map_err(|source| files::io("opening", path, source))?;
            files::sync_file(&file, path)
        })
    }

    fn plan(&self, index: usize, blob: &WholeBlob, sums: &Sums) -> Staged {
        let (digest, file) = (blob.digest, layout::fresh_file_id(self.shared.started_ms));
        Staged {
            stored: StoredFile { digest, size: sums.size, file, sums: sums.digest() },
            staged: self.stage.join(index.to_string()),
            named: self.shared.layout.blob(&digest, file),
            sidecar: (!sums.is_one_chunk())
                .then(|| (self.stage.join(format!("{index}.sums")), self.shared.layout.sums(&digest, file))),
        }
    }

    /// Gives what is durable its names, and makes those durable.
    fn install(&self, folders: &[PathBuf]) -> Result<(), StoreError> {
        for file in &self.files {
            files::rename(&file.staged, &file.named)?;
            if let Some((staged, named)) = &file.sidecar {
                files::rename(staged, named)?;
            }
        }
        // Sabotaged: the blobs' names may be lost.
        if portolan_sabotage::is(Sabotage::SkipFsync) { Ok(()) } else { side_by_side(folders, files::sync_dir) }
    }

    /// Removes whatever there is of it; nobody was told of any. What cannot be removed is whole, or no blob.
    fn undo(&self) {
        for file in &self.files {
            for path in [Some(&file.named), file.sidecar.as_ref().map(|(_, named)| named)].into_iter().flatten() {
                if let Err(error) = files::remove_file(path) {
                    tracing::warn!(%error, "a file of a failed batch stays");
                }
            }
        }
        if let Err(error) = files::remove_dir(&self.stage) {
            tracing::warn!(%error, "the folder of a failed batch stays until the next start");
        }
    }
}

fn sums_of(bytes: &[u8]) -> Sums {
    let mut summer = Summer::default();
    summer.update(bytes);
    summer.finish()
}

fn write_new(path: &Path, contents: &[u8]) -> Result<(), StoreError> {
    let mut file = File::create_new(path).map_err(|source| files::io("creating", path, source))?;
    file.write_all(contents).map_err(|source| files::io("writing", path, source))
}

/// Does something to each of many, on as many threads as syncs are worth; the first failure counts.
fn side_by_side<P: AsRef<Path> + Sync>(
    paths: &[P],
    work: impl Fn(&Path) -> Result<(), StoreError> + Sync,
) -> Result<(), StoreError> {
    let share = paths.len().div_ceil(SYNC_THREADS).max(1);
    let do_share = |share: &[P]| share.iter().try_for_each(|path| work(path.as_ref()));
    std::thread::scope(|scope| {
        let shares: Vec<_> = paths.chunks(share).map(|share| scope.spawn(move || do_share(share))).collect();
        let died = || Err(StoreError::Closed { what: "a thread of a batch" });
        shares.into_iter().try_for_each(|share| share.join().unwrap_or_else(|_| died()))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::{StoredFile, WholeBlob};
    use crate::blobs::{Blobs, PartKind};
    use crate::config::{Config, VerifyReads};
    use crate::error::StoreError;
    use bytes::Bytes;
    use portolan_meta::id::FileId;
    use portolan_oci::{Algorithm, Digest};
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::time::{Duration, Instant, SystemTime};

    /// A reserve of nothing: these tests must not depend on how full the machine is.
    fn open(dir: &Path) -> Arc<Blobs> {
        Blobs::open(dir, &Config { reserve_bytes: 0, ..Config::default() }).unwrap()
    }

    fn bytes(number: u64, length: usize) -> Bytes {
        number.to_le_bytes().iter().copied().cycle().take(length).collect::<Vec<u8>>().into()
    }

    fn whole(algorithm: Algorithm, bytes: &Bytes) -> WholeBlob {
        WholeBlob::check(Digest::of(algorithm, bytes), bytes.clone()).unwrap()
    }

    fn seal(blobs: &Blobs, bytes: &[u8]) -> StoredFile {
        let mut part = blobs.parts(PartKind::Fetch).create("one", Algorithm::Sha256, b"").unwrap();
        part.append(bytes).unwrap();
        part.seal(&Digest::sha256_of(bytes)).unwrap()
    }

    /// Every file below a folder.
    fn files_below(dir: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
    }

    fn folders_in(dir: &Path) -> usize {
        std::fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn what_is_stored_together_is_as_if_each_had_been_sealed() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = open(dir.path());
        let contents: Vec<Bytes> =
            [0, 1, 10_240, 262_143, 262_144, 262_145, 1 << 20].into_iter().map(|length| bytes(7, length)).collect();
        let mut wanted: Vec<WholeBlob> = contents.iter().map(|bytes| whole(Algorithm::Sha256, bytes)).collect();
        wanted.push(whole(Algorithm::Sha512, &contents[3]));
        // Twice the same is two files, as it is with parts.
        wanted.push(wanted[2].clone());
        let stored = blobs.store_many(&wanted).unwrap();
        assert_eq!(stored.len(), wanted.len());
        for (stored, wanted) in stored.iter().zip(&wanted) {
            assert_eq!((stored.digest, stored.size), (wanted.digest(), wanted.bytes.len() as u64));
            assert!(blobs.files_of(&stored.digest).unwrap().contains(&stored.file));
            let reader = blobs.reader(&stored.digest, stored.file).unwrap();
            assert_eq!(reader.read_whole().unwrap(), wanted.bytes);
            blobs.verify_whole(&stored.digest, stored.file).unwrap();
        }
        assert_eq!(blobs.files_of(&wanted[2].digest()).unwrap().len(), 2);
        for digest in wanted.iter().map(WholeBlob::digest) {
            let folder = &digest.hex()[..2];
            let same = |other: &Digest| other.algorithm() == digest.algorithm() && other.hex()[..2] == *folder;
            let here = stored.iter().filter(|file| same(&file.digest));
            let mut expected: Vec<(Digest, FileId)> = here.map(|file| (file.digest, file.file)).collect();
            let mut found = blobs.files_beside(&digest).unwrap();
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "and no sidecar");
        }
        let sidecars =
            |dir: &Path| files_below(dir).into_iter().filter(|path| path.extension() == Some("sum".as_ref()));
        assert_eq!(sidecars(dir.path()).count(), 2, "one chunk needs none");
        for (together, bytes) in stored.iter().zip(&contents) {
            let alone = seal(&blobs, bytes);
            assert_eq!(alone.sums, together.sums);
            let sums = |file: &StoredFile| blobs.chunk_sums(&file.digest, file.file).unwrap();
            assert_eq!(sums(&alone), sums(together));
        }
        assert_eq!(folders_in(&dir.path().join("fetches")), 0, "nothing is left of the batch");
        assert_eq!(blobs.store_many(&[]).unwrap(), []);
    }

    #[test]
    fn bytes_of_another_digest_are_not_taken() {
        let (right, wrong) = (bytes(1, 100), bytes(2, 100));
        for algorithm in Algorithm::ALL {
            let digest = Digest::of(algorithm, &right);
            match WholeBlob::check(digest, wrong.clone()) {
                Err(StoreError::DigestMismatch { expected, actual }) => {
                    assert_eq!((expected, *actual), (digest, Digest::of(algorithm, &wrong)));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_full_disk_takes_none_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path(), &Config { reserve_bytes: u64::MAX / 2, ..Config::default() }).unwrap();
        let failed = blobs.store_many(&[whole(Algorithm::Sha256, &bytes(1, 10))]);
        assert!(matches!(failed, Err(StoreError::Full { .. })), "{failed:?}");
        assert_eq!(files_below(dir.path()), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_batch_that_fails_half_way_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = open(dir.path());
        let last = whole(Algorithm::Sha256, &bytes(0, 10));
        let first = blobs.store_many(std::slice::from_ref(&last)).unwrap()[0];
        let folder = dir.path().join("blobs/sha256").join(&first.digest.hex()[..2]);
        // Its folder is known to be there, and is not: the others are written by the time that shows.
        std::fs::remove_dir_all(&folder).unwrap();
        let mut wanted: Vec<WholeBlob> = (1..40).map(|number| whole(Algorithm::Sha256, &bytes(number, 10))).collect();
        wanted.retain(|blob| blob.digest().hex()[..2] != last.digest().hex()[..2]);
        assert!(wanted.len() > 30);
        wanted.push(last);
        let failed = blobs.store_many(&wanted);
        assert!(matches!(failed, Err(StoreError::NotFound { .. })), "{failed:?}");
        assert_eq!(files_below(dir.path()), Vec::<PathBuf>::new());
        assert_eq!(folders_in(&dir.path().join("fetches")), 0);
        std::fs::create_dir(folder).unwrap();
        assert_eq!(blobs.store_many(&wanted).unwrap().len(), wanted.len());
    }

    #[test]
    fn what_a_crash_left_of_a_batch_is_swept_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        let stage = dir.path().join("fetches/batch-01ARZ3NDEKTSV4RRFFQ69G5FAV");
        std::fs::create_dir(&stage).unwrap();
        std::fs::write(stage.join("0"), b"half").unwrap();
        let blobs = open(dir.path());
        assert!(!stage.exists());
        assert!(blobs.parts(PartKind::Fetch).list().unwrap().is_empty());
    }

    #[test]
    fn what_has_no_sidecar_is_checked_against_its_digest_when_that_is_due() {
        let dir = tempfile::tempdir().unwrap();
        let day = 24 * 60 * 60 * 1_000;
        let checked = Config {
            verify_reads: VerifyReads::Interval,
            verify_interval_ms: day,
            reserve_bytes: 0,
            ..Config::default()
        };
        let blobs = Blobs::open(dir.path(), &checked).unwrap();
        let content = bytes(3, 10_240);
        let stored = blobs.store_many(&[whole(Algorithm::Sha256, &content)]).unwrap()[0];
        let path = files_below(&dir.path().join("blobs")).remove(0);
        let age = |ms| {
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_millis(ms)).unwrap();
        };
        let is_checked = || blobs.reader(&stored.digest, stored.file).map(|reader| reader.is_checked());
        assert!(!is_checked().unwrap(), "it was verified when it came");
        age(day + 60_000);
        assert!(is_checked().unwrap());
        assert!(!is_checked().unwrap(), "it was verified just now");
        let mut damaged = content.to_vec();
        damaged[5_000] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        age(day + 60_000);
        assert!(matches!(is_checked(), Err(StoreError::Corrupt { .. })));
        assert!(blobs.chunk_sums(&stored.digest, stored.file).is_err());
        std::fs::write(&path, &content).unwrap();
        assert_eq!(blobs.chunk_sums(&stored.digest, stored.file).unwrap(), [crc32c::crc32c(&content)]);
        assert_eq!(files_below(dir.path()), std::slice::from_ref(&path), "none is made");
    }

    /// Says how fast it is; asserts nothing about time, since other work shares the machine.
    #[test]
    fn many_small_blobs_are_stored_in_few_syncs() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = open(dir.path());
        let rate = |count: usize, began: Instant| count as f64 / began.elapsed().as_secs_f64();
        let mut number = 0;
        let mut fresh = |count: u64| -> Vec<Bytes> {
            number += count;
            (number - count..number).map(|number| bytes(number, 10_240)).collect()
        };
        let (alone, together) = (fresh(64), fresh(2_048));
        let began = Instant::now();
        let sealed: Vec<StoredFile> = alone.iter().map(|bytes| seal(&blobs, bytes)).collect();
        assert_eq!(sealed.len(), alone.len());
        let one_by_one = rate(alone.len(), began);
        let began = Instant::now();
        for batch in together.chunks(512) {
            let batch: Vec<WholeBlob> = batch.iter().map(|bytes| whole(Algorithm::Sha256, bytes)).collect();
            assert_eq!(blobs.store_many(&batch).unwrap().len(), batch.len());
        }
        eprintln!(
            "blobs of 10 KiB per second: {one_by_one:.0} one by one, {:.0} together",
            rate(together.len(), began)
        );
    }
}
