//! Digests: what content is called.

use crate::invalid::{Invalid, shown};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};
use std::fmt;
use std::str::FromStr;

/// A hash that names content. Both are registered by the image specification; others are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, which every client uses.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// Its name before the colon of a digest.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The length of its digests, in bytes; in hex they take twice as many characters.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The algorithm of that name, if it is supported.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const LONGEST: usize = 64;

/// A digest: `sha256:` and 64 or `sha512:` and 128 lower-case hex characters (image-spec, "Digests"). Orders like its
/// text. Serde writes the text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    /// Zeros after the algorithm's length, so that the derived comparisons hold.
    raw: [u8; LONGEST],
}

impl Digest {
    /// The SHA-256 digest of some bytes.
    #[must_use]
    pub fn sha256_of(bytes: &[u8]) -> Self {
        Self::of(Algorithm::Sha256, bytes)
    }

    /// The digest of some bytes. For bytes that come in pieces there is [`crate::Hasher`].
    #[must_use]
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::pad(algorithm, &Sha256::digest(bytes)),
            Algorithm::Sha512 => Self::pad(algorithm, &Sha512::digest(bytes)),
        }
    }

    /// A digest from its raw bytes; `None` when they are not as many as the algorithm makes.
    #[must_use]
    pub fn from_raw(algorithm: Algorithm, raw: &[u8]) -> Option<Self> {
        (raw.len() == algorithm.bytes()).then(|| Self::pad(algorithm, raw))
    }

    /// The hash it was made with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw bytes, [`Algorithm::bytes`] of them.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw[..self.algorithm.bytes()]
    }

    /// The part after the colon: lower-case hex.
    #[must_use]
    pub fn hex(&self) -> String {
        let mut text = String::with_capacity(2 * self.algorithm.bytes());
        for &byte in self.raw() {
            text.push(hex_char(byte >> 4));
            text.push(hex_char(byte & 0xf));
        }
        text
    }

    pub(crate) fn pad(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut raw = [0; LONGEST];
        raw[..bytes.len()].copy_from_slice(bytes);
        Self { algorithm, raw }
    }
}

const fn hex_char(nibble: u8) -> char {
    (if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }) as char
}

const fn hex_value(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

impl FromStr for Digest {
    type Err = Invalid;

    fn from_str(value: &str) -> Result<Self, Invalid> {
        let refuse = |reason| Err(Invalid::Digest { value: shown(value), reason });
        let Some((name, hex)) = value.split_once(':') else {
            return refuse("has no colon; it should read sha256:<64 hex characters>");
        };
        let Some(algorithm) = Algorithm::by_name(name) else {
            return refuse("is of an algorithm other than sha256 and sha512");
        };
        if hex.len() != 2 * algorithm.bytes() {
            return refuse(match algorithm {
                Algorithm::Sha256 => "does not have 64 hex characters",
                Algorithm::Sha512 => "does not have 128 hex characters",
            });
        }
        let mut raw = [0; LONGEST];
        for (byte, pair) in raw.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let (Some(high), Some(low)) = (hex_value(pair[0]), hex_value(pair[1])) else {
                return refuse("has a character other than 0-9 and a-f");
            };
            *byte = high << 4 | low;
        }
        Ok(Self { algorithm, raw })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::parse_string(deserializer)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::{Algorithm, Digest};
    use crate::error::ErrorCode;
    use proptest::collection::vec;
    use proptest::{prelude::any, prop_assert, prop_assert_eq, proptest};

    /// Of no bytes, as FIPS 180-4 gives them.
    const EMPTY_SHA256: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const EMPTY_SHA512: &str = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
        47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";

    #[test]
    fn the_text_is_the_algorithm_and_lower_case_hex() {
        assert_eq!(Digest::sha256_of(b"").to_string(), EMPTY_SHA256);
        assert_eq!(Digest::of(Algorithm::Sha512, b"").to_string(), EMPTY_SHA512);
        let digest: Digest = EMPTY_SHA256.parse().unwrap();
        assert_eq!(format!("sha256:{}", digest.hex()), EMPTY_SHA256);
        assert_eq!(digest.raw().len(), 32);
    }

    #[test]
    fn whatever_is_no_digest_is_refused() {
        let upper = EMPTY_SHA256.to_uppercase().replace("SHA256", "sha256");
        let long = format!("{EMPTY_SHA256}0");
        let other_length = EMPTY_SHA256.replace("sha256", "sha512");
        let not_hex = EMPTY_SHA256.replace('e', "g");
        let spaced = format!(" {EMPTY_SHA256}");
        let multibyte = format!("sha256:{}", "é".repeat(32));
        let cases = [
            upper.as_str(),
            long.as_str(),
            other_length.as_str(),
            not_hex.as_str(),
            spaced.as_str(),
            multibyte.as_str(),
            &EMPTY_SHA256[..70],
            &EMPTY_SHA256[7..],
            "",
            ":",
            "sha256:",
            "sha256",
            "sha384:00",
            "SHA256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "../../etc/passwd",
        ];
        for value in cases {
            let error = value.parse::<Digest>().unwrap_err();
            assert_eq!(error.code(), ErrorCode::DigestInvalid, "{value:?}");
        }
    }

    #[test]
    fn raw_bytes_must_be_as_many_as_the_algorithm_makes() {
        for algorithm in Algorithm::ALL {
            let raw = vec![7; algorithm.bytes()];
            assert_eq!(Digest::from_raw(algorithm, &raw).unwrap().raw(), raw);
            assert!(Digest::from_raw(algorithm, &raw[1..]).is_none());
            assert!(Digest::from_raw(algorithm, &[]).is_none());
        }
    }

    #[test]
    fn serde_validates_on_the_way_in() {
        let text = format!("\"{EMPTY_SHA256}\"");
        let digest: Digest = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&digest).unwrap(), text);
        assert!(serde_json::from_str::<Digest>("\"sha256:0\"").is_err());
    }

    proptest! {
        #[test]
        fn text_and_raw_bytes_lead_back_and_order_alike(left in vec(any::<u8>(), 0..9), right in vec(any::<u8>(), 0..9)) {
            for (a, b) in [(Algorithm::Sha256, Algorithm::Sha256), (Algorithm::Sha256, Algorithm::Sha512)] {
                let (a, b) = (Digest::of(a, &left), Digest::of(b, &right));
                prop_assert_eq!(a.to_string().parse::<Digest>().unwrap(), a);
                prop_assert_eq!(Digest::from_raw(b.algorithm(), b.raw()).unwrap(), b);
                prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
            }
        }

        #[test]
        fn anything_at_all_is_answered_without_a_panic(value in "(sha256:|sha512:)?.{0,70}") {
            prop_assert!(value.parse::<Digest>().is_err() || value.is_ascii());
        }
    }
}
