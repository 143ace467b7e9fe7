//! What a call was, whether it failed in the eyes of a client, and how it is put into words.

use super::words;
use crate::history::{Call, Outcome, Record};
use serde::{Deserialize, Serialize};

/// What a client wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// GET of a manifest or a blob.
    Pull,
    /// PUT of a manifest or an upload.
    Push,
    /// DELETE.
    Delete,
    /// Tags, repositories, referrers.
    Listing,
}

impl Kind {
    /// The kind of a call.
    #[must_use]
    pub fn of(call: &Call) -> Self {
        match call {
            Call::PutTag { .. } | Call::PutManifest { .. } | Call::PutBlob { .. } => Self::Push,
            Call::DeleteTag { .. } | Call::DeleteManifest { .. } => Self::Delete,
            Call::GetTag { .. } | Call::GetManifest { .. } | Call::GetBlob { .. } => Self::Pull,
            Call::ListTags { .. } | Call::Catalog { .. } | Call::Referrers { .. } => Self::Listing,
        }
    }
}

/// How a call failed. An answer that says that there is no such thing is no failure here: whether it is right is for
/// the invariants to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    NoAnswer,
    Unavailable,
    ServerError,
    TooMany,
    CutShort,
    /// A push that was refused as wrong: 4xx.
    Refused,
    WrongBytes,
}

impl Failure {
    /// All of them, in the order in which they are drawn.
    pub const ALL: [Self; 7] = [
        Self::NoAnswer,
        Self::Unavailable,
        Self::ServerError,
        Self::TooMany,
        Self::CutShort,
        Self::Refused,
        Self::WrongBytes,
    ];

    /// How a call failed, if it did.
    #[must_use]
    pub fn of(record: &Record) -> Option<Self> {
        let kind = Kind::of(&record.call);
        let reads = matches!(kind, Kind::Pull | Kind::Listing);
        match record.seen.status {
            None => Some(Self::NoAnswer),
            Some(503) => Some(Self::Unavailable),
            Some(429) => Some(Self::TooMany),
            Some(500..) => Some(Self::ServerError),
            Some(200..300) if reads && !record.seen.whole => Some(Self::CutShort),
            Some(200..300) if record.seen.right == Some(false) => Some(Self::WrongBytes),
            Some(400..500) if kind == Kind::Push => Some(Self::Refused),
            Some(_) => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoAnswer => "no answer",
            Self::Unavailable => "503",
            Self::ServerError => "other 5xx",
            Self::TooMany => "429",
            Self::CutShort => "cut short",
            Self::Refused => "push refused (4xx)",
            Self::WrongBytes => "wrong bytes",
        }
    }
}

/// Whether a client got what it wanted, with the right bytes.
#[must_use]
pub fn is_acknowledged(record: &Record) -> bool {
    record.is_ok() && record.seen.right != Some(false)
}

/// The class that colours a call's answer.
#[must_use]
pub fn tone(record: &Record) -> &'static str {
    match (Failure::of(record), record.outcome()) {
        (Some(Failure::WrongBytes | Failure::CutShort), _) => "wrong",
        (_, Outcome::Unknown) => "open",
        (None, _) if record.is_absent() => "absent",
        (None, _) if record.is_marked() => "stale",
        (None, Outcome::Ok) => "good",
        (Some(_), _) | (None, Outcome::Failed) => "failed",
    }
}

/// What the tones mean, in the order of a legend.
pub const TONES: [(&str, &str); 6] = [
    ("good", "acknowledged"),
    ("stale", "marked as stale"),
    ("absent", "404"),
    ("failed", "failed or refused"),
    ("open", "outcome unknown"),
    ("wrong", "wrong or cut short"),
];

