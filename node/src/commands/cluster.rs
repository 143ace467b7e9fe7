//! `portolan cluster`.

use super::terminal::{Colour, drawn, drawn_with, paint, say, table, to_the_right};
use crate::answer::{ClusterAnswer, HealthAnswer, NodeAnswer, OrderAnswer};
use crate::cli::AskArgs;
use crate::client::Client;
use crate::error::Failure;
use comfy_table::Cell;
use std::collections::BTreeSet;

/// Prints the members, who leads, how far behind each is, how far regions are apart, and who is asked for a blob there.
///
/// # Errors
/// When the node does not answer.
pub(crate) async fn status(args: &AskArgs) -> Result<(), Failure> {
    let (answer, json) = Client::of(&args.server)?.cluster().await?;
    say(&if args.json { json.trim_end().to_owned() } else { render(&answer) })?;
    Ok(())
}

/// The status as a text of several lines.
pub(crate) fn render(answer: &ClusterAnswer) -> String {
    let leader = answer.leader_name().map_or_else(
        || paint("none: writes are refused until one is elected", Colour::Bad),
        |name| paint(name, Colour::Strong),
    );
    let id = answer.cluster_id.as_deref().unwrap_or("not known yet");
    let mut text = format!("cluster {id}   epoch {}   term {}   leader {leader}\n\n", answer.epoch, answer.term);
    let mut rows =
        table(&["ID", "NAME", "REGION", "ZONE", "ROLE", "VOTES", "STATE", "APPLIED", "LAG", "SEEN", "VERSION"]);
    for node in &answer.nodes {
        rows.add_row(row(node));
    }
    to_the_right(&mut rows, [0, 7, 8, 9]);
    text.push_str(&drawn_with(&rows, |row| answer.nodes.get(row).is_some_and(|node| node.state != "up")));
    if !answer.region_links.is_empty() {
        text.push_str(&format!("\n\n{}", matrix(answer)));
    }
    for order in &answer.orders {
        text.push_str(&format!("\n\n{}", asked(answer, order)));
    }
    if !answer.region_links.is_empty() && !answer.warnings.is_empty() {
        text.push('\n');
    }
    for warning in &answer.warnings {
        text.push_str(&format!("\n{} {warning}", paint("warning:", Colour::Bad)));
    }
    text
}

/// The round trips between regions.
fn matrix(answer: &ClusterAnswer) -> String {
    let links = &answer.region_links;
    let regions: BTreeSet<&str> = links.iter().flat_map(|link| [link.from.as_str(), link.to.as_str()]).collect();
    let mut heads = vec!["ROUND TRIP ms"];
    heads.extend(&regions);
    let mut rows = table(&heads);
    for from in &regions {
        let mut cells = vec![Cell::new(from)];
        for to in &regions {
            let link = links.iter().find(|link| link.from == *from && link.to == *to);
            let text = match link.map(|link| link.rtt_ms) {
                None => "·".to_owned(),
                Some(None) => "silent".to_owned(),
                Some(Some(rtt_ms)) => trip(rtt_ms),
            };
            cells.push(Cell::new(text));
        }
        rows.add_row(cells);
    }
    to_the_right(&mut rows, 1..=regions.len());
    drawn(&rows)
}

/// In which order a reader in a region asks the nodes, and what speaks against those at the end.
fn asked(answer: &ClusterAnswer, order: &OrderAnswer) -> String {
    let mut rows = table(&[&format!("A READER IN {} ASKS", order.region), "IN", "ms", "HEALTH"]);
    let nodes: Vec<&NodeAnswer> =
        order.nodes.iter().filter_map(|id| answer.nodes.iter().find(|node| node.id == *id)).collect();
    for (place, node) in nodes.iter().enumerate() {
        let link = answer.region_links.iter().find(|link| link.from == order.region && link.to == node.region);
        let away = match link.and_then(|link| link.rtt_ms) {
            Some(rtt_ms) => trip(rtt_ms),
            None if node.region == order.region => "·".to_owned(),
            None => "-".to_owned(),
        };
        rows.add_row(vec![
            Cell::new(format!("{}. {}", place + 1, node.name)),
            Cell::new(&node.region),
            Cell::new(away),
            Cell::new(node.health.as_ref().map_or_else(|| "-".to_owned(), health)),
        ]);
    }
    to_the_right(&mut rows, [2]);
    let is_ill = |node: &NodeAnswer| node.health.as_ref().is_some_and(|health| health.state != "ok");
    drawn_with(&rows, |row| nodes.get(row).is_some_and(|node| is_ill(node)))
}

/// A node's health as a person says it.
fn health(health: &HealthAnswer) -> String {
    match (health.state.as_str(), health.phi, health.ejected_ms) {
        ("suspect", Some(phi), _) => format!("suspect phi {phi:.1}"),
        ("ejected", _, Some(ms)) => format!("ejected {} s", ms.div_ceil(1_000)),
        (state, _, _) => state.replace('_', " "),
    }
}

/// A round trip with the digits that matter.
fn trip(rtt_ms: f64) -> String {
    match rtt_ms {
        rtt_ms if rtt_ms < 10.0 => format!("{rtt_ms:.2}"),
        rtt_ms if rtt_ms < 100.0 => format!("{rtt_ms:.1}"),
        rtt_ms => format!("{rtt_ms:.0}"),
    }
}

