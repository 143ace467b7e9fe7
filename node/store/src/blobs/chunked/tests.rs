#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::{CHUNK_BYTES, Chunk, ChunkedPart, DATA, STATE};
use crate::blobs::{Blobs, PartKind, Parts, table_digest};
use crate::config::{Config, VerifyReads};
use crate::error::StoreError;
use bytes::Bytes;
use portolan_oci::{Algorithm, Digest};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngCore, SeedableRng};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const CHUNK: usize = 256 << 10;

fn config() -> Config {
    Config { reserve_bytes: 0, verify_reads: VerifyReads::Always, ..Config::default() }
}

fn open(dir: &Path) -> (Arc<Blobs>, Parts) {
    let blobs = Blobs::open(dir, &config()).unwrap();
    let parts = blobs.parts(PartKind::Fetch);
    (blobs, parts)
}

fn random(rng: &mut StdRng, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    rng.fill_bytes(&mut bytes);
    bytes.into()
}

/// A chunk of a blob, in pieces as a stream may bring them.
fn chunk(bytes: &Bytes, index: u64, rng: &mut StdRng) -> Chunk {
    let begin = usize::try_from(index).unwrap() * CHUNK;
    let mut rest = bytes.slice(begin..(begin + CHUNK).min(bytes.len()));
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        pieces.push(rest.split_to(rng.random_range(1..=rest.len())));
    }
    Chunk::new(index, pieces)
}

fn count(bytes: &Bytes) -> u64 {
    (bytes.len() as u64).div_ceil(CHUNK_BYTES)
}

/// The numbers of the chunks that a part lacks.
fn lacks(part: &ChunkedPart) -> Vec<u64> {
    part.missing().into_iter().flat_map(|run| run.start / CHUNK_BYTES..run.end.div_ceil(CHUNK_BYTES)).collect()
}

#[test]
fn chunks_in_any_order_make_the_blob() {
    for seed in 0..20 {
        eprintln!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let dir = tempfile::tempdir().unwrap();
        let (blobs, parts) = open(dir.path());
        let length = [0, 1, CHUNK, CHUNK + 1, rng.random_range(1..30 * CHUNK)][usize::try_from(seed % 5).unwrap()];
        let bytes = random(&mut rng, length);
        let algorithm = Algorithm::ALL[rng.random_range(0..2)];
        let digest = Digest::of(algorithm, &bytes);
        let part = parts.create_chunked("f", algorithm, length as u64).unwrap();
        let (reader, front) = (part.reader(), part.reader().front());
        let mut order: Vec<u64> = (0..count(&bytes)).collect();
        order.shuffle(&mut rng);
        for index in order {
            let at = index * CHUNK_BYTES;
            assert!(!reader.has(&(at..at + 1)));
            part.land(&chunk(&bytes, index, &mut rng)).unwrap();
            part.land(&chunk(&bytes, index, &mut rng)).unwrap();
            assert!(reader.has(&(at..(at + CHUNK_BYTES).min(length as u64))));
            let hashed = lacks(&part).first().map_or(length as u64, |first| first * CHUNK_BYTES);
            assert_eq!(*front.borrow(), hashed, "the front is where the first chunk is missing");
        }
        assert_eq!((part.bytes(), lacks(&part).len()), (length as u64, 0));
        let stored = part.seal(&digest).unwrap();
        assert_eq!(reader.bytes_reader().read_at(0, length + 1).unwrap(), bytes, "it is read on");
        let table: Vec<u32> = bytes.chunks(CHUNK).map(crc32c::crc32c).collect();
        assert_eq!((stored.size, stored.sums), (length as u64, table_digest(&table)));
        assert_eq!(blobs.reader(&digest, stored.file).unwrap().read_at(0, length).unwrap(), bytes);
        blobs.verify_whole(&digest, stored.file).unwrap();
        assert!(parts.list().unwrap().is_empty());
    }
}

/// What a disk may leave of a folder when it forgets what was not synced: the chunks of the last saved state or the one
/// before, and anything at all in the places of others.
fn forget(dir: &Path, durable: &[u64], state: &[u8], size: u64, rng: &mut StdRng) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().write(true).open(dir.join(DATA)).unwrap();
    for index in (0..size.div_ceil(CHUNK_BYTES)).filter(|index| !durable.contains(index)) {
        if rng.random_bool(0.5) {
            let length = usize::try_from((size - index * CHUNK_BYTES).min(CHUNK_BYTES)).unwrap();
            let mut noise = vec![0; length];
            rng.fill_bytes(&mut noise);
            file.write_all_at(&noise, index * CHUNK_BYTES).unwrap();
        }
    }
    if rng.random_bool(0.3) {
        file.set_len(durable.iter().map(|index| ((index + 1) * CHUNK_BYTES).min(size)).max().unwrap_or(0)).unwrap();
    }
    std::fs::write(dir.join(STATE), state).unwrap();
}

