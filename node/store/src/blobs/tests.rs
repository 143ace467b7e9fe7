#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::{Blobs, CHUNK_BYTES, PartKind, StoredFile};
use crate::config::{Config, VerifyReads};
use crate::error::StoreError;
use bytes::Bytes;
use futures::StreamExt;
use portolan_oci::{Algorithm, Digest};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const CHUNK: usize = 256 << 10;

/// A reserve of nothing: these tests must not depend on how full the machine is.
fn config() -> Config {
    Config { reserve_bytes: 0, ..Config::default() }
}

fn open(dir: &Path) -> Arc<Blobs> {
    Blobs::open(dir, &config()).unwrap()
}

/// Bytes without a pattern that a chunk repeats.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x0123_4567_89ab_cdef_u64;
    let step = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) as u8
    };
    std::iter::repeat_with(step).take(length).collect()
}

fn store(blobs: &Blobs, bytes: &[u8]) -> StoredFile {
    let mut part = blobs.parts(PartKind::Upload).create("store", Algorithm::Sha256, b"").unwrap();
    part.append(bytes).unwrap();
    part.seal(&Digest::sha256_of(bytes)).unwrap()
}

fn path_of(dir: &Path, stored: &StoredFile) -> PathBuf {
    let hex = stored.digest.hex();
    let name = format!("{hex}.{}", ulid::Ulid(stored.file.0));
    dir.join("blobs").join(stored.digest.algorithm().name()).join(&hex[..2]).join(name)
}

fn flip(path: &Path, offset: u64) {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
}

fn is_corrupt<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Corrupt { .. }))
}

#[test]
fn a_sealed_part_is_a_blob_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    for (algorithm, hashed_as, length) in [
        (Algorithm::Sha256, Algorithm::Sha256, 0),
        (Algorithm::Sha256, Algorithm::Sha256, 1),
        (Algorithm::Sha256, Algorithm::Sha256, 3 * CHUNK + 17),
        (Algorithm::Sha512, Algorithm::Sha512, 1000),
        (Algorithm::Sha512, Algorithm::Sha256, 2 * CHUNK),
    ] {
        let bytes = noise(length);
        let digest = Digest::of(algorithm, &bytes);
        let mut part = blobs.parts(PartKind::Fetch).create("p", hashed_as, b"note").unwrap();
        bytes.chunks(100_000).for_each(|piece| part.append(piece).unwrap());
        assert_eq!(part.len(), length as u64);
        assert!(blobs.files_of(&digest).unwrap().is_empty(), "visible before it is sealed");
        let stored = part.seal(&digest).unwrap();
        assert_eq!((stored.digest, stored.size), (digest, length as u64));
        assert_eq!(blobs.files_of(&digest).unwrap(), [stored.file]);
        assert_eq!(blobs.reader(&digest, stored.file).unwrap().read_at(0, length + 5).unwrap(), bytes);
        assert!(part.append(b"more").is_err() && part.seal(&digest).is_err(), "it is used up");
        assert!(blobs.parts(PartKind::Fetch).list().unwrap().is_empty());
        blobs.verify_whole(&digest, stored.file).unwrap();
    }
}

#[test]
fn a_wrong_digest_leaves_the_part_usable() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let mut part = blobs.parts(PartKind::Upload).create("u", Algorithm::Sha256, b"").unwrap();
    part.append(b"hello ").unwrap();
    for wrong in [Digest::sha256_of(b"hello"), Digest::of(Algorithm::Sha512, b"hello")] {
        match part.seal(&wrong) {
            Err(StoreError::DigestMismatch { expected, actual }) => {
                assert_eq!((expected, *actual), (wrong, Digest::of(wrong.algorithm(), b"hello ")));
            }
            other => panic!("{other:?}"),
        }
        assert!(blobs.files_of(&wrong).unwrap().is_empty());
    }
    part.append(b"world").unwrap();
    part.seal(&Digest::sha256_of(b"hello world")).unwrap();
}

