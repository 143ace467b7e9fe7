//! Histories made by hand, for the invariants' own tests. Times are in milliseconds, and unless a test says otherwise
//! everything is about the tag `t` of the repository `r`, asked at node 0, which is in region `a`.

use super::evidence::{After, Event, Evidence, FinalPull, Invariant, NodeInfo, Violation};
use crate::history::{Call, History, Micros, Record, Seen};

pub(crate) const REPO: &str = "r";
pub(crate) const TAG: &str = "t";

/// One call in the making.
#[derive(Clone)]
pub(crate) struct Step(pub(crate) Record);

fn step(call: Call, status: u16) -> Step {
    let seen = Seen { status: Some(status), whole: true, ..Seen::default() };
    let (start, end) = (Micros(0), Micros(0));
    Step(Record { id: 0, client: 0, region: "a".to_owned(), node: 0, start, end, call, seen })
}

pub(crate) fn put(digest: &str) -> Step {
    step(Call::PutTag { repo: REPO.to_owned(), tag: TAG.to_owned(), digest: digest.to_owned() }, 201)
}

pub(crate) fn put_manifest(digest: &str) -> Step {
    step(Call::PutManifest { repo: REPO.to_owned(), digest: digest.to_owned() }, 201)
}

pub(crate) fn put_blob(digest: &str, size: u64) -> Step {
    let call = Call::PutBlob { repo: REPO.to_owned(), digest: digest.to_owned(), size, hops: vec![0] };
    step(call, 201)
}

pub(crate) fn delete() -> Step {
    step(Call::DeleteTag { repo: REPO.to_owned(), tag: TAG.to_owned() }, 202)
}

pub(crate) fn delete_manifest(digest: &str) -> Step {
    step(Call::DeleteManifest { repo: REPO.to_owned(), digest: digest.to_owned() }, 202)
}

/// A read of the tag: its digest, or 404.
pub(crate) fn get(seen: Option<&str>) -> Step {
    let mut step =
        step(Call::GetTag { repo: REPO.to_owned(), tag: TAG.to_owned() }, if seen.is_some() { 200 } else { 404 });
    step.0.seen.digest = seen.map(str::to_owned);
    step.0.seen.right = seen.map(|_| true);
    step
}

pub(crate) fn get_manifest(digest: &str) -> Step {
    let mut step = step(Call::GetManifest { repo: REPO.to_owned(), digest: digest.to_owned() }, 200);
    step.0.seen.right = Some(true);
    step
}

/// A whole pull that gave so many bytes.
pub(crate) fn get_blob(digest: &str, bytes: u64) -> Step {
    let mut step = step(Call::GetBlob { repo: REPO.to_owned(), digest: digest.to_owned(), range: None }, 200);
    step.0.seen.right = Some(true);
    step.0.seen.bytes = bytes;
    step
}

pub(crate) fn get_range(digest: &str, range: std::ops::Range<u64>, bytes: u64) -> Step {
    let mut step = get_blob(digest, bytes);
    step.0.call = Call::GetBlob { repo: REPO.to_owned(), digest: digest.to_owned(), range: Some(range) };
    step.0.seen.status = Some(206);
    step
}

pub(crate) fn list(after: Option<&str>, names: &[&str]) -> Step {
    let mut step = step(Call::ListTags { repo: REPO.to_owned(), last: after.map(str::to_owned) }, 200);
    step.0.seen.names = names.iter().map(|&name| name.to_owned()).collect();
    step
}

impl Step {
    /// When it began and ended.
    pub(crate) fn at(mut self, start_ms: u64, end_ms: u64) -> Self {
        self.0.start = Micros(start_ms * 1000);
        self.0.end = Micros(end_ms * 1000);
        self
    }

    /// The node, whose region the client is in too.
    pub(crate) fn on(mut self, node: usize) -> Self {
        self.0.node = node;
        ["a", "b", "c"][node].clone_into(&mut self.0.region);
        self
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.0.seen.status = Some(status);
        self
    }

    /// No answer came.
    pub(crate) fn lost(mut self) -> Self {
        self.0.seen = Seen { error: Some("connection reset".to_owned()), ..Seen::default() };
        self
    }

    /// The connection ended in the middle of the body.
    pub(crate) fn cut(mut self) -> Self {
        self.0.seen.whole = false;
        self
    }

    /// The bytes are others than those that were pushed.
    pub(crate) fn wrong(mut self) -> Self {
        self.0.seen.right = Some(false);
        self
    }

    /// The answer is marked as so many seconds old.
    pub(crate) fn stale(mut self, age: u64) -> Self {
        self.0.seen.warning = Some("299 - \"the cluster's leader cannot be reached\"".to_owned());
        self.0.seen.age = Some(age);
        self
    }

    /// Of another tag.
    pub(crate) fn tagged(mut self, name: &str) -> Self {
        if let Call::PutTag { tag, .. } | Call::DeleteTag { tag, .. } | Call::GetTag { tag, .. } = &mut self.0.call {
            name.clone_into(tag);
        }
        self
    }
}

/// The evidence of a run over three nodes in three regions, in which these calls were made.
pub(crate) fn evidence(steps: impl IntoIterator<Item = Step>) -> Evidence {
    let mut records: Vec<Record> = steps.into_iter().map(|step| step.0).collect();
    records.sort_by_key(|record| record.end);
    for (id, record) in (0..).zip(&mut records) {
        record.id = id;
    }
    let nodes = ["a", "b", "c"].map(|region| NodeInfo { name: format!("{region}-1"), region: region.to_owned() });
    let hashes = (0..nodes.len()).map(|node| (node, (1, "x".to_owned()))).collect();
    let after = After { hashes, ..After::default() };
    Evidence { nodes: nodes.to_vec(), history: History(records), after, ..Evidence::default() }
}

/// A fault that does nothing by itself.
pub(crate) fn event(kind: &str, begin_ms: u64, end_ms: Option<u64>) -> Event {
    Event {
        fault: kind.to_owned(),
        kind: kind.to_owned(),
        begin: Micros(begin_ms * 1000),
        end: end_ms.map(|end| Micros(end * 1000)),
        ..Event::default()
    }
}

/// The same pull at all three nodes.
pub(crate) fn pulls(digest: &str, statuses: [u16; 3]) -> Vec<FinalPull> {
    let pull = |(node, status)| FinalPull {
        node,
        repo: REPO.to_owned(),
        digest: digest.to_owned(),
        status: Some(status),
        right: status == 200,
    };
    statuses.into_iter().enumerate().map(pull).collect()
}

/// Nothing is found.
#[track_caller]
pub(crate) fn passes(invariant: &dyn Invariant, evidence: &Evidence) {
    let found = invariant.check(evidence);
    assert!(found.is_empty(), "{}: {found:#?}", invariant.name());
}

/// Exactly one thing is found, in words that hold these, and shown by so many calls.
#[track_caller]
pub(crate) fn caught(invariant: &dyn Invariant, evidence: &Evidence, words: &str, records: usize) -> Violation {
    let mut found = invariant.check(evidence);
    assert_eq!(found.len(), 1, "{}: {found:#?}", invariant.name());
    let violation = found.remove(0);
    assert_eq!(violation.invariant, invariant.name());
    assert!(violation.what.contains(words), "{}", violation.what);
    assert_eq!(violation.records.len(), records, "{:#?}", violation.records);
    violation
}
