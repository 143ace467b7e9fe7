//! The settings of a prefix in words, and what a command line makes of them. Pure.

use crate::cli::{RepoSetArgs, Setting};
use crate::error::UsageError;
use portolan_meta::policy::{PartitionContract, Regions};
use portolan_registry::{Ack, RepoSettings, TagReads};

/// All settings, in the order in which they are shown.
pub(super) const FIELDS: [Setting; 5] =
    [Setting::Regions, Setting::Copies, Setting::Ack, Setting::TagReads, Setting::WithoutLeader];

impl Setting {
    /// As the command line has it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Regions => "regions",
            Self::Copies => "copies",
            Self::Ack => "ack",
            Self::TagReads => "tag-reads",
            Self::WithoutLeader => "without-leader",
        }
    }
}

/// A setting in words; `None` when it is inherited.
pub(super) fn said(settings: &RepoSettings, field: Setting) -> Option<String> {
    let list = |regions: &std::collections::BTreeSet<String>| regions.iter().cloned().collect::<Vec<_>>().join(",");
    match field {
        Setting::Regions => settings.regions.as_ref().map(|regions| match regions {
            Regions::All => "all".to_owned(),
            Regions::Only(regions) => list(regions),
            Regions::NeverOutside(regions) => format!("never outside {}", list(regions)),
        }),
        Setting::Copies => settings.copies.map(|copies| copies.to_string()),
        Setting::Ack => settings.ack.map(|Ack { regions, copies }| {
            let copies = if copies == 1 { "1 copy".to_owned() } else { format!("{copies} copies") };
            if regions == 1 { copies } else { format!("{copies} in {regions} regions each") }
        }),
        Setting::TagReads => settings.tag_reads.map(|reads| match reads {
            TagReads::Linearizable => "linearizable".to_owned(),
            TagReads::BoundedMs(ms) if ms.is_multiple_of(1_000) => format!("bounded:{}s", ms / 1_000),
            TagReads::BoundedMs(ms) => format!("bounded:{ms}ms"),
        }),
        Setting::WithoutLeader => settings.partition.map(|contract| {
            match contract {
                PartitionContract::ServeStale => "serve-stale",
                PartitionContract::Fail => "fail",
            }
            .to_owned()
        }),
    }
}

/// What holds where no prefix says anything and the default depends on where one asks.
pub(super) const fn inherited(field: Setting) -> &'static str {
    match field {
        Setting::Ack => "2 copies, 1 where one node is up",
        Setting::WithoutLeader => "as the node has it",
        Setting::Regions | Setting::Copies | Setting::TagReads => "-",
    }
}

/// The settings of a prefix after a command: what it names is set or inherited, the rest stays.
///
/// # Errors
/// When the command names nothing, or contradicts itself.
pub(super) fn merged(before: &RepoSettings, args: &RepoSetArgs) -> Result<RepoSettings, UsageError> {
    let mut after = before.clone();
    for field in &args.inherit {
        match field {
            Setting::Regions => after.regions = None,
            Setting::Copies => after.copies = None,
            Setting::Ack => after.ack = None,
            Setting::TagReads => after.tag_reads = None,
            Setting::WithoutLeader => after.partition = None,
        }
    }
    let never_outside = || Regions::NeverOutside(args.never_outside.iter().cloned().collect());
    let regions = args.regions.clone().or_else(|| (!args.never_outside.is_empty()).then(never_outside));
    let ack = ack(before, args)?;
    let set = [
        (Setting::Regions, regions.is_some()),
        (Setting::Copies, args.copies.is_some()),
        (Setting::Ack, ack.is_some()),
        (Setting::TagReads, args.tag_reads.is_some()),
        (Setting::WithoutLeader, args.without_leader.is_some()),
    ];
    if let Some((field, _)) = set.iter().find(|(field, set)| *set && args.inherit.contains(field)) {
        return Err(UsageError::SetAndInherited(field.name()));
    }
    if args.inherit.is_empty() && !set.iter().any(|(_, set)| *set) {
        return Err(UsageError::NothingToSet);
    }
    after.regions = regions.or(after.regions);
    after.copies = args.copies.or(after.copies);
    after.ack = ack.or(after.ack);
    after.tag_reads = args.tag_reads.or(after.tag_reads);
    after.partition = args.without_leader.or(after.partition);
    Ok(after)
}

/// One half of an ack keeps the other half that is set here already.
fn ack(before: &RepoSettings, args: &RepoSetArgs) -> Result<Option<Ack>, UsageError> {
    match (args.ack_regions, args.ack_copies, before.ack) {
        (None, None, _) => Ok(None),
        (Some(regions), Some(copies), _) => Ok(Some(Ack { regions, copies })),
        (Some(regions), None, Some(before)) => Ok(Some(Ack { regions, ..before })),
        (None, Some(copies), Some(before)) => Ok(Some(Ack { copies, ..before })),
        (Some(_), None, None) | (None, Some(_), None) => Err(UsageError::HalfAnAck),
    }
}
