//! Who may talk to whom.

use crate::support::{Anyone, Log, PATIENCE, Served, address, client, eventually, identity, member, pair};
use portolan_meta::id::NodeId;
use portolan_peer::{
    Config, Guard, HelloCall, IdentityTable, LocalIdentity, MemoryNetwork, PeerError, PeerIdentity, Peers,
    RejectionKind, Side,
};
use std::sync::Arc;
use tokio::time::Instant;

/// Makes an identity wrong.
type Change = fn(&mut PeerIdentity);

fn changed(node: u64, change: Change) -> PeerIdentity {
    let mut identity = identity(node);
    change(&mut identity);
    identity
}

/// A table for `node` that knows nodes 1 and 2 as they should be.
fn table(identity: PeerIdentity) -> Arc<IdentityTable> {
    let table = IdentityTable::new(LocalIdentity::known(identity));
    for node in [1, 2] {
        table.commit(NodeId(node), &format!("folder-{node}"), 5);
    }
    table
}

fn peers(network: &Arc<MemoryNetwork>, caller: PeerIdentity, guard: Arc<dyn Guard>) -> Arc<Peers> {
    let peers = Peers::new(LocalIdentity::known(caller), guard, network.connector(&address(1)), Config::default());
    peers.set_members(vec![member(2, &address(2))]);
    peers
}

fn refusal(error: PeerError) -> (Side, RejectionKind, String) {
    match error {
        PeerError::Refused { by, rejection } => (by, rejection.kind, rejection.reason),
        other => panic!("{other} is no refusal"),
    }
}

#[tokio::test]
async fn a_caller_that_is_not_what_it_should_be_is_refused_with_the_reason_in_both_logs() {
    let cases: [(Change, RejectionKind); 4] = [
        (|caller| caller.cluster_id = "cluster-b".to_owned(), RejectionKind::Cluster),
        (|caller| caller.epoch = 0, RejectionKind::Epoch),
        (|caller| caller.storage_uuid = "copy".to_owned(), RejectionKind::Storage),
        (|caller| caller.incarnation = 4, RejectionKind::Incarnation),
    ];
    for (change, want) in cases {
        let (log, _guard) = Log::catch();
        let network = MemoryNetwork::new();
        let served = Served::start(Config::default(), identity(2), table(identity(2)), network.listen(&address(2)));
        let peers = peers(&network, changed(1, change), Arc::new(Anyone));
        let (by, kind, reason) = refusal(peers.ping(NodeId(2), PATIENCE).await.unwrap_err());
        assert_eq!((by, kind), (Side::Peer, want));
        let lines = log.lines(&reason);
        assert!(lines.iter().any(|line| line.contains("refused a peer")), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("a peer refused this node")), "{lines:?}");
        // Every call is refused, not only pings.
        let answers = peers.append_stream(NodeId(2), portolan_peer::Lane::Raft, futures::stream::pending()).await;
        assert_eq!(refusal(answers.err().unwrap()).1, want);
        assert_eq!(refusal(peers.vote(NodeId(2), "v".into(), PATIENCE).await.unwrap_err()).1, want);
        assert_eq!(log.lines(&reason).len(), 2, "repeated refusals are logged once");
        served.stop().await;
    }
}

#[tokio::test]
async fn a_callee_that_is_not_what_it_should_be_refuses_or_is_refused() {
    // What the callee is, who notices first: the callee itself where the caller's expectation travels with the call.
    let cases: [(Change, RejectionKind, Side); 5] = [
        (|callee| callee.cluster_id = "cluster-b".to_owned(), RejectionKind::Cluster, Side::Us),
        (|callee| callee.epoch = 2, RejectionKind::Epoch, Side::Us),
        (|callee| callee.node = NodeId(3), RejectionKind::Node, Side::Peer),
        (|callee| callee.storage_uuid = "copy".to_owned(), RejectionKind::Storage, Side::Peer),
        (|callee| callee.incarnation = 4, RejectionKind::Incarnation, Side::Peer),
    ];
    for (change, want, side) in cases {
        let (log, _guard) = Log::catch();
        let network = MemoryNetwork::new();
        let callee = changed(2, change);
        let served = Served::start(Config::default(), callee, Arc::new(Anyone), network.listen(&address(2)));
        let peers = peers(&network, identity(1), table(identity(1)));
        let (by, kind, reason) = refusal(peers.ping(NodeId(2), PATIENCE).await.unwrap_err());
        assert_eq!((by, kind), (side, want));
        let expected = if side == Side::Us { 1 } else { 2 };
        assert_eq!(log.lines(&reason).len(), expected, "{reason}");
        assert_eq!(peers.health(NodeId(2)), None, "a refused answer is no sign of life");
        served.stop().await;
    }
}

