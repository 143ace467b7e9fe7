//! Manifests put together from nasty pieces.

use super::dice::pick;
use super::grammar::Known;
use crate::support::{IMAGE, INDEX, descriptor};
use rand::{Rng, rngs::StdRng};
use serde_json::{Value, json};

const KINDS: [&str; 9] = [
    IMAGE,
    IMAGE,
    INDEX,
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.artifact.manifest.v1+json",
    "application/vnd.example.own+json",
    "application/json",
    "nonsense",
];
const REFERENCES: [&str; 5] =
    ["t", "v2", "_", "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", "-"];
const QUERIES: [&str; 4] = ["", "", "?tag=x&tag=y", "?tag="];

/// A push: target, Content-Type, body.
pub(super) fn push(random: &mut StdRng, known: &Known) -> (String, Option<&'static str>, Vec<u8>) {
    let kind = pick(random, &KINDS);
    let target = format!("/v2/a/manifests/{}{}", pick(random, &REFERENCES), pick(random, &QUERIES));
    let mut manifest = base(random, known);
    for _ in 0..random.random_range(0..3) {
        let (field, value) = mutation(random, known);
        manifest[field] = value;
    }
    if random.random_range(0..3) > 0 {
        manifest["mediaType"] = json!(kind);
    }
    let mut body = manifest.to_string().into_bytes();
    if random.random_range(0..12) == 0 {
        let at = random.random_range(0..body.len());
        body[at] = random.random();
    }
    (target, (random.random_range(0..5) > 0).then_some(kind), body)
}

fn base(random: &mut StdRng, known: &Known) -> Value {
    let blob = json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": known.blob, "size": 3});
    let child = json!({"mediaType": IMAGE, "digest": known.image, "size": 3});
    match random.random_range(0..4) {
        0 => json!({"schemaVersion": 2, "manifests": [child]}),
        1 => json!({"schemaVersion": 2}),
        _ => json!({"schemaVersion": 2, "config": descriptor("a/b", b"{}"), "layers": [blob]}),
    }
}

fn mutation(random: &mut StdRng, known: &Known) -> (&'static str, Value) {
    let blob = |media_type: &str, size: u64| json!({"mediaType": media_type, "digest": known.blob, "size": size});
    let unknown = |number: u32| descriptor("a/b", &number.to_be_bytes());
    let many = |count: u32| (0..count).map(unknown).collect::<Vec<_>>();
    let mutations = [
        ("layers", json!(many(2000))),
        ("layers", json!([blob("", 0), blob("\u{0}", 0)])),
        ("layers", json!([blob("a/b", u64::MAX)])),
        ("layers", json!([blob("a/b", 3), blob("a/b", 4)])),
        ("layers", json!([[], {}, null])),
        ("layers", Value::Null),
        ("manifests", json!(many(3))),
        ("manifests", json!([blob(IMAGE, 3)])),
        ("manifests", json!({"mediaType": IMAGE, "digest": known.image, "size": 1, "annotations": {"k": 1}})),
        ("config", json!({"mediaType": "x".repeat(100_000), "digest": known.blob, "size": 3})),
        ("config", json!({"mediaType": "a/b", "digest": known.image, "size": 3})),
        ("config", Value::Null),
        ("subject", json!({"mediaType": IMAGE, "digest": known.image, "size": u64::MAX})),
        ("subject", unknown(7)),
        ("subject", json!({"digest": "sha512:00"})),
        ("annotations", json!({"long": "y".repeat(40_000), "\u{0}": "\u{10ffff}"})),
        (
            "annotations",
            json!((0..3000).map(|number| (number.to_string(), json!("v"))).collect::<serde_json::Map<_, _>>()),
        ),
        ("annotations", json!({"k": null})),
        ("artifactType", json!("a/".to_owned() + &"b".repeat(127))),
        ("artifactType", json!("not a type")),
        ("artifactType", json!("")),
        ("mediaType", json!("a/b\r\nX: y")),
        ("schemaVersion", json!(1)),
        ("schemaVersion", json!(-2)),
        ("schemaVersion", json!("2")),
        ("fsLayers", json!([])),
        ("padding", json!("z".repeat(200_000))),
        ("deep", (0..200).fold(json!(1), |inner, _| json!([inner]))),
    ];
    let at = random.random_range(0..mutations.len());
    mutations[at].clone()
}
