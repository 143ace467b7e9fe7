//! A large upload goes on where it stood, whatever cuts it, and at whichever node.

use portolan_chaos_tests::big::{Big, Pulled};
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::{Result, wait};
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::Client;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const MIB: u64 = 1 << 20;
const SIZE_MIB: u64 = 1024;
const CHUNK: u64 = 8 * MIB;
const CUTS: usize = 10;
const REPO: &str = "large/layer";

/// A client that pushes in chunks and remembers what it sent.
struct Push {
    blob: Big,
    session: String,
    /// What the registry has acknowledged.
    offset: u64,
    /// Bytes of bodies that went out, repeated ones included.
    sent: u64,
}

impl Push {
    /// The next chunk, at one node.
    async fn chunk(&mut self, address: &str) -> Result<()> {
        let end = (self.offset + CHUNK).min(self.blob.size());
        let request = Client::new().patch(format!("http://{address}{}", self.session));
        let request = request.header("Content-Range", format!("{}-{}", self.offset, end - 1));
        let response = request.body(self.blob.bytes(self.offset..end)).send().await?;
        self.sent += end - self.offset;
        // The cut request reached the session only after the question where it stands.
        if response.status() == 416 {
            return self.resume(address).await;
        }
        if response.status() != 202 {
            return Err(format!("{} at {}: {}", response.status(), self.offset, response.text().await?).into());
        }
        self.offset = end;
        Ok(())
    }

    /// The beginning of the next chunk; the connection is cut after `bytes`, unless `before_cut` does so earlier.
    async fn cut_chunk(
        &mut self,
        address: &str,
        bytes: u64,
        before_cut: impl AsyncFnOnce() -> Result<()>,
    ) -> Result<()> {
        let end = (self.offset + CHUNK).min(self.blob.size());
        let head = format!(
            "PATCH {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nContent-Range: {}-{}\r\n\r\n",
            self.session,
            end - self.offset,
            self.offset,
            end - 1
        );
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&self.blob.bytes(self.offset..self.offset + bytes)).await?;
        stream.flush().await?;
        self.sent += bytes;
        before_cut().await
    }

    /// Asks a node where the session stands, until it says so, and goes on from there.
    async fn resume(&mut self, address: &str) -> Result<()> {
        let url = format!("http://{address}{}", self.session);
        let length = wait::until("the session's length", Duration::from_secs(60), || async {
            let response = Client::new().get(&url).send().await.map_err(|error| error.to_string())?;
            if response.status() != 204 {
                return Err(format!("{}", response.status()));
            }
            let range = response.headers().get("range").and_then(|range| range.to_str().ok()).unwrap_or_default();
            let last: u64 = range.strip_prefix("0-").and_then(|last| last.parse().ok()).ok_or("no range")?;
            Ok(if last == 0 { 0 } else { last + 1 })
        })
        .await?;
        assert!(length >= self.offset, "{} bytes were acknowledged, {length} are there", self.offset);
        self.offset = length;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_arrives_though_ten_connections_are_cut_and_its_node_is_killed() -> Result<()> {
    const SEED: u64 = 11;
    eprintln!("seed {SEED}");
    let mut dice = StdRng::seed_from_u64(SEED);
    let mut cluster = Cluster::start(Options::patient()).await?;
    let addresses: Vec<String> = cluster.nodes().iter().map(|node| node.registry.clone()).collect();
    let blob = Big::new(SEED, SIZE_MIB);
    let start = Client::new().post(format!("http://{}/v2/{REPO}/blobs/uploads/", addresses[0])).send().await?;
    let session = start.error_for_status()?.headers()["location"].to_str()?.to_owned();
    let mut push = Push { blob, session, offset: 0, sent: 0 };

    let chunks = SIZE_MIB * MIB / CHUNK;
    let mut cuts = BTreeSet::new();
    while cuts.len() < CUTS {
        cuts.insert(dice.random_range(0..chunks - 1));
    }
    let kill_at = chunks / 2;
    for number in 0.. {
        if push.offset == blob.size() {
            break;
        }
        let (here, next) = (&addresses[number as usize % 3], &addresses[(number as usize + 1) % 3]);
        let bytes = dice.random_range(1..CHUNK.min(blob.size() - push.offset));
        if number == kill_at {
            push.cut_chunk(here, bytes, async || cluster.kill(0).await).await?;
            cluster.restart(0)?;
            push.resume(&addresses[1]).await?;
        } else if cuts.contains(&number) {
            push.cut_chunk(here, bytes, async || Ok(())).await?;
            push.resume(next).await?;
        } else {
            push.chunk(here).await?;
        }
    }
    let finish = format!("http://{}{}?digest={}", addresses[2], push.session, blob.digest);
    let done = Client::new().put(finish).send().await?;
    assert_eq!(done.status(), 201, "{}", done.text().await?);

    let again = push.sent - blob.size();
    eprintln!("{} MiB were sent again for {CUTS} cuts and a kill, in chunks of {} MiB", again / MIB, CHUNK / MIB);
    assert!(again <= (CUTS as u64 + 1) * CHUNK, "{again} bytes were sent again");
    cluster.wait_ready(0).await?;
    for node in cluster.nodes() {
        assert_eq!(blob.pull(node, REPO, async |_| {}).await?, Pulled::Whole, "{}", node.name);
    }
    cluster.stop().await?;
    Ok(())
}
