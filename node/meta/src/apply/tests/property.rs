//! Properties over random logs.

use super::invariants;
use super::world::{GRACE_MS, PIN_MS, boot, condemn, digest, image, index, repo, tag};
use crate::apply::apply;
use crate::codec::{decode_proposal, encode_proposal};
use crate::command::{Command, DropReason, FoundCopy, Proposal, ProposalKey, PutManifest};
use crate::id::{FileId, NodeId, StoreId};
use crate::limits;
use crate::memory::MemoryState;
use crate::outcome::Outcome;
use crate::overlay::Overlay;
use crate::policy::{PolicyRow, Prefix, Regions};
use crate::query;
use crate::row::NodeState;
use crate::view::Writes;
use portolan_oci::Digest;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::{prop_assert, prop_assert_eq, proptest};
use std::collections::{BTreeMap, BTreeSet};

const REPOS: [&str; 2] = ["app", "other"];
const BLOBS: [&str; 4] = ["b0", "b1", "b2", "b3"];
const TAGS: [&str; 3] = ["v1", "v2", "v3"];
const STATES: [NodeState; 4] = [NodeState::Up, NodeState::Down, NodeState::Out, NodeState::Draining];

/// One step of a log: numbers that [`Log`] makes commands of.
#[derive(Clone, Copy, Debug)]
struct Step {
    kind: u8,
    node: u8,
    a: u8,
    b: u8,
    c: u8,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = any::<(u8, u8, u8, u8, u8)>();
    vec(step.prop_map(|(kind, node, a, b, c)| Step { kind, node, a, b, c }), 1..120)
}

enum Entry {
    Proposal(Box<Proposal>),
    Repeat(usize),
    Condemn(&'static str),
}

/// Two nodes share a region.
fn region(node: u64) -> &'static str {
    if node == 3 { "us" } else { "eu" }
}

fn pick<T: Copy>(from: &[T], number: u8) -> T {
    from[usize::from(number) % from.len()]
}

/// Makes a log of steps. Files are fresh unless a step repeats an old one on purpose.
struct Log {
    names: BTreeMap<u64, ProposalKey>,
    at_ms: u64,
    files: u128,
    last_file: BTreeMap<Digest, FileId>,
}

impl Log {
    fn of(steps: &[Step]) -> Vec<Entry> {
        let mut log = Self { names: BTreeMap::new(), at_ms: 1_000, files: 0, last_file: BTreeMap::new() };
        let mut entries: Vec<Entry> =
            (1..=3).map(|id| log.propose(id, Command::NodeBoot(boot(id, region(id), 1)))).collect();
        for (number, step) in steps.iter().enumerate() {
            let entry = match step.kind % 20 {
                18 => Entry::Repeat(usize::from(step.a) % (number + 3)),
                19 => Entry::Condemn(pick(&BLOBS, step.a)),
                _ => {
                    let node = 1 + u64::from(step.node % 3);
                    log.at_ms += u64::from(step.c);
                    let command = log.command(node, *step);
                    log.propose(node, command)
                }
            };
            entries.push(entry);
        }
        entries
    }

    fn propose(&mut self, node: u64, command: Command) -> Entry {
        let first = ProposalKey { node: NodeId(node), incarnation: 1, sequence: 0, settled_below: 0 };
        let name = self.names.entry(node).or_insert(first);
        if let Command::NodeBoot(boot) = &command
            && boot.incarnation > name.incarnation
        {
            *name = ProposalKey { incarnation: boot.incarnation, ..first };
        }
        name.sequence += 1;
        name.settled_below = name.sequence.saturating_sub(3);
        Entry::Proposal(Box::new(Proposal { key: *name, at_ms: self.at_ms, command }))
    }

