//! What a link does to a packet, without clock and devices: when it arrives, in how many pieces, or why it does not.

use super::link::Link;
use super::packet::{self, Shape};
use rand::Rng;
use rand::rngs::SmallRng;
use std::ops::Range;

/// How long a rate may be busy with one packet before it is split, so that slow links pass packets, not bursts.
const BURST_NS: u64 = 1_000_000;

/// How late a reordered packet is on top of a tenth of the delay.
const LATE_NS: u64 = 1_000_000;

const SECOND_NS: u64 = 1_000_000_000;

/// What became of a link's packets since its last change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets (segments of large ones) that wanted through.
    pub offered: u64,
    /// Bytes that went on their way.
    pub bytes: u64,
    /// Packets lost by chance.
    pub lost: u64,
    /// Packets dropped because the queue was full.
    pub overflowed: u64,
    /// Packets that met a cut.
    pub cut: u64,
}

/// One direction of a pair, at work.
pub struct Shaper {
    link: Link,
    /// When the rate is through with everything that is queued.
    free_at: u64,
    /// The latest arrival so far: none but the reordered come before it.
    last_due: u64,
    /// What became of the packets.
    pub counters: Counters,
    /// Bytes that went on their way since the WAN is up, whatever changed meanwhile.
    pub carried: u64,
}

impl Shaper {
    /// A link that has carried nothing yet.
    #[must_use]
    pub fn new(link: Link) -> Self {
        Self { link, free_at: 0, last_due: 0, counters: Counters::default(), carried: 0 }
    }

    /// How the link is.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Changes the link; says whether that made a difference, in which case the counters begin anew. What is under
    /// way arrives when it would have (unless the link is cut by then); what comes later does not wait for it, or a
    /// queue filled at 1 Mbit/s would block the link for minutes after its rate has been raised.
    pub fn change(&mut self, link: Link) -> bool {
        if self.link == link {
            return false;
        }
        *self = Self { carried: self.carried, ..Self::new(link) };
        true
    }

    /// Takes a packet at `now` (nanoseconds) and hands what arrives of it to `arrive`, with the time of arrival.
    pub fn admit(&mut self, packet: Vec<u8>, now: u64, random: &mut SmallRng, mut arrive: impl FnMut(u64, Vec<u8>)) {
        let shape = packet::shape(&packet);
        self.counters.offered += shape.segments as u64;
        if self.link.cut {
            self.counters.cut += shape.segments as u64;
            return;
        }
        if self.link.loss == 0.0 && shape.segments <= self.burst(shape) {
            if let Some((due, end)) = self.pass(shape, 0..shape.segments, now, random) {
                arrive(due, if end == shape.segments { packet } else { packet::split(&packet, shape, 0, end) });
            }
            return;
        }
        for run in self.survivors(shape, random) {
            let start = run.start;
            if let Some((due, end)) = self.pass(shape, run, now, random) {
                arrive(due, packet::split(&packet, shape, start, end));
            }
        }
    }

    /// The runs of segments that chance spares, none longer than a burst.
    fn survivors(&mut self, shape: Shape, random: &mut SmallRng) -> Vec<Range<usize>> {
        let longest = self.burst(shape);
        let mut runs = Vec::new();
        let mut start = 0;
        for at in 0..shape.segments {
            if random.random_bool(self.link.loss) {
                self.counters.lost += 1;
                runs.push(start..at);
                start = at + 1;
            } else if at + 1 - start == longest {
                runs.push(start..at + 1);
                start = at + 1;
            }
        }
        runs.push(start..shape.segments);
        runs.retain(|run| !run.is_empty());
        runs
    }

    /// Puts segments into the queue: when they arrive, and the end of those for which there was room.
    fn pass(&mut self, shape: Shape, run: Range<usize>, now: u64, random: &mut SmallRng) -> Option<(u64, usize)> {
        let end = run.end.min(run.start + self.room(shape, now));
        self.counters.overflowed += (run.end - end) as u64;
        if end == run.start {
            return None;
        }
        let bytes = (shape.wire(end) - shape.wire(run.start)) as u64;
        self.counters.bytes += bytes;
        self.carried += bytes;
        let sent = match self.link.rate {
            0 => now,
            rate => {
                self.free_at = self.free_at.max(now) + bytes * 8 * SECOND_NS / rate;
                self.free_at
            }
        };
        let due = sent + self.travel(random);
        if self.link.reorder > 0.0 && random.random_bool(self.link.reorder) {
            return Some((due + self.link.delay.as_nanos() as u64 / 10 + LATE_NS, end));
        }
        self.last_due = self.last_due.max(due);
        Some((self.last_due, end))
    }

    /// How many segments the queue has room for.
    fn room(&self, shape: Shape, now: u64) -> usize {
        if self.link.rate == 0 {
            return usize::MAX / 2;
        }
        let waiting = u128::from(self.free_at.saturating_sub(now)) * u128::from(self.link.rate);
        let waiting = (waiting / u128::from(8 * SECOND_NS)) as u64;
        let room = self.link.queue_bytes().saturating_sub(waiting) as usize;
        // The last segment of a packet may be shorter than the others.
        if room >= shape.wire(shape.segments) { shape.segments } else { room / (shape.headers + shape.segment).max(1) }
    }