#[test]
fn two_copies_of_a_digest_are_two_files() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let (first, second) = (store(&blobs, b"same"), store(&blobs, b"same"));
    assert_eq!(blobs.files_of(&first.digest).unwrap(), [first.file, second.file]);
    assert!(blobs.remove(&first.digest, first.file).unwrap());
    assert!(!blobs.remove(&first.digest, first.file).unwrap());
    assert!(matches!(blobs.reader(&first.digest, first.file), Err(StoreError::NotFound { .. })));
    assert_eq!(blobs.reader(&second.digest, second.file).unwrap().read_at(0, 9).unwrap(), "same");
}

#[test]
fn an_open_reader_outlives_the_removal_of_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let bytes = noise(2 * CHUNK);
    let stored = store(&blobs, &bytes);
    let reader = blobs.reader(&stored.digest, stored.file).unwrap();
    blobs.remove(&stored.digest, stored.file).unwrap();
    assert_eq!(reader.read_at(0, bytes.len()).unwrap(), bytes);
}

#[test]
fn a_part_resumes_where_its_last_sync_was() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = noise(2 * CHUNK + 100);
    let blobs = open(dir.path());
    let mut part = blobs.parts(PartKind::Upload).create("u", Algorithm::Sha256, b"who began it").unwrap();
    part.append(&bytes[..CHUNK + 50]).unwrap();
    part.sync().unwrap();
    part.append(b"lost in the crash").unwrap();
    drop((part, blobs));

    let blobs = open(dir.path());
    let parts = blobs.parts(PartKind::Upload);
    let listed = parts.list().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].id.as_str(), listed[0].synced_bytes), ("u", CHUNK as u64 + 50));
    assert_eq!(listed[0].note, "who began it");
    assert!(blobs.parts(PartKind::Fetch).list().unwrap().is_empty());
    let mut part = parts.open("u").unwrap();
    assert_eq!((part.len(), part.note().as_ref()), (CHUNK as u64 + 50, &b"who began it"[..]));
    part.append(&bytes[CHUNK + 50..]).unwrap();
    let stored = part.seal(&Digest::sha256_of(&bytes)).unwrap();
    let reader = Blobs::open(dir.path(), &Config { verify_reads: VerifyReads::Always, ..config() }).unwrap();
    let reader = reader.reader(&stored.digest, stored.file).unwrap();
    assert_eq!(reader.read_at(0, bytes.len()).unwrap(), bytes, "the sums went on too");
}

#[test]
fn a_part_that_cannot_be_resumed_is_refused_or_swept() {
    let dir = tempfile::tempdir().unwrap();
    let uploads = dir.path().join("uploads");
    let make = |id: &str| {
        let mut part = open(dir.path()).parts(PartKind::Upload).create(id, Algorithm::Sha256, b"").unwrap();
        part.append(&[1; 1000]).unwrap();
        part.sync().unwrap();
    };
    ["short", "damaged", "no-data", "no-state"].iter().for_each(|id| make(id));
    std::fs::File::options().write(true).open(uploads.join("short/data")).unwrap().set_len(999).unwrap();
    flip(&uploads.join("damaged/state"), 20);
    std::fs::remove_file(uploads.join("no-data/data")).unwrap();
    std::fs::remove_file(uploads.join("no-state/state")).unwrap();
    let parts = open(dir.path()).parts(PartKind::Upload);
    for id in ["damaged", "no-data", "no-state"] {
        assert!(!uploads.join(id).exists(), "{id}");
        assert!(matches!(parts.open(id), Err(StoreError::NotFound { .. })), "{id}");
    }
    assert!(is_corrupt(&parts.open("short")));
    assert!(parts.remove("short").unwrap());
    assert!(parts.list().unwrap().is_empty());
}

#[tokio::test]
async fn a_part_has_one_writer_and_the_next_can_wait_for_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let parts = open(dir.path()).parts(PartKind::Upload);
    let part = parts.create("u", Algorithm::Sha256, b"").unwrap();
    assert!(matches!(parts.open("u"), Err(StoreError::Busy { .. })));
    assert!(matches!(parts.remove("u"), Err(StoreError::Busy { .. })));
    let mut writer = part.into_writer();
    writer.write(Bytes::from_static(b"abc")).await.unwrap();
    let waiting = tokio::spawn({
        let parts = parts.clone();
        async move { parts.wait_free("u").await }
    });
    drop(writer);
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap();
    drop(parts.open("u").unwrap());
    for bad in ["", "../x", "a/b", ".x"] {
        assert!(matches!(parts.open(bad), Err(StoreError::BadName { .. })), "{bad:?}");
    }
}

