//! Lists tags and repositories, page by page.

use super::client::Client;
use super::door::Door;

/// How many pages a client reads at most.
const PAGES: usize = 3;

pub(super) async fn turn<D: Door>(client: &mut Client<D>) {
    let (repo, node) = (client.repo(), client.node());
    let catalog = client.chance(client.shared.plan.mix.catalogs);
    let mut last = None;
    for _ in 0..PAGES {
        let seen = if catalog { client.catalog(node, last).await } else { client.list_tags(node, &repo, last).await };
        last = seen.names.last().cloned();
        if !seen.more || last.is_none() || client.is_over() {
            break;
        }
    }
}