    /// How many segments the rate carries in one burst.
    fn burst(&self, shape: Shape) -> usize {
        if self.link.rate == 0 {
            return usize::MAX;
        }
        let bytes = u128::from(self.link.rate) * u128::from(BURST_NS) / u128::from(8 * SECOND_NS);
        (bytes as usize / (shape.headers + shape.segment).max(1)).max(1)
    }

    /// The delay of one packet, jitter included.
    fn travel(&self, random: &mut SmallRng) -> u64 {
        let delay = self.link.delay.as_nanos() as u64;
        match self.link.jitter.as_nanos() as u64 {
            0 => delay,
            jitter => (delay + random.random_range(0..=2 * jitter)).saturating_sub(jitter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::link::Link;
    use super::super::packet::VIRTIO;
    use super::{SECOND_NS, Shaper};
    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use std::time::Duration;

    const MS: u64 = 1_000_000;

    /// A TCP packet of ten segments with 1,000 bytes each.
    fn large() -> Vec<u8> {
        let mut packet = vec![0; VIRTIO + 40 + 10_000];
        packet[1] = 1;
        packet[4..6].copy_from_slice(&1000_u16.to_ne_bytes());
        packet[VIRTIO] = 0x45;
        packet[VIRTIO + 32] = 0x50;
        packet
    }

    fn small(bytes: usize) -> Vec<u8> {
        let mut packet = vec![0; VIRTIO + bytes];
        packet[VIRTIO] = 0x45;
        packet
    }

    /// When the packets arrive that are sent at `times`, and their bytes.
    fn arrivals(shaper: &mut Shaper, times: impl IntoIterator<Item = u64>, packet: &[u8]) -> Vec<(u64, usize)> {
        let mut random = SmallRng::seed_from_u64(1);
        let mut arrived = Vec::new();
        for now in times {
            shaper.admit(packet.to_vec(), now, &mut random, |due, part| arrived.push((due, part.len() - VIRTIO)));
        }
        arrived
    }

    #[test]
    fn a_packet_arrives_after_its_turn_and_the_delay() {
        let link = Link { delay: Duration::from_millis(40), rate: 8_000_000, ..Link::default() };
        let mut shaper = Shaper::new(link);
        // 1,000 bytes at 8 Mbit/s take one millisecond.
        let arrived = arrivals(&mut shaper, [0, 0, 100 * MS], &small(1000));
        assert_eq!(arrived, [(41 * MS, 1000), (42 * MS, 1000), (141 * MS, 1000)]);
    }

    #[test]
    fn a_slow_link_passes_a_large_packet_segment_by_segment() {
        let mut shaper = Shaper::new(Link { rate: 8_320_000, ..Link::default() });
        let arrived = arrivals(&mut shaper, [0], &large());
        assert_eq!(arrived.len(), 10);
        assert_eq!((arrived[0], arrived[9]), ((MS, 1040), (10 * MS, 1040)));
    }

    #[test]
    fn a_full_queue_takes_the_segments_that_fit() {
        let mut shaper = Shaper::new(Link { rate: 1_000_000_000, queue: 4_200, ..Link::default() });
        let arrived = arrivals(&mut shaper, [0], &large());
        assert_eq!(arrived.iter().map(|(_, bytes)| bytes).sum::<usize>(), 4040);
        assert_eq!((shaper.counters.offered, shaper.counters.overflowed), (10, 6));
    }

    #[test]
    fn loss_is_drawn_for_each_segment() {
        let mut shaper = Shaper::new(Link { loss: 0.05, ..Link::default() });
        let arrived = arrivals(&mut shaper, 0..2000, &large());
        let segments: usize = arrived.iter().map(|(_, bytes)| bytes / 1000).sum();
        assert_eq!(segments as u64 + shaper.counters.lost, 20_000);
        assert!((900..1100).contains(&shaper.counters.lost), "{}", shaper.counters.lost);
    }

    #[test]
    fn jitter_keeps_the_order_and_reordering_does_not() {
        let link = Link { delay: Duration::from_millis(50), jitter: Duration::from_millis(10), ..Link::default() };
        let late = |arrived: &[(u64, usize)]| arrived.windows(2).filter(|pair| pair[1].0 < pair[0].0).count();
        let arrived = arrivals(&mut Shaper::new(link), (0..1000).map(|at| at * MS), &small(100));
        assert_eq!(late(&arrived), 0);
        let mixed = Link { jitter: Duration::ZERO, reorder: 0.1, ..link };
        let arrived = arrivals(&mut Shaper::new(mixed), (0..1000).map(|at| at * MS), &small(100));
        assert!((60..140).contains(&late(&arrived)), "{} of 1000", late(&arrived));
    }

    #[test]
    fn a_raised_rate_does_not_wait_for_the_old_queue() {
        let mut shaper = Shaper::new(Link { rate: 8_000, queue: 1_000_000, ..Link::default() });
        let arrived = arrivals(&mut shaper, [0; 10], &small(1000));
        assert_eq!(arrived[9].0, 10 * SECOND_NS);
        assert!(shaper.change(Link { rate: 8_000_000, ..Link::default() }));
        assert_eq!(arrivals(&mut shaper, [MS], &small(1000)), [(2 * MS, 1000)]);
        assert_eq!((shaper.counters.bytes, shaper.carried), (1000, 11_000), "only one of them begins anew");
    }

    #[test]
    fn nothing_passes_a_cut() {
        let mut shaper = Shaper::new(Link { cut: true, ..Link::default() });
        assert_eq!(arrivals(&mut shaper, [0], &large()), []);
        assert_eq!(shaper.counters.cut, 10);
    }
}
