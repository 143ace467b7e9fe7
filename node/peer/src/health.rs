//! How peers answered of late, and how likely it is that one that is silent is gone.
//!
//! Suspicion accrues (phi accrual, Hayashibara et al. 2004): phi is minus the decimal logarithm of the chance that a peer
//! which answers its pings as it did of late is silent for so long and well. At 8, one silence in a hundred million is
//! accused wrongly, if answers come as regularly as they did.

use crate::error::PeerError;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How many intervals between answers are remembered of each peer.
const REMEMBERED: usize = 64;
/// How many remembered intervals it takes until they count more than the pulse.
const ENOUGH: usize = 4;
/// Beyond it one silence is like another.
const MOST_PHI: f64 = 100.0;
/// Good answers in a row that end a suspicion, when it is the first for a while.
const GOOD_ANSWERS: u32 = 2;
/// How often that number may double, with each relapse.
const MOST_DOUBLINGS: u32 = 3;
/// A suspicion within this time after the last one ended is a relapse.
const RELAPSE_WITHIN: Duration = Duration::from_secs(60);

/// What answered calls tell about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// When it last answered anything.
    pub last_seen: Instant,
    /// The round trip of pings, an exponentially weighted average; `None` before the first.
    pub rtt: Option<Duration>,
}

/// How peers are pinged, and what silence means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pulse {
    /// Between two pings of a peer.
    pub every: Duration,
    /// The phi from which on a silent peer is suspect.
    pub phi: f64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { every: Duration::from_millis(500), phi: 8.0 }
    }
}

/// How well a peer would serve a read, as its pings tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing {
    /// It answers, and says that it can.
    Well,
    /// It is silent for longer than can be expected of it.
    Suspect {
        /// How surprising its silence is.
        phi: f64,
    },
    /// Its last ping found nobody, or was refused.
    Gone,
    /// It answers, and says that it cannot serve pulls.
    NotReady,
    /// It answers again, but not for long enough yet.
    Returning,
}

impl Standing {
    /// Whether nothing speaks against asking it.
    #[must_use]
    pub const fn is_well(self) -> bool {
        matches!(self, Self::Well)
    }
}

/// Where answers leave their traces.
#[derive(Debug)]
pub(crate) struct HealthCell(Mutex<Record>);

impl Default for HealthCell {
    fn default() -> Self {
        Self(Mutex::new(Record::new(Instant::now())))
    }
}

impl HealthCell {
    pub(crate) fn get(&self) -> Option<Health> {
        self.lock().health
    }

    /// It answered some call.
    pub(crate) fn seen(&self) {
        self.lock().seen(Instant::now());
    }

    /// It answered a ping, and said whether it can serve pulls.
    pub(crate) fn answered(&self, took: Duration, ready: bool, pulse: Pulse) {
        self.lock().answered(took, ready, Instant::now(), pulse);
    }

    /// A ping of it failed.
    pub(crate) fn failed(&self, error: &PeerError) {
        let ailment = match error {
            // Silence is judged by its length, and what is wrong on this side is not its fault.
            PeerError::Deadline | PeerError::Stopped | PeerError::NoIdentity | PeerError::UnknownNode(_) => return,
            PeerError::Starting | PeerError::Busy => Ailment::NotReady,
            PeerError::Unreachable(_)
            | PeerError::Refused { .. }
            | PeerError::NotLeader { .. }
            | PeerError::NotFound
            | PeerError::Corrupt { .. }
            | PeerError::Malformed(_)
            | PeerError::Remote(_) => Ailment::Gone,
        };
        self.lock().fall(ailment, Instant::now());
    }

    /// How surprising its silence is now.
    pub(crate) fn phi(&self, pulse: Pulse) -> f64 {
        self.lock().phi(Instant::now(), pulse)
    }

