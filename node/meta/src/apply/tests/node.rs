use super::world::{World, boot};
use crate::command::Command;
use crate::id::NodeId;
use crate::outcome::{NodeConflict, Outcome, Refusal};
use crate::query;
use crate::row::{NodeState, Role};

#[test]
fn a_cluster_has_one_id() {
    let mut world = World::empty();
    let init = |id: &str, epoch| Command::InitCluster { cluster_id: id.to_owned(), epoch };
    assert_eq!(query::cluster(&world.state).unwrap(), None);
    assert_eq!(world.run(1, init("one", 0)), Outcome::Done);
    assert_eq!(world.run(1, init("one", 7)), Outcome::Done);
    let known = "one".to_owned();
    assert_eq!(world.run(1, init("two", 0)), Outcome::Refused(Refusal::OtherCluster { known }));
    let row = query::cluster(&world.state).unwrap().unwrap();
    assert_eq!((row.cluster_id.as_str(), row.epoch), ("one", 0));
}

#[test]
fn a_node_is_who_it_was() {
    let mut world = World::new();
    let mut moved = boot(2, "us", 2);
    moved.peer = "10.0.0.1:7000".to_owned();
    let mut other_storage = boot(2, "us", 3);
    other_storage.storage_uuid = "new disk".to_owned();
    let mut taken = boot(9, "us", 1);
    taken.name = "node-2".to_owned();
    let cases = [
        ("a restart", 2, moved, Outcome::Done),
        (
            "another data folder",
            2,
            other_storage,
            Outcome::Refused(Refusal::NodeIdentity(NodeConflict::OtherStorage { known: "uuid-2".to_owned() })),
        ),
        ("a taken name", 9, taken, Outcome::Refused(Refusal::NodeIdentity(NodeConflict::NameTaken))),
    ];
    for (case, node, command, outcome) in cases {
        assert_eq!(world.run(node, Command::NodeBoot(command)), outcome, "{case}");
    }
    let row = query::node(&world.state, NodeId(2)).unwrap().unwrap();
    assert_eq!((row.peer.as_str(), row.incarnation), ("10.0.0.1:7000", 2));
    assert_eq!(query::nodes(&world.state).unwrap().len(), 3);
}

#[test]
fn a_restart_ends_silence_and_not_draining() {
    let cases = [
        (NodeState::Up, NodeState::Up),
        (NodeState::Down, NodeState::Up),
        (NodeState::Out, NodeState::Up),
        (NodeState::Draining, NodeState::Draining),
    ];
    for (before, after) in cases {
        let mut world = World::new();
        world.set_state(2, before);
        world.run(2, Command::NodeBoot(boot(2, "us", 2)));
        assert_eq!(query::node(&world.state, NodeId(2)).unwrap().unwrap().state, after, "{before:?}");
    }
}

#[test]
fn a_judgement_of_an_earlier_start_is_void() {
    let mut world = World::new();
    world.run(2, Command::NodeBoot(boot(2, "us", 2)));
    let judge = |node, incarnation, state| Command::SetNodeState { node: NodeId(node), incarnation, state };
    let state = |world: &World| query::node(&world.state, NodeId(2)).unwrap().unwrap().state;
    assert_eq!(world.run(1, judge(2, 1, NodeState::Down)), Outcome::Done);
    assert_eq!(state(&world), NodeState::Up);
    world.run(1, judge(2, 2, NodeState::Down));
    assert_eq!(state(&world), NodeState::Down);
    world.run(1, judge(2, 2, NodeState::Out));
    world.run(1, judge(2, 2, NodeState::Down));
    assert_eq!(state(&world), NodeState::Out, "out is not less than down");
    world.run(1, judge(2, 2, NodeState::Up));
    assert_eq!(state(&world), NodeState::Up);
    assert_eq!(world.run(1, judge(9, 1, NodeState::Down)), Outcome::Refused(Refusal::UnknownNode));
}

#[test]
fn only_full_nodes_have_a_store() {
    let mut world = World::empty();
    for (id, role) in [(1, Role::Full), (2, Role::Witness), (3, Role::Edge)] {
        let mut node = boot(id, "eu", 1);
        node.role = role;
        world.run(id, Command::NodeBoot(node));
    }
    let stores: Vec<u64> = query::stores(&world.state).unwrap().iter().map(|(id, _)| id.0).collect();
    assert_eq!(stores, [1]);
}
