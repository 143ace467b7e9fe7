//! The writing calls. None is made twice under one record: whoever tries again makes another.

use super::client::Client;
use super::door::{Answer, Ask, Door, Load};
use super::memory::Known;
use crate::history::{Call, Seen};
use crate::truth::{Blob, Manifest};
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use std::sync::Arc;

impl<D: Door> Client<D> {
    /// PUT of a manifest under a tag, by this client or its twin.
    pub(super) async fn put_tag(&self, id: u32, node: usize, repo: &str, tag: &str, manifest: &Manifest) -> Seen {
        let digest = manifest.digest.to_string();
        let call = Call::PutTag { repo: repo.to_owned(), tag: tag.to_owned(), digest };
        self.put(id, node, repo, tag, manifest, call).await
    }

    /// PUT of a manifest under its digest.
    pub(super) async fn put_manifest(&self, node: usize, repo: &str, manifest: &Manifest) -> Seen {
        let digest = manifest.digest.to_string();
        let call = Call::PutManifest { repo: repo.to_owned(), digest: digest.clone() };
        self.put(self.id, node, repo, &digest, manifest, call).await
    }

    async fn put(&self, id: u32, node: usize, repo: &str, name: &str, manifest: &Manifest, call: Call) -> Seen {
        let start = self.now();
        let ask = Ask::new(node, Method::PUT, format!("/v2/{repo}/manifests/{name}"));
        let ask = ask.header(CONTENT_TYPE, manifest.media_type()).load(Load::Bytes(manifest.bytes().into()));
        let answer = self.step(ask).await;
        self.note(id, node, start, call, answer.seen.clone()).await;
        answer.seen
    }

    /// DELETE of a tag.
    pub(super) async fn delete_tag(&self, node: usize, repo: &str, tag: &str) -> Seen {
        let call = Call::DeleteTag { repo: repo.to_owned(), tag: tag.to_owned() };
        self.delete(node, repo, tag, call).await
    }

    /// DELETE of a manifest with all its tags.
    pub(super) async fn delete_manifest(&mut self, node: usize, known: &Known) -> Seen {
        let digest = known.manifest.digest.to_string();
        let call = Call::DeleteManifest { repo: known.repo.clone(), digest: digest.clone() };
        let seen = self.delete(node, &known.repo, &digest, call).await;
        // Whatever came of it: it is not there for sure any more.
        self.memory.forget(known);
        seen
    }

    async fn delete(&self, node: usize, repo: &str, name: &str, call: Call) -> Seen {
        let start = self.now();
        let answer = self.step(Ask::new(node, Method::DELETE, format!("/v2/{repo}/manifests/{name}"))).await;
        self.note(self.id, node, start, call, answer.seen.clone()).await;
        answer.seen
    }

    /// Pushes a blob as clients do: HEAD, POST, PATCH, PUT, where HEAD does not find it. A HEAD belongs to the upload that
    /// follows it; one that finds the blob is no promise and makes no record. Whether the blob is there.
    pub(super) async fn push_blob(&self, node: usize, repo: &str, blob: Blob) -> bool {
        let start = self.now();
        let head = self.step(Ask::new(node, Method::HEAD, format!("/v2/{repo}/blobs/{}", blob.digest))).await;
        if head.is(200) {
            return true;
        }
        let (answer, requests) = self.upload(node, repo, blob).await;
        let hops = vec![node; requests + 1];
        let call = Call::PutBlob { repo: repo.to_owned(), digest: blob.digest.to_string(), size: blob.size, hops };
        let done = answer.is_ok();
        self.note(self.id, node, start, call, answer.seen).await;
        done
    }

    /// POST, PATCH, PUT: the last answer, and how many requests were made.
    async fn upload(&self, node: usize, repo: &str, blob: Blob) -> (Answer, usize) {
        let begun = self.step(Ask::new(node, Method::POST, format!("/v2/{repo}/blobs/uploads/"))).await;
        let Some(session) = session(&begun) else { return (unfinished(begun), 1) };
        let all = Load::Part { blob, range: 0..blob.size, cut: None };
        let sent = self.step(Ask::new(node, Method::PATCH, session).load(all)).await;
        let Some(session) = self::session(&sent) else { return (unfinished(sent), 2) };
        (self.step(closing(node, &session, blob)).await, 3)
    }

    /// Tries to push a blob some times, each a record of its own; to another node after a failure.
    pub(super) async fn insist_on_blob(&mut self, mut node: usize, repo: &str, blob: Blob) -> bool {
        for _ in 0..TRIES {
            if self.push_blob(node, repo, blob).await {
                return true;
            }
            self.rest().await;
            node = self.other(node);
            if self.is_over() {
                break;
            }
        }
        false
    }

    /// Tries to push a manifest some times. Each try has a manifest of its own, so that of none it is asked whether it was
    /// this try or the last one that took effect. Gives the one that was acknowledged.
    pub(super) async fn insist_on_tag(
        &mut self,
        mut node: usize,
        (repo, tag): (&str, &str),
        make: impl Fn(&mut Self) -> Arc<Manifest>,
    ) -> Option<Arc<Manifest>> {
        for _ in 0..TRIES {
            let manifest = make(self);
            let seen = self.put_tag(self.id, node, repo, tag, &manifest).await;
            match seen.status {
                Some(201) => {
                    self.memory.keep(repo, &manifest);
                    self.read_back(node, (repo, tag), &manifest).await;
                    return Some(manifest);
                }
                // What it names is gone: it stays so.
                Some(400..500) => return None,
                _ => {}
            }
            self.rest().await;
            node = self.other(node);
            if self.is_over() {
                break;
            }
        }
        None
    }

    /// Reads at another node what was just pushed, some of the time: by its tag, or by its digest.
    pub(super) async fn read_back(&mut self, node: usize, (repo, tag): (&str, &str), manifest: &Manifest) {
        if self.chance(self.shared.plan.mix.read_back) {
            let node = self.other(node);
            if self.chance(50) {
                self.get_tag(node, repo, tag).await;
            } else {
                self.get_manifest(node, repo, manifest.digest).await;
            }
        }
    }
}

/// How often a client tries before it gives a push up.
const TRIES: usize = 3;

/// Where an upload goes on, when the answer says that it does.
pub(super) fn session(answer: &Answer) -> Option<String> {
    if answer.is(202) && answer.seen.whole { answer.location.clone() } else { None }
}

/// The answer to a step that was the last one of an upload without closing it: a success of that step is none of the upload.
pub(super) fn unfinished(mut answer: Answer) -> Answer {
    if answer.seen.status.is_some_and(|status| status < 400) {
        let error = format!("given up after {:?}", answer.seen.status);
        answer.seen = Seen { error: Some(error), ..Seen::default() };
    }
    answer
}

/// The PUT that closes an upload.
pub(super) fn closing(node: usize, session: &str, blob: Blob) -> Ask {
    let separator = if session.contains('?') { '&' } else { '?' };
    let ask = Ask::new(node, Method::PUT, format!("{session}{separator}digest={}", blob.digest));
    ask.header(CONTENT_LENGTH, "0")
}
