//! Reads parts of blobs, and the rest of what broke off, as clients that resume a download do.

use super::client::Client;
use super::door::Door;

pub(super) async fn turn<D: Door>(client: &mut Client<D>) {
    let node = client.node();
    let known = client.memory.any(&mut client.dice, |manifest| !manifest.blobs().is_empty());
    let Some(known) = known else {
        let (repo, tag) = (client.repo(), client.tag());
        client.get_tag(node, &repo, &tag).await;
        return;
    };
    let blobs = known.manifest.blobs();
    let last = blobs.len() as u64;
    let blob = blobs[client.part(last).start as usize];
    let part = client.part(blob.size);
    let rest = part.end..blob.size;
    let seen = client.get_blob(node, &known.repo, blob, Some(part)).await;
    if seen.status == Some(404) {
        client.memory.forget(&known);
    } else if !rest.is_empty() && client.chance(50) {
        // Wherever the rest is asked for, it belongs to the same bytes.
        let node = client.other(node);
        client.get_blob(node, &known.repo, blob, Some(rest)).await;
    }
}
