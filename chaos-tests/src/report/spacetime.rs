//! The calls of a violation in space and time: a lane for each client, a bar for each call from its start to its end.
//!
//! A push of milliseconds and the pull that misses it a minute later belong on one drawing. So time is compressed: its
//! order is kept, and a longer time is wider, but not in proportion.

use super::figures::Report;
use super::lane::percent;
use super::{calls, words};
use crate::history::{Micros, Outcome, Record};
use maud::{Markup, html};

/// More calls than this are not told apart.
const MOST_CALLS: usize = 60;

/// The height of a lane; a bar has its words above it.
const LANE: usize = 38;
const BAR: usize = 12;

/// How wide the drawing is on a desk and on a phone, in pixels, and how wide a letter: a bar without room for its words
/// goes by its number.
const DESK: f64 = 800.0;
const PHONE: f64 = 230.0;
const LETTER: f64 = 6.4;

/// A compressed axis.
struct Axis {
    /// The moments at which something begins or ends, in order, and where they are, 0 to 1.
    moments: Vec<(Micros, f64)>,
}

impl Axis {
    fn of(records: &[Record]) -> Self {
        let mut moments: Vec<Micros> = records.iter().flat_map(|record| [record.start, record.end]).collect();
        moments.sort_unstable();
        moments.dedup();
        let mut place = 0.4;
        let mut places = Vec::new();
        let mut before = moments.first().copied().unwrap_or_default();
        for moment in moments {
            let millis = (moment.0 - before.0) as f64 / 1_000.0;
            place += if places.is_empty() { 0.0 } else { 1.0 + millis.ln_1p() / 3.0 };
            places.push((moment, place));
            before = moment;
        }
        let whole = place + 1.0;
        places.iter_mut().for_each(|(_, place)| *place /= whole);
        Self { moments: places }
    }

    fn place(&self, at: Micros) -> f64 {
        let next = self.moments.partition_point(|(moment, _)| *moment < at);
        self.moments.get(next).map_or(1.0, |(_, place)| *place)
    }

    /// The moments that have room for their time.
    fn ticks(&self) -> Vec<(Micros, f64)> {
        let mut ticks: Vec<(Micros, f64)> = Vec::new();
        for (moment, place) in &self.moments {
            if *place < 0.86 && ticks.last().is_none_or(|(_, last)| place - last > 0.16) {
                ticks.push((*moment, *place));
            }
        }
        ticks
    }
}

/// Draws the calls; nothing where there are none.
#[must_use]
pub(super) fn draw(report: &Report, records: &[Record]) -> Markup {
    let shown = &records[..records.len().min(MOST_CALLS)];
    let axis = Axis::of(shown);
    let mut clients: Vec<(u32, &str)> = Vec::new();
    for record in shown {
        if clients.iter().all(|(client, _)| *client != record.client) {
            clients.push((record.client, &record.region));
        }
    }
    let height = clients.len() * LANE;
    html! {
        @if !shown.is_empty() {
            div class="key" {
                @for (tone, meaning) in calls::TONES {
                    @if shown.iter().any(|record| calls::tone(record) == tone) { span { i class=(tone) {} (meaning) } }
                }
            }
            div class="row spacetime" {
                svg class="gutter" height=(height + 20) {
                    @for (lane, (client, region)) in clients.iter().enumerate() {
                        text x="100%" dx="-8" y=(lane * LANE + 16) { "client " (client) }
                        text x="100%" dx="-8" y=(lane * LANE + 30) class="soft" { (words::clean(region)) }
                    }
                }
                svg class="plot" height=(height + 20) {
                    @for (at, place) in axis.ticks() {
                        line class="grid" x1=(percent(place)) x2=(percent(place)) y1="0" y2=(height) {}
                        text class="tick start" x=(percent(place)) y=(height + 14) { (words::moment(at)) }
                    }
                    @for lane in 1..=clients.len() {
                        line class="grid" x1="0" x2="100%" y1=(lane * LANE) y2=(lane * LANE) {}
                    }
                    @for (place, record) in shown.iter().enumerate() {
                        (bar(report, &axis, &clients, shown, place, record))
                    }
                }
            }
            p class="note" {
                "The time axis is compressed: it keeps the order, and a longer time is wider, but not in proportion."
                @if records.len() > MOST_CALLS { " Drawn are the first " (MOST_CALLS) " of " (records.len()) " calls." }
            }
        }
    }
}

fn bar(
    report: &Report,
    axis: &Axis,
    clients: &[(u32, &str)],
    shown: &[Record],
    place: usize,
    record: &Record,
) -> Markup {
    let lane = clients.iter().position(|(client, _)| *client == record.client).unwrap_or_default();
    let start = axis.place(record.start);
    // A write of unknown outcome may take effect at any later moment.
    let end = if record.outcome() == Outcome::Unknown { 1.0 } else { axis.place(record.end).max(start) };
    let starts = shown.iter().filter(|other| other.client == record.client && other.start > record.start);
    let room = starts.map(|other| axis.place(other.start)).fold(1.0, f64::min) - start;
    let number = (place + 1).to_string();
    let words = format!(" {}", calls::brief(record));
    let needed = (number.len() + words.chars().count()) as f64 * LETTER;
    let hover = format!(
        "{number}. {} at {}: {} ({} to {})",
        calls::asked(&record.call),
        report.node(record.node),
        calls::answered(record),
        words::moment(record.start),
        words::moment(record.end)
    );
    html! {
        g {
            title { (words::clean(&hover)) }
            rect class=(format!("bar {}", calls::tone(record))) x=(percent(start)) width=(percent(end - start)) y=(lane * LANE + 20)
                height=(BAR) rx="2" {}
            text x=(percent(start)) dx="2" y=(lane * LANE + 15) {
                (number)
                @if needed <= room * DESK { tspan class=(if needed <= room * PHONE { "short" } else { "desk" }) { (words) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Axis;
    use crate::history::{Call, Micros, Record, Seen};

    fn record(start: u64, end: u64) -> Record {
        let (call, seen) = (Call::Catalog { last: None }, Seen::default());
        Record { id: 0, client: 0, region: "r".to_owned(), node: 0, start: Micros(start), end: Micros(end), call, seen }
    }

    #[test]
    fn a_compressed_axis_keeps_the_order_and_shows_the_short_beside_the_long() {
        let axis = Axis::of(&[record(0, 5_000), record(1_000, 90_000_000)]);
        let places = [0, 1_000, 5_000, 90_000_000].map(|at| axis.place(Micros(at)));
        assert!(places.windows(2).all(|pair| pair[0] < pair[1] && pair[1] < 1.0), "{places:?}");
        assert!(places[2] - places[1] > 0.05, "four milliseconds are seen beside ninety seconds: {places:?}");
        assert!(places[3] - places[2] > 2.0 * (places[2] - places[1]), "ninety seconds are wider: {places:?}");
        assert!(Axis::of(&[]).ticks().is_empty());
    }
}
