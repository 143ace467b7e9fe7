//! Which members of a new cluster vote.

/// For each member (name, region), in order, whether it votes. The rule for clusters that nobody tuned:
///
/// - one region: the largest odd number of its members, up to three;
/// - an odd number of regions: the first member of each;
/// - an even number: the first member of each, and a second of the first region that has one; where no region has,
///   the last region's does not vote, since an even number of voters survives no more failures than one less.
///
/// Regions count in the order in which the list first names them.
#[must_use]
pub fn voters(members: &[(&str, &str)]) -> Vec<bool> {
    let mut regions: Vec<(&str, Vec<usize>)> = Vec::new();
    for (index, (_, region)) in members.iter().enumerate() {
        match regions.iter_mut().find(|(name, _)| name == region) {
            Some((_, indexes)) => indexes.push(index),
            None => regions.push((region, vec![index])),
        }
    }
    let mut chosen: Vec<usize> = match regions.as_slice() {
        [(_, only)] => only.iter().copied().take(if only.len() >= 3 { 3 } else { 1 }).collect(),
        several => several.iter().filter_map(|(_, indexes)| indexes.first().copied()).collect(),
    };
    if chosen.len().is_multiple_of(2) && !chosen.is_empty() {
        match regions.iter().find_map(|(_, indexes)| indexes.get(1)) {
            Some(&second) => chosen.push(second),
            None => {
                chosen.pop();
            }
        }
    }
    (0..members.len()).map(|index| chosen.contains(&index)).collect()
}
