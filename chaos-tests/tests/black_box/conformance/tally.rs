//! What a run of a suite comes to, where nodes are killed under it.
//!
//! The suites never try again. A case that did not pass has failed unless the balancer's log shows its very request cut
//! by a kill, or the upload gone with its owner while the request would have finished it. What later cases of the same
//! group built on is missing then, and a manifest whose deletion was cut may still refer to a blob that another group
//! deletes: such cases are excused as long as every node that they reached gave a proper answer, and no 5xx. Both kinds
//! count only until they have been run again.

use super::suite::{Case, Outcome, Requests};
use portolan_chaos_tests::Result;
use portolan_chaos_tests::balancer::Entry;
use std::collections::{BTreeMap, HashSet};

/// How much later than the process is gone haproxy may note what broke off, in milliseconds: it sends requests on idle
/// connections until it has seen them close. No new process is started before it has found the old one gone, by two checks.
const NOTICED_WITHIN_MS: i64 = 500;

/// A node's end, in milliseconds since 1970.
#[derive(Clone, Debug)]
pub(crate) struct Kill {
    pub(crate) node: String,
    /// By which ids of upload sessions begin.
    pub(crate) id: u64,
    /// Just before the signal.
    pub(crate) from_ms: i64,
    /// When the process was gone; until then, never.
    pub(crate) gone_ms: i64,
}

impl Kill {
    fn cut(&self, entry: &Entry) -> bool {
        let noticed = self.from_ms..=self.gone_ms.saturating_add(NOTICED_WITHIN_MS);
        entry.broke_off() && entry.server == self.node && noticed.contains(&entry.end_ms)
    }

    /// Whether it took an upload with it that was being finished by way of another node. A node that ends between making
    /// a blob of the upload and committing it knows the session no more when it is back, which the other one waits for and
    /// can do without only if all of the blob came in this request.
    fn took_upload(&self, entry: &Entry, entries: &[Entry]) -> bool {
        let (session, _) = entry.target.split_once('?').unwrap_or((&entry.target, ""));
        let chunk = |earlier: &Entry| earlier.method == "PATCH" && earlier.target.starts_with(session);
        let its = session.contains(&format!("/blobs/uploads/{}.", self.id)) && entries.iter().any(chunk);
        let under_way = entry.start_ms() <= self.gone_ms && entry.end_ms >= self.from_ms;
        its && entry.method == "PUT" && entry.status == 404 && entry.is_whole() && under_way
    }
}

/// The cases of one or more runs, by how they ended.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) counterparts: usize,
    /// Each with what was wrong.
    pub(crate) failed: Vec<String>,
    pub(crate) unsupported: Vec<String>,
    /// Their request was cut by a kill, or what it would have finished was lost in one.
    pub(crate) cut: Vec<String>,
    /// They came after one of those in its group.
    pub(crate) after_cut: Vec<String>,
}

impl Tally {
    pub(crate) fn cases(&self) -> usize {
        let listed = [&self.failed, &self.unsupported, &self.cut, &self.after_cut];
        self.passed + self.counterparts + listed.iter().map(|cases| cases.len()).sum::<usize>()
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.counterparts += other.counterparts;
        self.failed.extend(other.failed);
        self.unsupported.extend(other.unsupported);
        self.cut.extend(other.cut);
        self.after_cut.extend(other.after_cut);
    }

    /// How many nothing excuses.
    pub(crate) fn unexcused(&self) -> usize {
        self.failed.len() + self.unsupported.len()
    }

    /// Names what nothing excuses on the screen, a line each, and fails for it.
    pub(crate) fn check(&self) -> Result<()> {
        for (what, cases) in [("failed", &self.failed), ("unsupported", &self.unsupported)] {
            for case in cases {
                eprintln!("{what}: {case}");
            }
        }
        match self.unexcused() {
            0 => Ok(()),
            count => Err(format!("{count} cases did not pass").into()),
        }
    }
}

