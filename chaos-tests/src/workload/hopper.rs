//! Uploads a blob in chunks, each to any node, as through a load balancer. Some connections are cut in the middle of a
//! chunk; the upload then goes on where some node says that it stands.

use super::client::Client;
use super::door::{Answer, Ask, Door, Load};
use super::writes::{closing, session, unfinished};
use crate::history::Call;
use crate::truth::{Blob, Parts};
use rand::Rng;
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE};
use std::ops::Range;

/// How many chunks a blob has at most, and how many failures an upload bears.
const CHUNKS: u64 = 6;
const FAILURES: usize = 6;

pub(super) async fn turn<D: Door>(client: &mut Client<D>) {
    let (repo, tag) = (client.repo(), client.tag());
    let blob = client.fresh_layer();
    let start = client.now();
    let mut upload = Upload { blob, hops: Vec::new(), session: None, offset: 0 };
    let answer = upload.run(client, &repo).await;
    let node = upload.hops[0];
    let call =
        Call::PutBlob { repo: repo.clone(), digest: blob.digest.to_string(), size: blob.size, hops: upload.hops };
    let done = answer.is(201) && answer.seen.whole;
    client.note(client.id, node, start, call, answer.seen).await;
    // Half of them are left to the collector of garbage.
    if done && client.chance(50) {
        let config = client.fresh_config();
        let node = client.node();
        if client.insist_on_blob(node, &repo, config).await {
            let make = |client: &mut Client<D>| {
                let name = client.push_name();
                client.shared.truth.manifest(name, Parts::Image { config, layers: vec![blob] })
            };
            client.insist_on_tag(node, (&repo, &tag), make).await;
        }
    }
}

struct Upload {
    blob: Blob,
    /// The nodes that were asked.
    hops: Vec<usize>,
    session: Option<String>,
    /// What is acknowledged.
    offset: u64,
}

impl Upload {
    /// The last answer: that to the closing PUT, which is asked once, or to what was tried too often.
    async fn run<D: Door>(&mut self, client: &mut Client<D>, repo: &str) -> Answer {
        let chunk = self.blob.size.div_ceil(client.dice.random_range(2..=CHUNKS));
        let mut failures = 0;
        loop {
            let node = self.hop(client);
            let Some(session) = self.session.clone() else {
                let begun = client.step(Ask::new(node, Method::POST, format!("/v2/{repo}/blobs/uploads/"))).await;
                self.session = self::session(&begun);
                failures += usize::from(self.session.is_none());
                if failures > FAILURES || client.is_over() {
                    return unfinished(begun);
                }
                if self.session.is_none() {
                    client.rest().await;
                }
                continue;
            };
            if self.offset == self.blob.size {
                return client.step(closing(node, &session, self.blob)).await;
            }
            let end = (self.offset + chunk).min(self.blob.size);
            let sent = self.send(client, node, &session, self.offset..end).await;
            if let Some(session) = self::session(&sent) {
                (self.session, self.offset) = (Some(session), end);
                continue;
            }
            failures += 1;
            // A cut of our own, or a failure: the session's owner knows how far it came.
            client.rest().await;
            let status = self.status(client, &session).await;
            // The owner forgot it, or time is up.
            if failures > FAILURES || client.is_over() || status.is(404) {
                return if status.is(404) { status } else { unfinished(sent) };
            }
        }
    }

    fn hop<D: Door>(&mut self, client: &mut Client<D>) -> usize {
        let node = match self.hops.last() {
            Some(last) => client.other(*last),
            None => client.node(),
        };
        self.hops.push(node);
        node
    }

    /// One chunk, or the beginning of it.
    async fn send<D: Door>(&self, client: &mut Client<D>, node: usize, session: &str, range: Range<u64>) -> Answer {
        let length = range.end - range.start;
        let cut = client.chance(client.shared.plan.mix.cuts);
        let at = client.dice.random_range(0..length);
        let ask = Ask::new(node, Method::PATCH, session.to_owned());
        let ask = ask.header(CONTENT_RANGE, format!("{}-{}", range.start, range.end - 1));
        let ask = ask.header(CONTENT_LENGTH, length.to_string());
        client.step(ask.load(Load::Part { blob: self.blob, range, cut: cut.then_some(at) })).await
    }

    /// Asks another node how far the upload came.
    async fn status<D: Door>(&mut self, client: &mut Client<D>, session: &str) -> Answer {
        let node = self.hop(client);
        let status = client.step(Ask::new(node, Method::GET, session.to_owned())).await;
        if status.is(204) {
            // `0-0` stands for nothing, and for one byte, which is then sent again in vain: chunks are longer.
            let last = status.range.as_deref().and_then(|range| range.strip_prefix("0-")?.parse::<u64>().ok());
            let length = last.map_or(self.offset, |last| if last == 0 { 0 } else { last + 1 });
            // More than there is would be wrong, which the closing PUT brings to light.
            self.offset = length.min(self.blob.size);
            if let Some(location) = &status.location {
                self.session = Some(location.clone());
            }
        }
        status
    }
}
