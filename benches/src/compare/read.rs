//! Reads: manifests by tag and digest, blobs of three sizes with 1, 8 and 32 readers.

use super::load::{self, Until};
use super::target::{NGINX, Target, Targets};
use super::{Comparison, Plan};
use crate::transfer::{self, Payload};
use portolan_chaos_tests::Result;
use portolan_chaos_tests::client::Registry;
use portolan_chaos_tests::image::Image;
use portolan_oci::{Algorithm, Digest, Hasher};
use reqwest::{Client, Method, StatusCode};
use std::time::Duration;

const REPO: &str = "compare/read";
const READERS: [usize; 3] = [1, 8, 32];
const MANIFEST_CLIENTS: usize = 8;

/// A manifest request.
struct Ask {
    name: &'static str,
    method: Method,
    reference: String,
}

/// Manifests: GET and HEAD, by tag and by digest, by eight clients.
///
/// # Errors
/// When a target is gone.
pub async fn manifests(comparison: &mut Comparison, targets: &Targets, plan: Plan) -> Result<()> {
    let image = Image::seeded(1, &[10_000, 10_000]);
    for target in targets.registries() {
        Registry::new(&target.address, Duration::from_secs(30)).push(REPO, "v1", &image).await?;
    }
    let digest = image.manifest.digest.to_string();
    let ask = |name, method, reference: &str| Ask { name, method, reference: reference.to_owned() };
    let asks = [
        ask("manifest GET by tag", Method::GET, "v1"),
        ask("manifest HEAD by tag", Method::HEAD, "v1"),
        ask("manifest GET by digest", Method::GET, &digest),
        ask("manifest HEAD by digest", Method::HEAD, &digest),
    ];
    let until = Until::Window(Duration::from_millis(plan.window_ms));
    for ask in &asks {
        for repetition in 0..plan.repetitions {
            for target in in_turn(targets.registries(), repetition) {
                comparison.announce(ask.name, target);
                let http = Client::new();
                let url = format!("http://{}/v2/{REPO}/manifests/{}", target.address, ask.reference);
                let expected = image.manifest.digest;
                let request =
                    |_, sent| manifest(http.clone(), ask.method.clone(), url.clone(), (sent == 0).then_some(expected));
                let sample = load::run(target, MANIFEST_CLIENTS, until, request).await?;
                comparison.add(ask.name, target, "1/s", &sample);
            }
        }
    }
    Ok(())
}

/// One manifest request; its digest is checked when `expected` says so.
async fn manifest(http: Client, method: Method, url: String, expected: Option<Digest>) -> load::Moved {
    let head = method == Method::HEAD;
    let accept = format!("{}, {}", portolan_chaos_tests::image::MANIFEST, portolan_chaos_tests::image::INDEX);
    let answer = http.request(method, url).header("accept", accept).send().await?;
    if answer.status() != StatusCode::OK {
        return Err(format!("{}", answer.status()).into());
    }
    let bytes = answer.bytes().await?;
    match expected {
        Some(expected) if !head && Digest::sha256_of(&bytes) != expected => Err("wrong bytes".into()),
        _ => Ok(bytes.len() as u64),
    }
}

/// Blobs: 4 KiB, 10 MiB and the largest, with 1, 8 and 32 readers.
///
/// # Errors
/// When a target is gone.
pub async fn blobs(comparison: &mut Comparison, targets: &Targets, plan: Plan) -> Result<()> {
    let sizes = [("4 KiB", 4 << 10), ("10 MiB", 10 << 20), ("the largest", plan.largest_mib << 20)];
    for (seed, (label, size)) in sizes.into_iter().enumerate() {
        let payload = Payload::of_bytes(seed as u64, size);
        for target in &targets.all {
            if target.name == NGINX {
                targets.nginx.put(&blob_path(&payload), payload.chunks())?;
            } else {
                transfer::push(&target.address, REPO, &payload).await?;
            }
        }
        for readers in READERS {
            let scenario = format!("blob GET, {label}, {readers} readers");
            for repetition in 0..plan.repetitions {
                for target in in_turn(&targets.all, repetition) {
                    comparison.announce(&scenario, target);
                    let http = Client::new();
                    let url = format!("http://{}{}", target.address, blob_path(&payload));
                    let expected = payload.digest();
                    // The first answer of the first reader is hashed; hashing all would measure the client.
                    let request = |reader, sent| {
                        let check = (reader == 0 && sent == 0 && repetition == 0).then_some(expected);
                        blob(http.clone(), url.clone(), size, check)
                    };
                    let until = Until::Window(Duration::from_millis(plan.window_ms));
                    let sample = load::run(target, readers, until, request).await?;
                    comparison.add(&scenario, target, "MiB/s", &sample);
                }
            }
        }
    }
    Ok(())
}

fn blob_path(payload: &Payload) -> String {
    format!("/v2/{REPO}/blobs/{}", payload.digest())
}

async fn blob(http: Client, url: String, size: u64, expected: Option<Digest>) -> load::Moved {
    let mut answer = http.get(url).send().await?.error_for_status()?;
    let mut hasher = expected.map(|_| Hasher::new(Algorithm::Sha256));
    let mut length = 0;
    while let Some(chunk) = answer.chunk().await? {
        length += chunk.len() as u64;
        if let Some(hasher) = &mut hasher {
            hasher.update(&chunk);
        }
    }
    if length != size || hasher.map(Hasher::finish) != expected {
        return Err(format!("wrong bytes: {length} of {size}").into());
    }
    Ok(length)
}

/// The targets, beginning with another one each repetition.
pub fn in_turn(targets: &[Target], repetition: usize) -> impl Iterator<Item = &Target> {
    targets.iter().cycle().skip(repetition % targets.len()).take(targets.len())
}
