//! Tags, repositories and referrers, page by page in lexical order.

use crate::clock::Stale;
use crate::error::RegistryError;
use crate::fresh::Confirmed;
use crate::push::length;
use crate::registry::Registry;
use portolan_consensus::StateView;
use portolan_meta::limits::MANIFEST_FACT_BYTES;
use portolan_meta::query;
use portolan_meta::row::ReferrerRow;
use portolan_meta::view::View;
use portolan_oci::manifest;
use portolan_oci::{Digest, RepoName, Tag};
use std::collections::BTreeMap;

/// A page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    /// Its entries, in lexical order.
    pub entries: Vec<T>,
    /// Whether there are more after the last of them.
    pub more: bool,
    /// Whether no leader confirmed the list.
    pub stale: Option<Stale>,
}

/// A manifest that names another as its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its artifact type.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// Where an entry of a list of referrers was found.
enum Found {
    /// It was pushed with a subject.
    Row(ReferrerRow),
    /// A client listed it under the fallback tag.
    Listed(Referrer),
}

/// How much of a digest's hex part stands in a tag of the fallback scheme, so that any algorithm's fits.
const FALLBACK_HEX: usize = 64;

impl Registry {
    /// Tags of a repository after `last`: at most `n`, by default and at most `limits.page_entries`.
    ///
    /// # Errors
    /// `RepoUnknown`, `NotConfirmed`.
    pub async fn tags(
        &self,
        repo: &RepoName,
        n: Option<usize>,
        last: Option<&Tag>,
    ) -> Result<Listing<Tag>, RegistryError> {
        let limit = self.page(n);
        let look = |view: &StateView| Ok(view.read(|view| query::tags(view, repo, last, limit + 1))?);
        let (entries, stale) = self.find(repo, look, |_| RegistryError::RepoUnknown(repo.clone())).await?;
        Ok(cut(entries, limit, stale))
    }

    /// Repositories after `last`: at most `n`, by default and at most `limits.page_entries`.
    ///
    /// # Errors
    /// `NotConfirmed`.
    pub async fn catalog(&self, n: Option<usize>, last: Option<&RepoName>) -> Result<Listing<RepoName>, RegistryError> {
        let confirmed: Confirmed = self.confirmed(None).await?;
        let limit = self.page(n);
        let entries = confirmed.view.read(|view| query::catalog(view, last, limit + 1))?;
        Ok(cut(entries, limit, confirmed.stale))
    }

    /// Manifests whose subject is `subject`, in the order of their digests, those of the fallback tag scheme among them:
    /// at most `n`, by default and at most `limits.referrers_entries`. Never "unknown": nothing is an empty list.
    ///
    /// # Errors
    /// `NotConfirmed`.
    pub async fn referrers(
        &self,
        repo: &RepoName,
        subject: &Digest,
        artifact_type: Option<&str>,
        n: Option<usize>,
        after: Option<&Digest>,
    ) -> Result<Listing<Referrer>, RegistryError> {
        let confirmed: Confirmed = self.confirmed(Some(repo)).await?;
        let most = self.config.limits.referrers_entries.max(1);
        let limit = n.map_or(most, |n| n.min(most));
        confirmed.view.read(|view| {
            let rows = query::referrers(view, repo, subject, artifact_type, after, limit + 1)?;
            let listed = under_fallback_tag(view, repo, subject, artifact_type)?;
            let rows = rows.into_iter().map(|(digest, row)| (digest, Found::Row(row)));
            let listed = listed.into_iter().map(|referrer| (referrer.digest, Found::Listed(referrer)));
            let listed = listed.filter(|(digest, _)| after.is_none_or(|after| digest > after));
            let mut found: Vec<_> = rows.chain(listed).collect();
            found.sort_by_key(|(digest, _)| *digest);
            let mut listing = cut(found, limit, confirmed.stale);
            let (mut entries, mut room) = (Vec::new(), self.config.limits.referrers_bytes);
            for (digest, found) in listing.entries {
                let (referrer, cost) = match found {
                    Found::Row(row) => referrer(view, repo, digest, row)?,
                    Found::Listed(referrer) => {
                        let cost = length(&referrer.annotations) as u64;
                        (referrer, cost)
                    }
                };
                if cost > room && !entries.is_empty() {
                    listing.more = true;
                    break;
                }
                room = room.saturating_sub(cost);
                entries.push(referrer);
            }
            Ok(Listing { entries, more: listing.more, stale: listing.stale })
        })
    }

