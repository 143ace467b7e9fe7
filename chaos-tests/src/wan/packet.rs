//! IPv4 packets as a TUN device with offloads gives them: a 10-byte `virtio_net` header, then one packet, or up to
//! 64 KiB of one flow that stand for many packets on the wire ("segments").
//!
//! They are carried whole, which is what makes a gigabit cheap. Only where the wire would treat segments differently
//! (one of them lost, a queue half full) is such a packet split.

use std::net::Ipv4Addr;

/// Bytes of the header in front of every packet.
pub const VIRTIO: usize = 10;

/// The largest read: the header and the largest IPv4 packet.
pub const LARGEST: usize = VIRTIO + 65_535;

/// The last number of the router's own address in each region, from which it measures.
pub const ROUTER_NODE: u8 = 254;

const GSO_NONE: u8 = 0;
const GSO_TCP4: u8 = 1;
const GSO_UDP: u8 = 5;
const GSO_ECN: u8 = 0x80;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const IP_HEADER: usize = 20;

/// How a packet lies on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of headers that each segment has.
    pub headers: usize,
    /// Bytes behind the headers, of all segments together.
    pub payload: usize,
    /// Payload of each segment but the last.
    pub segment: usize,
    /// How many segments.
    pub segments: usize,
}

impl Shape {
    /// Bytes on the wire of the segments before `end`.
    #[must_use]
    pub fn wire(&self, segments: usize) -> usize {
        segments * self.headers + self.payload.min(segments * self.segment)
    }
}

/// The address that an IPv4 packet goes to; nothing for other protocols and for stumps.
#[must_use]
pub fn destination(packet: &[u8]) -> Option<Ipv4Addr> {
    let ip = packet.get(VIRTIO..)?;
    if ip.len() < IP_HEADER || ip[0] >> 4 != 4 {
        return None;
    }
    Some(Ipv4Addr::new(ip[16], ip[17], ip[18], ip[19]))
}

/// The shape of a packet whose [`destination`] is known.
#[must_use]
pub fn shape(packet: &[u8]) -> Shape {
    let length = packet.len() - VIRTIO;
    let whole = Shape { headers: 0, payload: length, segment: length, segments: 1 };
    let segment = usize::from(u16::from_ne_bytes([packet[4], packet[5]]));
    let internet = usize::from(packet[VIRTIO] & 0x0f) * 4;
    let headers = match packet[1] & !GSO_ECN {
        GSO_TCP4 => match packet.get(VIRTIO + internet + 12) {
            Some(offset) => internet + usize::from(offset >> 4) * 4,
            None => return whole,
        },
        GSO_UDP => internet + 8,
        _ => return whole,
    };
    if segment == 0 || length <= headers {
        return whole;
    }
    let payload = length - headers;
    Shape { headers, payload, segment, segments: payload.div_ceil(segment) }
}

/// A packet of its own out of the segments `start..end` of another: headers that fit, checksums included.
#[must_use]
pub fn split(packet: &[u8], shape: Shape, start: usize, end: usize) -> Vec<u8> {
    let first = start * shape.segment;
    let last = (end * shape.segment).min(shape.payload);
    let body = VIRTIO + shape.headers;
    let mut part = Vec::with_capacity(body + last - first);
    part.extend_from_slice(&packet[..body]);
    part.extend_from_slice(&packet[body + first..body + last]);
    if end - start == 1 {
        part[1] = GSO_NONE;
        part[4..6].fill(0);
    }
    let length = part.len() - VIRTIO;
    let ip = &mut part[VIRTIO..];
    let internet = usize::from(ip[0] & 0x0f) * 4;
    put(ip, 2, length as u16);
    let id = get(ip, 4).wrapping_add(start as u16);
    put(ip, 4, id);
    put(ip, 10, 0);
    let checksum = !fold(sum(&ip[..internet]));
    put(ip, 10, checksum);
    let protocol = ip[9];
    // The kernel left the sum over the pseudo header alone in the checksum's place: the rest is done when it is
    // known to be wanted, which inside one machine is never.
    let pseudo = fold(sum(&ip[12..20]) + u32::from(protocol) + (length - internet) as u32);
    if protocol == TCP {
        let sequence = u32::from_be_bytes([ip[internet + 4], ip[internet + 5], ip[internet + 6], ip[internet + 7]]);
        let sequence = sequence.wrapping_add(first as u32);
        ip[internet + 4..internet + 8].copy_from_slice(&sequence.to_be_bytes());
        if end < shape.segments {
            ip[internet + 13] &= !0x09; // FIN and PSH belong to the last segment
        }
        if start > 0 {
            ip[internet + 13] &= !0x80; // CWR to the first
        }
        put(ip, internet + 16, pseudo);
    } else if protocol == UDP {
        put(ip, internet + 4, (length - internet) as u16);
        put(ip, internet + 6, pseudo);
    }
    part
}