    pub(crate) fn standing(&self, pulse: Pulse) -> Standing {
        self.lock().standing(Instant::now(), pulse)
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What keeps a peer from being well. Silence that lasts is not noted: it is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ailment {
    Gone,
    NotReady,
    Returning,
}

/// What is remembered of one peer.
#[derive(Debug)]
struct Record {
    health: Option<Health>,
    /// When it last answered a ping; before the first, since when it is known.
    since: Instant,
    /// Seconds between answers, while it was well.
    intervals: VecDeque<f64>,
    mean: f64,
    deviation: f64,
    ailment: Option<Ailment>,
    /// Good answers in a row since it ails.
    good: u32,
    /// How many it takes.
    needed: u32,
    relapses: u32,
    /// When its last ailment ended.
    recovered: Option<Instant>,
}

impl Record {
    fn new(now: Instant) -> Self {
        Self {
            health: None,
            since: now,
            intervals: VecDeque::with_capacity(REMEMBERED),
            mean: 0.0,
            deviation: 0.0,
            ailment: None,
            good: 0,
            needed: GOOD_ANSWERS,
            relapses: 0,
            recovered: None,
        }
    }

    fn seen(&mut self, now: Instant) {
        let rtt = self.health.and_then(|health| health.rtt);
        self.health = Some(Health { last_seen: now, rtt });
    }

    fn answered(&mut self, took: Duration, ready: bool, now: Instant, pulse: Pulse) {
        let before = self.health.and_then(|health| health.rtt);
        // A quarter of the new value each time: four pings after a change of route, two thirds of it show.
        let rtt = before.map_or(took, |before| (before * 3 + took) / 4);
        self.health = Some(Health { last_seen: now, rtt: Some(rtt) });
        if before.is_none() {
            // It was waited for, not missed.
            self.ailment = None;
        } else if self.ailment.is_none() && self.is_silent(now, pulse) {
            self.fall(Ailment::Returning, now);
        } else if self.ailment.is_none() {
            self.remember(now.duration_since(self.since));
        }
        self.since = now;
        if !ready {
            self.fall(Ailment::NotReady, now);
        } else if self.ailment.is_some() {
            self.good += 1;
            self.ailment = Some(Ailment::Returning).filter(|_| self.good < self.needed);
            if self.ailment.is_none() {
                self.recovered = Some(now);
            }
        }
    }

    /// Who ails again soon is believed later each time, so that a flapping peer is not asked by turns.
    fn fall(&mut self, ailment: Ailment, now: Instant) {
        if self.ailment.is_none() {
            let relapsed = self.recovered.is_some_and(|at| now.duration_since(at) < RELAPSE_WITHIN);
            self.relapses = if relapsed { (self.relapses + 1).min(MOST_DOUBLINGS) } else { 0 };
            self.needed = GOOD_ANSWERS << self.relapses;
        }
        self.good = 0;
        self.ailment = Some(ailment);
    }

    fn remember(&mut self, interval: Duration) {
        if self.intervals.len() == REMEMBERED {
            self.intervals.pop_front();
        }
        self.intervals.push_back(interval.as_secs_f64());
        let count = self.intervals.len() as f64;
        self.mean = self.intervals.iter().sum::<f64>() / count;
        let square = |interval: &f64| (interval - self.mean).powi(2);
        self.deviation = (self.intervals.iter().map(square).sum::<f64>() / count).sqrt();
    }

    /// The distribution is held within bounds of the pulse. A peer that answered like a clock is not suspect for being
    /// late once; and however irregular it was, its silence is noticed after less than four pulses.
    fn phi(&self, now: Instant, pulse: Pulse) -> f64 {
        let every = pulse.every.as_secs_f64();
        let known = self.intervals.len() >= ENOUGH;
        let mean = if known { self.mean.clamp(every, every * 1.25) } else { every };
        let deviation = if known { self.deviation.clamp(every * 0.25, every * 0.4) } else { every * 0.4 };
        phi(now.duration_since(self.since).as_secs_f64(), mean, deviation)
    }

    fn is_silent(&self, now: Instant, pulse: Pulse) -> bool {
        self.phi(now, pulse) >= pulse.phi
    }

    fn standing(&self, now: Instant, pulse: Pulse) -> Standing {
        let phi = self.phi(now, pulse);
        match self.ailment {
            Some(Ailment::Gone) => Standing::Gone,
            _ if phi >= pulse.phi => Standing::Suspect { phi },
            Some(Ailment::NotReady) => Standing::NotReady,
            Some(Ailment::Returning) => Standing::Returning,
            None => Standing::Well,
        }
    }
}

/// Minus the decimal logarithm of the chance that a normal interval is longer than `elapsed`. Near the mean by the
/// logistic approximation of the normal distribution; further out, where that is wrong by whole decimals, by the
/// continued fraction of Mills' ratio.
fn phi(elapsed: f64, mean: f64, deviation: f64) -> f64 {
    let y = (elapsed - mean) / deviation;
    let ln_tail = if y < 2.0 {
        -(y * (1.597_6 + 0.070_566 * y * y)).exp().ln_1p()
    } else {
        let mills = y + 1.0 / (y + 2.0 / (y + 3.0 / (y + 4.0 / (y + 2.0))));
        -y * y / 2.0 - (std::f64::consts::TAU.sqrt() * mills).ln()
    };
    (-ln_tail / std::f64::consts::LN_10).clamp(0.0, MOST_PHI)
}

#[cfg(test)]
mod tests {
    use super::{Duration, HealthCell, Instant, MOST_PHI, PeerError, Pulse, Record, Standing, phi};

    const PULSE: Pulse = Pulse { every: Duration::from_millis(500), phi: 8.0 };
    const TOOK: Duration = Duration::from_millis(10);

    /// A record under a clock of the test's own.
    struct Scene {
        record: Record,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let now = Instant::now();
            Self { record: Record::new(now), now }
        }

        fn pass(&mut self, ms: u64) {
            self.now += Duration::from_millis(ms);
        }

        fn answer(&mut self, after_ms: u64, ready: bool) -> Standing {
            self.pass(after_ms);
            self.record.answered(TOOK, ready, self.now, PULSE);
            self.standing()
        }

        fn standing(&self) -> Standing {
            self.record.standing(self.now, PULSE)
        }

        /// How long it is silent until it is suspect, in milliseconds.
        fn noticed_after(&mut self) -> u64 {
            let began = self.now;
            while !matches!(self.standing(), Standing::Suspect { .. }) {
                self.pass(10);
            }
            u64::try_from(self.now.duration_since(began).as_millis()).expect("a short time")
        }
    }

    #[tokio::test]
    async fn the_round_trip_is_smoothed_and_survives_other_answers() {
        let cell = HealthCell::default();
        assert_eq!(cell.get(), None);
        cell.seen();
        assert_eq!(cell.get().and_then(|health| health.rtt), None);
        cell.answered(Duration::from_millis(100), true, PULSE);
        cell.answered(Duration::from_millis(200), true, PULSE);
        cell.seen();
        assert_eq!(cell.get().and_then(|health| health.rtt), Some(Duration::from_millis(125)));
    }

    #[test]
    fn phi_is_the_logarithm_of_the_normal_tail() {
        // How many deviations late, and the tail of the normal distribution from a table.
        for (y, tail) in [(0.0, 0.5), (1.0, 0.158_66), (2.0, 0.022_75), (3.0, 0.001_35), (5.0, 2.867e-7_f64)] {
            let want = -tail.log10();
            let got = phi(1.0 + y / 10.0, 1.0, 0.1);
            assert!((got - want).abs() < 0.01, "{y}: {got} against {want}");
        }
        assert!(phi(0.0, 10.0, 0.001) < 1e-9);
        assert!((phi(1e6, 1.0, 0.1) - MOST_PHI).abs() < 1e-9);
    }

    #[test]
    fn silence_is_noticed_within_two_seconds_however_irregular_the_answers_were() {
        let cases: [(&str, &[u64], std::ops::Range<u64>); 4] = [
            ("never heard", &[], 1_000..2_000),
            ("like a clock", &[500; 40], 1_000..1_400),
            ("with jitter", &[400, 620, 500, 380, 700, 500, 430, 610], 1_000..2_000),
            ("every other ping lost", &[500, 1_000, 500, 1_000, 1_000, 500], 1_200..2_000),
        ];
        for (name, answers, expected) in cases {
            let mut scene = Scene::new();
            for after in answers {
                assert_eq!(scene.answer(*after, true), Standing::Well, "{name}");
            }
            let took = scene.noticed_after();
            assert!(expected.contains(&took), "{name}: {took} ms");
        }
    }

    #[test]
    fn a_peer_is_back_after_two_good_answers_and_after_more_the_more_often_it_falls() {
        let mut scene = Scene::new();
        for needed in [2, 4, 8, 16, 16] {
            scene.answer(500, true);
            scene.noticed_after();
            for _ in 1..needed {
                assert_eq!(scene.answer(500, true), Standing::Returning, "of {needed}");
            }
            assert_eq!(scene.answer(500, true), Standing::Well, "after {needed}");
        }
        for _ in 0..200 {
            scene.answer(500, true);
        }
        scene.noticed_after();
        scene.answer(500, true);
        assert_eq!(scene.answer(500, true), Standing::Well, "it was well for long");
    }

    #[test]
    fn the_first_answer_of_all_is_good_enough() {
        let mut scene = Scene::new();
        assert!(matches!(scene.standing(), Standing::Well));
        scene.pass(10_000);
        assert!(matches!(scene.standing(), Standing::Suspect { .. }));
        assert_eq!(scene.answer(500, true), Standing::Well);
    }

    #[test]
    fn who_says_that_it_cannot_serve_is_believed_at_once() {
        let mut scene = Scene::new();
        scene.answer(500, true);
        assert_eq!(scene.answer(500, false), Standing::NotReady);
        assert_eq!(scene.answer(500, true), Standing::Returning);
        assert_eq!(scene.answer(500, false), Standing::NotReady, "good answers count in a row");
        assert_eq!(scene.answer(500, true), Standing::Returning);
        assert_eq!(scene.answer(500, true), Standing::Well);
    }

    #[tokio::test]
    async fn a_refused_connection_tells_at_once_and_a_late_answer_does_not() {
        let cases = [
            (PeerError::Unreachable("connection refused".to_owned()), Standing::Gone),
            (PeerError::Starting, Standing::NotReady),
            (PeerError::Deadline, Standing::Well),
        ];
        for (error, expected) in cases {
            let cell = HealthCell::default();
            cell.answered(TOOK, true, PULSE);
            cell.failed(&error);
            assert_eq!(cell.standing(PULSE), expected, "{error}");
        }
    }

    #[test]
    fn an_outage_does_not_make_the_next_one_harder_to_notice() {
        let mut scene = Scene::new();
        for _ in 0..10 {
            scene.answer(500, true);
        }
        let before = scene.noticed_after();
        scene.pass(60_000);
        for _ in 0..10 {
            scene.answer(500, true);
        }
        assert_eq!(scene.noticed_after(), before);
    }
}
