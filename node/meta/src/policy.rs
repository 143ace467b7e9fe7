//! What operators want per repository prefix: where copies lie, how many, what a push waits for, how fresh tags are.
//!
//! Settings are inherited: each field comes from the longest prefix that covers the repository and sets it, and at last
//! from [`Policy::default`]. A policy is desired state: placement is computed from it anew whenever it changes.

use crate::row::AckPolicy;
use portolan_oci::{Invalid, RepoName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How many stores of a region hold each blob, where the region has as many and no policy says otherwise.
pub const COPIES_PER_REGION: u32 = 2;

/// Whole path components of a repository name: `team/prod` covers `team/prod` and `team/prod/app`, not `team/production`.
/// The empty one covers everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(String);

impl Prefix {
    /// The prefix of that text; a `/` at its end is forgiven, but alone it is no way to say everything.
    ///
    /// # Errors
    /// When it is neither empty nor the beginning of a repository name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = if text.len() > 1 { text.strip_suffix('/').unwrap_or(text) } else { text };
        if text.is_empty() {
            return Ok(Self::default());
        }
        let name: RepoName = text.parse()?;
        Ok(Self(name.as_str().to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a repository lies below it.
    #[must_use]
    pub fn covers(&self, name: &RepoName) -> bool {
        self.begins(name.as_str())
    }

    /// Whether another prefix is this one or lies below it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        self.begins(&other.0)
    }

    fn begins(&self, text: &str) -> bool {
        match text.strip_prefix(self.0.as_str()) {
            Some(rest) => self.0.is_empty() || rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Prefix {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.0
    }
}

/// Where copies lie. Bytes are streamed to every region, whatever this says; manifests are everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Regions {
    /// In every region.
    #[default]
    All,
    /// In these. What a pull brings elsewhere is kept for a while.
    Only(BTreeSet<String>),
    /// In these, and no byte is stored anywhere else.
    NeverOutside(BTreeSet<String>),
}

impl Regions {
    /// Whether copies are wanted in a region.
    #[must_use]
    pub fn want(&self, region: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(regions) | Self::NeverOutside(regions) => regions.contains(region),
        }
    }

    /// Whether a copy may be stored in a region.
    #[must_use]
    pub fn allow(&self, region: &str) -> bool {
        match self {
            Self::All | Self::Only(_) => true,
            Self::NeverOutside(regions) => regions.contains(region),
        }
    }

    /// The regions that are named.
    #[must_use]
    pub fn named(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::All => None,
            Self::Only(regions) | Self::NeverOutside(regions) => Some(regions),
        }
    }
}

/// How fresh the answer to a tag read or a list is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TagReads {
    /// Confirmed by the leader after the question came.
    #[default]
    Linearizable,
    /// Confirmed at most so long before.
    Bounded {
        /// In milliseconds.
        ms: u64,
    },
}

/// What a tag read gets while there is no leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartitionContract {
    /// The last known answer, marked with `Warning` and `Age`.
    #[default]
    ServeStale,
    /// 503.
    Fail,
}

/// The settings of one prefix; what is `None` is inherited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyRow {
    /// Where copies lie.
    pub regions: Option<Regions>,
    /// How many stores of each such region hold each blob, where the region has as many.
    pub copies: Option<u32>,
    /// What a push waits for.
    pub ack: Option<AckPolicy>,
    /// How fresh tag reads are.
    pub tag_reads: Option<TagReads>,
    /// What they get without a leader.
    pub partition: Option<PartitionContract>,
}

impl PolicyRow {
    /// Whether everything is inherited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What holds for one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Where copies lie.
    pub regions: Regions,
    /// How many stores of each such region hold each blob, where the region has as many.
    pub copies: u32,
    /// What a push waits for; `None` is the default of [`crate::placement::ack_policy`].
    pub ack: Option<AckPolicy>,
    /// How fresh tag reads are.
    pub tag_reads: TagReads,
    /// What they get without a leader; `None` is the asked node's own setting.
    pub partition: Option<PartitionContract>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            regions: Regions::All,
            copies: COPIES_PER_REGION,
            ack: None,
            tag_reads: TagReads::Linearizable,
            partition: None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::{Prefix, Regions};
    use proptest::proptest;

    #[test]
    fn a_prefix_covers_whole_components_only() {
        let cases = [
            ("", "anything/at/all", true),
            ("team", "team", true),
            ("team", "team/app", true),
            ("team/", "team/app", true),
            ("team", "teams", false),
            ("team/prod", "team/production", false),
            ("team/prod", "team", false),
        ];
        for (prefix, name, covered) in cases {
            assert_eq!(Prefix::parse(prefix).unwrap().covers(&name.parse().unwrap()), covered, "{prefix} {name}");
        }
        for bad in ["/", "/team", "Team", "team//x", "team/*", "a b"] {
            assert!(Prefix::parse(bad).is_err() || bad == "/", "{bad}");
        }
    }

    #[test]
    fn regions_say_where_copies_are_wanted_and_where_they_are_allowed() {
        let eu = || ["eu".to_owned()].into();
        let cases = [
            (Regions::All, "us", true, true),
            (Regions::Only(eu()), "eu", true, true),
            (Regions::Only(eu()), "us", false, true),
            (Regions::NeverOutside(eu()), "eu", true, true),
            (Regions::NeverOutside(eu()), "us", false, false),
        ];
        for (regions, region, want, allow) in cases {
            assert_eq!((regions.want(region), regions.allow(region)), (want, allow), "{regions:?} {region}");
        }
    }

    proptest! {
        #[test]
        fn a_repository_always_lies_below_its_own_name(name in "[a-z]{1,5}(/[a-z]{1,5}){0,3}") {
            let prefix = Prefix::parse(&name).unwrap();
            assert!(prefix.covers(&name.parse().unwrap()));
            assert!(prefix.covers(&format!("{name}/below").parse().unwrap()));
            assert!(!prefix.covers(&format!("{name}x").parse().unwrap()));
        }
    }
}
