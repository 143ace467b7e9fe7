use super::world::{World, boot, digest, repo};
use crate::command::{Command, Proposal, ProposalKey};
use crate::family::Family;
use crate::id::{FileId, NodeId, StoreId};
use crate::limits;
use crate::outcome::{NodeConflict, Outcome, Refusal};
use crate::query;

fn upload(incarnation: u64, sequence: u64, settled_below: u64) -> Proposal {
    let key = ProposalKey { node: NodeId(1), incarnation, sequence, settled_below };
    let command = Command::CommitBlob {
        repo: repo("app"),
        digest: digest(&format!("{incarnation}-{sequence}")),
        size: 1,
        store: StoreId(1),
        file: FileId(u128::from(incarnation * 1_000_000 + sequence)),
        pin_ms: 1,
        sums: None,
    };
    Proposal { key, at_ms: 0, command }
}

fn outcomes(world: &World) -> usize {
    world.state.rows(Family::Dedupe).filter(|(key, _)| key.len() > 8).count()
}

#[test]
fn a_repeated_proposal_gets_the_first_answer_and_changes_nothing() {
    let mut world = World::new();
    let proposal = upload(1, 10, 1);
    let first = world.apply(&proposal);
    assert!(matches!(first, Outcome::BlobCommitted { .. }));
    let before = world.state.clone();
    let later = Proposal { at_ms: 99_999_999, ..proposal };
    assert_eq!(world.apply(&later), first);
    assert_eq!(world.state, before, "not even the clock moves");
}

#[test]
fn a_repeated_refusal_stays_refused() {
    let mut world = World::new();
    let key = ProposalKey { node: NodeId(1), incarnation: 1, sequence: 10, settled_below: 1 };
    let command = Command::DeleteBlob { repo: repo("app"), digest: digest("a") };
    let proposal = Proposal { key, at_ms: 0, command };
    assert_eq!(world.apply(&proposal), Outcome::Refused(Refusal::UnknownRepo));
    world.upload(2, "app", "a");
    assert_eq!(world.apply(&proposal), Outcome::Refused(Refusal::UnknownRepo), "the first answer was given");
    assert!(world.visible("app", "a"));
}

#[test]
fn what_is_settled_is_refused() {
    let mut world = World::new();
    world.apply(&upload(1, 10, 9));
    let refusal = Refusal::Settled { sequence: 8, settled_below: 9 };
    assert_eq!(world.apply(&upload(1, 8, 1)), Outcome::Refused(refusal));
    assert!(matches!(world.apply(&upload(1, 9, 1)), Outcome::BlobCommitted { .. }), "9 is not settled");
}

#[test]
fn an_older_incarnation_is_refused() {
    let mut world = World::new();
    world.run(1, Command::NodeBoot(boot(1, "eu", 5)));
    let refusal = Refusal::OldIncarnation { proposed: 1, known: 5 };
    let before = world.state.clone();
    assert_eq!(world.apply(&upload(1, 10, 1)), Outcome::Refused(refusal));
    assert_eq!(world.state, before);
}

#[test]
fn a_new_incarnation_may_use_the_sequences_of_the_old_one() {
    let mut world = World::new();
    for sequence in 10..20 {
        world.apply(&upload(1, sequence, 1));
    }
    let outcome = world.apply(&upload(2, 12, 1));
    let Outcome::BlobCommitted { file, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(file, FileId(2_000_012));
}

#[test]
fn outcomes_below_the_settled_are_removed_a_bounded_number_at_a_time() {
    let mut world = World::empty();
    world.run(1, Command::NodeBoot(boot(1, "eu", 1)));
    let many = 3 * limits::DEDUPE_TRIM;
    for sequence in 2..many {
        world.apply(&upload(1, sequence, 1));
    }
    assert_eq!(outcomes(&world) as u64, many - 1);
    world.apply(&upload(1, many, many));
    let after_one = outcomes(&world) as u64;
    assert!(after_one >= many - limits::DEDUPE_TRIM, "{after_one} left");
    for sequence in many + 1..many + 4 {
        world.apply(&upload(1, sequence, sequence));
    }
    assert_eq!(outcomes(&world), 1, "only the last may be repeated");
}

#[test]
fn an_old_incarnations_outcomes_are_removed_a_bounded_number_at_a_time() {
    let mut world = World::empty();
    world.run(1, Command::NodeBoot(boot(1, "eu", 1)));
    let many = 2 * limits::DEDUPE_TRIM;
    for sequence in 2..many {
        world.apply(&upload(1, sequence, 1));
    }
    world.apply(&upload(2, 1, 1));
    assert!(outcomes(&world) as u64 > many - limits::DEDUPE_TRIM - 1);
    for sequence in 2..5 {
        world.apply(&upload(2, sequence, sequence));
    }
    assert_eq!(outcomes(&world), 1);
}

#[test]
fn an_impostor_does_not_move_the_window_of_the_rightful_node() {
    let mut world = World::new();
    let mut impostor = boot(1, "eu", 9);
    impostor.storage_uuid = "other".to_owned();
    let key = ProposalKey { node: NodeId(1), incarnation: 9, sequence: 1, settled_below: 1 };
    let proposal = Proposal { key, at_ms: 0, command: Command::NodeBoot(impostor) };
    let known = "uuid-1".to_owned();
    let refusal = Refusal::NodeIdentity(NodeConflict::OtherStorage { known });
    assert_eq!(world.apply(&proposal), Outcome::Refused(refusal));
    assert!(matches!(world.apply(&upload(1, 10, 1)), Outcome::BlobCommitted { .. }));
}

#[test]
fn the_clock_never_goes_back() {
    let mut world = World::new();
    let at = |sequence, at_ms| Proposal { at_ms, ..upload(1, sequence, 1) };
    for (sequence, at_ms, clock) in [(10, 5_000, 5_000), (11, 4_000, 5_000), (12, 5_001, 5_001), (13, 0, 5_001)] {
        world.apply(&at(sequence, at_ms));
        assert_eq!(query::clock_ms(&world.state).unwrap(), clock, "after {at_ms}");
    }
}
