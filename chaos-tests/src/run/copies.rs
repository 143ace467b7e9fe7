//! What lies in the nodes' folders of blobs.

use crate::Result;
use crate::cluster::Cluster;
use crate::data_folder::blob_files;
use crate::truth::{Thing, Truth};
use crate::wait;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

/// How many files each blob has in a data folder, by its digest.
pub(super) fn files(data: &Path) -> std::io::Result<BTreeMap<String, usize>> {
    let mut copies: BTreeMap<String, usize> = BTreeMap::new();
    for file in blob_files(data)? {
        *copies.entry(file.digest).or_default() += 1;
    }
    Ok(copies)
}

/// Waits until every region has a copy of each blob that is wanted; what they still lack when patience is over.
pub(super) async fn missing(
    cluster: &Cluster,
    truth: &Truth,
    wanted: &BTreeSet<(String, String)>,
    patience: Duration,
) -> Result<Vec<(String, String)>> {
    let is_blob = |digest: &&String| matches!(truth.get(digest), Some(Thing::Blob(_)));
    let blobs: BTreeSet<&String> = wanted.iter().map(|(_, digest)| digest).filter(is_blob).collect();
    let last = Mutex::new(Vec::new());
    let _ = wait::until("copies in every region", patience, async || {
        let mut there: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for node in cluster.nodes() {
            let files = files(&node.data).map_err(|error| error.to_string())?;
            there.entry(&node.region).or_default().extend(files.into_keys());
        }
        let lacks = |(region, has): (&&str, &BTreeSet<String>)| -> Vec<(String, String)> {
            let lacked = blobs.iter().filter(|blob| !has.contains(**blob));
            lacked.map(|blob| ((*region).to_owned(), (*blob).clone())).collect()
        };
        let found: Vec<_> = there.iter().flat_map(lacks).collect();
        let count = found.len();
        *last.lock().expect("no holder panics") = found;
        if count == 0 { Ok(()) } else { Err(format!("{count} copies are missing")) }
    })
    .await;
    // Whatever is missing in the end is the finding.
    Ok(last.into_inner().expect("no holder panics"))
}
