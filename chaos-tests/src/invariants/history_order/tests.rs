use super::HistoryOrder;
use crate::invariants::evidence::Evidence;
use crate::invariants::hand::{REPO, Step, TAG, caught, delete, delete_manifest, evidence, get, passes, put};

/// The calls, and the history that the registry told; `-` is a removal.
fn told(steps: impl IntoIterator<Item = Step>, moves: &[&str]) -> Evidence {
    let mut evidence = evidence(steps);
    let moves = moves.iter().map(|&one| (one != "-").then(|| one.to_owned())).collect();
    evidence.after.tag_histories.insert((REPO.to_owned(), TAG.to_owned()), moves);
    evidence
}

#[test]
fn the_order_in_which_writes_were_made_passes() {
    let calls =
        [put("a").at(0, 1), put("b").at(2, 3), delete().at(4, 5), put("c").at(6, 7), delete_manifest("c").at(8, 9)];
    passes(&HistoryOrder, &told(calls, &["a", "b", "-", "c", "-"]));
}

#[test]
fn an_order_against_time_is_caught() {
    let calls = [put("a").at(0, 1), put("b").at(2, 3), put("c").at(4, 5)];
    let what = "the history of r:t tells of the push of a after the push of b, which no order of the calls allows";
    caught(&HistoryOrder, &told(calls, &["b", "a", "c"]), what, 2);
}

#[test]
fn an_order_against_what_clients_read_is_caught() {
    let calls = |reads: [Step; 2]| [put("a").at(0, 50), put("b").at(0, 50)].into_iter().chain(reads);
    let (a, b) = (|at| get(Some("a")).at(at, at + 1), |at| get(Some("b")).at(at, at + 1));
    passes(&HistoryOrder, &told(calls([a(10), b(20)]), &["a", "b"]));
    caught(&HistoryOrder, &told(calls([b(10), a(20)]), &["a", "b"]), "tells of the push of b after the push of a", 2);
    // A marked read may show what is long gone, and so may any where staleness is allowed.
    passes(&HistoryOrder, &told(calls([b(10), a(20).stale(5)]), &["a", "b"]));
    let mut bounded = told(calls([b(10), a(20)]), &["a", "b"]);
    bounded.bounds.stale_repos.insert(REPO.to_owned(), 5);
    passes(&HistoryOrder, &bounded);
}

#[test]
fn an_acknowledged_push_that_is_missing_is_caught() {
    let calls = [put("a").at(0, 1), put("b").at(2, 3)];
    caught(&HistoryOrder, &told(calls, &["a"]), "lacks the push of b", 1);
}

#[test]
fn an_acknowledged_delete_that_is_missing_is_caught() {
    let calls = [put("a").at(0, 1), delete().at(2, 3), put("b").at(4, 5)];
    caught(&HistoryOrder, &told(calls, &["a", "b"]), "lacks a delete", 1);
}

#[test]
fn a_move_that_nobody_made_or_that_was_refused_is_caught() {
    caught(&HistoryOrder, &told([put("a").at(0, 1)], &["a", "x"]), "tells of the push of x, which nobody made", 0);
    caught(&HistoryOrder, &told([put("a").at(0, 1)], &["a", "-"]), "tells of a removal, which nobody made", 0);
    let refused = [put("a").at(0, 1), put("b").status(400).at(2, 3)];
    caught(&HistoryOrder, &told(refused, &["a", "b"]), "tells of the push of b, which nobody made", 0);
}

#[test]
fn one_push_that_is_told_twice_is_caught() {
    let calls = [put("a").at(0, 1), put("b").at(2, 3)];
    caught(&HistoryOrder, &told(calls, &["a", "b", "a"]), "tells of the push of a after the push of b", 2);
}

#[test]
fn a_removal_by_the_delete_of_another_manifest_is_caught() {
    let calls = [put("a").at(0, 1), put("b").at(2, 3), delete_manifest("a").at(4, 5)];
    passes(&HistoryOrder, &told(calls.clone(), &["a", "b"]));
    caught(&HistoryOrder, &told(calls, &["a", "b", "-"]), "tells of a removal, which nobody made", 0);
}

#[test]
fn writes_at_one_time_may_be_told_in_any_order() {
    let calls = [put("a").at(0, 10), put("b").at(0, 10), put("c").at(11, 12)];
    passes(&HistoryOrder, &told(calls.clone(), &["a", "b", "c"]));
    passes(&HistoryOrder, &told(calls, &["b", "a", "c"]));
}

#[test]
fn writes_of_which_nobody_heard_may_be_told_late_or_not() {
    let calls = [put("a").at(0, 1), put("u").lost().at(2, 3), delete().lost().at(4, 5), put("b").at(6, 7)];
    passes(&HistoryOrder, &told(calls.clone(), &["a", "b"]));
    passes(&HistoryOrder, &told(calls.clone(), &["a", "b", "u", "-"]));
    passes(&HistoryOrder, &told(calls.clone(), &["a", "-", "b", "u"]));
    caught(&HistoryOrder, &told(calls, &["u", "a", "b"]), "tells of the push of a after the push of u", 2);
}

#[test]
fn a_push_of_what_is_there_already_leaves_no_trace() {
    let calls = [put("a").at(0, 1), put("a").at(2, 3), put("b").at(4, 5), put("a").at(6, 7)];
    passes(&HistoryOrder, &told(calls, &["a", "b", "a"]));
}

#[test]
fn what_a_bounded_history_forgot_is_not_missed() {
    let calls = [put("a").at(0, 1), put("b").at(2, 3), put("c").at(4, 5), put("d").at(6, 7)];
    let mut evidence = told(calls, &["c", "d"]);
    caught(&HistoryOrder, &evidence, "lacks the push of a", 1);
    evidence.bounds.tag_history = 2;
    passes(&HistoryOrder, &evidence);
    // What came after the oldest that it tells, it must tell.
    let calls = [put("a").at(0, 1), put("b").at(2, 3), put("c").at(4, 5), put("d").at(6, 7)];
    let mut gap = told(calls, &["a", "d"]);
    gap.bounds.tag_history = 2;
    caught(&HistoryOrder, &gap, "lacks the push of b", 1);
}

#[test]
fn digests_that_are_pushed_again_are_placed_where_they_fit() {
    // The earliest end first would take the second push of `a` for the first move, and then not find room for `x`.
    let calls = [put("a").at(0, 100), put("a").at(50, 60), put("x").at(20, 30)];
    passes(&HistoryOrder, &told(calls, &["a", "x", "a"]));
    let calls = [put("a").at(0, 100), put("a").at(10, 20), put("x").at(90, 95)];
    passes(&HistoryOrder, &told(calls, &["a", "x", "a"]));
}
