//! A storm of malformed requests: whatever a client sends, the fault is never the registry's, and it goes on serving.

mod dice;
mod grammar;
mod manifests;

use crate::raw::{exchange, shown};
use crate::support::{Client, IMAGE, Server, manifest, random};
use futures::{StreamExt, stream};
use grammar::{Grammar, Known};
use portolan_oci::Digest;
use portolan_registry::Config;
use portolan_registry::config::{Limits, Uploads};
use portolan_registry::testing::{self, Setup};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Requests over HTTP/1, over HTTP/2, and pushes of manifests.
const REQUESTS: usize = 2500;
const STREAMS: usize = 400;
const MANIFESTS: usize = 400;
/// Deeds to the same manifests, tag and blob.
const RACES: usize = 1500;
/// Upload sessions to be named, of which the storm ends some.
const SESSIONS: usize = 64;
/// How many are under way at once.
const AT_ONCE: usize = 24;

/// A server, and what its storm may name.
struct Weather {
    server: Server,
    /// Where raw bytes go, many of which are no whole request: it waits for nobody. A client that wants an answer has
    /// the server's own port.
    port: SocketAddr,
    known: Known,
    seed: u64,
}

impl Weather {
    async fn brew() -> Self {
        let seed = std::env::var("PORTOLAN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_260_101);
        eprintln!("seed {seed} (replay with PORTOLAN_SEED={seed})");
        let registry = Config {
            uploads: Uploads { idle_timeout_ms: 1_000, ..Uploads::default() },
            limits: Limits { blob_bytes: 100_000, ..Limits::default() },
            ..testing::config()
        };
        let mut server = Server::with(Setup { registry, ..Setup::default() }).await;
        let port = server.hasty_port(1, Duration::from_millis(400)).await;
        let client = server.client(1);
        let (image, _) = client.push_image("a", "t", 1).await;
        let blob = client.push_blob("a", b"abc").await;
        let mut sessions = Vec::new();
        for _ in 0..SESSIONS {
            sessions.push(client.begin("a").await);
        }
        let known = Known { image: image.to_string(), blob: blob.to_string(), sessions };
        Self { server, port, known, seed }
    }

    fn grammar(&self) -> Grammar<'_> {
        Grammar::new(StdRng::seed_from_u64(self.seed), &self.known)
    }

