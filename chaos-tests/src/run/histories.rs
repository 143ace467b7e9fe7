//! What the registry tells of each tag's past.

use crate::Result;
use crate::cluster::Cluster;
use crate::history::{Call, History};
use crate::{client::Registry, wait};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How many are asked for at once.
const AT_ONCE: usize = 8;

/// How long a node may take.
const WITHIN: Duration = Duration::from_secs(5);

/// How long nodes that are busy, or do not answer, are asked again.
const PATIENCE: Duration = Duration::from_secs(30);

/// A tag of a repository.
type Name = (String, String);

/// The moves of every tag that was ever written to, oldest first: the digest, or nothing for a removal. A tag of which the
/// registry knows nothing has no moves. Nodes are asked in turn, and the next one for one that does not answer: they must not
/// differ.
///
/// # Errors
/// When no node tells.
pub(super) async fn read(
    cluster: &Cluster,
    nodes: &[usize],
    history: &History,
) -> Result<BTreeMap<Name, Vec<Option<String>>>> {
    let written = history.0.iter().filter_map(|record| match &record.call {
        Call::PutTag { repo, tag, .. } | Call::DeleteTag { repo, tag } => Some((repo.clone(), tag.clone())),
        _ => None,
    });
    let tags: BTreeSet<Name> = written.collect();
    let registries: Vec<Registry> =
        nodes.iter().map(|node| Registry::new(&cluster.nodes()[*node].registry, WITHIN)).collect();
    let asks = tags.into_iter().enumerate().map(|(at, name)| {
        let registries = &registries;
        async move {
            let moves = one(registries, at, &name).await?;
            Ok::<_, crate::Error>((name, moves))
        }
    });
    stream::iter(asks).buffer_unordered(AT_ONCE).try_collect().await
}

async fn one(registries: &[Registry], first: usize, (repo, tag): &Name) -> Result<Vec<Option<String>>> {
    let path = format!("/api/v1/history?image={repo}:{tag}");
    let tries = AtomicUsize::new(first);
    let told: Value = wait::until(&path, PATIENCE, async || {
        let registry = &registries[tries.fetch_add(1, Ordering::Relaxed) % registries.len()];
        let answer = registry.get(&path).await.map_err(|error| error.to_string())?;
        match answer.status().as_u16() {
            200 => answer.json().await.map_err(|error| error.to_string()),
            404 => Ok(json!({"moves": []})),
            other => Err(format!("{other}: {}", answer.text().await.unwrap_or_default())),
        }
    })
    .await?;
    let moves = told["moves"].as_array().ok_or("a history without moves")?;
    let digests = moves.iter().rev().map(|one| one["digest"].as_str().map(str::to_owned));
    Ok(digests.collect())
}
