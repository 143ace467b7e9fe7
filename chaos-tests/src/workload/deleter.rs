//! Deletes tags, and manifests by digest with all their tags.

use super::client::Client;
use super::door::Door;

pub(super) async fn turn<D: Door>(client: &mut Client<D>) {
    let (repo, tag, node) = (client.repo(), client.tag(), client.node());
    let manifest = client.chance(client.shared.plan.mix.manifests);
    match client.memory.any(&mut client.dice, |_| true) {
        Some(known) if manifest => {
            client.delete_manifest(node, &known).await;
        }
        _ => {
            client.delete_tag(node, &repo, &tag).await;
        }
    }
}
