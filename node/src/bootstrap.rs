//! Who this node is: read from its folder, or found out by asking the listed peers (design, section 4).

use crate::config::Config;
use crate::error::Failure;
use futures::future::join_all;
use portolan_meta::id::NodeId;
use portolan_meta::query;
use portolan_peer::{Answer, HelloCall, HelloHandler, HelloReply, LocalIdentity, PeerError, Peers};
use portolan_store::{DataDir, Identity, State};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long one peer may take to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause before the peers are asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers peers that ask who is here, from the moment the port is bound.
pub(crate) struct Greeter {
    name: String,
    members: Vec<String>,
    local: Arc<LocalIdentity>,
    /// Whether this node belongs to a cluster, as its folder says.
    member: AtomicBool,
    /// The state, once it is open. Until then a member of a cluster answers nothing: an answer without the cluster would
    /// let others begin a second one, and one without its nodes would let a node whose folder was lost come back as
    /// if it were new.
    state: OnceLock<Arc<State>>,
}

impl Greeter {
    /// A greeter that knows its name and its list only.
    pub(crate) fn new(config: &Config, local: Arc<LocalIdentity>) -> Arc<Self> {
        let members = names(config);
        let name = config.node.name.clone();
        Arc::new(Self { name, members, local, member: AtomicBool::new(false), state: OnceLock::new() })
    }

    /// To be called as soon as the folder holds an identity, before any peer may ask.
    pub(crate) fn belong(&self) {
        self.member.store(true, Ordering::Release);
    }

    /// Lets it answer from the state. To be called once, before the identity is made known.
    pub(crate) fn open(&self, state: Arc<State>) {
        // A second call changes nothing: there is one state per process.
        let _ = self.state.set(state);
    }

    fn answer(&self, call: &HelloCall) -> Result<HelloReply, PeerError> {
        let mut reply = HelloReply { name: self.name.clone(), members: self.members.clone(), ..HelloReply::default() };
        if !self.member.load(Ordering::Acquire) {
            return Ok(reply);
        }
        let (Some(identity), Some(state)) = (self.local.get(), self.state.get()) else {
            return Err(PeerError::Starting);
        };
        reply.cluster_id = Some(identity.cluster_id.clone());
        reply.epoch = identity.epoch;
        let rows = state.read(query::nodes).map_err(|error| {
            tracing::error!(%error, "the nodes cannot be read");
            PeerError::Remote("the nodes cannot be read".to_owned())
        })?;
        if let Some(row) = rows.into_iter().find(|row| row.name == call.name) {
            reply.known_storage_uuid = Some(row.storage_uuid);
            reply.known_node = Some(row.id);
        }
        Ok(reply)
    }
}

impl HelloHandler for Greeter {
    fn hello(&self, call: HelloCall) -> Answer<'_, HelloReply> {
        Box::pin(async move { self.answer(&call) })
    }
}

/// Reads the folder's identity and counts this start; `None` for a folder that is empty.
///
/// # Errors
/// When the folder belongs to another node, or is damaged.
pub(crate) fn known_identity(config: &Config, folder: &DataDir) -> Result<Option<Identity>, Failure> {
    let (id, _) = config.me();
    match Identity::load(folder.path()).map_err(Failure::start("reading identity.json"))? {
        None if folder.holds_metadata() => Err(Failure::IdentityMissing { data_dir: folder.path().to_owned() }),
        None => Ok(None),
        Some(identity) if identity.node_id != NodeId(id) => Err(Failure::OtherNode {
            data_dir: folder.path().to_owned(),
            found: identity.node_id.0,
            name: config.node.name.clone(),
            expected: id,
        }),
        Some(identity) => {
            identity.next_incarnation(folder.path()).map(Some).map_err(Failure::start("writing identity.json"))
        }
    }
}

/// What the answers of all listed peers amount to.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// Some peer belongs to a cluster that has never seen this node.
    Cluster {
        /// The cluster's id.
        id: String,
        /// Its epoch.
        epoch: u64,
    },
    /// Some peer knows this node with another folder.
    Known {
        /// The folder's storage uuid.
        storage_uuid: String,
    },
    /// Everybody answered, and nobody knows a cluster.
    Nobody,
    /// Some did not answer, or not as they should; each with the reason.
    Waiting(Vec<String>),
}

impl Finding {
    /// Whom or what is waited for.
    fn in_words(&self, config: &Config) -> String {
        match self {
            Self::Waiting(reasons) => reasons.join("; "),
            _ => {
                config.members.first().map_or_else(String::new, |first| format!("{} to begin the cluster", first.name))
            }
        }
    }
}

/// Finds out who this node is when its folder is empty, and writes it down. Asks until it knows.
///
/// # Errors
/// When the cluster knows this node with another folder, and when a stop is asked for.
pub(crate) async fn join(
    config: &Config,
    config_path: &Path,
    folder: &DataDir,
    peers: &Peers,
    stop: &CancellationToken,
) -> Result<(Identity, u64), Failure> {
    let (id, _) = config.me();
    let mut report_at = Instant::now() + config.bootstrap_report;
    loop {
        let finding = stop.run_until_cancelled(ask(config, peers)).await.ok_or(Failure::Interrupted)?;
        let (cluster_id, epoch) = match finding {
            Finding::Cluster { id, epoch } => (id, epoch),
            Finding::Nobody if id == 1 => (ulid::Ulid::new().to_string(), 0),
            Finding::Known { storage_uuid } => {
                return Err(Failure::Rejoin {
                    name: config.node.name.clone(),
                    data_dir: folder.path().to_owned(),
                    storage_uuid,
                    config: config_path.to_owned(),
                });
            }
            Finding::Nobody | Finding::Waiting(_) => {
                if Instant::now() >= report_at {
                    tracing::info!(waiting_for = finding.in_words(config), "no cluster is known yet; asking on");
                    report_at = Instant::now() + config.bootstrap_report;
                }
                stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.ok_or(Failure::Interrupted)?;
                continue;
            }
        };
        let identity =
            Identity { cluster_id, node_id: NodeId(id), storage_uuid: Identity::fresh_storage_uuid(), incarnation: 0 };
        let identity = identity.next_incarnation(folder.path()).map_err(Failure::start("writing identity.json"))?;
        return Ok((identity, epoch));
    }
}

