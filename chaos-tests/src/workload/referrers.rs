//! Attaches artifacts to images, and asks for those that are attached.

use super::client::Client;
use super::door::Door;
use super::memory::Known;
use crate::truth::Parts;

pub(super) async fn turn<D: Door>(client: &mut Client<D>) {
    let node = client.node();
    let attach = client.chance(client.shared.plan.mix.attached);
    let image = |manifest: &crate::truth::Manifest| !matches!(manifest.parts, Parts::Artifact { .. });
    let Some(known) = client.memory.any(&mut client.dice, image) else {
        let (repo, tag) = (client.repo(), client.tag());
        client.get_tag(node, &repo, &tag).await;
        return;
    };
    if attach && !self::attach(client, node, &known).await {
        return;
    }
    let node = if attach { client.other(node) } else { node };
    client.referrers(node, &known.repo, known.manifest.digest).await;
}

/// A note and its manifest, under its digest. Whether it is acknowledged.
async fn attach<D: Door>(client: &mut Client<D>, node: usize, known: &Known) -> bool {
    let note = client.fresh_config();
    if !client.insist_on_blob(node, &known.repo, note).await {
        return false;
    }
    let (name, subject) = (client.push_name(), known.manifest.child());
    let artifact = client.shared.truth.manifest(name, Parts::Artifact { subject, note });
    let done = client.put_manifest(node, &known.repo, &artifact).await.status == Some(201);
    if done {
        client.memory.keep(&known.repo, &artifact);
    }
    done
}