#[test]
fn truncating_forgets_what_was_not_synced() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let mut part = blobs.parts(PartKind::Fetch).create("f", Algorithm::Sha256, b"").unwrap();
    part.append(b"right").unwrap();
    part.sync().unwrap();
    part.append(b" wrong").unwrap();
    part.truncate_to_synced().unwrap();
    assert_eq!((part.len(), part.synced_len()), (5, 5));
    part.append(b" again").unwrap();
    part.seal(&Digest::sha256_of(b"right again")).unwrap();
}

#[tokio::test]
async fn a_writer_lands_every_byte_and_followers_read_them_as_they_do() {
    let dir = tempfile::tempdir().unwrap();
    let small = Config { writer_buffer_bytes: 64 << 10, sync_every_bytes: 256 << 10, ..config() };
    let blobs = Blobs::open(dir.path(), &small).unwrap();
    let bytes = Bytes::from(noise(9 * CHUNK + 3));
    let mut writer = blobs.parts(PartKind::Fetch).create("f", Algorithm::Sha256, b"").unwrap().into_writer();
    let (reader, mut written, expected) = (writer.reader(), writer.written(), bytes.clone());
    let follower = tokio::spawn(async move {
        let mut read = 0;
        while read < expected.len() {
            let there = *written.borrow_and_update();
            while (read as u64) < there {
                let piece = reader.read(read as u64, 100_000).await.unwrap();
                assert_eq!(piece, expected[read..read + piece.len()]);
                read += piece.len();
            }
            if read < expected.len() {
                written.changed().await.unwrap();
            }
        }
    });
    let mut rest = bytes.clone();
    let mut size = 1;
    while !rest.is_empty() {
        writer.write(rest.split_to(size.min(rest.len()))).await.unwrap();
        size = size * 7 % 40_009 + 1;
    }
    let part = writer.finish().await.unwrap();
    assert_eq!(part.len(), bytes.len() as u64);
    assert!(part.synced_len() > 0, "no sync ran beside the appends");
    tokio::time::timeout(Duration::from_secs(20), follower).await.unwrap().unwrap();
    let failure = part.seal_async(Digest::sha256_of(b"other")).await.unwrap_err();
    assert!(matches!(failure.error, StoreError::DigestMismatch { .. }));
    let stored = failure.part.unwrap().seal_async(Digest::sha256_of(&bytes)).await.unwrap();
    blobs.verify_whole(&stored.digest, stored.file).unwrap();
}