async fn ask(config: &Config, peers: &Peers) -> Finding {
    let call = HelloCall { name: config.node.name.clone(), storage_uuid: None };
    let others = config.members.iter().filter(|member| member.name != config.node.name);
    let answers = join_all(others.map(|member| {
        let call = call.clone();
        async move { (member.name.as_str(), peers.hello(&member.peer, call, HELLO_TIMEOUT).await) }
    }))
    .await;
    conclude(&names(config), answers)
}

fn conclude<'a>(
    members: &[String],
    answers: impl IntoIterator<Item = (&'a str, Result<HelloReply, PeerError>)>,
) -> Finding {
    let (mut cluster, mut waiting) = (None, Vec::new());
    for (name, answer) in answers {
        let reply = match answer {
            Ok(reply) => reply,
            Err(error) => {
                waiting.push(format!("{name}: {error}"));
                continue;
            }
        };
        if let Some(storage_uuid) = reply.known_storage_uuid {
            return Finding::Known { storage_uuid };
        }
        if reply.name != name {
            waiting.push(format!("{name}: its address leads to {}", reply.name));
        } else if !reply.members.iter().zip(members).all(|(theirs, ours)| theirs == ours) {
            waiting.push(format!("{name}: it lists other members, {}", reply.members.join(", ")));
        } else if let Some(id) = reply.cluster_id {
            match &cluster {
                Some((other, _)) if *other != id => waiting.push(format!("{name}: it belongs to the cluster {id}")),
                _ => cluster = Some((id, reply.epoch)),
            }
        }
    }
    match cluster {
        Some((id, epoch)) => Finding::Cluster { id, epoch },
        None if waiting.is_empty() => Finding::Nobody,
        None => Finding::Waiting(waiting),
    }
}

fn names(config: &Config) -> Vec<String> {
    config.members.iter().map(|member| member.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::{AtomicBool, Finding, Greeter, HelloCall, HelloReply, LocalIdentity, OnceLock, PeerError, conclude};

    fn reply(name: &str, cluster: Option<&str>, uuid: Option<&str>) -> HelloReply {
        HelloReply {
            name: name.to_owned(),
            cluster_id: cluster.map(str::to_owned),
            known_storage_uuid: uuid.map(str::to_owned),
            members: ["a", "b", "c"].map(str::to_owned).to_vec(),
            ..HelloReply::default()
        }
    }

    fn check(answers: Vec<(&str, Result<HelloReply, PeerError>)>, expected: &Finding) {
        let members = ["a", "b", "c"].map(str::to_owned);
        let shown = format!("{answers:?}");
        let found = conclude(&members, answers);
        match (&found, expected) {
            (Finding::Waiting(_), Finding::Waiting(_)) => {}
            _ => assert_eq!(&found, expected, "{shown}"),
        }
    }

    #[test]
    fn a_member_of_a_cluster_that_still_opens_its_state_never_answers_that_it_knows_none() {
        let greeter = |member| Greeter {
            name: "b".to_owned(),
            members: Vec::new(),
            local: LocalIdentity::unknown(),
            member: AtomicBool::new(member),
            state: OnceLock::new(),
        };
        let call = HelloCall::default();
        assert_eq!(greeter(false).answer(&call).map(|reply| reply.cluster_id), Ok(None));
        assert_eq!(greeter(true).answer(&call), Err(PeerError::Starting));
        let other = greeter(false);
        other.belong();
        assert_eq!(other.answer(&call), Err(PeerError::Starting));
    }

    #[test]
    fn a_new_cluster_is_begun_only_when_everybody_answered_and_nobody_knows_one() {
        let cluster = Finding::Cluster { id: "x".to_owned(), epoch: 0 };
        let known = Finding::Known { storage_uuid: "u".to_owned() };
        let waiting = Finding::Waiting(Vec::new());
        let silent = || Err(PeerError::Starting);
        let mut stranger = reply("c", None, None);
        stranger.members = vec!["b".to_owned(), "a".to_owned()];
        check(vec![], &Finding::Nobody);
        check(vec![("b", Ok(reply("b", None, None))), ("c", Ok(reply("c", None, None)))], &Finding::Nobody);
        check(vec![("b", Ok(reply("b", None, None))), ("c", silent())], &waiting);
        check(vec![("b", silent()), ("c", silent())], &waiting);
        check(vec![("b", Ok(reply("b", None, None))), ("c", Ok(reply("z", None, None)))], &waiting);
        check(vec![("b", Ok(reply("b", None, None))), ("c", Ok(stranger))], &waiting);
        check(vec![("b", silent()), ("c", Ok(reply("c", Some("x"), None)))], &cluster);
        check(vec![("b", Ok(reply("b", None, None))), ("c", Ok(reply("c", Some("x"), None)))], &cluster);
        check(vec![("b", Ok(reply("b", Some("x"), None))), ("c", Ok(reply("c", Some("x"), Some("u"))))], &known);
        check(vec![("b", silent()), ("c", Ok(reply("c", Some("x"), Some("u"))))], &known);
    }
}
