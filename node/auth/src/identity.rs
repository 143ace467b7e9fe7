//! Who asks.

use portolan_oci::Digest;
use std::fmt;

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Nobody that we know.
    Anonymous,
    /// Whoever can read the admin token's file: the operator of this node.
    Admin,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "anonymous",
            Self::Admin => "admin",
        })
    }
}

/// The secret of the node's data folder. Only its hash is kept: it cannot be printed, and comparing hashes takes no
/// longer the more of a guess is right.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken(Digest);

impl AdminToken {
    /// From the token's text; white space around it, such as a file's last newline, does not count. `None` when
    /// nothing is left.
    #[must_use]
    pub fn new(token: &str) -> Option<Self> {
        let token = token.trim();
        (!token.is_empty()).then(|| Self(Digest::sha256_of(token.as_bytes())))
    }

    /// Whether it is that token.
    #[must_use]
    pub fn matches(&self, candidate: &str) -> bool {
        Self::new(candidate).is_some_and(|candidate| candidate == *self)
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(..)")
    }
}