#[tokio::test]
async fn a_stream_gives_any_range_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = noise(5 * CHUNK + 1234);
    let stored = store(&open(dir.path()), &bytes);
    let size = bytes.len() as u64;
    for (verify_reads, read_batch_bytes) in
        [(VerifyReads::Always, 1), (VerifyReads::Never, 1), (VerifyReads::Always, 1 << 20)]
    {
        let blobs = Blobs::open(dir.path(), &Config { verify_reads, read_batch_bytes, ..config() }).unwrap();
        for range in [
            0..size,
            0..0,
            0..1,
            size - 1..size,
            5..CHUNK_BYTES + 5,
            CHUNK_BYTES..3 * CHUNK_BYTES,
            700_000..u64::MAX,
            size..size + 9,
        ] {
            let reader = blobs.reader(&stored.digest, stored.file).unwrap();
            let pieces: Vec<Bytes> = reader.stream(range.clone(), 100_000).map(Result::unwrap).collect().await;
            assert!(pieces.iter().all(|piece| (1..=100_000).contains(&piece.len())));
            let (start, end) = (range.start as usize, range.end.min(size) as usize);
            assert_eq!(pieces.concat(), bytes[start..end], "{range:?}");
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_is_found_when_the_file_is_due() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = noise(4 * CHUNK);
    let stored = store(&open(dir.path()), &bytes);
    let path = path_of(dir.path(), &stored);
    flip(&path, 2 * CHUNK_BYTES + 5);
    let open_as = |verify_reads, verify_interval_ms| {
        Blobs::open(dir.path(), &Config { verify_reads, verify_interval_ms, read_batch_bytes: 1, ..config() }).unwrap()
    };
    let day = 24 * 60 * 60 * 1000;
    let reader = |blobs: &Blobs| blobs.reader(&stored.digest, stored.file).unwrap();

    let always = reader(&open_as(VerifyReads::Always, day));
    assert_eq!(always.read_at(0, 2 * CHUNK).unwrap(), bytes[..2 * CHUNK], "untouched chunks read well");
    assert!(is_corrupt(&always.read_at(2 * CHUNK_BYTES, 1)));
    let mut stream = always.stream(0..u64::MAX, CHUNK);
    assert!(stream.next().await.unwrap().is_ok() && stream.next().await.unwrap().is_ok());
    assert!(is_corrupt(&stream.next().await.unwrap()));
    assert!(stream.next().await.is_none(), "the stream ends after an error");

    assert!(!reader(&open_as(VerifyReads::Interval, day)).is_checked(), "it was verified when it landed");
    assert!(!reader(&open_as(VerifyReads::Never, 0)).is_checked());
    age(&path, Duration::from_secs(25 * 60 * 60));
    assert!(is_corrupt(&reader(&open_as(VerifyReads::Interval, day)).read_at(2 * CHUNK_BYTES, 1)));

    let blobs = open(dir.path());
    assert!(is_corrupt(&blobs.verify_whole(&stored.digest, stored.file)));
    assert_eq!(blobs.files_of(&stored.digest).unwrap(), [stored.file], "it only accuses");
    blobs.quarantine(&stored.digest, stored.file).unwrap();
    assert!(blobs.files_of(&stored.digest).unwrap().is_empty());
    assert_eq!(std::fs::read_dir(dir.path().join("quarantine")).unwrap().count(), 1);
}

/// Sets a file's last verification back.
fn age(path: &Path, by: Duration) {
    let sidecar = PathBuf::from(format!("{}.sum", path.display()));
    let file = std::fs::File::options().write(true).open(sidecar).unwrap();
    file.set_modified(SystemTime::now() - by).unwrap();
}

#[tokio::test]
async fn a_whole_checked_read_counts_as_a_verification() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let bytes = noise(3 * CHUNK + 1);
    let stored = store(&blobs, &bytes);
    age(&path_of(dir.path(), &stored), Duration::from_secs(25 * 60 * 60));
    let reader = || blobs.reader(&stored.digest, stored.file).unwrap();
    for (range, due_after) in [(0..10, true), (1..u64::MAX, true), (0..u64::MAX, false)] {
        assert!(reader().is_checked());
        let pieces: Vec<_> = reader().stream(range.clone(), CHUNK).collect().await;
        assert!(pieces.iter().all(Result::is_ok));
        assert_eq!(reader().is_checked(), due_after, "{range:?}");
    }
}

#[test]
fn a_lost_or_damaged_sidecar_is_made_anew_from_a_good_file_only() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(dir.path(), &Config { verify_reads: VerifyReads::Always, ..config() }).unwrap();
    let bytes = noise(CHUNK + 1);
    let stored = store(&blobs, &bytes);
    let path = path_of(dir.path(), &stored);
    let sidecar = PathBuf::from(format!("{}.sum", path.display()));
    std::fs::remove_file(&sidecar).unwrap();
    assert_eq!(blobs.reader(&stored.digest, stored.file).unwrap().read_at(0, CHUNK).unwrap(), bytes[..CHUNK]);
    flip(&sidecar, 9);
    assert_eq!(blobs.reader(&stored.digest, stored.file).unwrap().read_at(0, CHUNK).unwrap(), bytes[..CHUNK]);
    std::fs::remove_file(&sidecar).unwrap();
    flip(&path, 1);
    assert!(is_corrupt(&blobs.reader(&stored.digest, stored.file)));
    assert!(!sidecar.exists());
}

#[test]
fn a_file_that_was_cut_short_is_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(dir.path(), &Config { verify_reads: VerifyReads::Always, ..config() }).unwrap();
    let stored = store(&blobs, &noise(2 * CHUNK));
    let file = std::fs::File::options().write(true).open(path_of(dir.path(), &stored)).unwrap();
    file.set_len(CHUNK_BYTES).unwrap();
    assert!(is_corrupt(&blobs.reader(&stored.digest, stored.file)));
}

