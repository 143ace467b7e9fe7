use super::{failure, shortest, table};
use crate::history::Record;
use crate::invariants::hand::{Step, delete, event, evidence, get, get_blob, put, put_blob};
use crate::invariants::{self, Evidence, Invariant, Violation};

/// The calls of each record, in short, of what an invariant finds first.
fn shrunk(invariant: &dyn Invariant, evidence: &Evidence) -> Vec<String> {
    let violation = invariant.check(evidence).into_iter().next().expect("it is violated");
    shortest(invariant, evidence, &violation).iter().map(|record| super::call(&record.call)).collect()
}

/// Much that is right, around something that is not.
fn noise() -> impl Iterator<Item = Step> {
    (0..200).flat_map(|number| {
        let (at, name) = (number * 10, format!("n{number}"));
        [put(&name).tagged("other").at(at, at + 1), get(Some(&name)).tagged("other").at(at + 2, at + 3)]
    })
}

#[test]
fn a_stale_read_shrinks_to_the_two_pushes_and_the_read() {
    let calls = [put("a").at(0, 10), put("b").at(20, 30), get(Some("b")).at(35, 36), get(Some("a")).at(40, 41)];
    let evidence = evidence(noise().chain(calls));
    for invariant in
        [&invariants::read_your_push::ReadYourPush as &dyn Invariant, &invariants::tags_linearizable::TagsLinearizable]
    {
        assert_eq!(shrunk(invariant, &evidence), ["put r:t = a", "put r:t = b", "get r:t"], "{}", invariant.name());
    }
}

/// Finds a fault in the history as a whole, and names no calls.
struct Vague;

impl Invariant for Vague {
    fn name(&self) -> &'static str {
        "vague"
    }

    fn promise(&self) -> &'static str {
        "none"
    }

    fn check(&self, evidence: &Evidence) -> Vec<Violation> {
        let is = |wanted: &'static str| move |record: &Record| super::call(&record.call) == wanted;
        let calls = &evidence.history.0;
        let is_wrong = calls.iter().any(is("delete r:t")) && calls.iter().any(is("get r:t"));
        is_wrong.then(|| Violation::shown_by("vague", "wrong".to_owned(), [])).into_iter().collect()
    }
}

#[test]
fn a_violation_without_calls_is_looked_for_in_all_of_them_and_a_read_keeps_its_push() {
    let calls = [put("a").at(0, 10), get(Some("a")).at(20, 21), delete().at(50, 60)];
    let evidence = evidence(noise().chain(calls));
    assert_eq!(shrunk(&Vague, &evidence), ["put r:t = a", "get r:t", "delete r:t"]);
}

#[test]
fn a_violation_that_no_call_shows_has_none() {
    let mut evidence = evidence(noise());
    evidence.after.leftovers.push((1, "an upload".to_owned()));
    let invariant = invariants::nothing_left_over::NothingLeftOver;
    assert!(shrunk(&invariant, &evidence).is_empty());
    let violation = invariant.check(&evidence).remove(0);
    assert_eq!(failure(&invariant, &evidence, &violation), "nothing_left_over (P8, P10): b-1 still has an upload\n");
}

#[test]
fn a_failure_is_a_sentence_and_an_aligned_table() {
    let digest = |c: char| format!("sha256:{}", c.to_string().repeat(64));
    let (a, b) = (digest('a'), digest('b'));
    let calls = [put(&a).at(0, 10), put(&b).on(1).at(20, 30), get(Some(&a)).on(2).at(35, 40)];
    let evidence = evidence(calls);
    let invariant = invariants::read_your_push::ReadYourPush;
    let violation = invariant.check(&evidence).remove(0);
    let text = failure(&invariant, &evidence, &violation);
    let expected = format!(
        "read_your_push (P2): c-1 says that r:t is {a}, after the push of {b}\n\n{}",
        " client  node  call                           answer                     from      to  0.000                             40.000
      0  a-1   put r:t = sha256:aaaaaaaaaaaa  201                       0.000  10.000  [========]
      0  b-1   put r:t = sha256:bbbbbbbbbbbb  201                      20.000  30.000                     [=========]
      0  c-1   get r:t                        200 sha256:aaaaaaaaaaaa  35.000  40.000                                    [====]
"
    );
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn what_is_unknown_cut_wrong_or_stale_shows() {
    let calls = [
        put("a").lost().at(0, 100),
        get_blob("b", 7).cut().wrong().at(50, 100),
        get(Some("a")).stale(3).at(100, 100),
        put_blob("b", 9).status(503).at(100, 100),
    ];
    let evidence = evidence(calls);
    let text = table(&evidence, &evidence.history.0);
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[1].contains("no answer connection reset") && lines[1].ends_with(&format!("[{}?", "=".repeat(38))),
        "{text}"
    );
    assert!(lines[2].contains("200 7 bytes cut wrong bytes") && lines[2].ends_with(']'), "{text}");
    assert!(lines[3].contains("200 a stale by 3 s") && lines[3].ends_with('|'), "{text}");
    assert!(lines[4].contains("upload r@b 9 bytes over [0]") && lines[4].ends_with('?'), "{text}");
}

#[test]
fn every_invariant_has_a_name_of_its_own_and_finds_nothing_where_nothing_happened() {
    let nothing = Evidence::default();
    let mut names: Vec<&str> = invariants::ALL.iter().map(|invariant| invariant.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), invariants::ALL.len());
    for invariant in invariants::ALL {
        assert!(invariant.check(&nothing).is_empty(), "{}", invariant.name());
        assert!(!invariant.promise().is_empty());
    }
}

#[test]
fn a_quiet_run_with_faults_violates_nothing() {
    let mut evidence = evidence(noise());
    evidence.events.push(event("kill", 100, Some(500)));
    evidence.bounds.writes_resume = 100_000;
    for invariant in invariants::ALL {
        assert!(invariant.check(&evidence).is_empty(), "{}", invariant.name());
    }
}