#[tokio::test]
async fn the_newest_incarnation_that_was_accepted_is_remembered() {
    let network = MemoryNetwork::new();
    let served = Served::start(Config::default(), identity(2), table(identity(2)), network.listen(&address(2)));
    let newer = peers(&network, changed(1, |caller| caller.incarnation = 6), Arc::new(Anyone));
    newer.ping(NodeId(2), PATIENCE).await.unwrap();
    let older = peers(&network, identity(1), Arc::new(Anyone));
    assert_eq!(refusal(older.ping(NodeId(2), PATIENCE).await.unwrap_err()).1, RejectionKind::Incarnation);
    newer.ping(NodeId(2), PATIENCE).await.unwrap();
    served.stop().await;
}

#[tokio::test]
async fn of_two_processes_on_copies_of_one_folder_only_the_first_is_heard() {
    let (log, _guard) = Log::catch();
    let network = MemoryNetwork::new();
    let served = Served::start(Config::default(), identity(2), table(identity(2)), network.listen(&address(2)));
    let first = peers(&network, identity(1), Arc::new(Anyone));
    first.ping(NodeId(2), PATIENCE).await.unwrap();
    let copy = peers(&network, changed(1, |caller| caller.boot = "second".to_owned()), Arc::new(Anyone));
    let (by, kind, reason) = refusal(copy.ping(NodeId(2), PATIENCE).await.unwrap_err());
    assert_eq!((by, kind), (Side::Peer, RejectionKind::Incarnation));
    assert_eq!(log.lines(&reason).len(), 2, "{reason}");
    first.ping(NodeId(2), PATIENCE).await.unwrap();
    // A restart counts on, and is another process.
    let restarted = changed(1, |caller| (caller.incarnation, caller.boot) = (6, "third".to_owned()));
    peers(&network, restarted, Arc::new(Anyone)).ping(NodeId(2), PATIENCE).await.unwrap();
    assert_eq!(refusal(first.ping(NodeId(2), PATIENCE).await.unwrap_err()).1, RejectionKind::Incarnation);
    served.stop().await;
}

#[tokio::test]
async fn a_node_that_starts_says_so_and_answers_hello_meanwhile() {
    let network = MemoryNetwork::new();
    let local = LocalIdentity::unknown();
    let guard = IdentityTable::new(Arc::clone(&local));
    let served = Served::without_handlers(Config::default(), Arc::clone(&local), guard, network.listen(&address(2)));
    let (peers, _) = client(Config::default(), 1, network.connector(&address(1)));
    let call = HelloCall { name: "node-2".to_owned(), storage_uuid: None };
    let hello = async || peers.hello(&address(2), call.clone(), PATIENCE).await.unwrap();

    assert_eq!(hello().await.known_storage_uuid, Some("folder-2".to_owned()));
    assert_eq!(peers.ping(NodeId(2), PATIENCE).await, Err(PeerError::Starting));
    local.set(identity(2));
    assert_eq!(peers.ping(NodeId(2), PATIENCE).await, Err(PeerError::Starting));
    served.set_handlers();
    assert_eq!(peers.ping(NodeId(2), PATIENCE).await.map(|reply| reply.applied), Ok(5));
    assert_eq!(hello().await.cluster_id, Some("cluster-a".to_owned()));
    served.stop().await;
}

#[tokio::test]
async fn a_node_without_an_identity_can_say_hello_only() {
    let network = MemoryNetwork::new();
    let served = Served::start(Config::default(), identity(2), table(identity(2)), network.listen(&address(2)));
    let local = LocalIdentity::unknown();
    let peers = Peers::new(
        Arc::clone(&local),
        IdentityTable::new(Arc::clone(&local)),
        network.connector(&address(1)),
        Config::default(),
    );
    peers.set_members(vec![member(2, &address(2))]);
    assert_eq!(peers.ping(NodeId(2), PATIENCE).await, Err(PeerError::NoIdentity));
    let reply = peers.hello(&address(2), HelloCall::default(), PATIENCE).await.unwrap();
    assert_eq!(reply.known_storage_uuid, None);
    local.set(identity(1));
    peers.ping(NodeId(2), PATIENCE).await.unwrap();
    served.stop().await;
}

#[tokio::test]
async fn answers_leave_a_trace_in_the_health() {
    let (network, peers, served) = pair(&Config::default());
    assert_eq!(peers.health(NodeId(2)), None);
    peers.read_index(NodeId(2), PATIENCE).await.unwrap();
    assert_eq!(peers.health(NodeId(2)).unwrap().rtt, None);
    let start = Instant::now();
    peers.ping(NodeId(2), PATIENCE).await.unwrap();
    let took = start.elapsed();
    let health = peers.health(NodeId(2)).unwrap();
    assert!(health.rtt.unwrap() <= took, "{health:?} in {took:?}");
    network.cut(&address(1), &address(2));
    eventually("the cut", async || peers.ping(NodeId(2), PATIENCE).await.is_err()).await;
    assert_eq!(peers.health(NodeId(2)), Some(health), "silence leaves none");
    served.stop().await;
}
