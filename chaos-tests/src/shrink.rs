//! What a failure prints: the shortest history that still shows a violation, as a table on one axis of time.

#[cfg(test)]
mod tests;

use crate::fewest::fewest;
use crate::history::{Call, History, Micros, Outcome, Record};
use crate::invariants::{Evidence, Invariant, Violation};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use std::fmt::Write;

/// How often the evidence is judged while its history is made shorter.
const MOST_CHECKS: usize = 400;

/// How many characters the axis of time has.
const AXIS: usize = 40;

/// How many characters of a digest are shown behind its algorithm.
const DIGEST: usize = 12;

/// The shortest history, found within a bounded number of judgements, in which an invariant still finds the same thing
/// wrong. A read stays together with the pushes of what it read, so that nothing looks wrong only for what was left out.
///
/// The violation's own records are where it begins: only if they do not show it by themselves, as where something else of
/// the evidence does, all calls are tried; and if not even those do, its own records are the answer.
#[must_use]
pub fn shortest(invariant: &dyn Invariant, evidence: &Evidence, violation: &Violation) -> Vec<Record> {
    let mut judged = evidence.clone();
    let mut shows = |records: &[Record]| {
        let mut records = records.to_vec();
        records.sort_by_key(|record| (record.end, record.id));
        judged.history = History(records);
        invariant.check(&judged).iter().any(|found| found.what == violation.what)
    };
    let own = &violation.records;
    let from = if shows(own) {
        own
    } else if shows(&evidence.history.0) {
        &evidence.history.0
    } else {
        return own.clone();
    };
    let mut records = fewest(from.clone(), MOST_CHECKS, |rest| is_explained(rest, from) && shows(rest));
    records.sort_by_key(|record| (record.start, record.end));
    records
}

/// Whether every read is together with all pushes of what it read that there are.
fn is_explained(rest: &[Record], all: &[Record]) -> bool {
    let is_push_of = |push: &Record, digest: &str| push.call.is_write() && put(&push.call) == Some(digest);
    let count = |records: &[Record], digest: &str| records.iter().filter(|record| is_push_of(record, digest)).count();
    rest.iter().all(|read| match read_digest(read) {
        Some(digest) => count(rest, digest) == count(all, digest),
        None => true,
    })
}

/// The digest that a call pushes.
fn put(call: &Call) -> Option<&str> {
    match call {
        Call::PutTag { digest, .. } | Call::PutManifest { digest, .. } | Call::PutBlob { digest, .. } => Some(digest),
        _ => None,
    }
}

/// The digest that a read gave.
fn read_digest(read: &Record) -> Option<&str> {
    match &read.call {
        Call::GetTag { .. } => read.seen.digest.as_deref(),
        Call::GetManifest { digest, .. } | Call::GetBlob { digest, .. } => Some(digest),
        _ => None,
    }
}

/// A violation for people: what is wrong, which promise that breaks, and the shortest history that shows it.
#[must_use]
pub fn failure(invariant: &dyn Invariant, evidence: &Evidence, violation: &Violation) -> String {
    let mut text = format!("{} ({}): {}\n", invariant.name(), invariant.promise(), violation.what);
    let records = shortest(invariant, evidence, violation);
    if !records.is_empty() {
        text.push('\n');
        text.push_str(&table(evidence, &records));
    }
    text
}

