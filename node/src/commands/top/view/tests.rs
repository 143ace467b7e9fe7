#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

use super::{Picture, Trouble, draw, full_height};
use crate::commands::top::model::{Memory, Model};
use crate::commands::top::order::Sort;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;
use serde_json::{Value, json};
use std::time::Duration;

fn node(id: u64, region: &str, up_ms: u64, bytes: u64) -> Value {
    json!({"id": id, "name": format!("{region}-1"), "region": region, "zone": "", "role": "full", "voter": true,
        "state": "up", "applied": 1_234_567, "lag": 0, "last_seen_ms": 0, "version": "0.1.0",
        "load": {"up_ms": up_ms, "requests": bytes / 100_000, "faults": bytes / 4_200_000, "received_bytes": bytes,
            "sent_bytes": 2 * bytes, "queue": 3, "queue_bytes": 3_200_000_000_u64, "fetches": 1, "uploads": 2,
            "disk_free_bytes": 512_000_000_000_u64}})
}

/// Three continents: a push at the first, the last has not answered for a while.
fn cluster(edit: impl Fn(&mut Value)) -> Model {
    let regions = ["eu-west", "us-east", "ap-south"];
    let mut memory = Memory::default();
    let mut sample = |second: u64| {
        let bytes = [4_200_000 * second, 0, 0];
        let mut nodes: Vec<Value> =
            (0..3).map(|at| node(at as u64 + 1, regions[at], 1_000 * second + 1, bytes[at])).collect();
        (nodes[2]["load"], nodes[2]["last_seen_ms"], nodes[2]["lag"]) = (Value::Null, json!(12_000), json!(152));
        let mut answer = json!({"cluster_id": "01K9YWB6R0TESTTESTTESTTEST", "epoch": 0, "term": 7, "leader": 2,
            "asked": 2, "nodes": nodes, "warnings": ["one full node in eu-west: a push there has one copy"],
            "lags": [
                {"from": "eu-west", "to": "us-east", "blobs": 3, "bytes": 3_200_000_000_u64, "age_ms": 41_000},
                {"from": "us-east", "to": "eu-west", "blobs": 0, "bytes": 0, "age_ms": 0}],
            "links": [
                {"from": 1, "to": 2, "rtt_ms": 80.24}, {"from": 2, "to": 1, "rtt_ms": 79.9},
                {"from": 1, "to": 3, "rtt_ms": null}, {"from": 3, "to": 1, "rtt_ms": null},
                {"from": 2, "to": 3, "rtt_ms": null}, {"from": 3, "to": 2, "rtt_ms": null}]});
        edit(&mut answer);
        memory.take("127.0.0.1:5002", 1_763_724_031_000 + second, serde_json::from_value(answer).unwrap())
    };
    sample(1);
    sample(2)
}

fn picture(model: &Model) -> Picture<'_> {
    Picture {
        model,
        interval: Duration::from_secs(1),
        trouble: None,
        sort: Sort::default(),
        skipped: 0,
        paused: false,
        help: false,
        keys: true,
        colours: true,
    }
}

fn drawn(picture: &Picture<'_>, width: u16, height: u16) -> (String, Buffer) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(picture, frame.area(), frame.buffer_mut())).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let row = |y| (0..width).map(|x| buffer.cell((x, y)).unwrap().symbol().to_owned()).collect::<String>();
    let rows: Vec<String> = (0..height).map(|y| row(y).trim_end().to_owned()).collect();
    (rows.join("\n"), buffer)
}

fn line<'a>(text: &'a str, start: &str) -> &'a str {
    let found = text.lines().find(|line| line.trim_start().starts_with(start));
    found.unwrap_or_else(|| panic!("no line begins with {start:?} in\n{text}"))
}

fn has_words(line: &str, words: &[&str]) {
    let mut rest = line;
    for word in words {
        let at = rest.find(word).unwrap_or_else(|| panic!("{word:?} is not, or not in order, in {line:?}"));
        rest = &rest[at + word.len()..];
    }
}

