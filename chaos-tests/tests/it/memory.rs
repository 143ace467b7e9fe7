//! P10: memory stays flat while a blob of 2 GiB goes in and out.

use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::{Result, wait};
use portolan_oci::{Algorithm, Hasher};
use std::fs;
use std::time::Duration;

const SIZE_MIB: u64 = 2048;
const LIMIT_MIB: u64 = 150;
const REPO: &str = "flat/memory";

/// Peak resident memory of a process, in MiB.
fn peak_mib(pid: i32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("no VmHWM")?;
    let kib: u64 = line.split_whitespace().nth(1).ok_or("no figure")?.parse()?;
    Ok(kib / 1024)
}

/// The blob's `number`th mebibyte: cheap to make, different from its neighbours.
fn mebibyte(number: u64) -> Vec<u8> {
    let mut bytes = vec![0_u8; 1 << 20];
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for word in bytes.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_flat_while_two_gibibytes_are_pushed_and_pulled() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    (0..SIZE_MIB).for_each(|number| hasher.update(&mebibyte(number)));
    let digest = hasher.finish();
    let http = reqwest::Client::new();
    let base = format!("http://{}", cluster.nodes()[0].registry);

    let start = http.post(format!("{base}/v2/{REPO}/blobs/uploads/")).send().await?.error_for_status()?;
    let session = start.headers()["location"].to_str()?.to_owned();
    let body = futures::stream::iter((0..SIZE_MIB).map(|number| Ok::<_, std::io::Error>(mebibyte(number))));
    let separator = if session.contains('?') { '&' } else { '?' };
    let finish = format!("{base}{session}{separator}digest={digest}");
    let done = http.put(finish).body(reqwest::Body::wrap_stream(body)).send().await?;
    assert_eq!(done.status(), 201, "{}", done.text().await?);

    // The far region, before or while it replicates: the bytes stream through.
    let far = format!("http://{}/v2/{REPO}/blobs/{digest}", cluster.nodes()[2].registry);
    let mut pulled = Hasher::new(Algorithm::Sha256);
    let mut answer = http.get(far).send().await?.error_for_status()?;
    while let Some(chunk) = answer.chunk().await? {
        pulled.update(&chunk);
    }
    assert_eq!(pulled.finish(), digest);

    let near = format!("{base}/v2/{REPO}/blobs/{digest}");
    let mut answer = http.get(near).send().await?.error_for_status()?;
    let mut length = 0;
    while let Some(chunk) = answer.chunk().await? {
        length += chunk.len() as u64;
    }
    assert_eq!(length, SIZE_MIB << 20);

    wait_until_everywhere(&cluster, digest.hex()).await?;
    for node in cluster.nodes() {
        let peak = peak_mib(node.pid)?;
        eprintln!("{}: peak {peak} MiB", node.name);
        assert!(peak < LIMIT_MIB, "{} peaked at {peak} MiB", node.name);
    }
    cluster.stop().await?;
    Ok(())
}

/// Every region gets a copy: a file of the blob's name in each node's folder.
async fn wait_until_everywhere(cluster: &Cluster, hex: String) -> Result<()> {
    for node in cluster.nodes() {
        let name = format!("{hex}.*");
        let folder = node.data.to_string_lossy().into_owned();
        wait::until(&format!("a copy at {}", node.name), Duration::from_secs(180), || {
            let (name, folder) = (name.clone(), folder.clone());
            async move {
                let found = portolan_chaos_tests::tool::run(
                    Duration::from_secs(10),
                    "find",
                    &[&folder, "-path", "*/blobs/*", "-name", &name, "-size", "+2097151k"],
                )
                .await
                .map_err(|error| error.to_string())?;
                if found.is_empty() { Err("no file".to_owned()) } else { Ok(()) }
            }
        })
        .await?;
    }
    Ok(())
}
