//! All settings at one moment, and what holds for a repository.

use crate::codec::{corrupt, decode};
use crate::family::Family;
use crate::key;
use crate::limits;
use crate::policy::{Policy, PolicyRow, Prefix};
use crate::view::{View, ViewError};
use portolan_oci::RepoName;

/// Settings by prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies(Vec<(Prefix, PolicyRow)>);

impl Policies {
    /// Reads them.
    ///
    /// # Errors
    /// What the view fails with, or [`ViewError::Corrupt`].
    pub fn read(view: &dyn View) -> Result<Self, ViewError> {
        let prefix = key::policies();
        let mut found = Vec::new();
        for (key, value) in view.scan(Family::Repos, &prefix, None, limits::POLICIES)? {
            let text = std::str::from_utf8(&key[prefix.len()..]).ok().and_then(|text| Prefix::parse(text).ok());
            let name = text.ok_or_else(|| corrupt(Family::Repos, &key, "it ends in no prefix"))?;
            found.push((name, decode(Family::Repos, &key, &value)?));
        }
        Ok(Self(found))
    }

    /// Each prefix with its settings, in lexical order.
    pub fn iter(&self) -> impl Iterator<Item = (&Prefix, &PolicyRow)> {
        self.0.iter().map(|(prefix, row)| (prefix, row))
    }

    /// Whether no prefix has any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What holds for a repository.
    #[must_use]
    pub fn of(&self, name: &RepoName) -> Policy {
        self.inherit(|prefix| prefix.covers(name))
    }

    /// Puts together what some prefixes of one name say; they sort by their length.
    fn inherit(&self, counts: impl Fn(&Prefix) -> bool) -> Policy {
        let mut policy = Policy::default();
        for (_, row) in self.0.iter().filter(|(prefix, _)| counts(prefix)) {
            policy.regions = row.regions.clone().unwrap_or(policy.regions);
            policy.copies = row.copies.unwrap_or(policy.copies);
            policy.ack = row.ack.or(policy.ack);
            policy.tag_reads = row.tag_reads.unwrap_or(policy.tag_reads);
            policy.partition = row.partition.or(policy.partition);
        }
        policy
    }

    /// What holds for what lies directly below a prefix.
    #[must_use]
    pub fn below(&self, prefix: &Prefix) -> Policy {
        self.inherit(|above| above.contains(prefix))
    }

    /// The same with other settings of one prefix.
    #[must_use]
    pub fn with(&self, prefix: &Prefix, row: &PolicyRow) -> Self {
        let mut rows = self.0.clone();
        rows.retain(|(known, _)| known != prefix);
        rows.push((prefix.clone(), row.clone()));
        rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self(rows)
    }
}

/// What holds for a repository: the settings of the prefixes that cover it are read, however many others there are.
///
/// # Errors
/// What the view fails with, or [`ViewError::Corrupt`].
pub fn effective(view: &dyn View, name: &RepoName) -> Result<Policy, ViewError> {
    let text = name.as_str();
    let ends = text.match_indices('/').map(|(end, _)| end).chain([text.len()]);
    // Whole components of a name are a prefix.
    let longer = ends.filter_map(|end| Prefix::parse(&text[..end]).ok());
    Ok(of_prefixes(view, [Prefix::default()].into_iter().chain(longer).collect())?.of(name))
}

/// What holds for what no longer prefix covers.
///
/// # Errors
/// What the view fails with, or [`ViewError::Corrupt`].
pub fn for_all(view: &dyn View) -> Result<Policy, ViewError> {
    Ok(of_prefixes(view, vec![Prefix::default()])?.below(&Prefix::default()))
}

/// What some prefixes set, in lexical order.
fn of_prefixes(view: &dyn View, prefixes: Vec<Prefix>) -> Result<Policies, ViewError> {
    let keys: Vec<Vec<u8>> = prefixes.iter().map(key::policy).collect();
    let mut found = Vec::new();
    for ((prefix, key), value) in prefixes.into_iter().zip(&keys).zip(view.multi_get(Family::Repos, &keys)?) {
        if let Some(value) = value {
            found.push((prefix, decode(Family::Repos, key, &value)?));
        }
    }
    Ok(Policies(found))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::{Family, Policies, Policy, PolicyRow, Prefix, effective, for_all, key};
    use crate::codec::encode;
    use crate::memory::MemoryState;
    use crate::policy::{PartitionContract, TagReads};
    use crate::row::AckPolicy;

    #[test]
    fn each_field_comes_from_the_longest_prefix_that_sets_it() {
        let ack = AckPolicy { regions: 2, copies: 1 };
        let rows = [
            ("", PolicyRow { copies: Some(3), partition: Some(PartitionContract::Fail), ..PolicyRow::default() }),
            ("team", PolicyRow { ack: Some(ack), copies: Some(1), ..PolicyRow::default() }),
            ("team/prod", PolicyRow { tag_reads: Some(TagReads::Bounded { ms: 5 }), ..PolicyRow::default() }),
        ];
        let rows = rows.map(|(prefix, row)| (Prefix::parse(prefix).unwrap(), row));
        let policies = Policies(rows.to_vec());
        let of = |name: &str| policies.of(&name.parse().unwrap());
        let root = Policy { copies: 3, partition: Some(PartitionContract::Fail), ..Policy::default() };
        assert_eq!(of("other"), root);
        let team = Policy { copies: 1, ack: Some(ack), ..root };
        assert_eq!(of("team/test"), team);
        assert_eq!(of("team/prod/app"), Policy { tag_reads: TagReads::Bounded { ms: 5 }, ..team });
    }

    #[test]
    fn the_prefixes_of_one_name_say_what_all_settings_together_say() {
        let mut state = MemoryState::new();
        for (copies, prefix) in (1..).zip(["", "a", "a-b", "a.b/c", "a/b", "a/b/c/d", "a/bc", "b"]) {
            let row = PolicyRow { copies: Some(copies), ..PolicyRow::default() };
            state.put(Family::Repos, key::policy(&Prefix::parse(prefix).unwrap()), encode(&row));
        }
        for name in ["a", "a/b", "a/b/c", "a/b/c/d", "a/b/c/d/e", "a/bc", "a/bd", "a-b/x", "a.b", "a.b/c/d", "b/a", "c"]
        {
            let name = name.parse().unwrap();
            assert_eq!(effective(&state, &name).unwrap(), Policies::read(&state).unwrap().of(&name), "{name}");
        }
        assert_eq!(for_all(&state).unwrap(), Policy { copies: 1, ..Policy::default() });
        assert_eq!(for_all(&MemoryState::new()).unwrap(), Policy::default());
    }
}