/// An ICMP echo request that carries `stamp`.
#[must_use]
pub fn echo_request(from: Ipv4Addr, to: Ipv4Addr, stamp: u64) -> Vec<u8> {
    let mut packet = vec![0; VIRTIO + IP_HEADER + 16];
    let ip = &mut packet[VIRTIO..];
    ip[0] = 0x45;
    put(ip, 2, (IP_HEADER + 16) as u16);
    ip[8] = 64;
    ip[9] = ICMP;
    ip[12..16].copy_from_slice(&from.octets());
    ip[16..20].copy_from_slice(&to.octets());
    let checksum = !fold(sum(&ip[..IP_HEADER]));
    put(ip, 10, checksum);
    let icmp = &mut ip[IP_HEADER..];
    icmp[0] = 8;
    icmp[8..16].copy_from_slice(&stamp.to_be_bytes());
    let checksum = !fold(sum(icmp));
    put(icmp, 2, checksum);
    packet
}

/// The stamp of an ICMP echo reply; nothing for any other packet.
#[must_use]
pub fn echo_reply(packet: &[u8]) -> Option<u64> {
    let ip = packet.get(VIRTIO..)?;
    if ip.len() != IP_HEADER + 16 || ip[0] != 0x45 || ip[9] != ICMP || ip[IP_HEADER] != 0 {
        return None;
    }
    Some(u64::from_be_bytes(ip[IP_HEADER + 8..].try_into().ok()?))
}

fn get(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::{GSO_TCP4, Shape, VIRTIO, destination, echo_reply, echo_request, fold, get, shape, split, sum};
    use std::net::Ipv4Addr;

    /// 2,500 bytes of TCP in segments of 1,000, with FIN, PSH and CWR.
    fn large() -> Vec<u8> {
        let mut packet = vec![0; VIRTIO + 40 + 2500];
        packet[1] = GSO_TCP4;
        packet[4..6].copy_from_slice(&1000_u16.to_ne_bytes());
        let ip = &mut packet[VIRTIO..];
        ip[0] = 0x45;
        ip[5] = 7;
        ip[9] = 6;
        ip[12..20].copy_from_slice(&[10, 77, 1, 1, 10, 77, 2, 1]);
        ip[27] = 100;
        ip[32] = 0x50;
        ip[33] = 0x99;
        for (at, byte) in ip[40..].iter_mut().enumerate() {
            *byte = at as u8;
        }
        packet
    }

    #[test]
    fn a_large_packet_counts_as_its_segments() {
        let packet = large();
        let shape = shape(&packet);
        assert_eq!(shape, Shape { headers: 40, payload: 2500, segment: 1000, segments: 3 });
        assert_eq!((shape.wire(1), shape.wire(3)), (1040, 2620));
        assert_eq!(destination(&packet), Some(Ipv4Addr::new(10, 77, 2, 1)));
    }

    #[test]
    fn the_parts_of_a_split_packet_are_good_packets() {
        let packet = large();
        let shape = shape(&packet);
        let mut payload = Vec::new();
        for (start, end, sequence, flags, gso) in [(0, 2, 100, 0x90, GSO_TCP4), (2, 3, 2100, 0x19, 0)] {
            let part = split(&packet, shape, start, end);
            let ip = &part[VIRTIO..];
            assert_eq!(usize::from(get(ip, 2)), ip.len());
            assert_eq!(get(ip, 4), 7 + start as u16);
            assert_eq!(fold(sum(&ip[..20])), 0xffff, "the header's checksum holds");
            assert_eq!(u32::from_be_bytes(ip[24..28].try_into().unwrap()), sequence);
            assert_eq!((ip[33], part[1]), (flags, gso));
            assert_eq!(u32::from(get(ip, 36)), u32::from(fold(sum(&ip[12..20]) + 6 + ip.len() as u32 - 20)));
            payload.extend_from_slice(&ip[40..]);
        }
        assert!(payload == packet[VIRTIO + 40..], "nothing is lost between the parts");
    }

    #[test]
    fn an_echo_comes_back_with_its_stamp() {
        let (from, to) = (Ipv4Addr::new(10, 77, 1, 254), Ipv4Addr::new(10, 77, 2, 1));
        let mut packet = echo_request(from, to, 42);
        assert_eq!(fold(sum(&packet[VIRTIO..VIRTIO + 20])), 0xffff);
        assert_eq!(fold(sum(&packet[VIRTIO + 20..])), 0xffff);
        assert_eq!(echo_reply(&packet), None, "a request is no reply");
        packet[VIRTIO + 20] = 0;
        assert_eq!(echo_reply(&packet), Some(42));
    }

    #[test]
    fn stumps_and_other_protocols_go_nowhere() {
        assert_eq!(destination(&[0; VIRTIO]), None);
        assert_eq!(destination(&[0x60; VIRTIO + 40]), None);
    }
}
