//! Pushes whole images as clients do: every blob that the registry lacks, then the manifest under a tag.

use super::client::Client;
use super::door::Door;
use crate::truth::{Blob, Manifest, Parts};
use rand::Rng;
use std::sync::Arc;

/// How many known layers an image is built on at most, and how many of its own it has.
const BASES: usize = 5;
const OWN: usize = 2;

pub(super) async fn turn<D: Door>(client: &mut Client<D>) {
    let (repo, tag, node) = (client.repo(), client.tag(), client.node());
    if client.chance(client.shared.plan.mix.indexes) {
        push_index(client, node, &repo, &tag).await;
    } else {
        push_image(client, node, &repo, &tag).await;
    }
}

async fn push_image<D: Door>(client: &mut Client<D>, node: usize, repo: &str, tag: &str) {
    let (config, layers) = draw(client);
    if push_blobs(client, node, repo, config, &layers).await {
        client.insist_on_tag(node, (repo, tag), |client| make(client, config, layers.clone())).await;
    }
}

/// Two images by their digests, and the index by its tag.
async fn push_index<D: Door>(client: &mut Client<D>, node: usize, repo: &str, tag: &str) {
    let mut manifests = Vec::new();
    for _ in 0..2 {
        let (config, layers) = draw(client);
        if !push_blobs(client, node, repo, config, &layers).await {
            return;
        }
        let image = make(client, config, layers);
        if client.put_manifest(node, repo, &image).await.status != Some(201) {
            return;
        }
        client.memory.keep(repo, &image);
        manifests.push(image.child());
    }
    let index = |client: &mut Client<D>| {
        let name = client.push_name();
        client.shared.truth.manifest(name, Parts::Index { manifests: manifests.clone() })
    };
    client.insist_on_tag(node, (repo, tag), index).await;
}

async fn push_blobs<D: Door>(client: &mut Client<D>, node: usize, repo: &str, config: Blob, layers: &[Blob]) -> bool {
    for blob in layers.iter().chain([&config]) {
        if client.is_over() || !client.insist_on_blob(node, repo, *blob).await {
            return false;
        }
    }
    true
}

/// A fresh configuration, popular layers, and fresh ones above.
fn draw<D: Door>(client: &mut Client<D>) -> (Blob, Vec<Blob>) {
    let mut layers: Vec<Blob> = Vec::new();
    for _ in 0..client.dice.random_range(1..=BASES) {
        let base = client.base_layer();
        if !layers.contains(&base) {
            layers.push(base);
        }
    }
    for _ in 0..client.dice.random_range(1..=OWN) {
        layers.push(client.fresh_layer());
    }
    (client.fresh_config(), layers)
}

fn make<D: Door>(client: &mut Client<D>, config: Blob, layers: Vec<Blob>) -> Arc<Manifest> {
    let name = client.push_name();
    client.shared.truth.manifest(name, Parts::Image { config, layers })
}