/// How each case of a run ended, by what the balancer saw. Without a balancer there is nothing to excuse.
pub(crate) fn judge(cases: &[Case], entries: &[Entry], kills: &[Kill]) -> Tally {
    let named: HashSet<&str> = cases.iter().flat_map(|case| &case.requests.ids).map(String::as_str).collect();
    let own_of = |case: &Case| entries.iter().filter(|entry| asked(&case.requests, entry, &named)).collect();
    let all: Vec<(&Case, Vec<&Entry>)> = cases.iter().map(|case| (case, own_of(case))).collect();
    let mut tally = Tally::default();
    let mut spoilt = HashSet::new();
    for (case, own) in &all {
        match case.outcome {
            Outcome::Passed => tally.passed += 1,
            Outcome::Counterpart => tally.counterparts += 1,
            Outcome::Failed | Outcome::Unsupported => {
                let told = format!("{}: {}", case.name, case.detail.trim().replace('\n', " "));
                let spoils = |kill: &Kill, entry: &Entry| kill.cut(entry) || kill.took_upload(entry, entries);
                if own.iter().any(|entry| kills.iter().any(|kill| spoils(kill, entry))) {
                    spoilt.insert(case.group.as_str());
                    tally.cut.push(case.name.clone());
                } else if follows(case, own, &all, &spoilt) {
                    tally.after_cut.push(case.name.clone());
                } else if case.outcome == Outcome::Failed {
                    tally.failed.push(told);
                } else {
                    tally.unsupported.push(told);
                }
            }
        }
    }
    tally
}

/// Whether a case may have gone wrong for what a cut left undone in one of the spoilt groups.
fn follows(case: &Case, own: &[&Entry], all: &[(&Case, Vec<&Entry>)], spoilt: &HashSet<&str>) -> bool {
    if !own.iter().all(|entry| entry.is_whole() && entry.status < 500) {
        return false;
    }
    if spoilt.contains(case.group.as_str()) {
        return true;
    }
    let used = |target: &str| {
        let mut groups = all.iter().filter(|(other, _)| spoilt.contains(other.group.as_str()));
        groups.any(|(_, entries)| entries.iter().any(|entry| entry.target == target))
    };
    // A blob that a manifest refers to cannot be deleted: 405.
    let kept = |entries: &[&Entry]| {
        entries.iter().any(|entry| entry.method == "DELETE" && entry.status == 405 && used(&entry.target))
    };
    // A case that asks nothing was left out for what an earlier one of its group was answered.
    let mut before = all.iter().take_while(|(other, _)| !std::ptr::eq(*other, case));
    kept(own) || (own.is_empty() && before.any(|(other, theirs)| other.group == case.group && kept(theirs)))
}

/// Whether a request is a case's; `named` are the ids that cases name.
fn asked(requests: &Requests, entry: &Entry, named: &HashSet<&str>) -> bool {
    // Both clocks are cut to whole milliseconds.
    let then = |(start, end): (i64, i64)| entry.start_ms() + 1 >= start && entry.end_ms <= end + 1;
    requests.ids.contains(&entry.id) || (!named.contains(entry.id.as_str()) && requests.within.is_some_and(then))
}

/// How often each case passed in the best run: cases have no names of their own, some occur several times.
#[derive(Debug, Default)]
pub(crate) struct Passed(BTreeMap<String, usize>);

impl Passed {
    pub(crate) fn note(&mut self, cases: &[Case]) {
        let mut run = BTreeMap::new();
        for case in cases.iter().filter(|case| case.outcome == Outcome::Passed) {
            *run.entry(case.name.clone()).or_insert(0) += 1;
        }
        for (name, times) in run {
            let best = self.0.entry(name).or_insert(0);
            *best = times.max(*best);
        }
    }

