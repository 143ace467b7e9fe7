//! What is missing where, as far as this node was told, and when this node tries what. Pure: the caller brings the
//! clock and the facts.

use portolan_meta::id::StoreId;
use portolan_oci::Digest;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::time::Instant;

/// A blob that some store lacks by placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Its length in bytes.
    pub(crate) size: u64,
    /// When it was committed, by the state's clock.
    pub(crate) at_ms: u64,
    /// The stores that have it.
    pub(crate) holders: Vec<StoreId>,
    /// The stores that lack it.
    pub(crate) stores: Vec<StoreId>,
}

/// Which of the two queues a blob waits in: many small ones and few large ones travel at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Below the configured size.
    Small,
    /// The others.
    Large,
}

#[derive(Debug)]
struct Entry {
    missing: Missing,
    failures: u32,
    /// When this node may try next; `None` while it tries, or when its own store does not lack the blob.
    due: Option<Instant>,
}

/// All known deficits of the cluster, and this node's queues among them.
#[derive(Debug)]
pub(crate) struct Plan {
    own: StoreId,
    large_bytes: u64,
    limit: usize,
    entries: HashMap<Digest, Entry>,
    small: BTreeSet<(Instant, Digest)>,
    large: BTreeSet<(Instant, Digest)>,
    queued_bytes: u64,
    overflowed: bool,
}

impl Plan {
    /// An empty plan of the node whose store is `own`, remembering at most `limit` blobs.
    pub(crate) fn new(own: StoreId, large_bytes: u64, limit: usize) -> Self {
        Self {
            own,
            large_bytes,
            limit,
            entries: HashMap::new(),
            small: BTreeSet::new(),
            large: BTreeSet::new(),
            queued_bytes: 0,
            overflowed: false,
        }
    }

    /// Notes the facts about one blob: what lacks it now, or that nothing does.
    pub(crate) fn note(&mut self, digest: Digest, missing: Option<Missing>, now: Instant) {
        let Some(missing) = missing else {
            if let Some(entry) = self.entries.remove(&digest) {
                self.unqueue(&digest, &entry);
            }
            return;
        };
        let mine = missing.stores.contains(&self.own);
        if let Some(mut entry) = self.entries.remove(&digest) {
            let was_mine = entry.missing.stores.contains(&self.own);
            self.unqueue(&digest, &entry);
            if mine != was_mine {
                entry.due = mine.then_some(now);
                entry.failures = 0;
            }
            entry.missing = missing;
            self.queue(digest, &entry);
            self.entries.insert(digest, entry);
        } else if self.entries.len() >= self.limit {
            self.overflowed = true;
        } else {
            let entry = Entry { missing, failures: 0, due: mine.then_some(now) };
            self.queue(digest, &entry);
            self.entries.insert(digest, entry);
        }
    }

    /// Takes the next blob of a class that may be tried now. It stays known, but is not handed out again before
    /// [`Plan::retry`] or [`Plan::again`] says so.
    pub(crate) fn take(&mut self, class: Class, now: Instant) -> Option<Digest> {
        let queue = self.queue_of(class);
        let (due, digest) = *queue.first()?;
        if due > now {
            return None;
        }
        queue.remove(&(due, digest));
        if let Some(entry) = self.entries.get_mut(&digest) {
            entry.due = None;
            self.queued_bytes -= entry.missing.size;
        }
        Some(digest)
    }

    /// A try failed: the next one waits `pause(failures in a row)`.
    pub(crate) fn retry(&mut self, digest: &Digest, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        if let Some(entry) = self.entries.get_mut(digest) {
            entry.failures = entry.failures.saturating_add(1);
            let due = now + pause(entry.failures);
            self.again(digest, due);
        }
    }

    /// The blob may be looked at again from `due` on.
    pub(crate) fn again(&mut self, digest: &Digest, due: Instant) {
        if let Some(mut entry) = self.entries.remove(digest) {
            self.unqueue(digest, &entry);
            entry.due = entry.missing.stores.contains(&self.own).then_some(due);
            self.queue(*digest, &entry);
            self.entries.insert(*digest, entry);
        }
    }

    /// When the next blob of a class may be tried.
    pub(crate) fn next_due(&self, class: Class) -> Option<Instant> {
        let queue = match class {
            Class::Small => &self.small,
            Class::Large => &self.large,
        };
        queue.first().map(|(due, _)| *due)
    }

    /// How many blobs wait in this node's queues, and how many bytes they have.
    pub(crate) fn queued(&self) -> (usize, u64) {
        (self.small.len() + self.large.len(), self.queued_bytes)
    }