/// What was asked, as one would type it.
#[must_use]
pub fn asked(call: &Call) -> String {
    let short = words::digest;
    let text = match call {
        Call::PutTag { repo, tag, digest } => format!("PUT {repo}:{tag} = {}", short(digest)),
        Call::PutManifest { repo, digest } => format!("PUT {repo}@{}", short(digest)),
        Call::PutBlob { repo, digest, size, hops } => {
            let nodes = hops.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
            let over = if hops.is_empty() { String::new() } else { format!(" over {nodes}") };
            format!("upload {repo} {} ({} bytes{over})", short(digest), words::count(*size as usize))
        }
        Call::DeleteTag { repo, tag } => format!("DELETE {repo}:{tag}"),
        Call::DeleteManifest { repo, digest } => format!("DELETE {repo}@{}", short(digest)),
        Call::GetTag { repo, tag } => format!("GET {repo}:{tag}"),
        Call::GetManifest { repo, digest } => format!("GET {repo}@{}", short(digest)),
        Call::GetBlob { repo, digest, range: None } => format!("GET {repo} blob {}", short(digest)),
        Call::GetBlob { repo, digest, range: Some(range) } => {
            format!("GET {repo} blob {} [{}..{}]", short(digest), range.start, range.end)
        }
        Call::ListTags { repo, last } => format!("list tags of {repo}{}", after(last.as_deref())),
        Call::Catalog { last } => format!("list repositories{}", after(last.as_deref())),
        Call::Referrers { repo, subject } => format!("list referrers of {repo}@{}", short(subject)),
    };
    words::clean(&text)
}

fn after(last: Option<&str>) -> String {
    last.map_or_else(String::new, |last| format!(" after {last}"))
}

/// What came back.
#[must_use]
pub fn answered(record: &Record) -> String {
    let seen = &record.seen;
    let mut parts = vec![seen.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string())];
    if let (true, Some(digest)) = (record.is_ok(), &seen.digest) {
        parts.push(format!("= {}", words::digest(digest)));
    }
    match Failure::of(record) {
        Some(Failure::CutShort) => parts.push("cut short".to_owned()),
        Some(Failure::WrongBytes) => parts.push("wrong bytes".to_owned()),
        _ => {}
    }
    if record.is_marked() {
        let age = seen.age.map_or_else(String::new, |age| format!(", {age} s old"));
        parts.push(format!("marked stale{age}"));
    }
    if let (Kind::Listing, true) = (Kind::of(&record.call), record.is_ok()) {
        parts.push(words::many(seen.names.len(), "name", "names"));
    }
    parts.extend(seen.error.clone());
    words::clean(&parts.join(" "))
}

/// A call and its answer in very few words, for a drawing.
#[must_use]
pub fn brief(record: &Record) -> String {
    let short = |digest: &str| words::digest(digest).chars().take(6).collect::<String>();
    let what = match &record.call {
        Call::PutTag { tag, digest, .. } => format!("{tag} := {}", short(digest)),
        Call::GetTag { tag, .. } => match (&record.seen.digest, record.is_ok()) {
            (Some(digest), true) => format!("{tag} is {}", short(digest)),
            _ => tag.clone(),
        },
        Call::DeleteTag { tag, .. } => format!("delete {tag}"),
        Call::DeleteManifest { digest, .. } => format!("delete {}", short(digest)),
        Call::PutManifest { digest, .. } | Call::PutBlob { digest, .. } => format!("push {}", short(digest)),
        Call::GetManifest { digest, .. } | Call::GetBlob { digest, .. } => format!("pull {}", short(digest)),
        Call::ListTags { .. } | Call::Catalog { .. } | Call::Referrers { .. } => "list".to_owned(),
    };
    let answer = match (record.seen.status, Failure::of(record)) {
        (_, Some(failure @ (Failure::NoAnswer | Failure::CutShort | Failure::WrongBytes))) => {
            format!(", {}", failure.name())
        }
        (Some(200..300) | None, _) => String::new(),
        (Some(status), _) => format!(", {status}"),
    };
    words::clean(&format!("{what}{answer}"))
}