/// What a crash leaves before and after the rename of a seal.
#[test]
fn a_crash_in_a_seal_leaves_a_whole_blob_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = noise(CHUNK);
    let digest = Digest::sha256_of(&bytes);
    let mut part = open(dir.path()).parts(PartKind::Upload).create("u", Algorithm::Sha256, b"").unwrap();
    part.append(&bytes).unwrap();
    part.sync().unwrap();
    drop(part);
    // Before: the sidecar is there, the file is still a part.
    let folder = dir.path().join("blobs/sha256").join(&digest.hex()[..2]);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{}.{}.sum", digest.hex(), ulid::Ulid::new())), "sums").unwrap();
    let blobs = open(dir.path());
    assert!(blobs.files_of(&digest).unwrap().is_empty());
    let stored = blobs.parts(PartKind::Upload).open("u").unwrap().seal(&digest).unwrap();
    // After: the file is a blob, the rest of the part is still there.
    let left = dir.path().join("uploads/u");
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("note"), "").unwrap();
    std::fs::write(left.join("state"), "anything").unwrap();
    drop(blobs);
    let blobs = open(dir.path());
    assert!(!left.exists());
    assert_eq!(blobs.files_of(&digest).unwrap(), [stored.file]);
    blobs.verify_whole(&digest, stored.file).unwrap();
}

#[test]
fn the_reserve_is_refused_to_blobs_and_what_is_there_stays_readable() {
    let dir = tempfile::tempdir().unwrap();
    let stored = store(&open(dir.path()), b"before");
    let blobs = Blobs::open(dir.path(), &Config { reserve_bytes: u64::MAX, ..config() }).unwrap();
    assert!(blobs.check_space().unwrap_err().is_full());
    assert!(blobs.free_bytes().unwrap() > 0);
    let refused = blobs.parts(PartKind::Upload).create("u", Algorithm::Sha256, b"").unwrap_err();
    assert!(refused.is_full(), "{refused}");
    assert_eq!(blobs.reader(&stored.digest, stored.file).unwrap().read_at(0, 6).unwrap(), "before");
}

/// A file system of its own, unmounted at the end.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// `None` where mounting is not allowed.
    fn mount(megabytes: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={megabytes}m");
        let mounted =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(dir))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        std::process::Command::new("umount").arg(self.0.path()).status().unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_fails_the_write_keeps_the_part_and_serves_on() {
    let Some(disk) = Tmpfs::mount(8) else {
        eprintln!("skipped: mounting a tmpfs needs root");
        return;
    };
    let dir = disk.0.path();
    let blobs = open(dir);
    let stored = store(&blobs, &noise(CHUNK));
    let mut part = blobs.parts(PartKind::Upload).create("sync", Algorithm::Sha256, b"").unwrap();
    let piece = noise(CHUNK);
    let mut landed = 0;
    let failure = loop {
        match part.append(&piece) {
            Ok(()) => landed += 1,
            Err(error) => break error,
        }
        assert!(landed < 64, "the disk never fills");
    };
    assert!(failure.is_full(), "{failure}");
    assert_eq!(part.len(), landed * CHUNK_BYTES);
    assert_eq!(std::fs::metadata(dir.join("uploads/sync/data")).unwrap().len(), part.len(), "no partial write is left");

    // The async front, on what the others leave: it fails too, and gives back what landed.
    let mut writer =
        blobs.parts(PartKind::Upload).open("sync").map_or_else(|_| part, |_| panic!("two writers")).into_writer();
    let failure = loop {
        if let Err(error) = writer.write(Bytes::from(noise(6 * CHUNK))).await {
            break error;
        }
    };
    assert!(failure.is_full(), "{failure}");
    assert!(writer.write(Bytes::from_static(b"x")).await.is_err(), "nothing goes behind the gap");
    let mut part = writer.finish().await.unwrap();
    assert_eq!(part.len(), landed * CHUNK_BYTES);

    assert_eq!(blobs.reader(&stored.digest, stored.file).unwrap().read_at(0, CHUNK).unwrap(), piece);
    // Room again: the same part goes on to a blob.
    blobs.remove(&stored.digest, stored.file).unwrap();
    part.append(b"end").unwrap();
    let whole = [piece.repeat(usize::try_from(landed).unwrap()), b"end".to_vec()].concat();
    part.seal(&Digest::sha256_of(&whole)).unwrap();
}
