//! Totals become rates. Pure.

use crate::answer::LoadAnswer;
use serde::Serialize;

/// What happens per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Rates {
    /// Requests that end.
    pub(crate) requests_per_s: f64,
    /// Those that end by a fault of the node (5xx).
    pub(crate) faults_per_s: f64,
    /// Bytes of bodies that come from clients.
    pub(crate) received_bytes_per_s: f64,
    /// Bytes of bodies that go to clients.
    pub(crate) sent_bytes_per_s: f64,
}

impl Rates {
    /// What two do together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            requests_per_s: self.requests_per_s + other.requests_per_s,
            faults_per_s: self.faults_per_s + other.faults_per_s,
            received_bytes_per_s: self.received_bytes_per_s + other.received_bytes_per_s,
            sent_bytes_per_s: self.sent_bytes_per_s + other.sent_bytes_per_s,
        }
    }
}

/// One node's totals from sample to sample. Time is the node's own: the news of a node that was not asked itself is up
/// to two pings old, and by the asker's clock its rates would jump between nothing and twice as much.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    last: Option<LoadAnswer>,
    rates: Option<Rates>,
}

impl Meter {
    /// The rates after the newest news; `None` while they are unknown.
    pub(crate) fn take(&mut self, load: Option<&LoadAnswer>) -> Option<Rates> {
        match (load, self.last) {
            // The last totals stay: after the silence they give the average over it.
            (None, _) => self.rates = None,
            (Some(load), Some(last)) if load == &last => {}
            (Some(load), Some(last)) if has_restarted(load, &last) => self.rates = growth(load, &LoadAnswer::default()),
            (Some(load), Some(last)) => self.rates = growth(load, &last).or(self.rates),
            (Some(_), None) => {}
        }
        self.last = load.copied().or(self.last);
        self.rates
    }
}

/// A restart begins all totals, and the time, at zero.
fn has_restarted(load: &LoadAnswer, last: &LoadAnswer) -> bool {
    load.up_ms < last.up_ms
        || load.requests < last.requests
        || load.received_bytes < last.received_bytes
        || load.sent_bytes < last.sent_bytes
}

fn growth(load: &LoadAnswer, last: &LoadAnswer) -> Option<Rates> {
    let took_ms = load.up_ms.saturating_sub(last.up_ms);
    let per_second = |total: u64, before: u64| real(total.saturating_sub(before)) * 1_000.0 / real(took_ms);
    (took_ms > 0).then(|| Rates {
        requests_per_s: per_second(load.requests, last.requests),
        faults_per_s: per_second(load.faults, last.faults),
        received_bytes_per_s: per_second(load.received_bytes, last.received_bytes),
        sent_bytes_per_s: per_second(load.sent_bytes, last.sent_bytes),
    })
}

/// A number as people look at it; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "a picture needs no more than 53 bits")]
fn real(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::{LoadAnswer, Meter, Rates};

    fn load(up_ms: u64, requests: u64, bytes: u64) -> LoadAnswer {
        LoadAnswer { up_ms, requests, received_bytes: bytes, ..LoadAnswer::default() }
    }

    fn rates(requests_per_s: f64, received_bytes_per_s: f64) -> Option<Rates> {
        Some(Rates { requests_per_s, received_bytes_per_s, ..Rates::default() })
    }

    #[test]
    fn rates_are_growth_by_the_nodes_own_time_and_stay_until_there_is_newer_news() {
        let mut meter = Meter::default();
        let steps = [
            ("the first totals tell no rate", Some(load(10_000, 5, 100)), None),
            ("growth", Some(load(12_000, 15, 2_100)), rates(5.0, 1_000.0)),
            ("the same news again", Some(load(12_000, 15, 2_100)), rates(5.0, 1_000.0)),
            ("nothing happened", Some(load(13_000, 15, 2_100)), rates(0.0, 0.0)),
            ("silence", None, None),
            ("the average over the silence", Some(load(23_000, 25, 2_100)), rates(1.0, 0.0)),
        ];
        for (name, load, expected) in steps {
            assert_eq!(meter.take(load.as_ref()), expected, "{name}");
        }
    }

    #[test]
    fn a_restart_counts_from_zero_and_never_gives_a_negative_rate() {
        for (name, before, after, expected) in [
            ("younger", load(60_000, 900, 9_000), load(2_000, 4, 10_000), rates(2.0, 5_000.0)),
            ("older, and yet fewer", load(3_000, 900, 0), load(4_000, 8, 0), rates(2.0, 0.0)),
            ("at once", load(60_000, 900, 0), load(0, 0, 0), None),
        ] {
            let mut meter = Meter::default();
            meter.take(Some(&before));
            assert_eq!(meter.take(Some(&after)), expected, "{name}");
        }
    }
}