    /// What passed in `other` and did not, or not as often, here.
    pub(crate) fn lacks(&self, other: &Self) -> Vec<String> {
        let short = other.0.iter().filter(|(name, times)| self.0.get(*name).is_none_or(|passed| passed < times));
        short.map(|(name, _)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Case, Entry, Kill, Outcome, Passed, Requests, judge};

    fn case(name: &str, outcome: Outcome, ids: &[&str]) -> Case {
        let requests = Requests { ids: ids.iter().map(|id| (*id).to_owned()).collect(), within: None };
        let (group, detail) = (name.split('/').next().unwrap_or_default().to_owned(), "wrong".to_owned());
        Case { name: name.to_owned(), group, outcome, detail, requests }
    }

    fn entry(id: &str, end_ms: i64, server: &str, termination: &str, status: i32) -> Entry {
        Entry {
            id: id.to_owned(),
            connection: "1".to_owned(),
            end_ms,
            took_ms: 5,
            server: server.to_owned(),
            termination: termination.to_owned(),
            status,
            retries: "0".to_owned(),
            method: "PUT".to_owned(),
            target: "/v2/".to_owned(),
        }
    }

    fn delete(id: &str, end_ms: i64, target: &str, status: i32) -> Entry {
        let (method, target) = ("DELETE".to_owned(), target.to_owned());
        Entry { method, target, ..entry(id, end_ms, "a", "--", status) }
    }

    fn kill() -> Kill {
        Kill { node: "b".to_owned(), id: 2, from_ms: 1_000, gone_ms: 1_020 }
    }

    #[test]
    fn only_the_request_that_the_kill_cut_excuses_its_case() {
        let failing = |ids: &[&str]| vec![case("g/push", Outcome::Failed, ids)];
        for (what, cases, entries, excused) in [
            ("cut in the midst", failing(&["1"]), vec![entry("1", 1_010, "b", "SH", 502)], true),
            ("sent on an idle connection of the dead", failing(&["1"]), vec![entry("1", 1_026, "b", "SH", 502)], true),
            ("cut in the answer's body", failing(&["1"]), vec![entry("1", 1_010, "b", "SD", 200)], true),
            ("before the kill", failing(&["1"]), vec![entry("1", 900, "b", "SH", 502)], false),
            ("long after it", failing(&["1"]), vec![entry("1", 1_900, "b", "SH", 502)], false),
            ("another node", failing(&["1"]), vec![entry("1", 1_010, "c", "SH", 502)], false),
            ("an answer", failing(&["1"]), vec![entry("1", 1_010, "b", "--", 503)], false),
            ("another case's request", failing(&["2"]), vec![entry("1", 1_010, "b", "SH", 502)], false),
            ("no line at all", failing(&["1"]), vec![], false),
        ] {
            let tally = judge(&cases, &entries, &[kill()]);
            assert_eq!((tally.cut.len(), tally.failed.len()), if excused { (1, 0) } else { (0, 1) }, "{what}");
            assert_eq!(judge(&cases, &entries, &[]).failed.len(), 1, "{what}, and nothing was killed");
        }
    }

    #[test]
    fn an_upload_that_is_lost_while_it_is_finished_is_excused_by_the_end_of_its_owner_alone() {
        let finish = |session: &str, end_ms: i64, status: i32| Entry {
            target: format!("/v2/a/blobs/uploads/{session}?digest=sha256%3Ab7"),
            took_ms: 500,
            ..entry("1", end_ms, "a", "--", status)
        };
        let chunk = |session: &str| Entry { method: "PATCH".to_owned(), ..finish(session, 900, 202) };
        for (what, entry, excused) in [
            ("its owner ended meanwhile", finish("2.01M7", 1_400, 404), true),
            ("all of it came in this request", finish("2.01M8", 1_400, 404), false),
            ("another node's session", finish("3.01M7", 1_400, 404), false),
            ("it began later", finish("2.01M7", 1_600, 404), false),
            ("another answer", finish("2.01M7", 1_400, 503), false),
            ("it is a chunk", Entry { method: "PATCH".to_owned(), ..finish("2.01M7", 1_400, 404) }, false),
        ] {
            let entries = [chunk("2.01M7"), chunk("3.01M7"), entry];
            let tally = judge(&[case("g/put", Outcome::Failed, &["1"])], &entries, &[kill()]);
            assert_eq!((tally.cut.len(), tally.failed.len()), if excused { (1, 0) } else { (0, 1) }, "{what}");
        }
    }

    #[test]
    fn a_request_that_a_case_does_not_name_is_that_of_its_time() {
        let named = case("g/get", Outcome::Failed, &["1"]);
        let timed = Case { requests: Requests { within: Some((990, 1_030)), ..named.requests.clone() }, ..named };
        let entries = [entry("1", 995, "a", "--", 202), entry("2", 1_010, "b", "SD", 200)];
        assert_eq!(judge(&[timed], &entries, &[kill()]).cut.len(), 1);
    }

    #[test]
    fn what_follows_a_cut_is_excused_in_its_group_and_by_proper_answers_only() {
        let cases = [
            case("g/early", Outcome::Failed, &["0"]),
            case("g/push", Outcome::Failed, &["1"]),
            case("g/pull", Outcome::Failed, &["2"]),
            case("g/broken", Outcome::Failed, &["3"]),
            case("g/refused", Outcome::Unsupported, &["4"]),
            case("h/pull", Outcome::Failed, &["5"]),
            case("h/refused", Outcome::Unsupported, &["6"]),
            case("h/fine", Outcome::Passed, &["7"]),
        ];
        let entries = [
            entry("0", 990, "a", "--", 404),
            entry("1", 1_010, "b", "SH", 502),
            entry("2", 1_030, "a", "--", 404),
            entry("3", 1_040, "c", "--", 503),
            entry("4", 1_050, "a", "--", 405),
            entry("5", 1_060, "a", "--", 404),
            entry("6", 1_070, "a", "--", 405),
        ];
        let tally = judge(&cases, &entries, &[kill()]);
        assert_eq!(tally.cut, ["g/push"]);
        assert_eq!(tally.after_cut, ["g/pull", "g/refused"]);
        assert_eq!(tally.failed, ["g/early: wrong", "g/broken: wrong", "h/pull: wrong"]);
        assert_eq!(tally.unsupported, ["h/refused: wrong"]);
        assert_eq!((tally.passed, tally.cases()), (1, cases.len()));
        assert_eq!(tally.unexcused(), 4);
    }

    #[test]
    fn a_blob_that_a_cut_deletion_keeps_may_be_refused_to_another_group() {
        let cases = [
            case("g/blob", Outcome::Passed, &["0"]),
            case("g/delete", Outcome::Failed, &["1"]),
            case("h/shared", Outcome::Unsupported, &["2"]),
            case("h/own", Outcome::Unsupported, &["3"]),
            case("h/gone", Outcome::Failed, &["4"]),
            case("h/left out", Outcome::Unsupported, &[]),
            case("i/left out", Outcome::Unsupported, &[]),
        ];
        let entries = [
            delete("0", 990, "/v2/r/blobs/shared", 202),
            entry("1", 1_010, "b", "SH", 502),
            delete("2", 1_030, "/v2/r/blobs/shared", 405),
            delete("3", 1_040, "/v2/r/blobs/own", 405),
            delete("4", 1_050, "/v2/r/blobs/shared", 404),
        ];
        let tally = judge(&cases, &entries, &[kill()]);
        assert_eq!(tally.cut, ["g/delete"]);
        assert_eq!(tally.after_cut, ["h/shared", "h/left out"]);
        assert_eq!(tally.failed, ["h/gone: wrong"]);
        assert_eq!(tally.unsupported, ["h/own: wrong", "i/left out: wrong"]);
    }

    #[test]
    fn a_case_that_has_a_time_only_is_not_excused_by_the_request_of_another() {
        let within = Some((1_000, 1_011));
        let timed = Case { requests: Requests { ids: vec![], within }, ..case("g/one", Outcome::Failed, &[]) };
        let entries = [entry("1", 1_011, "b", "SH", 502)];
        let alone = judge(std::slice::from_ref(&timed), &entries, &[kill()]);
        assert_eq!((alone.cut.len(), alone.failed.len()), (1, 0));
        let both = judge(&[timed, case("h/two", Outcome::Failed, &["1"])], &entries, &[kill()]);
        assert_eq!((both.cut, both.failed.len()), (vec!["h/two".to_owned()], 1));
    }

    #[test]
    fn a_case_is_made_good_when_it_passes_as_often_as_before() {
        let passed = |names: &[&str]| {
            let mut passed = Passed::default();
            passed.note(&names.iter().map(|name| case(name, Outcome::Passed, &[])).collect::<Vec<_>>());
            passed
        };
        let whole = passed(&["g/head", "g/head", "g/pull"]);
        assert_eq!(passed(&["g/head", "g/pull"]).lacks(&whole), ["g/head"]);
        let mut runs = passed(&["g/head", "g/head"]);
        assert_eq!(runs.lacks(&whole), ["g/pull"]);
        runs.note(&[case("g/head", Outcome::Passed, &[]), case("g/pull", Outcome::Passed, &[])]);
        assert!(runs.lacks(&whole).is_empty(), "the best of the runs counts");
    }
}
