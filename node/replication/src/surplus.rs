//! Own copies that policy does not want here: which of them may go, and when. Pure.
//!
//! A copy that a pull brought to a node that is no target is kept for a while, since the next pull may come soon; one
//! that must not be stored in this region goes as soon as the targets have theirs.

use portolan_meta::id::{FileId, StoreId};
use portolan_meta::placement::Standing;
use portolan_oci::Digest;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Own surplus copies.
#[derive(Debug)]
pub(crate) struct Surplus {
    own: StoreId,
    region: String,
    keep: Duration,
    limit: usize,
    copies: HashMap<Digest, Copy>,
}

#[derive(Debug)]
struct Copy {
    file: FileId,
    /// Since when it is surplus, as far as this start knows.
    since: Instant,
    /// Whether it must not lie here at all.
    is_barred: bool,
    /// Whether every target has one, as far as this node knows: else dropping it would be refused.
    is_spare: bool,
    /// A drop was refused: not before then.
    not_before: Option<Instant>,
}

impl Surplus {
    /// Of the node whose store and region these are; `limit` bounds what is remembered, the next scan finds the rest.
    pub(crate) fn new(own: StoreId, region: String, keep: Duration, limit: usize) -> Self {
        Self { own, region, keep, limit, copies: HashMap::new() }
    }

    /// Notes how a blob stands; `None` when no live one has the digest.
    pub(crate) fn note(&mut self, digest: Digest, standing: Option<&Standing>, now: Instant) {
        let own = standing.and_then(|standing| {
            let (_, file) = standing.surplus.iter().find(|(store, _)| *store == self.own)?;
            Some((standing, *file))
        });
        let Some((standing, file)) = own.filter(|(standing, _)| standing.is_shown) else {
            self.copies.remove(&digest);
            return;
        };
        let known = self.copies.get(&digest).filter(|copy| copy.file == file);
        let (since, not_before) = known.map_or((now, None), |copy| (copy.since, copy.not_before));
        if known.is_some() || self.copies.len() < self.limit {
            let (is_barred, is_spare) = (standing.barred.contains(&self.region), standing.missing.is_empty());
            self.copies.insert(digest, Copy { file, since, is_barred, is_spare, not_before });
        }
    }

    /// Up to `limit` copies that may go now.
    pub(crate) fn due(&self, now: Instant, limit: usize) -> Vec<(Digest, FileId)> {
        let may_go = |copy: &Copy| {
            let waited = copy.is_barred || copy.since + self.keep <= now;
            waited && copy.is_spare && copy.not_before.is_none_or(|due| due <= now)
        };
        let due = self.copies.iter().filter(|(_, copy)| may_go(copy));
        due.map(|(digest, copy)| (*digest, copy.file)).take(limit).collect()
    }

    /// A drop was not accepted: ask again after a while.
    pub(crate) fn put_off(&mut self, digest: &Digest, until: Instant) {
        if let Some(copy) = self.copies.get_mut(digest) {
            copy.not_before = Some(until);
        }
    }

    /// Everything it knows, for comparing it with the facts again.
    pub(crate) fn digests(&self) -> Vec<Digest> {
        self.copies.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Digest, Duration, FileId, Instant, Standing, StoreId, Surplus};

    const OWN: StoreId = StoreId(1);

    fn digest(seed: u8) -> Digest {
        Digest::sha256_of(&[seed])
    }

    fn standing(surplus: &[u64], missing: &[u64], barred: &[&str]) -> Standing {
        Standing {
            size: 1,
            generation: 1,
            at_ms: 0,
            is_shown: true,
            holders: Vec::new(),
            live_copies: 2,
            lone_region: None,
            silent_regions: std::collections::BTreeSet::new(),
            missing: missing.iter().copied().map(StoreId).collect(),
            surplus: surplus.iter().map(|store| (StoreId(*store), FileId(7))).collect(),
            barred: barred.iter().map(|region| (*region).to_owned()).collect(),
        }
    }

    #[test]
    fn a_cached_copy_goes_after_a_while_and_one_that_must_not_be_here_at_once() {
        let keep = Duration::from_secs(600);
        let (mut surplus, start) = (Surplus::new(OWN, "us".to_owned(), keep, 10), Instant::now());
        surplus.note(digest(1), Some(&standing(&[1, 2], &[], &[])), start);
        surplus.note(digest(2), Some(&standing(&[1], &[], &["us"])), start);
        surplus.note(digest(3), Some(&standing(&[2], &[], &["ap"])), start);
        surplus.note(digest(4), Some(&standing(&[1], &[3], &["us"])), start);
        assert_eq!(surplus.due(start, 10), [(digest(2), FileId(7))], "4 is needed until 3 has it");
        let later = start + keep;
        surplus.note(digest(1), Some(&standing(&[1], &[], &[])), later);
        surplus.put_off(&digest(2), later + keep);
        assert_eq!(surplus.due(later, 10), [(digest(1), FileId(7))], "noting it again begins no new wait");
        surplus.note(digest(1), Some(&standing(&[], &[], &[])), later);
        surplus.note(digest(2), None, later);
        assert_eq!(surplus.due(later + keep, 10), [], "wanted again, or gone");
    }
}
