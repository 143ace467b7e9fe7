//! What lies about that nobody needs: files that nothing will ever finish, sessions of uploads that are over, and copies of
//! one blob side by side.

use super::copies::files;
use crate::cluster::{Cluster, Node};
use crate::geo::Metrics;
use crate::truth::Truth;
use crate::{Result, wait};
use futures::future::join_all;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How much of what lies about is named.
const SHOWN: usize = 5;

/// How long a node may take to answer.
const WITHIN: Duration = Duration::from_secs(5);

/// Looks at the folders of these nodes and at what they say of themselves. Where others are gone for good, copies that only
/// those can finish may wait for them.
pub(super) async fn look(
    cluster: &Cluster,
    nodes: &[usize],
    truth: &Arc<Truth>,
    patience: Duration,
) -> Result<Vec<(usize, String)>> {
    let is_whole = nodes.len() == cluster.nodes().len();
    let folders = if is_whole { &["uploads", "fetches"][..] } else { &["uploads"] };
    let swept =
        join_all(nodes.iter().map(async |at| (*at, wait_swept(&cluster.nodes()[*at], folders, truth, patience).await)));
    let late = swept.await.into_iter().filter_map(|(at, swept)| Some((at, swept.err()?.to_string())));
    Ok(late.collect())
}

/// Waits until nothing is left over at a node.
async fn wait_swept(node: &Node, folders: &[&str], truth: &Truth, patience: Duration) -> Result<()> {
    wait::until("nothing to be left over", patience, async || {
        let metrics = Metrics::of(&node.ops, WITHIN).await.map_err(|error| error.to_string())?;
        let sessions = metrics.sum("portolan_upload_sessions");
        let mut left = unfinished(node, folders).map_err(|error| error.to_string())?;
        left.extend(blobs(&node.data, truth).map_err(|error| error.to_string())?);
        if left.is_empty() && sessions == 0.0 { Ok(()) } else { Err(in_words(sessions, &left)) }
    })
    .await
}

fn in_words(sessions: f64, left: &[String]) -> String {
    let shown = left.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    let more = left.len().saturating_sub(SHOWN);
    format!("{sessions} upload sessions; {shown}{}", if more > 0 { format!(" and {more} more") } else { String::new() })
}

/// Files of uploads and of copies on their way.
fn unfinished(node: &Node, folders: &[&str]) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in folders {
        for entry in fs::read_dir(node.data.join(folder))? {
            names.push(format!("{folder}/{}", entry?.file_name().to_string_lossy()));
        }
    }
    Ok(names)
}

/// Blob files that nobody pushed, and second copies.
fn blobs(data: &Path, truth: &Truth) -> std::io::Result<Vec<String>> {
    let odd = files(data)?.into_iter().filter_map(|(digest, copies)| match (truth.get(&digest), copies) {
        (None, _) => Some(format!("a file of {digest}, which nobody pushed")),
        (Some(_), 1) => None,
        (Some(_), copies) => Some(format!("{copies} files of {digest}")),
    });
    Ok(odd.collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::blobs;
    use crate::truth::Truth;
    use std::fs;

    #[test]
    fn second_copies_and_strange_files_are_found_and_sidecars_are_not() {
        let (folder, truth) = (tempfile::tempdir().unwrap(), Truth::default());
        let digest = truth.blob(1, 100).digest.to_string();
        let (algorithm, hex) = digest.split_once(':').unwrap();
        let prefix = folder.path().join("blobs").join(algorithm).join(&hex[..2]);
        fs::create_dir_all(&prefix).unwrap();
        fs::write(prefix.join(format!("{hex}.01")), "x").unwrap();
        fs::write(prefix.join(format!("{hex}.01.sum")), "x").unwrap();
        assert_eq!(blobs(folder.path(), &truth).unwrap(), Vec::<String>::new());
        fs::write(prefix.join(format!("{hex}.02")), "x").unwrap();
        fs::write(prefix.join("00ff.03"), "x").unwrap();
        let found = blobs(folder.path(), &truth).unwrap();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("00ff, which nobody pushed") && found[1].contains("2 files of"), "{found:?}");
    }
}
