//! Which copies the loss of disks leaves.

use super::evidence::{Event, Evidence};
use crate::history::Micros;
use std::collections::BTreeSet;

/// The losses of disks that something which was there at a moment had to outlive.
pub(super) fn since(evidence: &Evidence, moment: Micros) -> impl Iterator<Item = &Event> {
    let is_later = move |event: &&Event| !event.wiped.is_empty() && event.end.is_none_or(|end| moment <= end);
    evidence.events.iter().filter(is_later)
}

/// Whether copies in so many regions outlive every loss since a moment: at no time were disks of as many regions gone
/// before all copies were restored. A region counts with its first disk, since a copy may be there and nowhere else.
pub(super) fn leave_a_copy(evidence: &Evidence, moment: Micros, regions: usize) -> bool {
    since(evidence, moment).all(|loss| {
        let together =
            since(evidence, Micros(0)).filter(|other| other.overlaps(loss.begin, loss.end.unwrap_or(Micros(u64::MAX))));
        let nodes = together.flat_map(|event| &event.wiped);
        let lost: BTreeSet<&str> = nodes.filter_map(|&node| Some(evidence.nodes.get(node)?.region.as_str())).collect();
        lost.len() < regions
    })
}
