//! The hash of a whole state, by which two nodes can tell whether theirs are the same.

use super::view::family;
use crate::engine;
use crate::error::StoreError;
use portolan_meta::family::Family;
use portolan_oci::{Algorithm, Digest, Hasher};
use rocksdb::{DB, ReadOptions, Snapshot};
use std::collections::BTreeMap;

/// What the database is called in errors.
const DATABASE: &str = "state";
/// How much is read ahead: a state is read from its first row to its last.
const READAHEAD_BYTES: usize = 1 << 20;
/// After so many bytes it is asked whether to go on.
const PAUSE_BYTES: usize = 1 << 20;

/// Before each row.
const ROW: &[u8] = &[1];
/// Behind the last row of a family.
const END: &[u8] = &[0];

/// What the rows of a state amount to at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateHash {
    /// SHA-256 over every family in the order of [`Family::ALL`]: its name, then its rows in the order of their keys,
    /// each behind a byte 1, then a byte 0. Names, keys and values have their length before them, eight bytes big-endian.
    pub digest: Digest,
    /// The counted markers of that moment, those that were written.
    pub markers: BTreeMap<String, Vec<u8>>,
}

/// Which rows of `sys` are markers, and which of them count.
pub(super) struct Counted<'a> {
    /// What the keys of markers begin with.
    pub(super) prefix: &'a [u8],
    /// The markers that are the same on every node; any other is this node's own.
    pub(super) markers: &'a [&'a str],
}

impl Counted<'_> {
    /// The marker's name, or that the row does not count.
    fn judge(&self, of: Family, key: &[u8]) -> Row {
        match key.strip_prefix(self.prefix) {
            Some(name) if of == Family::Sys => {
                let known = self.markers.iter().find(|marker| marker.as_bytes() == name);
                known.map_or(Row::Own, |name| Row::Marker((*name).to_owned()))
            }
            _ => Row::Replicated,
        }
    }
}

enum Row {
    Replicated,
    Marker(String),
    Own,
}

/// Hashes what the database held at a snapshot; `None` once `go_on` says no. Memory is bounded by a row and what is read
/// ahead; the block cache stays with those who serve.
pub(super) fn hash(
    db: &DB,
    snapshot: &Snapshot<'_>,
    counted: &Counted<'_>,
    go_on: impl Fn() -> bool,
) -> Result<Option<StateHash>, StoreError> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut markers = BTreeMap::new();
    let mut unasked = 0;
    for of in Family::ALL {
        sized(&mut hasher, of.name().as_bytes());
        let mut options = ReadOptions::default();
        options.set_snapshot(snapshot);
        options.fill_cache(false);
        options.set_readahead_size(READAHEAD_BYTES);
        let mut rows = db.raw_iterator_cf_opt(family(db, of), options);
        rows.seek_to_first();
        while let Some((key, value)) = rows.item() {
            match counted.judge(of, key) {
                Row::Replicated => row(&mut hasher, key, value),
                Row::Marker(name) => {
                    row(&mut hasher, key, value);
                    markers.insert(name, value.to_vec());
                }
                Row::Own => {}
            }
            unasked += key.len() + value.len();
            if unasked >= PAUSE_BYTES {
                unasked = 0;
                if !go_on() {
                    return Ok(None);
                }
            }
            rows.next();
        }
        rows.status().map_err(engine::failed(DATABASE, "hashing"))?;
        hasher.update(END);
    }
    Ok(Some(StateHash { digest: hasher.finish(), markers }))
}

fn row(hasher: &mut Hasher, key: &[u8], value: &[u8]) {
    hasher.update(ROW);
    sized(hasher, key);
    sized(hasher, value);
}

/// With the length before the bytes two different lists of rows never read the same.
fn sized(hasher: &mut Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_be_bytes());
    hasher.update(bytes);
}
