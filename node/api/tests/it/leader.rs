//! Having another node lead.

use crate::support::{Server, header, refused};
use portolan_registry::testing::Setup;
use reqwest::Response;
use serde_json::{Value, json};

const LEADER: &str = "/api/v1/cluster/leader";

async fn three() -> Server {
    Server::with(Setup { nodes: 3, ..Setup::default() }).await
}

/// Asks a node for another leader.
async fn put(server: &Server, asked: usize, wanted: &Value) -> Response {
    let request = server.client(asked).ask("PUT", LEADER).bearer_auth("s3cret");
    request.body(wanted.to_string()).send().await.expect("the node answers")
}

/// Who leads, once a node knows.
async fn leader(server: &Server, asked: usize) -> (String, u64) {
    let known = |report: &Value| report["leader"].is_string();
    let report = server.client(asked).report_until("cluster/leader", known).await;
    (report["leader"].as_str().unwrap().to_owned(), report["term"].as_u64().unwrap())
}

/// The others, by number.
fn others(leader: &str) -> Vec<usize> {
    (1..=3).filter(|node| format!("n{node}") != leader).collect()
}

#[tokio::test]
async fn the_named_node_leads_whoever_was_asked_and_pushes_go_on() {
    let server = three().await;
    for (seed, asked) in (1..).zip([1, 2, 3]) {
        let (before, _) = leader(&server, asked).await;
        let heir = others(&before)[asked % 2];
        // A name, or an id.
        let node = if asked == 1 { heir.to_string() } else { format!("n{heir}") };
        let answer = put(&server, asked, &json!({ "node": node })).await;
        assert_eq!(answer.status(), 200);
        let change: Value = answer.json().await.unwrap();
        assert_eq!(change, json!({ "before": before, "leader": format!("n{heir}") }));
        let report: Value = server.client(asked).get(LEADER).await.json().await.unwrap();
        assert_eq!(report["leader"], change["leader"], "the asked node knows it at once");
        for node in 1..=3 {
            server.client(node).push_image("a", "t", seed).await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_node_that_leads_already_goes_on_and_nobody_in_particular_is_another_one() {
    let server = three().await;
    let (before, term) = leader(&server, 1).await;
    for asked in 1..=3 {
        let answer = put(&server, asked, &json!({ "node": before })).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "before": before, "leader": before }));
    }
    assert_eq!(leader(&server, 1).await, (before.clone(), term), "without an election");
    for wanted in [json!({}), json!({ "node": null })] {
        let (before, _) = leader(&server, 2).await;
        let change: Value = put(&server, 2, &wanted).await.json().await.unwrap();
        assert_eq!(change["before"], json!(before));
        assert_ne!(change["leader"], change["before"]);
        assert_eq!(json!(leader(&server, 2).await.0), change["leader"]);
    }
    server.stop().await;
}

/// How often a scene is played that an election of the machine's own spoils.
const SCENES: usize = 3;

/// What those get who must not move the leadership.
struct Refusals {
    /// The node that is cut off.
    away: usize,
    /// Who is not the admin.
    stranger: Response,
    /// Who names a node that is not there.
    unknown: Response,
    /// Who names the node that is cut off.
    unfit: Response,
    /// Who asks the node that is cut off.
    lost: Response,
}

/// Asks for all of them. `None` when there was an election meanwhile: a machine that stands still for a second may have
/// one of its own, and nothing says of it who moved the leadership.
async fn refusals(server: &Server) -> Option<Refusals> {
    let (led, _) = leader(server, 1).await;
    let (away, present) = (others(&led)[0], others(&led)[1]);
    let before = leader(server, present).await;
    let stranger = server.client(1).ask("PUT", LEADER).body("{}").send().await.unwrap();
    let unknown = put(server, 1, &json!({ "node": "n4" })).await;
    server.cluster.cut(away as u64);
    let unfit = put(server, present, &json!({ "node": format!("n{away}") })).await;
    let lost = put(server, away, &json!({ "node": format!("n{present}") })).await;
    let after = leader(server, present).await;
    server.cluster.heal(away as u64);
    (before.0 == led && after == before).then_some(Refusals { away, stranger, unknown, unfit, lost })
}

#[tokio::test]
async fn only_the_admin_moves_the_leadership_and_only_to_a_node_that_is_there() {
    let mut setup = Setup { nodes: 3, ..Setup::default() };
    setup.registry.uploads.commit_timeout_ms = 5_000;
    let server = Server::with(setup).await;
    let mut spoilt = 0;
    let Refusals { away, stranger, unknown, unfit, lost } = loop {
        if let Some(refusals) = refusals(&server).await {
            break refusals;
        }
        spoilt += 1;
        assert!(spoilt < SCENES, "the leadership moved in each of {SCENES} scenes");
    };
    refused(stranger, 401, "UNAUTHORIZED").await;
    let body = refused(unknown, 404, "NODE_UNFIT").await;
    assert!(body.errors[0].message.contains("no node \"n4\""), "{body:?}");
    assert_eq!(body.errors[0].detail, Some(json!({ "node": "n4", "known": ["n1", "n2", "n3"] })));
    let body = refused(unfit, 409, "NODE_UNFIT").await;
    let why = "it does not answer the leader; bring it back, or name another";
    let words = format!("n{away} cannot take the leadership over: {why}");
    assert_eq!(body.errors[0].message, words);
    // Whoever is cut off finds no leader that could hand over.
    assert_eq!(header(&lost, "Retry-After"), "2");
    refused(lost, 503, "UNAVAILABLE").await;
    server.client(away).push_image("a", "t", 1).await;
    server.stop().await;
}