    fn page(&self, n: Option<usize>) -> usize {
        let most = self.config.limits.page_entries.max(1);
        n.map_or(most, |n| n.min(most))
    }
}

/// An entry of a list of referrers, and how many bytes it cost to make.
fn referrer(
    view: &dyn View,
    repo: &RepoName,
    digest: Digest,
    row: ReferrerRow,
) -> Result<(Referrer, u64), RegistryError> {
    let ReferrerRow { media_type, size, artifact_type, annotations } = row;
    let mut referrer = Referrer { digest, media_type, size, artifact_type, annotations };
    // Annotations too long for a row are only in the manifest, which is longer still.
    if !referrer.annotations.is_empty() || size <= MANIFEST_FACT_BYTES as u64 {
        let cost = length(&referrer.annotations) as u64;
        return Ok((referrer, cost));
    }
    if let Some(whole) = query::manifest(view, repo, &digest)?
        && let Ok(parsed) = manifest::parse(Some(&whole.row.media_type), &whole.bytes)
    {
        referrer.annotations = parsed.annotations;
    }
    Ok((referrer, size))
}

/// One entry more than the page was asked for, to know whether there are more. A page of nothing has no next one.
fn cut<T>(mut entries: Vec<T>, limit: usize, stale: Option<Stale>) -> Listing<T> {
    let more = limit > 0 && entries.len() > limit;
    entries.truncate(limit);
    Listing { entries, more, stale }
}

/// What clients of registries without a referrers list kept under the tag `sha256-<hex>`: an index (distribution-spec,
/// "Referrers Tag Schema"). Manifests that have a referrer row are listed already.
fn under_fallback_tag(
    view: &dyn View,
    repo: &RepoName,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<Vec<Referrer>, RegistryError> {
    let (algorithm, hex) = (subject.algorithm().name(), subject.hex());
    let Ok(tag) = format!("{algorithm}-{}", &hex[..hex.len().min(FALLBACK_HEX)]).parse::<Tag>() else {
        return Ok(Vec::new());
    };
    let Some(row) = query::tag(view, repo, &tag)? else {
        return Ok(Vec::new());
    };
    let Some(index) = query::manifest(view, repo, &row.digest)? else {
        return Ok(Vec::new());
    };
    let Ok(parsed) = manifest::parse(Some(&index.row.media_type), &index.bytes) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for descriptor in parsed.manifests {
        let known = query::manifest(view, repo, &descriptor.digest)?;
        if known.is_some_and(|manifest| manifest.row.subject == Some(*subject)) {
            continue;
        }
        if artifact_type.is_some_and(|wanted| descriptor.artifact_type.as_deref() != Some(wanted)) {
            continue;
        }
        found.push(Referrer {
            digest: descriptor.digest,
            media_type: descriptor.media_type,
            size: descriptor.size,
            artifact_type: descriptor.artifact_type,
            annotations: descriptor.annotations,
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_page_knows_whether_there_are_more() {
        for (have, limit, entries, more) in
            [(0, 0, 0, false), (1, 0, 0, false), (2, 3, 2, false), (3, 3, 3, false), (4, 3, 3, true)]
        {
            let listing = cut(vec![(); have], limit, None);
            assert_eq!((listing.entries.len(), listing.more), (entries, more), "{have} entries, limit {limit}");
        }
    }
}