    fn command(&mut self, node: u64, step: Step) -> Command {
        let Step { kind, a, b, c, .. } = step;
        let (name, store) = (repo(pick(&REPOS, b)), StoreId(node));
        let blob = digest(pick(&BLOBS, a));
        match kind % 20 {
            0..=4 => {
                let file = self.file(blob, c);
                Command::CommitBlob { repo: name, digest: blob, size: 2, store, file, pin_ms: PIN_MS, sums: None }
            }
            5 | 6 => {
                let found = BLOBS
                    .iter()
                    .map(|blob| FoundCopy {
                        digest: digest(blob),
                        file: self.file(digest(blob), c),
                        generation: u64::from(b % 32),
                    })
                    .collect();
                Command::AddLocations { store, found }
            }
            7 => {
                let reason = if c % 2 == 0 { DropReason::Damaged } else { DropReason::Surplus };
                Command::DropLocation { digest: blob, store, file: FileId(1 + u128::from(b % 32)), reason }
            }
            8 => Command::MountBlob { repo: name, from: repo(pick(&REPOS, c)), digest: blob, pin_ms: PIN_MS },
            9..=12 => Command::PutManifest(Box::new(put(step))),
            13 => Command::DeleteTag { repo: name, tag: tag(pick(&TAGS, a)), by: String::new() },
            14 => {
                let digest = put(step).digest;
                Command::DeleteManifest { repo: name, digest, grace_ms: GRACE_MS * u64::from(c % 2), by: String::new() }
            }
            15 => match c % 3 {
                0 => Command::SetPolicy { prefix: Prefix::parse(pick(&["", "app"], a)).unwrap(), policy: policy(b) },
                1 => Command::Unlinked { store, files: vec![FileId(1 + u128::from(b % 32))] },
                _ => Command::DeleteBlob { repo: name, digest: blob },
            },
            16 => {
                let incarnation = 1 + u64::from(b % 2);
                Command::SetNodeState { node: NodeId(1 + u64::from(a % 3)), incarnation, state: pick(&STATES, c) }
            }
            _ => {
                let incarnation = self.names[&node].incarnation + u64::from(c % 2);
                Command::NodeBoot(boot(node, region(node), incarnation))
            }
        }
    }

    /// A fresh file, or now and then the one that was last named for the blob: a message that comes again. Never one
    /// of another blob.
    fn file(&mut self, blob: Digest, number: u8) -> FileId {
        if number.is_multiple_of(8)
            && let Some(last) = self.last_file.get(&blob)
        {
            return *last;
        }
        self.files += 1;
        self.last_file.insert(blob, FileId(self.files));
        FileId(self.files)
    }
}

fn policy(number: u8) -> PolicyRow {
    let one = |region: &str| BTreeSet::from([region.to_owned()]);
    let regions = match number % 4 {
        0 => None,
        1 => Some(Regions::Only(one("us"))),
        2 => Some(Regions::NeverOutside(one("eu"))),
        _ => Some(Regions::All),
    };
    PolicyRow { regions, copies: (number % 5 == 1).then_some(1), ..PolicyRow::default() }
}

/// One of six manifests, whose children its name decides, as a digest does: four images, an index of one of
/// them, and an index of that index.
fn put(step: Step) -> PutManifest {
    let tags = [pick(&TAGS, step.c)];
    let put = match step.a % 6 {
        0 => image("m0", &["b0", "b1"], &tags),
        1 => image("m1", &["b1"], &tags),
        2 => PutManifest { subject: Some(digest("m1")), ..image("m2", &["b2"], &tags) },
        3 => image("m3", &[], &tags),
        4 => index("i4", &["m3"], &tags),
        _ => index("i5", &["i4", "m1"], &tags),
    };
    PutManifest { repo: repo(pick(&REPOS, step.b)), ..put }
}

fn index_of(number: usize) -> u64 {
    number as u64 + 1
}

/// Applies a log entry by entry; `each` sees every state with the writes and the outcome that made it.
fn play(log: &[Entry], mut each: impl FnMut(&MemoryState, &Writes, &Entry)) -> (MemoryState, Vec<Outcome>) {
    let mut state = MemoryState::new();
    let mut outcomes = Vec::new();
    for (number, entry) in log.iter().enumerate() {
        let proposal = match entry {
            Entry::Proposal(proposal) => proposal,
            Entry::Repeat(earlier) => match &log[*earlier] {
                Entry::Proposal(proposal) => proposal,
                Entry::Repeat(_) | Entry::Condemn(_) => continue,
            },
            Entry::Condemn(blob) => {
                condemn(&mut state, &digest(blob));
                continue;
            }
        };
        let (writes, outcome) = apply(&state, index_of(number), proposal).unwrap();
        state.write(&writes);
        each(&state, &writes, entry);
        outcomes.push(outcome);
    }
    (state, outcomes)
}

