//! Any sequence of upload calls, at any nodes, with connections dropped in the middle, ends in the exact blob or in no
//! blob, and leaves nothing behind once the session's lifetime is over.

use crate::support::{Client, Server, header, random, refused, until};
use portolan_oci::Digest;
use portolan_registry::Config;
use portolan_registry::config::Uploads;
use portolan_registry::testing::{self, Setup};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const NODES: usize = 3;
const SEQUENCES: u64 = 40;
const LARGEST: usize = 200_000;
/// Longer than a sequence takes by far, even on a busy machine; short enough to be waited for.
const LIFETIME_MS: u64 = 8_000;

/// What a client knows of its session. Every byte it ever sends belongs at one place of `content`, so that what the
/// session holds is always a beginning of it.
struct Model {
    content: Vec<u8>,
    session: String,
    /// How many bytes the session has.
    length: usize,
    /// How long the blob is that it became, if it became one.
    stored: Option<usize>,
    /// Whether it was neither finished nor cancelled.
    open: bool,
}

impl Model {
    fn prefix_digest(&self, length: usize) -> String {
        Digest::sha256_of(&self.content[..length]).to_string()
    }

    /// The length of the next chunk: mostly small, at times all there is.
    fn piece(&self, dice: &mut StdRng) -> usize {
        let left = self.content.len() - self.length;
        if left == 0 { 0 } else { dice.random_range(1..=left.min(60_000)) }
    }
}

/// Sends the beginning of a chunk and goes away.
async fn drop_in_the_middle(server: &Server, node: usize, session: &str, announced: usize, sent: &[u8]) {
    let mut stream = TcpStream::connect(server.ports(node).public).await.unwrap();
    let head = format!("PATCH {session} HTTP/1.1\r\nHost: x\r\nContent-Length: {announced}\r\n\r\n");
    // The node may end the connection first.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(sent).await;
    let _ = stream.flush().await;
}

/// How many bytes a session has; `0-0` stands for none, since no chunk here has one byte alone at the beginning.
async fn length_of(client: &Client, session: &str) -> usize {
    let response = client.get(session).await;
    assert_eq!(response.status(), 204);
    match header(&response, "Range").strip_prefix("0-").and_then(|last| last.parse::<usize>().ok()) {
        Some(0) => 0,
        Some(last) => last + 1,
        None => panic!("a range that begins elsewhere"),
    }
}

async fn step(server: &Server, model: &mut Model, dice: &mut StdRng) {
    let node = dice.random_range(1..=NODES);
    let client = server.client(node);
    let (session, length) = (model.session.clone(), model.length);
    let piece = model.piece(dice);
    let bytes = model.content[length..length + piece].to_vec();
    match dice.random_range(0..100) {
        0..35 if piece > 1 => {
            let range = dice.random_bool(0.5).then(|| format!("{length}-{}", length + piece - 1));
            let response = client.patch(&session, range.as_deref(), bytes).await;
            assert_eq!(response.status(), 202);
            model.length += piece;
            assert_eq!(header(&response, "Range"), format!("0-{}", model.length - 1));
        }
        35..50 => {
            let first = length + dice.random_range(1..500);
            let wrong = client.patch(&session, Some(&format!("{first}-{}", first + 9)), vec![9; 10]).await;
            refused(wrong, 416, "RANGE_INVALID").await;
        }
        50..65 if piece > 2 => {
            let sent = dice.random_range(2..piece);
            drop_in_the_middle(server, node, &session, piece, &bytes[..sent]).await;
            let now = length_of(&server.client(dice.random_range(1..=NODES)), &session).await;
            assert!((length..=length + sent).contains(&now), "{length} bytes and {sent} sent, {now} there");
            model.length = now;
        }
        65..75 => assert_eq!(length_of(&client, &session).await, length),
        75..82 => {
            let wrong = Digest::sha256_of(b"something else").to_string();
            refused(client.finish(&session, &wrong).await, 400, "DIGEST_INVALID").await;
        }
        82..87 => {
            assert_eq!(client.send("DELETE", &session).await.status(), 204);
            model.open = false;
        }
        87..100 => {
            let whole = length + piece;
            let digest = model.prefix_digest(whole);
            let put = client.ask("PUT", &format!("{session}?digest={digest}")).body(bytes);
            assert_eq!(put.send().await.unwrap().status(), 201);
            (model.stored, model.open) = (Some(whole), false);
        }
        _ => {}
    }
}

async fn sequence(server: &Server, seed: u64) -> Model {
    let mut dice = StdRng::seed_from_u64(seed);
    let first = server.client(dice.random_range(1..=NODES));
    let session = first.begin("any").await;
    let content = random(seed, LARGEST);
    let mut model = Model { content, session, length: 0, stored: None, open: true };
    for _ in 0..dice.random_range(1..15) {
        step(server, &mut model, &mut dice).await;
        if !model.open {
            break;
        }
    }
    model
}

/// The names below a node's folder of unfinished uploads.
fn leftovers(server: &Server) -> Vec<String> {
    let mut names = Vec::new();
    for node in 1..=NODES as u64 {
        let folder = server.cluster.folder(node).join("uploads");
        for entry in std::fs::read_dir(folder).unwrap() {
            names.push(format!("{node}/{}", entry.unwrap().file_name().to_string_lossy()));
        }
    }
    names
}

#[tokio::test]
async fn any_sequence_of_upload_calls_ends_in_the_exact_blob_or_in_nothing() {
    let seed: u64 = std::env::var("PORTOLAN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20);
    eprintln!("PORTOLAN_SEED={seed}");
    let uploads = Uploads { session_ttl_ms: LIFETIME_MS, sweep_interval_ms: 100, ..Uploads::default() };
    let registry = Config { uploads, ..testing::config() };
    let server = Server::with(Setup { nodes: NODES as u64, registry, ..Setup::default() }).await;
    let mut ended = Vec::new();
    for sequence_seed in 0..SEQUENCES {
        ended.push(sequence(&server, seed * 1_000 + sequence_seed).await);
    }
    let stored = ended.iter().filter(|end| end.stored.is_some()).count();
    let open = ended.iter().filter(|end| end.open).count();
    eprintln!("{SEQUENCES} sequences: {stored} stored, {open} left open, the others cancelled");
    assert!(stored > 3 && open > 3 && stored + open < ended.len(), "a seed that tries every end");

    until(async || match leftovers(&server) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("left behind: {left:?}")),
    })
    .await;
    for (index, model) in ended.iter().enumerate() {
        let client = server.client(1 + index % NODES);
        refused(client.get(&model.session).await, 404, "BLOB_UPLOAD_UNKNOWN").await;
        match model.stored {
            Some(length) => {
                let target = format!("/v2/any/blobs/{}", model.prefix_digest(length));
                let got = client.get(&target).await.bytes().await.unwrap();
                assert!(got == model.content[..length], "sequence {index}: the blob is not what was sent");
            }
            None if model.length > 0 => {
                let target = format!("/v2/any/blobs/{}", model.prefix_digest(model.length));
                refused(client.get(&target).await, 404, "BLOB_UNKNOWN").await;
            }
            None => {}
        }
    }
    server.stop().await;
}
