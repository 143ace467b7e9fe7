//! A registry in memory that answers clients in their tests: as far as clients tell, like the real one.

use super::door::{Answer, Ask, Door, Load};
use crate::history::Seen;
use portolan_oci::Digest;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

/// All its state, for all nodes alike.
pub(super) struct StandIn {
    state: Mutex<State>,
    dice: Mutex<StdRng>,
    /// How many requests of a hundred get no answer; half of these take effect.
    lost: u32,
}

#[derive(Default)]
struct State {
    blobs: BTreeSet<(String, String)>,
    manifests: BTreeMap<(String, String), Vec<u8>>,
    tags: BTreeMap<(String, String), String>,
    sessions: Vec<u64>,
}

impl StandIn {
    pub(super) fn new(seed: u64, lost: u32) -> Self {
        Self { state: Mutex::default(), dice: Mutex::new(StdRng::seed_from_u64(seed)), lost }
    }

    fn throw(&self, sides: u32) -> u32 {
        self.dice.lock().unwrap().random_range(0..sides)
    }
}

impl Door for StandIn {
    async fn ask(&self, ask: Ask) -> Answer {
        // Clients overtake each other.
        for _ in 0..self.throw(4) {
            tokio::task::yield_now().await;
        }
        let throw = self.throw(200);
        let lost = || Answer { seen: Seen { error: Some("lost".to_owned()), ..Seen::default() }, ..Answer::default() };
        if throw < self.lost {
            return lost();
        }
        let answer = self.state.lock().unwrap().answer(&ask);
        let cut = matches!(ask.load, Load::Part { cut: Some(_), .. });
        if cut || throw < self.lost * 2 { lost() } else { answer }
    }
}

fn say(status: u16) -> Answer {
    Answer { seen: Seen { status: Some(status), whole: true, ..Seen::default() }, ..Answer::default() }
}

fn list(key: &str, entries: impl IntoIterator<Item = Value>) -> Answer {
    let body = json!({key: entries.into_iter().collect::<Vec<_>>()}).to_string().into_bytes();
    Answer { body, ..say(200) }
}

impl State {
    fn answer(&mut self, ask: &Ask) -> Answer {
        let path = ask.path.split('?').next().unwrap();
        let parts: Vec<&str> = path.trim_start_matches("/v2/").split('/').collect();
        let [first, second, rest @ ..] = &parts[..] else {
            let repos: BTreeSet<_> = self.manifests.keys().map(|(repo, _)| repo.clone()).collect();
            return list("repositories", repos.into_iter().map(Value::from));
        };
        let repo = format!("{first}/{second}");
        match (ask.method.as_str(), rest) {
            (_, ["tags", "list"]) => {
                let tags = self.tags.keys().filter(|(of, _)| *of == repo);
                list("tags", tags.map(|(_, tag)| Value::from(tag.clone())))
            }
            (_, ["referrers", subject]) => {
                let refers = |body: &[u8]| {
                    let manifest: Value = serde_json::from_slice(body).unwrap();
                    manifest["subject"]["digest"] == *subject
                };
                let found = self.manifests.iter().filter(|((of, _), body)| *of == repo && refers(body));
                list("manifests", found.map(|((_, digest), _)| json!({"digest": digest})))
            }
            (_, ["manifests", name]) => self.manifest(ask, repo, name),
            ("POST", ["blobs", "uploads", ..]) => {
                self.sessions.push(0);
                let location = format!("/v2/{repo}/blobs/uploads/{}", self.sessions.len() - 1);
                Answer { location: Some(location), ..say(202) }
            }
            (_, ["blobs", "uploads", session]) => self.upload(ask, &repo, session.parse().unwrap()),
            (_, ["blobs", digest]) => {
                let mut answer = say(if self.blobs.contains(&(repo, (*digest).to_owned())) { 200 } else { 404 });
                answer.seen.right = ask.against.is_some().then_some(answer.is(200));
                answer
            }
            other => panic!("{other:?}"),
        }
    }

    fn manifest(&mut self, ask: &Ask, repo: String, name: &str) -> Answer {
        let digest = self.tags.get(&(repo.clone(), name.to_owned())).cloned().unwrap_or_else(|| name.to_owned());
        let key = (repo.clone(), digest.clone());
        match (ask.method.as_str(), &ask.load) {
            ("PUT", Load::Bytes(bytes)) => {
                let digest = Digest::sha256_of(bytes).to_string();
                if !name.contains(':') {
                    self.tags.insert((repo.clone(), name.to_owned()), digest.clone());
                }
                self.manifests.insert((repo, digest), bytes.to_vec());
                say(201)
            }
            ("DELETE", _) if name.contains(':') => {
                self.tags.retain(|(of, _), tagged| *of != repo || *tagged != digest);
                say(if self.manifests.remove(&key).is_some() { 202 } else { 404 })
            }
            ("DELETE", _) => say(if self.tags.remove(&(repo, name.to_owned())).is_some() { 202 } else { 404 }),
            ("GET", _) => match self.manifests.get(&key) {
                None => say(404),
                Some(body) => {
                    let mut answer = Answer { body: body.clone(), ..say(200) };
                    answer.seen.digest = Some(digest);
                    answer
                }
            },
            other => panic!("{other:?}"),
        }
    }

    fn upload(&mut self, ask: &Ask, repo: &str, session: usize) -> Answer {
        let location = Some(ask.path.split('?').next().unwrap().to_owned());
        let offset = &mut self.sessions[session];
        match (ask.method.as_str(), &ask.load) {
            ("PATCH", Load::Part { range, cut, .. }) => {
                if range.start != *offset {
                    return say(416);
                }
                *offset = cut.map_or(range.end, |cut| range.start + cut);
                Answer { location, ..say(202) }
            }
            ("GET", _) => Answer { location, range: Some(format!("0-{}", offset.saturating_sub(1))), ..say(204) },
            ("PUT", _) => {
                let digest = ask.path.split_once("digest=").unwrap().1;
                self.blobs.insert((repo.to_owned(), digest.to_owned()));
                say(201)
            }
            other => panic!("{other:?}"),
        }
    }
}
