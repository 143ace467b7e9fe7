//! Everything that can end a command, and the exit code it ends with.

use crate::config::Problems;
use portolan_store::StoreError;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use std::{fmt, io};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The configuration file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    ConfigUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration is wrong.
    #[error("{}: {problems}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong.
        problems: Problems,
    },
    /// The folder is empty, yet the peers know this node: its data are gone.
    #[error(
        "{} is empty, but the cluster knows the node {name} (it had storage {storage_uuid}).\n\
         Its data are gone, and what it voted for may not be forgotten: it must not come back under its old id.\n\
         If the folder moved, set node.data_dir to where it is now. Otherwise append a member with a new name at the \
         end of cluster.members of every node, with a peer address that no other member has, and start this one as \
         it:\n  PORTOLAN_NODE_NAME={name}-2 PORTOLAN_PEER_LISTEN=ADDRESS:PORT portolan serve --config {}", data_dir.display(), config.display()
    )]
    Rejoin {
        /// The node's name.
        name: String,
        /// The empty folder.
        data_dir: PathBuf,
        /// The storage that the cluster knows for it.
        storage_uuid: String,
        /// The configuration that was used.
        config: PathBuf,
    },
    /// The folder belongs to another node than the configuration says.
    #[error(
        "{} belongs to the node with the id {found}, but cluster.members makes {name} the node {expected}: members are \
         appended to the list, never moved or removed", data_dir.display()
    )]
    OtherNode {
        /// The folder.
        data_dir: PathBuf,
        /// The id in its identity.
        found: u64,
        /// The name in the configuration.
        name: String,
        /// The id by the configuration.
        expected: u64,
    },
    /// Data without an identity.
    #[error(
        "{} holds data but no identity.json: the folder is damaged. Restore identity.json, or empty the folder and \
         rejoin under a new name", data_dir.display()
    )]
    IdentityMissing {
        /// The folder.
        data_dir: PathBuf,
    },
    /// Arguments that do not go together.
    #[error("{0}")]
    Usage(UsageError),
    /// One or several ports are taken.
    #[error("{}", Lines(.0))]
    PortsTaken(Vec<String>),
    /// A listener could not be opened.
    #[error("cannot listen on {address}: {source}; free it, or set {key} to another address")]
    Listen {
        /// Which setting.
        key: &'static str,
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The data folder cannot be made or entered.
    #[error("node.data_dir {} cannot be used: {source}", path.display())]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Certificates that cannot be used together.
    #[error("the certificates of [{table}] cannot be used: {reason}")]
    Tls {
        /// The table that names them.
        table: &'static str,
        /// Why.
        reason: String,
    },
    /// A step of the start failed.
    #[error("cannot start: {step}: {source}")]
    Start {
        /// The step.
        step: &'static str,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A step of the start failed because of what lies in the data folder.
    #[error(
        "cannot start: {step}: {}\nUnless {} can be mended, put it aside. What this node acknowledged and voted for may \
         be missing from it, so that it must not come back under its old id: append a member with a new name at the \
         end of cluster.members of every node, with a peer address that no other member has, and start this one as it \
         with an empty node.data_dir. It fetches everything from the other nodes.", chain(source.as_ref()), data_dir.display()
    )]
    FolderDamaged {
        /// The step.
        step: &'static str,
        /// The folder.
        data_dir: PathBuf,
        /// What is wrong.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The shutdown did not finish in time.
    #[error("the node did not stop within {} s", .0.as_secs_f32())]
    ShutdownTimeout(Duration),
    /// Raft stopped, which only a failing disk makes it do.
    #[error(
        "the metadata cannot be kept any more: {0}\nThe node stops rather than answer from a state that stands still. \
         Look after its disk, then start it again; a damaged data folder says then what to do."
    )]
    Consensus(portolan_consensus::ConsensusError),
    /// A part of a serving node ended by itself.
    #[error("{0} ended unexpectedly")]
    PartEnded(&'static str),
    /// A node of `portolan dev` ended before the cluster was ready.
    #[error("{name} ended before the cluster was ready ({how}); the end of its log {}:\n{tail}", log.display())]
    ChildEnded {
        /// The node.
        name: String,
        /// How it ended.
        how: String,
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// The cluster was not ready in time.
    #[error("the cluster was not ready after {} s: {waiting}", .after.as_secs())]
    NotReady {
        /// How long was waited.
        after: Duration,
        /// What was still missing.
        waiting: String,
    },
    /// It is in the log already, which is all that a service's output is to hold.
    #[error("{0}")]
    Logged(Box<Failure>),
    /// A stop was asked for in the middle.
    #[error("stopped before it was done")]
    Interrupted,
    /// A file or folder of `portolan dev` cannot be used.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A process could not be started or signalled.
    #[error("cannot run {command}: {source}")]
    Process {
        /// What was run.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// Certificates could not be made.
    #[error("cannot make certificates: {0}")]
    Certificates(#[from] rcgen::Error),
    /// The server did not answer as it should.
    #[error("{0}")]
    Client(#[from] crate::client::ClientError),
    /// Nobody knows whether a change was made.
    #[error("{0}\nThe change may have been made all the same; giving it again does no harm.")]
    ChangeOpen(crate::client::ClientError),
    /// An image is not where it was waited for.
    #[error("{image} is not durable in {} after {:.1} s", .regions.join(", "), .after.as_secs_f32())]
    NotDurable {
        /// The image.
        image: String,
        /// The regions that lack something of it.
        regions: Vec<String>,
        /// How long was waited.
        after: Duration,
    },
    /// An image is where it was waited for, as far as a node knows that no leader answers.
    #[error("{image} is durable there as far as is known, but no leader has confirmed it after {:.1} s", .after.as_secs_f32())]
    NotConfirmed {
        /// The image.
        image: String,
        /// How long was waited.
        after: Duration,
    },
    /// An image will not be complete, however long one watches.
    #[error("{image} will not be complete: of {lost} of its blobs no copy is left, and nothing else is under way")]
    Damaged {
        /// The image.
        image: String,
        /// How many blobs have no copy left.
        lost: u64,
    },
    /// A change needs the admin token, and none was found.
    #[error(
        "this needs the admin token of the node at {server}: run it on that machine as the user who runs the node, or \
         give --token-file with admin.token of its data folder{}", tried(.looked)
    )]
    NoToken {
        /// Who was asked.
        server: String,
        /// What was tried, and why it was of no use.
        looked: Vec<String>,
    },
    /// Output could not be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// The demo saw something that must not happen.
    #[error("the demo failed at \"{step}\": {reason}")]
    Demo {
        /// The step.
        step: &'static str,
        /// What was seen.
        reason: String,
    },
}

/// Arguments that do not go together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UsageError {
    /// A region that cannot be named so.
    #[error("--regions: {0:?} is no name: 1 to 63 lower-case letters, digits and hyphens, no hyphen at either end")]
    RegionName(String),
    /// A region twice.
    #[error("--regions: {0} is there twice")]
    RegionTwice(String),
    /// No node at all, or too many.
    #[error("a cluster of {nodes} nodes: --regions times --nodes-per-region must be from 1 to {most}")]
    NodeCount {
        /// How many were asked for.
        nodes: usize,
        /// The limit.
        most: usize,
    },
    /// Ports beyond the last one.
    #[error("--base-port {base}: the last port would be {last}, and ports end at 65535")]
    PortRange {
        /// What was asked for.
        base: u16,
        /// What it leads to.
        last: u32,
    },
    /// An address that is none.
    #[error("--address {template:?} gives {address:?}, which is no IP address")]
    Address {
        /// The template.
        template: String,
        /// What it led to.
        address: String,
    },
    /// A folder with another cluster in it.
    #[error(
        "{} holds a cluster of {found}, and {asked} was asked for; give the same, or another --data", folder.display()
    )]
    OtherLayout {
        /// The folder.
        folder: PathBuf,
        /// What it holds.
        found: String,
        /// What was asked for.
        asked: String,
    },
    /// The demo needs regions that can be lost.
    #[error("--demo kills the first region: it needs at least three regions with a voter each")]
    DemoRegions,
    /// Nothing to change.
    #[error("nothing is to be set: name a setting, for example --regions all; `portolan repo show` shows what holds")]
    NothingToSet,
    /// Both at once.
    #[error("--{0} is to be set and to be inherited")]
    SetAndInherited(&'static str),
    /// Half of an ack.
    #[error("--ack-regions and --ack-copies belong together: nothing is set for the other here yet, so give both")]
    HalfAnAck,
    /// What names no image.
    #[error("{reference:?} names no image: {reason}")]
    ImageRef {
        /// What was given.
        reference: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What names an image by its digest, which never moves.
    #[error("{reference:?} names no tag, and only tags have a history: give repository:tag")]
    TagRef {
        /// What was given.
        reference: String,
    },
    /// Nothing to draw on.
    #[error(
        "portolan top draws on a terminal, and standard output is none: give --once for a text or --json for lines"
    )]
    NotATerminal,
    /// What is sabotaged, and what is not, taken for each other.
    #[error("{0}")]
    Sabotage(crate::sabotage::Mismatch),
    /// Not a pipe.
    #[error("--stop-on-stdin-eof needs a pipe as standard input")]
    StdinNotAPipe,
}

