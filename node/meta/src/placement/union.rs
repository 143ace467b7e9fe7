//! What several policies want together, region by region.

use crate::policies::Policies;
use crate::policy::{Policy, PolicyRow, Prefix, Regions};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What several policies want together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Union {
    /// How many copies each region shall have; a region that wants none is not in it.
    pub(super) copies: BTreeMap<String, u32>,
    /// Where copies may be stored.
    pub(super) allowed: BTreeSet<String>,
}

impl Union {
    /// Adds what one more wants of the regions that there are.
    pub(super) fn add(&mut self, all_regions: &[String], regions: &Regions, copies: u32) {
        for region in all_regions {
            if regions.allow(region) {
                self.allowed.insert(region.clone());
            }
            if regions.want(region) {
                let most = self.copies.entry(region.clone()).or_default();
                *most = copies.max(*most);
            }
        }
    }

    /// What all those want together that may hold for a repository: of each prefix with settings, what holds directly
    /// below it, and what holds where no prefix has any.
    pub(super) fn of_all(policies: &Policies, all_regions: &[String]) -> Self {
        let rows: HashMap<&str, &PolicyRow> = policies.iter().map(|(prefix, row)| (prefix.as_str(), row)).collect();
        let mut union = Self::default();
        for prefix in policies.iter().map(|(prefix, _)| prefix).chain([&Prefix::default()]) {
            let text = prefix.as_str();
            let ends = text.match_indices('/').map(|(end, _)| end).chain([text.len()]);
            let covering = [""].into_iter().chain(ends.map(|end| &text[..end]));
            let Policy { mut regions, mut copies, .. } = Policy::default();
            for row in covering.filter_map(|above| rows.get(above)) {
                regions = row.regions.clone().unwrap_or(regions);
                copies = row.copies.unwrap_or(copies);
            }
            union.add(all_regions, &regions, copies);
        }
        union
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::{Policies, Policy, PolicyRow, Prefix, Regions, Union};

    #[test]
    fn the_union_of_all_is_that_of_what_holds_below_each_prefix() {
        let only = |region: &str| Some(Regions::Only([region.to_owned()].into()));
        let never = |region: &str| Some(Regions::NeverOutside([region.to_owned()].into()));
        let all_regions = ["ap", "eu", "us"].map(str::to_owned);
        let sets = [
            vec![],
            vec![("", only("eu"), None), ("team", only("us"), Some(3))],
            vec![("", never("eu"), Some(1)), ("team", None, Some(3)), ("team/app", only("us"), None)],
            vec![("a", never("eu"), None), ("a-b", only("ap"), Some(4)), ("a/b", None, Some(1))],
            vec![("", only("eu"), None), ("team/app", None, Some(2)), ("team-app", never("us"), Some(1))],
        ];
        for set in sets {
            let mut policies = Policies::default();
            for (prefix, regions, copies) in &set {
                let row = PolicyRow { regions: regions.clone(), copies: *copies, ..PolicyRow::default() };
                policies = policies.with(&Prefix::parse(prefix).unwrap(), &row);
            }
            let mut expected = Union::default();
            for prefix in set.iter().map(|(prefix, ..)| *prefix).chain([""]) {
                let Policy { regions, copies, .. } = policies.below(&Prefix::parse(prefix).unwrap());
                expected.add(&all_regions, &regions, copies);
            }
            assert_eq!(Union::of_all(&policies, &all_regions), expected, "{set:?}");
        }
    }
}
