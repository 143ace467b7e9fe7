//! `portolan cluster`.

use super::terminal::{Colour, paint, say, table};
use crate::answer::{ClusterAnswer, NodeAnswer};
use crate::cli::StatusArgs;
use crate::client::Client;
use crate::error::Failure;
use comfy_table::{Cell, CellAlignment};

/// Prints the members, who leads, and how far behind each is.
///
/// # Errors
/// When the node does not answer.
pub(crate) async fn status(args: &StatusArgs) -> Result<(), Failure> {
    let (answer, json) = Client::new_trusting(&args.server.server, args.server.ca.as_deref())?.cluster().await?;
    if args.json {
        say(json.trim_end())?;
        return Ok(());
    }
    say(&render(&answer))?;
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
    for column in [0, 7, 8, 9] {
        if let Some(column) = rows.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let rows = rows.trim_fmt();
    let mut lines = rows.lines();
    text.push_str(&paint(lines.next().unwrap_or_default(), Colour::Strong));
    for (line, node) in lines.zip(&answer.nodes) {
        text.push('\n');
        text.push_str(&if node.state == "up" { line.to_owned() } else { paint(line, Colour::Bad) });
    }
    for warning in &answer.warnings {
        text.push_str(&format!("\n{} {warning}", paint("warning:", Colour::Bad)));
    }
    text
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
