//! Everything that was acknowledged and not deleted, pulled at every node, and compared byte by byte.

use crate::Result;
use crate::cluster::Cluster;
use crate::invariants::FinalPull;
use crate::truth::{Thing, Truth};
use futures::{StreamExt, stream};
use reqwest::Client;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How many pulls are under way at once.
const AT_ONCE: usize = 16;

/// How long one pull may take.
const WITHIN: Duration = Duration::from_secs(60);

/// How long a node that is busy, or does not answer, is asked again.
const PATIENCE: Duration = Duration::from_secs(20);

/// After so many pulls that were asked again in vain, no other is: the reason is not that a node is busy.
const MOST_IN_VAIN: usize = 16;

/// How long to wait before it is asked again.
const PAUSE: Duration = Duration::from_millis(250);

/// Pulls what is wanted, given by repository and digest, at these nodes.
pub(super) async fn pull(
    cluster: &Cluster,
    nodes: &[usize],
    truth: &Arc<Truth>,
    wanted: &BTreeSet<(String, String)>,
) -> Result<Vec<FinalPull>> {
    let http = Client::builder().timeout(WITHIN).no_proxy().build()?;
    let addresses: Vec<String> = cluster.nodes().iter().map(|node| node.registry.clone()).collect();
    let all: Vec<_> = wanted.iter().flat_map(|wanted| nodes.iter().map(move |node| (wanted.clone(), *node))).collect();
    let in_vain = AtomicUsize::new(0);
    let pulls = stream::iter(all.into_iter().map(|((repo, digest), node)| {
        let (http, truth, address) = (http.clone(), Arc::clone(truth), addresses[node].clone());
        let in_vain = &in_vain;
        async move {
            let asked = Instant::now();
            loop {
                let (status, right) = one(&http, &address, &truth, &repo, &digest).await;
                let is_final = matches!(status, Some(200 | 404)) || in_vain.load(Ordering::Relaxed) >= MOST_IN_VAIN;
                if !is_final && asked.elapsed() > PATIENCE {
                    in_vain.fetch_add(1, Ordering::Relaxed);
                }
                if is_final || asked.elapsed() > PATIENCE {
                    return FinalPull { node, repo, digest, status, right };
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }));
    Ok(pulls.buffer_unordered(AT_ONCE).collect().await)
}

/// The status, and whether the bytes were whole and right.
async fn one(http: &Client, address: &str, truth: &Truth, repo: &str, digest: &str) -> (Option<u16>, bool) {
    let Some(thing) = truth.get(digest) else { return (None, false) };
    let kind = if matches!(thing, Thing::Manifest(_)) { "manifests" } else { "blobs" };
    let Ok(mut answer) = http.get(format!("http://{address}/v2/{repo}/{kind}/{digest}")).send().await else {
        return (None, false);
    };
    let status = answer.status().as_u16();
    if status != 200 {
        return (Some(status), false);
    }
    let right = match thing {
        Thing::Manifest(manifest) => answer.bytes().await.is_ok_and(|bytes| bytes == manifest.bytes()),
        Thing::Blob(blob) => {
            let (mut comparison, mut length) = (blob.compare(0), 0);
            loop {
                match answer.chunk().await {
                    Ok(Some(piece)) => {
                        comparison.piece(&piece);
                        length += piece.len() as u64;
                    }
                    Ok(None) => break,
                    // Cut: no whole answer came.
                    Err(_) => return (None, false),
                }
            }
            comparison.differs().is_none() && length == blob.size
        }
    };
    (Some(status), right)
}