proptest! {
    #[test]
    fn invariants_hold_after_every_command_and_the_clock_only_advances(steps in steps()) {
        let mut clock = 0;
        play(&Log::of(&steps), |state, writes, _| {
            invariants::check(state);
            assert!(writes.rows.len() <= limits::ROWS_PER_APPLY);
            let now = query::clock_ms(state).unwrap();
            assert!(now >= clock);
            clock = now;
        });
    }

    #[test]
    fn a_repeated_proposal_changes_nothing(steps in steps()) {
        play(&Log::of(&steps), |_, writes, entry| {
            assert!(!matches!(entry, Entry::Repeat(_)) || *writes == Writes::default());
        });
    }

    #[test]
    fn the_same_log_makes_the_same_state(steps in steps()) {
        let log = Log::of(&steps);
        // The replay goes through the bytes of the log, as a node that starts does.
        let replayed: Vec<Entry> = log
            .iter()
            .map(|entry| match entry {
                Entry::Proposal(proposal) => {
                    Entry::Proposal(Box::new(decode_proposal(&encode_proposal(proposal)).unwrap()))
                }
                Entry::Repeat(earlier) => Entry::Repeat(*earlier),
                Entry::Condemn(blob) => Entry::Condemn(blob),
            })
            .collect();
        prop_assert_eq!(play(&log, |_, _, _| {}), play(&replayed, |_, _, _| {}));
    }

    #[test]
    fn a_batch_makes_the_state_that_single_applies_make(steps in steps(), batch in 1_usize..20) {
        let log: Vec<Entry> =
            Log::of(&steps).into_iter().filter(|entry| matches!(entry, Entry::Proposal(_))).collect();
        let mut woken = Vec::new();
        let (single, outcomes) = play(&log, |_, writes, _| woken.extend(writes.changed_blobs.clone()));
        let mut state = MemoryState::new();
        let mut batched = Vec::new();
        let mut woken_by_batches = Vec::new();
        let proposals: Vec<(usize, &Proposal)> = log
            .iter()
            .enumerate()
            .filter_map(|(number, entry)| match entry {
                Entry::Proposal(proposal) => Some((number, proposal.as_ref())),
                Entry::Repeat(_) | Entry::Condemn(_) => None,
            })
            .collect();
        for entries in proposals.chunks(batch) {
            let mut overlay = Overlay::new(&state);
            overlay.prefetch(entries.iter().map(|(_, proposal)| *proposal)).unwrap();
            for (number, proposal) in entries {
                let (writes, outcome) = apply(&overlay, index_of(*number), proposal).unwrap();
                overlay.absorb(writes);
                batched.push(outcome);
            }
            let writes = overlay.into_writes();
            state.write(&writes);
            woken_by_batches.extend(writes.changed_blobs);
        }
        prop_assert_eq!(batched, outcomes);
        prop_assert!(state == single, "the states differ");
        woken.sort();
        woken.dedup();
        woken_by_batches.sort();
        woken_by_batches.dedup();
        prop_assert_eq!(woken_by_batches, woken);
    }
}

/// A property over logs in which nothing succeeds proves nothing.
#[test]
fn random_logs_reach_every_outcome() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..400 {
        let log = Log::of(&steps().new_tree(&mut runner).unwrap().current());
        for outcome in play(&log, |_, _, _| {}).1 {
            let text = format!("{outcome:?}");
            let name: String = text.chars().take_while(|letter| !"{[0".contains(*letter)).collect();
            *seen.entry(name).or_default() += 1;
        }
    }
    let expected = [
        "Done",
        "BlobCommitted",
        "LocationsAdded",
        "ManifestPut",
        "ManifestDeleted",
        "Refused(OldIncarnation",
        "Refused(Settled",
        "Refused(UnknownTag",
        "Refused(UnknownManifest",
        "Refused(UnknownBlob",
        "Refused(UnknownLocation",
        "Refused(ChildrenUnknown",
        "Refused(NotYetDurable",
        "Refused(ListedByIndex",
        "Refused(ReferredTo",
        "Refused(TargetLacks",
        "Refused(FileGivenUp",
        "Refused(Barred",
    ];
    for name in expected {
        assert!(seen.keys().any(|key| key.starts_with(name)), "{name} never happened: {seen:?}");
    }
}
