//! The reading calls, and what makes their answers right.

use super::client::Client;
use super::door::{Answer, Ask, Door};
use crate::history::{Call, Seen};
use crate::image::{INDEX, MANIFEST};
use crate::truth::{Blob, Manifest};
use portolan_oci::Digest;
use reqwest::Method;
use reqwest::header::{ACCEPT, RANGE};
use serde_json::Value;
use std::ops::Range;
use std::sync::Arc;

/// How many names a client asks for at a time: few, so that lists have several pages.
const PAGE: usize = 4;

impl<D: Door> Client<D> {
    /// GET of a manifest by tag. Gives it when the answer is right, and remembers it.
    pub(super) async fn get_tag(&mut self, node: usize, repo: &str, tag: &str) -> Option<Arc<Manifest>> {
        let call = Call::GetTag { repo: repo.to_owned(), tag: tag.to_owned() };
        self.manifest(node, repo, tag, call).await
    }

    /// GET of a manifest by digest.
    pub(super) async fn get_manifest(&mut self, node: usize, repo: &str, digest: Digest) -> Option<Arc<Manifest>> {
        let digest = digest.to_string();
        let call = Call::GetManifest { repo: repo.to_owned(), digest: digest.clone() };
        self.manifest(node, repo, &digest, call).await
    }

    async fn manifest(&mut self, node: usize, repo: &str, reference: &str, call: Call) -> Option<Arc<Manifest>> {
        let start = self.now();
        let ask = Ask::new(node, Method::GET, format!("/v2/{repo}/manifests/{reference}"));
        let mut answer = self.step(ask.header(ACCEPT, format!("{MANIFEST}, {INDEX}"))).await;
        let found = self.judge_manifest(&call, &mut answer);
        self.note(self.id, node, start, call, answer.seen).await;
        if let Some(manifest) = &found {
            self.memory.keep(repo, manifest);
        }
        found
    }

    /// Compares a manifest with what was made under the digest that was asked for, or else that the answer names.
    fn judge_manifest(&self, call: &Call, answer: &mut Answer) -> Option<Arc<Manifest>> {
        let Answer { seen, body, .. } = answer;
        if seen.status != Some(200) || !seen.whole {
            return None;
        }
        let asked = call.digest().map(str::to_owned);
        let digest = asked.or(seen.digest.clone()).unwrap_or_else(|| Digest::sha256_of(body).to_string());
        let made = self.shared.truth.get_manifest(&digest);
        let right = made.as_ref().is_some_and(|made| made.bytes() == *body);
        let named = seen.digest.as_deref() == Some(&digest);
        seen.right = Some(right && named);
        if made.is_none() {
            seen.error = Some(format!("{digest} was never made"));
        } else if !right {
            seen.error = Some(format!("the bytes are {}", Digest::sha256_of(body)));
        } else if !named {
            seen.error = Some(format!("{:?} is named instead of {digest}", seen.digest));
        }
        made.filter(|_| right && named)
    }

    /// GET of a blob or of a part of it, every byte of which is compared.
    pub(super) async fn get_blob(&self, node: usize, repo: &str, blob: Blob, range: Option<Range<u64>>) -> Seen {
        let start = self.now();
        let mut ask = Ask::new(node, Method::GET, format!("/v2/{repo}/blobs/{}", blob.digest));
        if let Some(range) = &range {
            ask = ask.header(RANGE, format!("bytes={}-{}", range.start, range.end - 1));
        }
        let answer = self.step(ask.against(blob, range.clone())).await;
        let call = Call::GetBlob { repo: repo.to_owned(), digest: blob.digest.to_string(), range };
        self.note(self.id, node, start, call, answer.seen.clone()).await;
        answer.seen
    }

    /// One page of a repository's tags.
    pub(super) async fn list_tags(&self, node: usize, repo: &str, last: Option<String>) -> Seen {
        let path = format!("/v2/{repo}/tags/list?n={PAGE}{}", after(last.as_deref()));
        self.list(node, path, "tags", Call::ListTags { repo: repo.to_owned(), last }).await
    }

    /// One page of the repositories.
    pub(super) async fn catalog(&self, node: usize, last: Option<String>) -> Seen {
        let path = format!("/v2/_catalog?n={PAGE}{}", after(last.as_deref()));
        self.list(node, path, "repositories", Call::Catalog { last }).await
    }

    /// What refers to a manifest.
    pub(super) async fn referrers(&self, node: usize, repo: &str, subject: Digest) -> Seen {
        let path = format!("/v2/{repo}/referrers/{subject}");
        self.list(node, path, "manifests", Call::Referrers { repo: repo.to_owned(), subject: subject.to_string() })
            .await
    }

    async fn list(&self, node: usize, path: String, key: &str, call: Call) -> Seen {
        let start = self.now();
        let mut answer = self.step(Ask::new(node, Method::GET, path)).await;
        if answer.is(200) && answer.seen.whole {
            let names = names(&answer.body, key);
            answer.seen.right = Some(names.is_some());
            answer.seen.names = names.unwrap_or_default();
        }
        self.note(self.id, node, start, call, answer.seen.clone()).await;
        answer.seen
    }
}

fn after(last: Option<&str>) -> String {
    // Slashes, the only characters of names beside letters, digits and a few marks, may stand in a query.
    last.map(|last| format!("&last={last}")).unwrap_or_default()
}

/// The names of a list, or the digests of one of manifests; `None` when it is no such list.
fn names(body: &[u8], key: &str) -> Option<Vec<String>> {
    let list: Value = serde_json::from_slice(body).ok()?;
    let entries = list[key].as_array()?;
    entries.iter().map(|entry| Some(entry.as_str().or(entry["digest"].as_str())?.to_owned())).collect()
}
