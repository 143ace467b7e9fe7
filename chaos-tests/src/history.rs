//! What clients saw: every call with its start, its end and its answer. The invariants judge nothing but this, and what
//! was looked at after the run.

use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read, Write};
use std::ops::Range;

/// Microseconds since the run began. All clients live in one process and share one clock, so that two moments compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Micros(pub u64);

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Call {
    /// PUT of a manifest under a tag.
    PutTag { repo: String, tag: String, digest: String },
    /// PUT of a manifest under its digest.
    PutManifest { repo: String, digest: String },
    /// A whole upload of a blob; `hops` are the nodes that its requests went to.
    PutBlob { repo: String, digest: String, size: u64, hops: Vec<usize> },
    /// DELETE of a tag.
    DeleteTag { repo: String, tag: String },
    /// DELETE of a manifest with all its tags.
    DeleteManifest { repo: String, digest: String },
    /// GET of a manifest by tag.
    GetTag { repo: String, tag: String },
    /// GET of a manifest by digest.
    GetManifest { repo: String, digest: String },
    /// GET of a blob, or of a range of it.
    GetBlob { repo: String, digest: String, range: Option<Range<u64>> },
    /// One page of a repository's tags, after a name.
    ListTags { repo: String, last: Option<String> },
    /// One page of the repositories, after a name.
    Catalog { last: Option<String> },
    /// What refers to a manifest.
    Referrers { repo: String, subject: String },
}

impl Call {
    /// Whether it changes what others see.
    #[must_use]
    pub fn is_write(&self) -> bool {
        match self {
            Self::PutTag { .. }
            | Self::PutManifest { .. }
            | Self::PutBlob { .. }
            | Self::DeleteTag { .. }
            | Self::DeleteManifest { .. } => true,
            Self::GetTag { .. }
            | Self::GetManifest { .. }
            | Self::GetBlob { .. }
            | Self::ListTags { .. }
            | Self::Catalog { .. }
            | Self::Referrers { .. } => false,
        }
    }

    /// The repository it is about; none for the catalog.
    #[must_use]
    pub fn repo(&self) -> Option<&str> {
        match self {
            Self::PutTag { repo, .. }
            | Self::PutManifest { repo, .. }
            | Self::PutBlob { repo, .. }
            | Self::DeleteTag { repo, .. }
            | Self::DeleteManifest { repo, .. }
            | Self::GetTag { repo, .. }
            | Self::GetManifest { repo, .. }
            | Self::GetBlob { repo, .. }
            | Self::ListTags { repo, .. }
            | Self::Referrers { repo, .. } => Some(repo),
            Self::Catalog { .. } => None,
        }
    }

    /// The digest that it names.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        match self {
            Self::PutTag { digest, .. }
            | Self::PutManifest { digest, .. }
            | Self::PutBlob { digest, .. }
            | Self::DeleteManifest { digest, .. }
            | Self::GetManifest { digest, .. }
            | Self::GetBlob { digest, .. } => Some(digest),
            Self::Referrers { subject, .. } => Some(subject),
            Self::DeleteTag { .. } | Self::GetTag { .. } | Self::ListTags { .. } | Self::Catalog { .. } => None,
        }
    }
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The status; `None` when no answer came.
    pub status: Option<u16>,
    /// Whether the body came to its announced end.
    pub whole: bool,
    /// Whether the bytes are those that were pushed; `None` when none came, or nobody knows what is right.
    pub right: Option<bool>,
    /// How many bytes of the body came.
    pub bytes: u64,
    /// `Docker-Content-Digest`.
    pub digest: Option<String>,
    /// `Warning`.
    pub warning: Option<String>,
    /// `Age`, in seconds.
    pub age: Option<u64>,
    /// Whether the answer said when to come again.
    pub retry_after: bool,
    /// Names or digests of a listing, at most [`MOST_NAMES`].
    pub names: Vec<String>,
    /// Whether a listing goes on behind these names.
    #[serde(default)]
    pub more: bool,
    /// When the first byte of the body came.
    pub first_byte: Option<Micros>,
    /// What broke, or the error's code: at most [`LONGEST_ERROR`] bytes.
    pub error: Option<String>,
}

/// The most names of a listing that a record keeps. What is left out of it counts as more.
pub const MOST_NAMES: usize = 200;

/// The most bytes of an error's text that a record keeps.
pub const LONGEST_ERROR: usize = 200;

impl Seen {
    /// It, with no more than a record may hold, so that a long run can be kept.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.more |= self.names.len() > MOST_NAMES;
        self.names.truncate(MOST_NAMES);
        if let Some(error) = &mut self.error {
            let end = (0..=LONGEST_ERROR).rev().find(|end| error.is_char_boundary(*end));
            error.truncate(end.unwrap_or(0));
        }
        self
    }
}

/// One call of one client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its place in the order in which calls ended.
    pub id: u64,
    /// The client, which makes one call at a time.
    pub client: u32,
    /// The region that the client is in.
    pub region: String,
    /// The node that it asked.
    pub node: usize,
    pub start: Micros,
    /// When the answer, or the news that none comes, was there.
    pub end: Micros,
    #[serde(flatten)]
    pub call: Call,
    pub seen: Seen,
}

/// What is known of a call's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was acknowledged, or answered.
    Ok,
    /// It certainly did nothing.
    Failed,
    /// Nobody knows: it may take effect at any later moment.
    Unknown,
}

impl Record {
    /// What the answer says of the effect. Of a write, only an answer of the registry's own that refuses says that it did
    /// nothing; a reader's failure has none.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self.seen.status {
            Some(200..300) if self.call.is_write() || self.seen.whole => Outcome::Ok,
            Some(400..500) => Outcome::Failed,
            _ if !self.call.is_write() => Outcome::Failed,
            _ => Outcome::Unknown,
        }
    }

    /// Whether an answer was acknowledged.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.outcome() == Outcome::Ok
    }

    /// Whether an answer says that there is no such thing.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.seen.status == Some(404)
    }

    /// Whether an answer is marked as possibly stale.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        self.seen.warning.as_deref().is_some_and(|warning| warning.starts_with("299"))
    }
}

/// All calls of a run, in the order in which they ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(pub Vec<Record>);

impl History {
    /// Writes one record per line, as JSON.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, mut to: impl Write) -> crate::Result<()> {
        for record in &self.0 {
            serde_json::to_writer(&mut to, record)?;
            to.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Reads what [`History::write`] wrote.
    ///
    /// # Errors
    /// When a line is no record.
    pub fn read(from: impl Read) -> crate::Result<Self> {
        let mut records = Vec::new();
        for (number, line) in BufReader::new(from).lines().enumerate() {
            let record = serde_json::from_str(&line?).map_err(|error| format!("line {}: {error}", number + 1))?;
            records.push(record);
        }
        Ok(Self(records))
    }

    /// The calls that some test holds for.
    pub fn filter<'a>(&'a self, test: impl Fn(&Record) -> bool + 'a) -> impl Iterator<Item = &'a Record> {
        self.0.iter().filter(move |record| test(record))
    }
}
