//! Where a tag pointed, move by move, also of a tag that was removed.

use crate::clock::Stale;
use crate::error::RegistryError;
use crate::registry::Registry;
use portolan_consensus::StateView;
use portolan_meta::limits;
use portolan_meta::query;
use portolan_meta::row::TagHistoryRow;
use portolan_oci::{Digest, RepoName, Tag};
use serde::{Deserialize, Serialize};
use std::time::{Duration, UNIX_EPOCH};

/// The last moment that a date with a year of four digits can say, in milliseconds since the Unix epoch.
const LAST_MOMENT_MS: u64 = 253_402_300_799_999;

/// What is remembered of a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagHistory {
    /// The repository.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// Its moves, newest first: the first says where it points now. Never empty.
    pub moves: Vec<TagMove>,
    /// Whether it had older moves, which are forgotten.
    pub truncated: bool,
}

/// One move of a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagMove {
    /// Counts the tag's moves from 1, without gaps.
    pub revision: u64,
    /// The manifest that it pointed at from then on; `null` when it was removed, by its name or with its manifest.
    pub digest: Option<Digest>,
    /// Who moved it.
    pub by: String,
    /// When, by the state's clock: a date and time as RFC 3339 has it, in UTC, to the millisecond.
    pub at: String,
}

/// A tag's history, and whether it was confirmed.
#[derive(Clone, Debug)]
pub struct TagHistoryAnswer {
    /// The history.
    pub report: TagHistory,
    /// Whether no leader confirmed it.
    pub stale: Option<Stale>,
}

impl Registry {
    /// The moves of a tag as far as they are remembered, as fresh as the repository's policy demands of its tags.
    ///
    /// # Errors
    /// `RepoUnknown`, `TagNeverWas`, `NotConfirmed`.
    pub async fn tag_history(&self, repo: &RepoName, tag: &Tag) -> Result<TagHistoryAnswer, RegistryError> {
        let most = usize::try_from(limits::TAG_HISTORY).unwrap_or(usize::MAX);
        let look = |view: &StateView| {
            let moves = view.read(|view| query::tag_history(view, repo, tag, most))?;
            Ok((!moves.is_empty()).then_some(moves))
        };
        let (moves, stale) = self.find(repo, look, |view| unknown(view, repo, tag)).await?;
        Ok(TagHistoryAnswer { report: report(repo, tag, moves), stale })
    }
}

/// Whether it is the repository or the tag that never was.
fn unknown(view: &StateView, repo: &RepoName, tag: &Tag) -> RegistryError {
    match view.read(|view| query::repo(view, repo)) {
        Ok(Some(row)) if row.ever_held => RegistryError::TagNeverWas { repo: repo.clone(), tag: tag.clone() },
        Ok(_) => RegistryError::RepoUnknown(repo.clone()),
        Err(error) => RegistryError::View(error),
    }
}

fn report(repo: &RepoName, tag: &Tag, moves: Vec<(u64, TagHistoryRow)>) -> TagHistory {
    let truncated = moves.last().is_some_and(|(oldest, _)| *oldest > 1);
    let moves = moves.into_iter().map(|(revision, row)| TagMove {
        revision,
        digest: row.digest,
        by: row.by,
        at: date(row.at_ms),
    });
    TagHistory { repository: repo.to_string(), tag: tag.to_string(), moves: moves.collect(), truncated }
}

/// A moment of the state's clock as people and programs read it.
fn date(at_ms: u64) -> String {
    // What lies beyond has no such date, and is nobody's real clock.
    let moment = UNIX_EPOCH + Duration::from_millis(at_ms.min(LAST_MOMENT_MS));
    humantime::format_rfc3339_millis(moment).to_string()
}

#[cfg(test)]
mod tests {
    use super::{date, report};
    use portolan_meta::row::TagHistoryRow;
    use portolan_oci::{Digest, RepoName, Tag};

    #[test]
    fn a_moment_is_a_date_however_wrong_the_clock_was() {
        for (at_ms, want) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_763_724_031_999, "2025-11-21T11:20:31.999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(date(at_ms), want);
        }
    }

    #[test]
    fn a_history_that_does_not_begin_with_the_first_move_is_truncated() {
        let (Ok(repo), Ok(tag)) = ("a".parse::<RepoName>(), "t".parse::<Tag>()) else { panic!("names") };
        let row = |digest| TagHistoryRow { digest, by: "somebody".to_owned(), at_ms: 0 };
        let moves = |revisions: &[u64]| {
            revisions.iter().map(|revision| (*revision, row(Some(Digest::sha256_of(b"x"))))).collect()
        };
        for (revisions, want) in [(&[1][..], false), (&[3, 2, 1], false), (&[3, 2], true), (&[101, 100], true)] {
            let told = report(&repo, &tag, moves(revisions));
            assert_eq!(told.truncated, want, "{revisions:?}");
            assert_eq!(told.moves.iter().map(|one| one.revision).collect::<Vec<_>>(), revisions);
        }
        assert_eq!(report(&repo, &tag, vec![(1, row(None))]).moves[0].digest, None);
    }
}
