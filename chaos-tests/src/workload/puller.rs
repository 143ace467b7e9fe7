//! Pulls images by tag, or by a digest that was seen before, with some of their layers: the others are in the client's
//! cache, as in production.

use super::client::Client;
use super::door::Door;
use crate::truth::{Manifest, Parts};
use rand::Rng;
use std::sync::Arc;

pub(super) async fn turn<D: Door>(client: &mut Client<D>) {
    let node = client.node();
    let by_digest = client.chance(client.shared.plan.mix.by_digest);
    let known = client.memory.any(&mut client.dice, |_| true);
    let (repo, found) = match known.filter(|_| by_digest) {
        Some(known) => {
            let found = client.get_manifest(node, &known.repo, known.manifest.digest).await;
            if found.is_none() {
                client.memory.forget(&known);
            }
            (known.repo, found)
        }
        None => {
            let (repo, tag) = (client.repo(), client.tag());
            let found = client.get_tag(node, &repo, &tag).await;
            (repo, found)
        }
    };
    let Some(manifest) = found else { return };
    let Some(image) = platform(client, node, &repo, manifest).await else { return };
    let (blobs, most) = (image.blobs(), client.shared.plan.mix.blobs);
    for _ in 0..client.dice.random_range(1..=most.min(blobs.len()).max(1)) {
        let blob = blobs[client.dice.random_range(0..blobs.len())];
        client.get_blob(node, &repo, blob, None).await;
        if client.is_over() {
            break;
        }
    }
}

/// Of an index, the image for one platform.
async fn platform<D: Door>(
    client: &mut Client<D>,
    node: usize,
    repo: &str,
    manifest: Arc<Manifest>,
) -> Option<Arc<Manifest>> {
    let Parts::Index { manifests } = &manifest.parts else { return Some(manifest) };
    let child = manifests[client.dice.random_range(0..manifests.len())].digest;
    client.get_manifest(node, repo, child).await
}