/// What nobody wants to miss, at any size.
fn has_the_essentials(text: &str) {
    has_words(line(text, "portolan top"), &["01K9YWB6", "epoch 0", "term 7", "11:20:31 UTC", "every 1 s"]);
    has_words(line(text, "leader"), &["★ us-east-1 in us-east", "asked us-east-1 at 127.0.0.1:5002"]);
    has_words(line(text, "NODE"), &["STATE", "LAG", "REQ/S", "5XX/S", "IN/S", "OUT/S", "TO FETCH", "DISK FREE"]);
    has_words(line(text, "eu-west "), &["in", "█", "4.2 MB/s", "out", "█", "8.4 MB/s"]);
    has_words(line(text, "eu-west-1"), &["up", "0", "42", "1", "4.2 MB", "8.4 MB", "3 3.2 GB", "512 GB"]);
    has_words(line(text, "★ us-east-1"), &["up", "0", "0 B"]);
    has_words(line(text, "ap-south-1"), &["silent", "152", "–", "–"]);
    has_words(line(text, "BEHIND"), &["ROUND TRIP ms"]);
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with(" eu-west ")).collect();
    has_words(rows[1], &["·", "3.2 GB 41s", "–", "·", "80.2", "silent"]);
    assert!(text.contains("! one full node in eu-west") && text.contains("! ap-south-1 has not answered for 12 s"));
    has_words(text.lines().last().unwrap(), &["q quit", "p pause", "s sort by number", "? help"]);
}

#[test]
fn a_small_terminal_shows_everything_that_matters() {
    let (text, _) = drawn(&picture(&cluster(|_| {})), 80, 24);
    has_the_essentials(&text);
    assert!(!text.contains("APPLIED"), "{text}");
}

#[test]
fn a_large_terminal_shows_every_column() {
    let (text, _) = drawn(&picture(&cluster(|_| {})), 140, 40);
    has_the_essentials(&text);
    has_words(line(&text, "NODE"), &["ROLE", "APPLIED", "FETCHES", "UPLOADS", "SEEN"]);
    has_words(line(&text, "eu-west-1"), &["full v", "1234567", "now"]);
    has_words(line(&text, "ap-south-1"), &["12s"]);
}

#[test]
fn no_size_is_too_small_or_too_large_to_draw() {
    let model = cluster(|_| {});
    for width in [1, 2, 7, 20, 39, 61, 80, 113, 400] {
        for height in [1, 2, 3, 5, 8, 13, 24, 200] {
            for help in [false, true] {
                drawn(&Picture { help, ..picture(&model) }, width, height);
            }
        }
    }
    for columns in [40, 80, 160] {
        let rows = full_height(&picture(&model), columns);
        let (text, _) = drawn(&picture(&model), columns, rows);
        assert!(text.contains("ROUND TRIP") && text.contains("ap-south-1 has not"), "{text}");
    }
}

#[test]
fn a_picture_for_a_file_has_no_keys_and_no_curves() {
    let (text, _) = drawn(&Picture { keys: false, ..picture(&cluster(|_| {})) }, 120, 24);
    has_words(line(&text, "eu-west "), &["in 4.2 MB/s   out 8.4 MB/s"]);
    assert!(!text.contains('█') && !text.contains("quit"), "{text}");
    let model = cluster(|answer| answer["warnings"] = json!(vec!["look"; 30]));
    let all = Picture { keys: false, ..picture(&model) };
    let (text, _) = drawn(&all, 120, full_height(&all, 120));
    assert_eq!(text.matches(" ! look").count(), 30, "{text}");
}

#[test]
fn a_long_warning_goes_on_in_the_next_line_and_many_are_counted() {
    let long = "one full node left up in eu-west: a push there is acknowledged with one copy until another is back";
    let model = cluster(|answer| answer["warnings"] = json!([long]));
    let (text, _) = drawn(&picture(&model), 80, 24);
    let at = text.lines().position(|line| line.starts_with(" ! one full node left")).unwrap();
    assert!(text.lines().nth(at + 1).unwrap().starts_with("   ") && text.contains("another is back"), "{text}");
    let model = cluster(|answer| answer["warnings"] = json!(vec![long; 30]));
    let (text, _) = drawn(&picture(&model), 80, 24);
    assert!(text.contains("more: `portolan cluster status` tells them all") && text.contains("ROUND TRIP"), "{text}");
}