impl Failure {
    /// A failed step of the start.
    pub(crate) fn start<E>(step: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        move |source| Self::Start { step, source: source.into() }
    }

    /// The same, with what to do about it where the data folder is to blame for a failed start.
    pub(crate) fn of_folder(self, data_dir: &Path) -> Self {
        match self {
            Self::Start { step, source } if is_damage(source.as_ref()) => {
                Self::FolderDamaged { step, data_dir: data_dir.to_owned(), source }
            }
            other => other,
        }
    }

    /// A failed use of a file.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { path: path.into(), source }
    }

    /// All of it for a person: what failed, and the causes that its own words leave out.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Start { .. } => chain(self),
            told => told.to_string(),
        }
    }

    /// Whether nothing is left to say: it is in the log, or whoever read the output has gone.
    pub(crate) fn is_told(&self) -> bool {
        match self {
            Self::Logged(_) => true,
            Self::Output(error) => error.kind() == io::ErrorKind::BrokenPipe,
            _ => false,
        }
    }

    /// 2 for wrong usage or configuration, 1 for everything else.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::ConfigUnreadable { .. }
            | Self::Config { .. }
            | Self::Rejoin { .. }
            | Self::OtherNode { .. }
            | Self::IdentityMissing { .. }
            | Self::Usage(_)
            | Self::PortsTaken(_)
            | Self::Tls { .. } => ExitCode::from(2),
            Self::Client(error) if error.is_wrong_usage() => ExitCode::from(2),
            Self::Logged(failure) => failure.exit_code(),
            Self::Listen { .. }
            | Self::DataDir { .. }
            | Self::Start { .. }
            | Self::FolderDamaged { .. }
            | Self::ShutdownTimeout(_)
            | Self::Consensus(_)
            | Self::PartEnded(_)
            | Self::ChildEnded { .. }
            | Self::NotReady { .. }
            | Self::Interrupted
            | Self::File { .. }
            | Self::Process { .. }
            | Self::Certificates(_)
            | Self::Client(_)
            | Self::ChangeOpen(_)
            | Self::NotDurable { .. }
            | Self::NotConfirmed { .. }
            | Self::Damaged { .. }
            | Self::NoToken { .. }
            | Self::Output(_)
            | Self::Demo { .. } => ExitCode::FAILURE,
        }
    }
}