    /// Everything that is known to be missing.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &Missing> {
        self.entries.values().map(|entry| &entry.missing)
    }

    /// The digests it knows, for comparing them with the facts again.
    pub(crate) fn digests(&self) -> Vec<Digest> {
        self.entries.keys().copied().collect()
    }

    /// Whether more was missing than may be remembered since the last [`Plan::begin_scan`].
    pub(crate) fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// A whole scan begins: what it finds decides anew whether everything fits.
    pub(crate) fn begin_scan(&mut self) {
        self.overflowed = false;
    }

    fn class(&self, size: u64) -> Class {
        if size >= self.large_bytes { Class::Large } else { Class::Small }
    }

    fn queue_of(&mut self, class: Class) -> &mut BTreeSet<(Instant, Digest)> {
        match class {
            Class::Small => &mut self.small,
            Class::Large => &mut self.large,
        }
    }

    fn queue(&mut self, digest: Digest, entry: &Entry) {
        if let Some(due) = entry.due {
            self.queued_bytes += entry.missing.size;
            self.queue_of(self.class(entry.missing.size)).insert((due, digest));
        }
    }

    fn unqueue(&mut self, digest: &Digest, entry: &Entry) {
        if let Some(due) = entry.due {
            self.queued_bytes -= entry.missing.size;
            self.queue_of(self.class(entry.missing.size)).remove(&(due, *digest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Class, Digest, Duration, Instant, Missing, Plan, StoreId};

    const OWN: StoreId = StoreId(1);
    const OTHER: StoreId = StoreId(2);

    fn digest(seed: u8) -> Digest {
        Digest::sha256_of(&[seed])
    }

    fn missing(size: u64, stores: &[StoreId]) -> Option<Missing> {
        Some(Missing { size, at_ms: 0, holders: Vec::new(), stores: stores.to_vec() })
    }

    fn plan() -> Plan {
        Plan::new(OWN, 100, 3)
    }

    #[test]
    fn only_the_own_deficits_are_queued_each_in_its_class() {
        let (mut plan, now) = (plan(), Instant::now());
        plan.note(digest(1), missing(10, &[OWN, OTHER]), now);
        plan.note(digest(2), missing(100, &[OWN]), now);
        plan.note(digest(3), missing(10, &[OTHER]), now);
        assert_eq!(plan.queued(), (2, 110));
        assert_eq!(plan.take(Class::Small, now), Some(digest(1)));
        assert_eq!(plan.take(Class::Small, now), None);
        assert_eq!(plan.take(Class::Large, now), Some(digest(2)));
        assert_eq!(plan.missing().count(), 3);
    }

    #[test]
    fn a_blob_that_is_tried_is_not_handed_out_again_by_a_repeated_note() {
        let (mut plan, now) = (plan(), Instant::now());
        plan.note(digest(1), missing(10, &[OWN]), now);
        assert_eq!(plan.take(Class::Small, now), Some(digest(1)));
        plan.note(digest(1), missing(10, &[OWN, OTHER]), now);
        assert_eq!(plan.take(Class::Small, now), None);
    }

    #[test]
    fn a_failure_delays_the_next_try_and_counts() {
        let (mut plan, now) = (plan(), Instant::now());
        plan.note(digest(1), missing(10, &[OWN]), now);
        for failures in 1..4_u32 {
            let later = now + Duration::from_secs(100 * u64::from(failures));
            assert_eq!(plan.take(Class::Small, later), Some(digest(1)));
            plan.retry(&digest(1), later, |count| {
                assert_eq!(count, failures);
                Duration::from_secs(5)
            });
            assert_eq!(plan.take(Class::Small, later), None);
            assert_eq!(plan.next_due(Class::Small), Some(later + Duration::from_secs(5)));
        }
    }

    #[test]
    fn what_is_no_longer_missing_is_forgotten() {
        let (mut plan, now) = (plan(), Instant::now());
        plan.note(digest(1), missing(10, &[OWN]), now);
        plan.note(digest(1), None, now);
        assert_eq!(plan.take(Class::Small, now), None);
        assert_eq!(plan.missing().count(), 0);
        assert_eq!(plan.queued(), (0, 0));
    }

    #[test]
    fn a_deficit_that_becomes_ours_is_queued_and_one_that_ceases_is_not() {
        let (mut plan, now) = (plan(), Instant::now());
        plan.note(digest(1), missing(10, &[OTHER]), now);
        plan.note(digest(1), missing(10, &[OWN]), now);
        assert_eq!(plan.next_due(Class::Small), Some(now));
        plan.note(digest(1), missing(10, &[OTHER]), now);
        assert_eq!(plan.next_due(Class::Small), None);
    }

    #[test]
    fn more_than_the_limit_is_not_remembered_but_known_to_be_incomplete() {
        let (mut plan, now) = (plan(), Instant::now());
        for seed in 0..4 {
            plan.note(digest(seed), missing(10, &[OWN]), now);
        }
        assert!(plan.overflowed());
        assert_eq!(plan.missing().count(), 3);
        plan.begin_scan();
        assert!(!plan.overflowed());
    }
}
