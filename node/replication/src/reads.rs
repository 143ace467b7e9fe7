//! Reads of other nodes that are under way, and what they tell: how loaded a node is by us, how soon it answers, and
//! whether it fails.

use crate::balance::Latency;
use crate::config::Config;
use crate::suspects::{Limits, Suspects};
use crate::telemetry;
use portolan_meta::id::NodeId;
use portolan_peer::PeerError;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{info, warn};

/// What a read that was refused for want of time counts in addition: a busy node is asked after its equals.
const BUSY: Duration = Duration::from_millis(250);

/// What is known of the reads of each node.
#[derive(Debug)]
pub(crate) struct Reads {
    suspects: Suspects,
    tracks: Mutex<HashMap<NodeId, Track>>,
}

#[derive(Debug)]
struct Track {
    in_flight: usize,
    latency: Latency,
}

impl Reads {
    pub(crate) fn new(config: &Config) -> Arc<Self> {
        let limits = Limits {
            failures: config.eject_failures.max(1),
            first: Duration::from_millis(config.eject_ms),
            most: Duration::from_millis(config.eject_max_ms),
        };
        Arc::new(Self { suspects: Suspects::new(limits), tracks: Mutex::default() })
    }

    /// A read of a node begins. `counts` is false for a read in which the node waits for others: how soon that gives its
    /// first byte says nothing of the node.
    pub(crate) fn begin(self: &Arc<Self>, node: NodeId, counts: bool) -> InFlight {
        let now = Instant::now();
        self.track(node, |track| track.in_flight += 1);
        let tries = self.suspects.begins(node, now);
        InFlight { reads: Arc::clone(self), node, counts, tries, began: now, measured: false, stage: Stage::Asked }
    }

    /// How many reads of a node are under way, and its latency in seconds.
    pub(crate) fn load(&self, node: NodeId) -> (usize, f64) {
        let tracks = self.lock();
        tracks.get(&node).map_or((0, 0.0), |track| (track.in_flight, track.latency.seconds(Instant::now())))
    }

    /// For how long a node is still to be asked last.
    pub(crate) fn held(&self, node: NodeId) -> Option<Duration> {
        self.suspects.held(node, Instant::now())
    }

    /// Tries a node last for a while, because its bytes had another digest.
    pub(crate) fn accuse(&self, node: NodeId, span: Duration) {
        self.suspects.accuse(node, span, Instant::now());
    }