/// Whether a database or a file of the data folder is not what was written there.
fn is_damage(error: &(dyn Error + 'static)) -> bool {
    // Consensus hands errors on inside those of the system, which do not name what they wrap as their source.
    let wrapped = error.downcast_ref().and_then(io::Error::get_ref);
    matches!(error.downcast_ref(), Some(StoreError::Corrupt { .. }))
        || wrapped.is_some_and(|wrapped| is_damage(wrapped))
        || error.source().is_some_and(is_damage)
}

/// An error with those of its causes that it does not tell itself.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let words = source.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = source.source();
    }
    text
}

/// Files that were of no use, in a message.
fn tried(files: &[String]) -> String {
    if files.is_empty() { String::new() } else { format!(" (tried {})", files.join("; ")) }
}

/// Several messages below each other.
struct Lines<'a>(&'a [String]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::Failure;
    use portolan_consensus::ConsensusError;
    use portolan_store::{Config, RaftLog, StoreError};
    use std::error::Error;
    use std::io;
    use std::path::Path;

    fn words(source: impl Into<Box<dyn Error + Send + Sync>>) -> String {
        Failure::start("a step")(source).of_folder(Path::new("/data/eu-1")).in_words()
    }

    #[test]
    fn a_start_that_damage_ends_says_how_to_come_back_under_another_name() {
        let damage = || StoreError::Corrupt { what: "the raft database".to_owned(), reason: "a hole".to_owned() };
        let direct = words(damage());
        let wrapped = words(ConsensusError::Store(io::Error::other(damage())));
        for told in [&direct, &wrapped] {
            assert!(told.starts_with("cannot start: a step: "), "{told}");
            assert!(told.contains("the raft database is corrupt: a hole\nUnless /data/eu-1 can be mended"), "{told}");
            assert!(told.contains("append a member with a new name"), "{told}");
        }
    }

    #[test]
    fn a_start_that_lacks_room_does_not_advise_to_leave_the_data() {
        let told = words(StoreError::Full { free_bytes: 7, reserve_bytes: 0 });
        assert!(told.contains("7 bytes free") && !told.contains("new name"), "{told}");
    }

    #[test]
    fn a_start_whose_database_cannot_be_opened_does_not_advise_to_leave_the_data() {
        let folder = tempfile::tempdir().unwrap();
        let open = || RaftLog::open(folder.path(), &Config::default());
        let _held = open().unwrap();
        let told = words(open().unwrap_err());
        assert!(told.contains("lock") && !told.contains("new name"), "{told}");
    }
}
