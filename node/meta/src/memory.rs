//! A state in memory, for the tests of this crate and of those above.

use crate::family::Family;
use crate::view::{Row, View, ViewError, Write, Writes};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Every row, sorted. Two states are equal when all their rows are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryState {
    families: BTreeMap<Family, BTreeMap<Vec<u8>, Bytes>>,
}

impl MemoryState {
    /// A state without rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the changes, in order.
    pub fn write(&mut self, writes: &Writes) {
        for write in &writes.rows {
            match write {
                Write::Put(family, key, value) => self.put(*family, key.clone(), value.clone()),
                Write::Delete(family, key) => {
                    if let Some(rows) = self.families.get_mut(family) {
                        rows.remove(key);
                    }
                }
            }
        }
        self.families.retain(|_, rows| !rows.is_empty());
    }

    /// Sets one row behind the state machine's back.
    pub fn put(&mut self, family: Family, key: Vec<u8>, value: Vec<u8>) {
        self.families.entry(family).or_default().insert(key, value.into());
    }

    /// All rows of a family, in key order.
    pub fn rows(&self, family: Family) -> impl Iterator<Item = (&[u8], &Bytes)> {
        self.families.get(&family).into_iter().flatten().map(|(key, value)| (key.as_slice(), value))
    }
}

impl View for MemoryState {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        Ok(self.families.get(&family).and_then(|rows| rows.get(key)).cloned())
    }

    fn scan(&self, family: Family, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, ViewError> {
        let Some(rows) = self.families.get(&family) else {
            return Ok(Vec::new());
        };
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        Ok(rows
            .range::<[u8], _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, value)| (Bytes::copy_from_slice(key), value.clone()))
            .collect())
    }
}
