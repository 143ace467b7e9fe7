//! How the state machine reads the database.

use bytes::Bytes;
use portolan_meta::family::Family;
use portolan_meta::view::{Row, View, ViewError};
use rocksdb::{ColumnFamily, DB, Error, ReadOptions, Snapshot};

/// The handle of a family in an open database.
pub(super) fn family(db: &DB, family: Family) -> &ColumnFamily {
    db.cf_handle(family.name()).expect("every family is opened with the database")
}

/// Reads a database: as it was at a snapshot, or as it is.
pub(super) struct Reader<'a> {
    pub(super) db: &'a DB,
    pub(super) snapshot: Option<Snapshot<'a>>,
}

impl Reader<'_> {
    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        if let Some(snapshot) = &self.snapshot {
            options.set_snapshot(snapshot);
        }
        options
    }
}

impl View for Reader<'_> {
    fn get(&self, family_of: Family, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        let value = self.db.get_cf_opt(family(self.db, family_of), key, &self.options());
        Ok(value.map_err(failed(family_of))?.map(Bytes::from))
    }

    fn multi_get(&self, family_of: Family, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, ViewError> {
        let keys = keys.iter().map(Vec::as_slice);
        self.db
            .batched_multi_get_cf_opt(family(self.db, family_of), keys, false, &self.options())
            .into_iter()
            .map(|value| Ok(value.map_err(failed(family_of))?.map(|value| Bytes::copy_from_slice(&value))))
            .collect()
    }

    fn scan(
        &self,
        family_of: Family,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, ViewError> {
        let mut options = self.options();
        if let Some(end) = end_of(prefix) {
            options.set_iterate_upper_bound(end);
        }
        let mut iterator = self.db.raw_iterator_cf_opt(family(self.db, family_of), options);
        match after {
            Some(after) if after >= prefix => {
                iterator.seek(after);
                if iterator.key() == Some(after) {
                    iterator.next();
                }
            }
            _ => iterator.seek(prefix),
        }
        let mut rows = Vec::new();
        while rows.len() < limit
            && let Some((key, value)) = iterator.item()
        {
            rows.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            iterator.next();
        }
        iterator.status().map_err(failed(family_of))?;
        Ok(rows)
    }
}

fn failed(family: Family) -> impl Fn(Error) -> ViewError {
    move |source| ViewError::Read { family: family.name(), source: Box::new(source) }
}

/// The first key behind all that start with `prefix`; `None` when there is none.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