    fn track(&self, node: NodeId, change: impl FnOnce(&mut Track)) {
        let mut tracks = self.lock();
        let fresh = || Track { in_flight: 0, latency: Latency::new(Instant::now()) };
        change(tracks.entry(node).or_insert_with(fresh));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Track>> {
        self.tracks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A read of a node that is under way, until this is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    reads: Arc<Reads>,
    node: NodeId,
    counts: bool,
    tries: bool,
    began: Instant,
    measured: bool,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Asked,
    Answered,
    Failed,
}

impl InFlight {
    /// The node began its answer. That is its latency: a read ahead has its bytes taken later, when it is their turn.
    pub(crate) fn opened(&mut self) {
        self.measure(Duration::ZERO);
    }

    /// Bytes came. Only the first time tells anything.
    pub(crate) fn answered(&mut self) {
        if self.stage != Stage::Asked {
            return;
        }
        self.stage = Stage::Answered;
        self.reads.suspects.answered(self.node);
    }

    /// How long it took until now, and what that counts for in addition; the first time only.
    fn measure(&mut self, more: Duration) {
        if self.counts && !std::mem::replace(&mut self.measured, true) {
            let (took, now) = (self.began.elapsed() + more, Instant::now());
            self.reads.track(self.node, |track| track.latency.note(took, now));
        }
    }

    /// The read failed.
    pub(crate) fn failed(&mut self, error: &PeerError) {
        let at_once = match error {
            // It is well: it lacks the blob, or it is we who stop.
            PeerError::NotFound | PeerError::Stopped => return,
            PeerError::Busy => return self.measure(BUSY),
            // Nobody is there, or not yet.
            PeerError::Unreachable(_) | PeerError::Starting => true,
            PeerError::UnknownNode(_)
            | PeerError::NoIdentity
            | PeerError::Deadline
            | PeerError::Refused { .. }
            | PeerError::NotLeader { .. }
            | PeerError::Corrupt { .. }
            | PeerError::Malformed(_)
            | PeerError::Remote(_) => false,
        };
        self.measure(Duration::ZERO);
        // Whatever the failure, it is the answer to whether the node is well again.
        let at_once = at_once || self.tries && self.stage == Stage::Asked;
        self.stage = Stage::Failed;
        telemetry::source_failures(self.node).increment(1);
        if let Some(pause) = self.reads.suspects.failed(self.node, at_once, Instant::now()) {
            telemetry::ejections(self.node).increment(1);
            let pause_ms = pause.as_millis() as u64;
            if self.tries {
                info!(peer = %self.node, pause_ms, %error, "an ejected peer was tried and still fails");
            } else {
                warn!(peer = %self.node, pause_ms, %error, "reads of a peer fail: it is asked last for a while");
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.reads.track(self.node, |track| track.in_flight = track.in_flight.saturating_sub(1));
        match self.stage {
            Stage::Answered => self.reads.suspects.served(self.node),
            Stage::Asked if self.tries => self.reads.suspects.untried(self.node),
            Stage::Asked | Stage::Failed => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, Duration, NodeId, PeerError, Reads};

    const NODE: NodeId = NodeId(7);

    #[test]
    fn what_is_under_way_counts_until_it_ends() {
        let reads = Reads::new(&Config::default());
        let mut first = reads.begin(NODE, true);
        let second = reads.begin(NODE, true);
        assert_eq!(reads.load(NODE).0, 2);
        first.answered();
        drop(first);
        assert_eq!(reads.load(NODE).0, 1);
        drop(second);
        assert_eq!(reads.load(NODE).0, 0);
    }

    #[test]
    fn a_busy_node_is_asked_after_its_equals_unless_it_waits_for_others() {
        let reads = Reads::new(&Config::default());
        reads.begin(NODE, false).failed(&PeerError::Busy);
        assert_eq!(reads.load(NODE).1, 0.0);
        reads.begin(NODE, true).failed(&PeerError::Busy);
        assert!(reads.load(NODE).1 > 0.2);
    }

    #[test]
    fn who_is_busy_or_lacks_the_blob_is_not_accused_and_who_is_away_is_at_once() {
        let cases = [
            (PeerError::NotFound, 5, false),
            (PeerError::Busy, 5, false),
            (PeerError::Unreachable("connection refused".to_owned()), 1, true),
            (PeerError::Deadline, 2, false),
            (PeerError::Deadline, 3, true),
            (PeerError::Remote("cut".to_owned()), 3, true),
        ];
        for (error, times, is_held) in cases {
            let reads = Reads::new(&Config::default());
            for _ in 0..times {
                reads.begin(NODE, true).failed(&error);
            }
            assert_eq!(reads.held(NODE).is_some(), is_held, "{error} {times} times");
        }
    }

    #[test]
    fn a_try_that_fails_in_whatever_way_ejects_again_and_another_comes_after_the_pause() {
        // Pauses are over at once.
        let config = Config { eject_ms: 0, eject_max_ms: 0, ..Config::default() };
        let away = PeerError::Unreachable("connection refused".to_owned());
        for error in [away.clone(), PeerError::Deadline, PeerError::Remote("cut".to_owned())] {
            let reads = Reads::new(&config);
            reads.begin(NODE, true).failed(&away);
            for _ in 0..3 {
                assert_eq!(reads.held(NODE), None, "{error}: one may try it");
                let mut read = reads.begin(NODE, true);
                assert!(read.tries && reads.held(NODE).is_some(), "{error}: one, not two");
                read.failed(&error);
            }
        }
    }

    #[test]
    fn a_node_is_as_slow_as_its_answer_begins_whenever_its_bytes_are_taken() {
        let reads = Reads::new(&Config::default());
        let latency = || reads.load(NODE).1;
        let mut read = reads.begin(NODE, true);
        read.began -= Duration::from_millis(100);
        read.opened();
        read.began -= Duration::from_secs(3);
        read.answered();
        assert!((0.09..1.0).contains(&latency()), "{}", latency());
        let mut ahead = reads.begin(NODE, true);
        ahead.opened();
        ahead.began -= Duration::from_secs(3);
        ahead.failed(&PeerError::Remote("cut".to_owned()));
        assert!(latency() < 1.0, "that it waited for its turn is not the node's doing: {}", latency());
        let mut silent = reads.begin(NODE, true);
        silent.began -= Duration::from_secs(3);
        silent.failed(&PeerError::Deadline);
        assert!(latency() > 2.9, "but that it waited in vain is: {}", latency());
    }

    #[test]
    fn a_read_that_answers_and_breaks_again_and_again_ejects() {
        let reads = Reads::new(&Config::default());
        for _ in 0..3 {
            let mut read = reads.begin(NODE, true);
            read.answered();
            read.failed(&PeerError::Remote("cut".to_owned()));
        }
        assert!(reads.held(NODE).is_some());
    }
}
