//! Reads: manifests by tag and digest, blobs of three sizes with 1, 8 and 32 readers.

use super::bench::{Bench, Sheet, flush_disks};
use super::http::{Check, Connection};
use super::load::{self, Client, Kind, Meter, Until};
use super::outcome::Better;
use super::plan::size_name;
use super::target::{NGINX, Target, Targets, in_turn};
use crate::transfer::{self, Payload};
use hyper::Method;
use portolan_chaos_tests::Result;
use portolan_chaos_tests::client::Registry;
use portolan_chaos_tests::image::Image;
use std::time::Duration;

const REPO: &str = "compare/read";
const READERS: [usize; 3] = [1, 8, 32];
const MANIFEST_CLIENTS: usize = 8;

/// Asks for the same path again and again.
struct Reader {
    connection: Connection,
    method: Method,
    path: String,
    check: Check,
}

impl Client for Reader {
    async fn send(&mut self, number: usize, meter: &Meter) -> Result<Kind> {
        // Each reader hashes its first answer; hashing all of them would measure the client.
        let digest = self.check.digest.filter(|_| number == 0);
        let check = Check { digest, ..self.check };
        self.connection.read(self.method.clone(), &self.path, check, meter).await?;
        Ok(Kind::Read)
    }
}

fn readers(count: usize, target: &Target, method: &Method, path: &str, check: Check) -> Vec<Reader> {
    let reader = |_| Reader {
        connection: Connection::new(&target.address),
        method: method.clone(),
        path: path.to_owned(),
        check,
    };
    (0..count).map(reader).collect()
}

fn window(bench: &Bench) -> (Until, Duration) {
    let (warm_up, window) = (Duration::from_millis(bench.plan.warm_up_ms), Duration::from_millis(bench.plan.window_ms));
    (Until::Window { warm_up, window }, warm_up + window)
}

/// Manifests: GET and HEAD, by tag and by digest, by eight clients.
///
/// # Errors
/// When a target is gone.
pub async fn manifests(bench: &mut Bench, targets: &Targets) -> Result<()> {
    let note = format!(
        "{MANIFEST_CLIENTS} clients, one connection each, closed loop. A read by tag from Portolan is linearizable: \
         the leader confirms with a majority that it still leads before the tag is read. docker-registry reads a file."
    );
    let sheet = bench.chart("manifests", "Manifest reads", ("requests/s", Better::Higher), note);
    let image = Image::seeded(1, &[10_000, 10_000]);
    for target in targets.registries() {
        Registry::new(&target.address, Duration::from_secs(30)).push(REPO, "v1", &image).await?;
        target.settle().await?;
    }
    let digest = image.manifest.digest.to_string();
    let asks = [
        ("GET by tag", Method::GET, "v1"),
        ("HEAD by tag", Method::HEAD, "v1"),
        ("GET by digest", Method::GET, digest.as_str()),
        ("HEAD by digest", Method::HEAD, digest.as_str()),
    ];
    let check = Check { length: Some(image.manifest.bytes.len() as u64), digest: Some(image.manifest.digest) };
    for (case, method, reference) in asks {
        for repetition in 0..bench.plan.repetitions {
            for target in in_turn(&targets.registries(), repetition) {
                let (until, wanted) = window(bench);
                if bench.begin(&format!("manifest {case}"), target, wanted) {
                    let path = format!("/v2/{REPO}/manifests/{reference}");
                    let clients = readers(MANIFEST_CLIENTS, target, &method, &path, check);
                    let sample = load::run(target, clients, until).await?;
                    bench.add(sheet, case, target.name, sample.requests_per_second(), &sample);
                }
            }
        }
    }
    Ok(())
}

/// Blobs: 4 KiB, 10 MiB and the largest, with 1, 8 and 32 readers.
///
/// # Errors
/// When a target is gone.
pub async fn blobs(bench: &mut Bench, targets: &Targets) -> Result<()> {
    let largest = bench.plan.largest_mib << 20;
    for (seed, size) in [4 << 10, 10 << 20, largest].into_iter().enumerate() {
        let label = if size < 1 << 20 { format!("{} KiB", size >> 10) } else { size_name(size >> 20) };
        bench.prepare(&format!("a blob of {label}"));
        let payload = Payload::of_bytes(seed as u64, size);
        let path = format!("/v2/{REPO}/blobs/{}", payload.digest());
        for target in targets.all() {
            if target.name == NGINX {
                targets.put_static(&path, payload.chunks())?;
            } else {
                transfer::push(&target.address, REPO, &payload).await?;
                target.settle().await?;
            }
            transfer::verify(&target.address, REPO, &payload).await?;
        }
        flush_disks().await?;
        // Hashing inside a loop of large blobs would measure the client; before and after it costs nothing.
        let sheet = measure_blob(bench, targets, &label, &payload, &path).await?;
        for target in targets.all() {
            if let Err(error) = transfer::verify(&target.address, REPO, &payload).await {
                bench.add_error(sheet, "1 reader", target.name, &error);
            }
        }
    }
    Ok(())
}

async fn measure_blob(
    bench: &mut Bench,
    targets: &Targets,
    label: &str,
    payload: &Payload,
    path: &str,
) -> Result<Sheet> {
    let small = payload.size() < 1 << 20;
    let note = "Closed loop, one connection for each reader; the bytes are in the page cache. nginx sends plain files \
                with sendfile: it is the ceiling of this machine. Portolan and docker-registry read a file into memory \
                and send it from there.";
    let unit = if small { "requests/s" } else { "MiB/s" };
    let sheet = bench.chart("blobs", format!("Blob GET, {label}"), (unit, Better::Higher), note);
    for count in READERS {
        let case = if count == 1 { "1 reader".to_owned() } else { format!("{count} readers") };
        for repetition in 0..bench.plan.repetitions {
            for target in in_turn(&targets.all(), repetition) {
                let (until, wanted) = window(bench);
                if bench.begin(&format!("blob GET, {label}, {case}"), target, wanted) {
                    let check = Check { length: Some(payload.size()), digest: small.then_some(payload.digest()) };
                    let clients = readers(count, target, &Method::GET, path, check);
                    let sample = load::run(target, clients, until).await?;
                    let value = if small { sample.requests_per_second() } else { sample.mib_per_second() };
                    bench.add(sheet, &case, target.name, value, &sample);
                }
            }
        }
    }
    Ok(sheet)
}