/// Calls as a table, one per line in the order of their beginnings: who asked whom for what, what came, from when to when in
/// milliseconds since the run began, and all of them on one axis of time. `?` is a write of which nobody heard.
#[must_use]
pub fn table(evidence: &Evidence, records: &[Record]) -> String {
    let begin = records.iter().map(|record| record.start).min().unwrap_or_default();
    let end = records.iter().map(|record| record.end).max().unwrap_or_default();
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let scale = format!("{:<half$}{:>half$}", ms(begin), ms(end), half = AXIS / 2);
    table.set_header(["client", "node", "call", "answer", "from", "to", &scale]);
    for column in [0, 4, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut records: Vec<&Record> = records.iter().collect();
    records.sort_by_key(|record| (record.start, record.end));
    for record in records {
        table.add_row([
            record.client.to_string(),
            evidence.name(record.node),
            call(&record.call),
            answer(record),
            ms(record.start),
            ms(record.end),
            bar(record, begin, end),
        ]);
    }
    let mut text = String::new();
    for line in table.lines() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// Milliseconds, to the microsecond.
fn ms(moment: Micros) -> String {
    format!("{}.{:03}", moment.0 / 1000, moment.0 % 1000)
}

/// A call on the axis of time.
fn bar(record: &Record, begin: Micros, end: Micros) -> String {
    let width = (end.0 - begin.0).max(1);
    let place = |moment: Micros| {
        let place = u128::from(moment.0 - begin.0) * (AXIS as u128 - 1) / u128::from(width);
        usize::try_from(place).unwrap_or(AXIS - 1)
    };
    let (from, to) = (place(record.start), place(record.end));
    let is_unknown = record.outcome() == Outcome::Unknown;
    let mut bar = " ".repeat(from);
    match to - from {
        0 => bar.push(if is_unknown { '?' } else { '|' }),
        inside => {
            bar.push('[');
            bar.push_str(&"=".repeat(inside - 1));
            bar.push(if is_unknown { '?' } else { ']' });
        }
    }
    bar
}

/// A call in short.
fn call(call: &Call) -> String {
    match call {
        Call::PutTag { repo, tag, digest } => format!("put {repo}:{tag} = {}", short(digest)),
        Call::PutManifest { repo, digest } => format!("put {repo}@{}", short(digest)),
        Call::PutBlob { repo, digest, size, hops } => {
            format!("upload {repo}@{} {size} bytes over {hops:?}", short(digest))
        }
        Call::DeleteTag { repo, tag } => format!("delete {repo}:{tag}"),
        Call::DeleteManifest { repo, digest } => format!("delete {repo}@{}", short(digest)),
        Call::GetTag { repo, tag } => format!("get {repo}:{tag}"),
        Call::GetManifest { repo, digest } => format!("get {repo}@{}", short(digest)),
        Call::GetBlob { repo, digest, range: None } => format!("get blob {repo}@{}", short(digest)),
        Call::GetBlob { repo, digest, range: Some(range) } => {
            format!("get blob {repo}@{} {}-{}", short(digest), range.start, range.end)
        }
        Call::ListTags { repo, last } => format!("list {repo}{}", after(last.as_deref())),
        Call::Catalog { last } => format!("catalog{}", after(last.as_deref())),
        Call::Referrers { repo, subject } => format!("referrers {repo}@{}", short(subject)),
    }
}

fn after(last: Option<&str>) -> String {
    last.map_or_else(String::new, |last| format!(" after {last}"))
}

/// What came back, in short.
fn answer(record: &Record) -> String {
    let seen = &record.seen;
    let mut words = vec![seen.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string())];
    match &record.call {
        Call::GetTag { .. } => words.extend(seen.digest.as_deref().map(short)),
        Call::GetBlob { .. } => words.push(format!("{} bytes", seen.bytes)),
        Call::ListTags { .. } | Call::Catalog { .. } | Call::Referrers { .. } => {
            words.push(format!("{} names", seen.names.len()));
        }
        _ => {}
    }
    if seen.status.is_some() && !seen.whole && !record.call.is_write() {
        words.push("cut".to_owned());
    }
    if seen.right == Some(false) {
        words.push("wrong bytes".to_owned());
    }
    if let Some(age) = seen.age {
        words.push(format!("stale by {age} s"));
    } else if record.is_marked() {
        words.push("stale".to_owned());
    }
    words.extend(seen.error.clone());
    words.join(" ")
}

/// A digest that one can still tell from others.
fn short(digest: &str) -> String {
    let (algorithm, hex) = digest.split_once(':').map_or(("", digest), |(algorithm, hex)| (algorithm, hex));
    let hex: String = hex.chars().take(DIGEST).collect();
    if algorithm.is_empty() { hex } else { format!("{algorithm}:{hex}") }
}