fn row(node: &NodeAnswer) -> Vec<Cell> {
    let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    vec![
        Cell::new(node.id),
        Cell::new(&node.name),
        Cell::new(&node.region),
        Cell::new(node.zone.as_deref().filter(|zone| !zone.is_empty()).unwrap_or("-")),
        Cell::new(&node.role),
        Cell::new(if node.voter { "yes" } else { "no" }),
        Cell::new(&node.state),
        Cell::new(number(node.applied)),
        Cell::new(number(node.lag)),
        Cell::new(node.last_seen_ms.map_or_else(|| "-".to_owned(), ago)),
        Cell::new(&node.version),
    ]
}

/// A duration as a person says it.
fn ago(milliseconds: u64) -> String {
    match milliseconds / 1000 {
        0 => "now".to_owned(),
        seconds @ 1..120 => format!("{seconds} s ago"),
        seconds @ 120..7200 => format!("{} min ago", seconds / 60),
        seconds => format!("{} h ago", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::{ago, render};

    #[test]
    fn the_table_names_the_leader_and_aligns_its_columns() {
        let answer = r#"{"cluster_id":"c","epoch":0,"term":3,"leader":2,"nodes":[
            {"id":1,"name":"eu-1","region":"eu","zone":"","role":"full","voter":true,"state":"up","applied":120,"lag":0,
             "last_seen_ms":0,"version":"0.1.0"},
            {"id":2,"name":"us-east-1","region":"us-east","zone":"a","role":"full","voter":true,"state":"down",
             "applied":null,"lag":null,"last_seen_ms":250000,"version":"0.1.0"}],
            "warnings":["one copy only in eu"]}"#;
        let text = render(&serde_json::from_str(answer).unwrap());
        assert!(text.starts_with("cluster c   epoch 0   term 3   leader us-east-1\n"), "{text}");
        assert!(text.contains("4 min ago"), "{text}");
        assert!(text.ends_with("warning: one copy only in eu"), "{text}");
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(" full ")).collect();
        assert_eq!(lines[0].find("full"), lines[1].find("full"), "{text}");
    }

    #[test]
    fn each_region_says_whom_its_readers_ask_and_what_speaks_against_the_last() {
        let node = |id: u64, region: &str, health: &str| {
            format!(
                r#"{{"id":{id},"name":"{region}-{id}","region":"{region}","role":"full","voter":true,"state":"up","applied":1,
                "lag":0,"last_seen_ms":0,"version":"0.1.0","health":{health}}}"#
            )
        };
        let nodes = [
            node(1, "eu", r#"{"state":"ok","phi":null,"ejected_ms":null}"#),
            node(2, "us", r#"{"state":"suspect","phi":9.34,"ejected_ms":null}"#),
            node(3, "ap", r#"{"state":"ejected","phi":null,"ejected_ms":3400}"#),
            node(4, "ap", r#"{"state":"not_ready","phi":null,"ejected_ms":null}"#),
        ];
        let answer = format!(
            r#"{{"cluster_id":"c","epoch":0,"term":3,"leader":1,"nodes":[{}],"warnings":[],
            "region_links":[{{"from":"eu","to":"us","rtt_ms":80.26}},{{"from":"us","to":"eu","rtt_ms":null}},
            {{"from":"eu","to":"ap","rtt_ms":240.4}},{{"from":"ap","to":"ap","rtt_ms":0.71}}],
            "orders":[{{"region":"eu","nodes":[1,2,3,4]}}]}}"#,
            nodes.join(",")
        );
        let text = render(&serde_json::from_str(&answer).unwrap());
        let (_, tables) = text.split_once("\n\n").unwrap().1.split_once("\n\n").unwrap();
        let lines: Vec<&str> = tables.lines().map(str::trim).collect();
        let expected = [
            "ROUND TRIP ms    ap  eu      us",
            "ap             0.71   ·       ·",
            "eu              240   ·    80.3",
            "us                ·  silent   ·",
            "",
            "A READER IN eu ASKS  IN    ms  HEALTH",
            "1. eu-1              eu     ·  ok",
            "2. us-2              us  80.3  suspect phi 9.3",
            "3. ap-3              ap   240  ejected 4 s",
            "4. ap-4              ap   240  not ready",
        ];
        let words = |lines: &[&str]| -> Vec<Vec<String>> {
            lines.iter().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
        };
        assert_eq!(words(&lines), words(&expected), "{text}");
        let before = |line: &str, word| line.split(word).next().map(|before| before.chars().count());
        assert_eq!(before(lines[6], "ok"), before(lines[7], "suspect"), "{text}");
    }

    #[test]
    fn durations_are_said_in_the_unit_a_person_would_use() {
        for (milliseconds, said) in [
            (0, "now"),
            (999, "now"),
            (1000, "1 s ago"),
            (119_999, "119 s ago"),
            (120_000, "2 min ago"),
            (7_200_000, "2 h ago"),
        ] {
            assert_eq!(ago(milliseconds), said);
        }
    }
}