#[test]
fn what_is_old_stays_and_fades_and_says_why() {
    let model = cluster(|_| {});
    let trouble =
        Trouble { reason: "127.0.0.1:5002 does not answer: connection refused", age: Duration::from_secs(75) };
    let old = Picture { trouble: Some(trouble), ..picture(&model) };
    let (text, buffer) = drawn(&old, 80, 24);
    has_the_essentials(&text);
    assert_eq!(line(&text, "75s old"), " 75s old: 127.0.0.1:5002 does not answer: connection refused");
    let at = text.lines().position(|line| line.contains("eu-west-1")).unwrap();
    let colour = |x| buffer.cell((x, u16::try_from(at).unwrap())).unwrap().fg;
    assert!((0..80).all(|x| colour(x) == Color::DarkGray));
    let (_, fresh) = drawn(&picture(&model), 80, 24);
    assert_ne!(fresh.cell((5, u16::try_from(at).unwrap())).unwrap().fg, Color::DarkGray);
}

#[test]
fn without_colours_nothing_is_coloured() {
    let model = cluster(|_| {});
    let trouble = Some(Trouble { reason: "gone", age: Duration::from_secs(1) });
    for trouble in [None, trouble] {
        let (_, buffer) = drawn(&Picture { colours: false, trouble, ..picture(&model) }, 80, 24);
        assert!(buffer.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    }
}

#[test]
fn a_cluster_without_a_leader_says_so() {
    let (text, _) = drawn(&picture(&cluster(|answer| answer["leader"] = Value::Null)), 80, 24);
    assert!(line(&text, "leader").contains("none: writes wait"), "{text}");
    assert!(!text.contains('★'), "{text}");
}

#[test]
fn the_busiest_come_first_when_asked_for() {
    let model = cluster(|answer| answer["nodes"].as_array_mut().unwrap().reverse());
    let order = |sort| {
        let (text, _) = drawn(&Picture { sort, ..picture(&model) }, 80, 24);
        let at = |name| text.find(name).unwrap();
        (at("eu-west-1"), at("ap-south-1"), text.lines().nth(3).unwrap().to_owned())
    };
    let (eu, ap, heads) = order(Sort::Number);
    assert!(ap < eu && !heads.contains('▼'), "{heads}");
    let (eu, ap, heads) = order(Sort::Received);
    assert!(eu < ap && heads.contains("▼IN/S"), "{heads}");
    let (eu, ap, heads) = order(Sort::Lag);
    assert!(ap < eu && heads.contains("▼LAG"), "{heads}");
}

#[test]
fn more_nodes_than_lines_can_be_scrolled() {
    let model = cluster(|answer| {
        let nodes = answer["nodes"].as_array_mut().unwrap();
        for id in 4..60 {
            let mut more = node(id, "eu-west", 1, 0);
            more["name"] = json!(format!("eu-west-{id}"));
            nodes.push(more);
        }
    });
    let (top, _) = drawn(&picture(&model), 80, 24);
    assert!(top.contains("more lines: ↓") && !top.contains("ap-south-1 silent"), "{top}");
    let (bottom, _) = drawn(&Picture { skipped: 1_000, ..picture(&model) }, 80, 24);
    assert!(bottom.contains("ap-south-1 silent") && !bottom.contains("more lines: ↓"), "{bottom}");
    assert!(line(&bottom, "NODE").contains("STATE"), "the heads stay");
}

#[test]
fn the_help_names_every_key() {
    let (text, _) = drawn(&Picture { help: true, paused: true, ..picture(&cluster(|_| {})) }, 80, 24);
    for word in ["│ q Esc Ctrl-C  quit", "p  pause, go on", "s  sort", "↑ ↓  scroll", "★  the leader", "PAUSED"]
    {
        assert!(text.contains(word), "{word} in\n{text}");
    }
}