    /// No request was answered with a fault, and everything that worked before still does.
    async fn calm(self) {
        let faults = self.server.cluster.registry(1).traffic().faults();
        assert_eq!(faults, 0, "answers with 5xx (the log names them)");
        let client = self.server.client(1);
        let (digest, bytes) = client.push_image("after", "storm", 99).await;
        assert_eq!(client.get("/v2/after/manifests/storm").await.bytes().await.unwrap(), bytes);
        let layer = random(99, 3000);
        let got = client.get(&format!("/v2/after/blobs/{}", Digest::sha256_of(&layer))).await;
        assert_eq!(got.bytes().await.unwrap(), layer);
        assert_eq!(client.send("DELETE", &format!("/v2/after/manifests/{digest}")).await.status(), 202);
        for path in ["/readyz", "/readyz/write"] {
            assert_eq!(self.server.ops(1, path).await.0, 200, "{path}");
        }
        self.server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_over_http1_is_answered_with_a_fault() {
    let weather = Weather::brew().await;
    let mut grammar = weather.grammar();
    let requests: Vec<Vec<u8>> = (0..REQUESTS).map(|_| grammar.request()).collect();
    let port = weather.port;
    let answers: Vec<(u16, usize)> = stream::iter(requests.iter().enumerate())
        .map(|(at, bytes)| async move { (exchange(port, bytes).await.map_or(0, |answer| answer.status), at) })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut tally = BTreeMap::<u16, usize>::new();
    for (status, at) in answers {
        assert!(status < 500, "seed {}, request {at}: {status} for {}", weather.seed, shown(&requests[at]));
        *tally.entry(status).or_default() += 1;
    }
    eprintln!("answers by status (0: none): {tally:?}");
    // A storm that is turned away at the door tests nothing.
    for status in [200, 202, 400, 404, 405, 416] {
        assert!(tally.contains_key(&status), "no {status} among {tally:?}");
    }
    weather.calm().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_over_http2_is_answered_with_a_fault() {
    let weather = Weather::brew().await;
    let mut grammar = weather.grammar();
    let connections: Vec<Vec<u8>> = (0..STREAMS).map(|_| grammar.http2()).collect();
    let port = weather.port;
    let answered = stream::iter(&connections)
        .map(|bytes| async move { converse(port, bytes).await })
        .buffer_unordered(AT_ONCE)
        .filter(|answered| std::future::ready(*answered))
        .count()
        .await;
    assert!(answered > STREAMS / 4, "only {answered} connections had an answer");
    weather.calm().await;
}

/// Sends bytes, and reads until there is an answer or the connection ends. Whether there was an answer to a request.
async fn converse(port: SocketAddr, bytes: &[u8]) -> bool {
    const HEADERS: u8 = 1;
    let talk = async {
        let mut stream = TcpStream::connect(port).await.unwrap();
        if stream.write_all(bytes).await.is_err() {
            return false;
        }
        let mut head = [0; 9];
        while stream.read_exact(&mut head).await.is_ok() {
            if head[3] == HEADERS {
                return true;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            if stream.read_exact(&mut payload).await.is_err() {
                return false;
            }
        }
        false
    };
    timeout(Duration::from_secs(30), talk).await.expect("a connection that neither answers nor ends")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_manifest_is_answered_with_a_fault() {
    let weather = Weather::brew().await;
    let client = weather.server.client(1);
    client.push_blob("a", b"{}").await;
    let mut random = StdRng::seed_from_u64(weather.seed);
    let pushes: Vec<_> = (0..MANIFESTS).map(|_| manifests::push(&mut random, &weather.known)).collect();
    let answers: Vec<(u16, usize)> = stream::iter(pushes.iter().enumerate())
        .map(|(at, (target, kind, body))| {
            let mut request = client.ask("PUT", target).body(body.clone());
            if let Some(kind) = kind {
                request = request.header("Content-Type", *kind);
            }
            async move { (request.send().await.expect("the node answers").status().as_u16(), at) }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    for (status, at) in &answers {
        let (target, kind, body) = &pushes[*at];
        assert!(*status < 500, "seed {}: {status} for {target} {kind:?} {}", weather.seed, shown(body));
    }
    for want in [201, 400, 404] {
        assert!(answers.iter().any(|(status, _)| *status == want), "no {want} among the answers");
    }
    // What was taken can be listed and read.
    for target in ["/v2/a/tags/list", &format!("/v2/a/referrers/{}", weather.known.image)] {
        assert_eq!(client.get(target).await.status(), 200, "{target}");
    }
    weather.calm().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_clients_do_to_one_thing_at_once_is_no_fault() {
    let weather = Weather::brew().await;
    let client = weather.server.client(1);
    client.push_blob("a", b"{}").await;
    // One that travels in the log, and one that goes ahead of its own put in parts.
    let manifests = [10, 300_000].map(|length| {
        let mut image = manifest(b"{}", &[]);
        image["padding"] = json!("p".repeat(length));
        image.to_string().into_bytes()
    });
    let mut random = StdRng::seed_from_u64(weather.seed);
    let deeds: Vec<(usize, usize)> =
        (0..RACES).map(|_| (random.random_range(0..DEEDS), random.random_range(0..2))).collect();
    let answers: Vec<(usize, u16)> = stream::iter(deeds)
        .map(|(deed, which)| {
            let (client, bytes) = (client.clone(), manifests[which].clone());
            async move { (deed, do_to_one(&client, deed, bytes).await) }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let tally: BTreeSet<(usize, u16)> = answers.into_iter().collect();
    eprintln!("deeds and answers: {tally:?}");
    assert!(tally.iter().all(|(_, status)| *status < 500), "seed {}: {tally:?}", weather.seed);
    for want in [(0, 201), (1, 202), (1, 404), (2, 201), (3, 202), (4, 201), (5, 202), (6, 200), (6, 404)] {
        assert!(tally.contains(&want), "seed {}: no {want:?} in {tally:?}", weather.seed);
    }
    weather.calm().await;
}

/// How many things [`do_to_one`] can do.
const DEEDS: usize = 8;

/// Does something to a manifest, a tag or a blob that others do something to as well.
async fn do_to_one(client: &Client, deed: usize, manifest: Vec<u8>) -> u16 {
    const LAYER: &[u8] = b"a layer that everybody wants";
    let (digest, layer) = (Digest::sha256_of(&manifest), Digest::sha256_of(LAYER));
    let answer = match deed {
        0 => client.put_manifest("a", &digest.to_string(), IMAGE, manifest).await,
        1 => client.send("DELETE", &format!("/v2/a/manifests/{digest}")).await,
        2 => client.put_manifest("a", "race", IMAGE, manifest).await,
        3 => client.send("DELETE", "/v2/a/manifests/race").await,
        4 => {
            let push = client.ask("POST", &format!("/v2/a/blobs/uploads/?digest={layer}"));
            push.body(LAYER).send().await.expect("the node answers")
        }
        5 => client.send("DELETE", &format!("/v2/a/blobs/{layer}")).await,
        6 => client.get(&format!("/v2/a/blobs/{layer}")).await,
        _ => client.send("POST", &format!("/v2/b/blobs/uploads/?mount={layer}&from=a")).await,
    };
    answer.status().as_u16()
}
