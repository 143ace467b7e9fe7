//! What holds for digests.

use super::refusal::check_message;
use portolan_oci::digest::Algorithm;
use portolan_oci::{Digest, ErrorCode, Hasher};

/// Any bytes: as a digest's text, as what is hashed, and as a hasher's saved state. Two texts stand on two lines.
pub(crate) fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let digests: Vec<Digest> = text.split('\n').take(2).filter_map(parsed).collect();
    if let [left, right] = digests[..] {
        assert_eq!(left.cmp(&right), left.to_string().cmp(&right.to_string()), "{left} {right}");
        assert_eq!(left == right, left.to_string() == right.to_string());
    }
    for algorithm in Algorithm::ALL {
        hashed(algorithm, input);
        restored(algorithm, input);
    }
}

fn parsed(text: &str) -> Option<Digest> {
    let parsed = text.parse::<Digest>();
    assert_eq!(parsed.is_ok(), is_digest(text), "{text:?}: {parsed:?}");
    match parsed {
        Ok(digest) => {
            assert_eq!(digest.to_string(), text);
            assert_eq!(format!("{}:{}", digest.algorithm(), digest.hex()), text);
            assert_eq!(digest.raw().len(), digest.algorithm().bytes());
            round_trips(digest);
            Some(digest)
        }
        Err(invalid) => {
            assert_eq!(invalid.code(), ErrorCode::DigestInvalid);
            check_message(&invalid.to_string());
            None
        }
    }
}

fn round_trips(digest: Digest) {
    assert_eq!(digest.to_string().parse(), Ok(digest));
    assert_eq!(Digest::from_raw(digest.algorithm(), digest.raw()), Some(digest));
    let json = serde_json::to_string(&digest).expect("a string is written");
    assert_eq!(serde_json::from_str::<Digest>(&json).ok(), Some(digest));
}

/// However the bytes come, and wherever the hasher is saved in between.
fn hashed(algorithm: Algorithm, input: &[u8]) {
    let whole = Digest::of(algorithm, input);
    round_trips(whole);
    let cut = input.first().map_or(0, |byte| usize::from(*byte) % (input.len() + 1));
    let (before, after) = input.split_at(cut);
    let mut hasher = Hasher::new(algorithm);
    hasher.update(before);
    let mut hasher = Hasher::restore(algorithm, &hasher.save()).expect("what was saved is restored");
    hasher.update(after);
    assert_eq!(hasher.finish(), whole);
}

/// A saved state is trusted, but a bad disk must not take the process down.
fn restored(algorithm: Algorithm, input: &[u8]) {
    let length = Hasher::new(algorithm).save().len();
    assert!(input.len() == length || Hasher::restore(algorithm, input).is_none(), "a state of {} bytes", input.len());
    let Some(state) = input.get(..length) else { return };
    if let Some(mut hasher) = Hasher::restore(algorithm, state) {
        assert_eq!(hasher.save(), state, "what was restored is another state");
        hasher.update(&input[length..]);
        hasher.update(&[0; 256]);
        assert_eq!(hasher.finish().algorithm(), algorithm);
    }
}

/// The grammar a second time (image-spec, "Digests": the two registered algorithms).
fn is_digest(text: &str) -> bool {
    let hex = |rest: &str, length: usize| {
        rest.len() == length && rest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    text.strip_prefix("sha256:").is_some_and(|rest| hex(rest, 64))
        || text.strip_prefix("sha512:").is_some_and(|rest| hex(rest, 128))
}
