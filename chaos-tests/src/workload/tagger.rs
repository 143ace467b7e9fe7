//! Points tags to fresh manifests over layers that are there already; sometimes two clients at once point the same tag to
//! different ones.

use super::client::Client;
use super::door::Door;
use super::memory::Known;
use super::pusher;
use crate::truth::{Manifest, Parts};
use std::sync::Arc;

pub(super) async fn turn<D: Door>(client: &mut Client<D>) {
    let (tag, node) = (client.tag(), client.node());
    let race = client.chance(client.shared.plan.mix.races);
    let Some(known) = client.memory.any(&mut client.dice, is_tagged) else {
        // Nothing is known yet.
        return pusher::turn(client).await;
    };
    if race {
        return self::race(client, node, &known, &tag).await;
    }
    let done = client.insist_on_tag(node, (&known.repo, &tag), |client| again(client, &known)).await;
    if done.is_none() {
        client.memory.forget(&known);
    }
}

/// This client and its twin put different manifests under one tag, at different nodes and at the same time.
async fn race<D: Door>(client: &mut Client<D>, node: usize, known: &Known, tag: &str) {
    let other = client.other(node);
    let (ours, theirs) = (again(client, known), again(client, known));
    let here: &Client<D> = client;
    let (one, two) = futures::join!(
        here.put_tag(here.id, node, &known.repo, tag, &ours),
        here.put_tag(here.twin(), other, &known.repo, tag, &theirs),
    );
    for (seen, manifest) in [(&one, &ours), (&two, &theirs)] {
        if seen.status == Some(201) {
            client.memory.keep(&known.repo, manifest);
        }
    }
    if one.status == Some(201) && two.status == Some(201) {
        client.read_back(node, (&known.repo, tag), &ours).await;
    } else {
        client.memory.forget(known);
    }
}

/// What tags point to. The notes of artifacts are attached rather than tagged.
fn is_tagged(manifest: &Manifest) -> bool {
    !matches!(manifest.parts, Parts::Artifact { .. })
}

/// The same parts in a manifest of its own.
fn again<D: Door>(client: &mut Client<D>, known: &Known) -> Arc<Manifest> {
    let name = client.push_name();
    client.shared.truth.manifest(name, known.manifest.parts.clone())
}
