//! Hostile input that the fuzz targets in `node/oci/fuzz` have found, shown to the same properties again. The target of the
//! configuration is replayed beside it, in `node/src/config`.

#[path = "../../fuzz/properties/content_range.rs"]
mod content_range;
#[path = "../../fuzz/properties/corpus.rs"]
mod corpus;
#[path = "../../fuzz/properties/digest.rs"]
mod digest;
#[path = "../../fuzz/properties/json.rs"]
mod json;
#[path = "../../fuzz/properties/manifest.rs"]
mod manifest;
#[path = "../../fuzz/properties/range.rs"]
mod range;
#[path = "../../fuzz/properties/reference.rs"]
mod reference;
#[path = "../../fuzz/properties/refusal.rs"]
mod refusal;

use std::collections::BTreeSet;
use std::path::Path;

const FUZZ: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz");

/// Shows one input to a target's properties.
type Check = fn(&[u8]);

/// The targets that are replayed here.
const TARGETS: [(&str, Check); 5] = [
    ("content_range", content_range::check),
    ("digest", digest::check),
    ("manifest", manifest::check),
    ("range", range::check),
    ("reference", reference::check),
];

#[test]
fn what_fuzzing_found_holds_every_property() {
    for (target, check) in TARGETS {
        corpus::replay(Path::new(FUZZ), target, check);
    }
}

#[test]
fn every_fuzz_target_is_replayed_somewhere() {
    let folder = std::fs::read_dir(Path::new(FUZZ).join("fuzz_targets")).unwrap();
    let targets: BTreeSet<String> =
        folder.map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let replayed: BTreeSet<String> =
        TARGETS.iter().map(|(target, _)| *target).chain(["config"]).map(str::to_owned).collect();
    assert_eq!(targets, replayed);
}

#[test]
#[should_panic(expected = "has no corpus")]
fn an_empty_corpus_is_a_failure() {
    corpus::replay(Path::new(FUZZ), "none", |_| {});
}

#[test]
fn the_second_reader_reads_json_and_nothing_else() {
    use json::{Json, Unread, read};
    let text = |text: &str| Json::Text(text.to_owned());
    let number = |digits: &str| Json::Number(digits.to_owned());
    let cases = [
        (" null ", Ok(Json::Null)),
        ("-0.5e+7", Ok(number("-0.5e+7"))),
        (r#""a\u00e9\n\ud83d\ude00\ud800""#, Ok(text("aé\n😀\u{fffd}"))),
        (
            r#"{"a":[1,true],"a":{}}"#,
            Ok(Json::Object(vec![
                ("a".to_owned(), Json::List(vec![number("1"), Json::Bool(true)])),
                ("a".to_owned(), Json::Object(Vec::new())),
            ])),
        ),
        ("", Err(Unread::Malformed)),
        ("01", Err(Unread::Malformed)),
        ("1.", Err(Unread::Malformed)),
        ("[1,]", Err(Unread::Malformed)),
        ("{a:1}", Err(Unread::Malformed)),
        ("\"\n\"", Err(Unread::Malformed)),
        ("null null", Err(Unread::Malformed)),
        ("nul", Err(Unread::Malformed)),
        ("\u{a0}1", Err(Unread::Malformed)),
    ];
    for (input, want) in cases {
        assert_eq!(read(input.as_bytes()), want, "{input}");
    }
    assert_eq!(read(&b"[".repeat(1000)), Err(Unread::TooDeep));
    assert_eq!(read(b"\"\xff\""), Err(Unread::Malformed));
}