#[test]
fn a_crash_keeps_every_durable_chunk_and_nothing_else() {
    for seed in 0..30 {
        eprintln!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("fetches/f");
        let length = rng.random_range(1..40 * CHUNK);
        let (bytes, size) = (random(&mut rng, length), length as u64);
        let digest = Digest::sha256_of(&bytes);
        let (_, parts) = open(dir.path());
        let mut part = parts.create_chunked("f", Algorithm::Sha256, size).unwrap();
        part.sync().unwrap();
        // The last two states that were saved, and which chunks each of them speaks of.
        let mut saved = vec![(std::fs::read(folder.join(STATE)).unwrap(), Vec::new())];
        let mut here: Vec<u64> = Vec::new();
        while !lacks(&part).is_empty() {
            match rng.random_range(0..10) {
                0 | 1 => {
                    part.sync().unwrap();
                    saved.push((std::fs::read(folder.join(STATE)).unwrap(), here.clone()));
                }
                2 => {
                    drop(part);
                    let last = saved.len() - 1;
                    let (state, durable) = saved[last.saturating_sub(rng.random_range(0..2))].clone();
                    forget(&folder, &durable, &state, size, &mut rng);
                    let (_, parts) = open(dir.path());
                    part = parts.open_chunked("f", Algorithm::Sha256, size).unwrap();
                    let missing: Vec<u64> = (0..count(&bytes)).filter(|index| !durable.contains(index)).collect();
                    assert_eq!(lacks(&part), missing);
                    part.advance().unwrap();
                    saved = vec![(state, durable.clone())];
                    here = durable;
                }
                _ => {
                    let missing = lacks(&part);
                    let index = missing[rng.random_range(0..missing.len())];
                    part.land(&chunk(&bytes, index, &mut rng)).unwrap();
                    here.push(index);
                }
            }
        }
        let stored = part.seal(&digest).unwrap();
        let (blobs, _) = open(dir.path());
        assert_eq!(blobs.reader(&digest, stored.file).unwrap().read_at(0, length).unwrap(), bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_land_chunks_at_a_time() {
    let mut rng = StdRng::seed_from_u64(7);
    let dir = tempfile::tempdir().unwrap();
    let small = Config { sync_every_bytes: 1 << 20, ..config() };
    let blobs = Blobs::open(dir.path(), &small).unwrap();
    let bytes = random(&mut rng, 100 * CHUNK + 9);
    let parts = blobs.parts(PartKind::Fetch);
    let part = parts.create_chunked("f", Algorithm::Sha256, bytes.len() as u64).unwrap();
    let mut order: Vec<u64> = (0..count(&bytes)).collect();
    order.shuffle(&mut rng);
    let landing: Vec<_> = order.iter().map(|index| part.land_async(chunk(&bytes, *index, &mut rng))).collect();
    for landed in landing {
        landed.await.unwrap();
    }
    let mut front = part.reader().front();
    let whole = front.wait_for(|front| *front == bytes.len() as u64);
    tokio::time::timeout(Duration::from_secs(20), whole).await.unwrap().unwrap();
    assert!(parts.info("f").unwrap().synced_bytes > 0, "no sync ran beside");
    let digest = Digest::sha256_of(&bytes);
    let stored = part.seal_async(digest).await.unwrap();
    blobs.verify_whole(&digest, stored.file).unwrap();
}

#[test]
fn a_wrong_chunk_makes_no_blob_and_a_table_finds_it() {
    let mut rng = StdRng::seed_from_u64(1);
    let dir = tempfile::tempdir().unwrap();
    let (_, parts) = open(dir.path());
    let bytes = random(&mut rng, 5 * CHUNK + 3);
    let (size, digest) = (bytes.len() as u64, Digest::sha256_of(&bytes));
    let part = parts.create_chunked("f", Algorithm::Sha256, size).unwrap();
    let wrong = Chunk::new(2, vec![random(&mut rng, CHUNK)]);
    for index in [5, 4, 0, 1, 3] {
        part.land(&chunk(&bytes, index, &mut rng)).unwrap();
    }
    part.land(&wrong).unwrap();
    part.sync().unwrap();
    assert!(matches!(part.seal(&digest), Err(StoreError::DigestMismatch { .. })));

    let table: Vec<u32> = bytes.chunks(CHUNK).map(crc32c::crc32c).collect();
    let part = parts.open_chunked("f", Algorithm::Sha256, size).unwrap();
    assert_eq!(part.retain(&table), 1);
    assert_eq!(lacks(&part), [2]);
    part.land(&chunk(&bytes, 2, &mut rng)).unwrap();
    part.seal(&digest).unwrap();
}

#[test]
fn what_is_not_of_the_blob_is_refused() {
    let mut rng = StdRng::seed_from_u64(2);
    let dir = tempfile::tempdir().unwrap();
    let (_, parts) = open(dir.path());
    let bytes = random(&mut rng, 2 * CHUNK + 3);
    let part = parts.create_chunked("f", Algorithm::Sha256, bytes.len() as u64).unwrap();
    for (index, length) in [(3, 3), (3, 0), (2, 4), (2, 2), (0, CHUNK - 1), (1, CHUNK + 1)] {
        let refused = part.land(&Chunk::new(index, vec![bytes.slice(..length)]));
        assert!(matches!(refused, Err(StoreError::BadChunk { .. })), "{index} {length}: {refused:?}");
    }
    let digest = Digest::sha256_of(&bytes);
    part.land(&chunk(&bytes, 0, &mut rng)).unwrap();
    part.sync().unwrap();
    assert!(matches!(parts.open_chunked("f", Algorithm::Sha256, 1), Err(StoreError::Busy { .. })));
    assert!(matches!(part.seal(&digest), Err(StoreError::Closed { .. })), "chunks are missing");
    for (algorithm, size) in [(Algorithm::Sha512, bytes.len()), (Algorithm::Sha256, bytes.len() + 1)] {
        let refused = parts.open_chunked("f", algorithm, size as u64);
        assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
    }
    assert!(matches!(parts.open("f"), Err(StoreError::Corrupt { .. })), "it is no part that grows at its end");
    drop(parts.create("g", Algorithm::Sha256, b"").unwrap());
    assert!(matches!(parts.open_chunked("g", Algorithm::Sha256, 0), Err(StoreError::Corrupt { .. })));
    let part = parts.open_chunked("f", Algorithm::Sha256, bytes.len() as u64).unwrap();
    assert_eq!(lacks(&part), [1, 2], "nothing of this did harm");
}
