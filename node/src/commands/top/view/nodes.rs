//! The table of nodes, by region, with a curve of what each region takes and gives.

use super::palette::Palette;
use super::picture::Picture;
use crate::commands::top::model::{Model, Node, Region};
use crate::commands::top::order::{Sort, ordered};
use crate::commands::top::rates::Rates;
use crate::commands::top::words::{age, bytes, count, cut};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

/// The longest name that is not cut.
const LONGEST_NAME: usize = 24;

/// What makes a curve reach its full height, in bytes per second, unless there is more.
const FULL_CURVE: f64 = 100_000.0;

/// How much wider columns get where there is room.
const MOST_SPARE: usize = 3;

/// The longest curve.
const LONGEST_CURVE: usize = 48;

/// A column of the table.
struct Column {
    head: &'static str,
    width: usize,
    /// Where there is no room for all, those with the highest number stay away first.
    spare: u8,
    /// What is sorted when its cells are.
    sort: Option<Sort>,
    cell: fn(&Node, Palette) -> (String, Style),
}

/// All columns behind the name, in their order.
const COLUMNS: [Column; 13] = [
    Column { head: "STATE", width: 9, spare: 0, sort: None, cell: state },
    Column { head: "ROLE", width: 8, spare: 7, sort: None, cell: role },
    Column { head: "APPLIED", width: 10, spare: 6, sort: None, cell: |node, _| (number(node.applied), Style::new()) },
    Column { head: "LAG", width: 5, spare: 1, sort: Some(Sort::Lag), cell: lag },
    Column {
        head: "REQ/S",
        width: 7,
        spare: 0,
        sort: Some(Sort::Requests),
        cell: |node, palette| rate(node, palette, |rates| rates.requests_per_s, count),
    },
    Column { head: "5XX/S", width: 6, spare: 2, sort: None, cell: faults },
    Column {
        head: "IN/S",
        width: 7,
        spare: 0,
        sort: Some(Sort::Received),
        cell: |node, palette| rate(node, palette, |rates| rates.received_bytes_per_s, bytes),
    },
    Column {
        head: "OUT/S",
        width: 7,
        spare: 0,
        sort: Some(Sort::Sent),
        cell: |node, palette| rate(node, palette, |rates| rates.sent_bytes_per_s, bytes),
    },
    Column { head: "TO FETCH", width: 12, spare: 3, sort: Some(Sort::Queue), cell: queue },
    Column {
        head: "FETCHES",
        width: 9,
        spare: 8,
        sort: None,
        cell: |node, palette| load(node, palette, node.load.map(|load| load.fetches)),
    },
    Column {
        head: "UPLOADS",
        width: 9,
        spare: 5,
        sort: None,
        cell: |node, palette| load(node, palette, node.load.map(|load| load.uploads)),
    },
    Column { head: "DISK FREE", width: 10, spare: 4, sort: None, cell: disk },
    Column { head: "SEEN", width: 6, spare: 9, sort: None, cell: seen },
];

/// The heads of the columns, then each region with its nodes.
pub(crate) fn lines(picture: &Picture<'_>, palette: Palette, width: u16) -> Vec<Line<'static>> {
    let (model, width) = (picture.model, usize::from(width));
    let longest = model.nodes.iter().map(|node| node.name.chars().count()).max().unwrap_or(0);
    let named = longest.clamp(6, LONGEST_NAME) + 5;
    let room = width.saturating_sub(named + 1);
    let columns = fitting(room);
    let spare = room.saturating_sub(columns.iter().map(|column| column.width).sum()) / columns.len().max(1);
    let spare = spare.min(MOST_SPARE);
    let mut heads = vec![Span::styled(format!(" {:<1$}", "NODE", named - 1), palette.heads())];
    for column in &columns {
        let sorted = column.sort.is_some() && column.sort == Some(picture.sort);
        let head = if sorted { format!("▼{}", column.head) } else { column.head.to_owned() };
        heads.push(Span::styled(padded(column, spare, &head), palette.heads()));
    }
    let mut lines = vec![Line::from(heads)];
    for (region, nodes) in ordered(model, picture.sort) {
        lines.push(if picture.keys { banner(region, named, width, palette) } else { title(region, named, palette) });
        lines.extend(nodes.into_iter().map(|node| row(model, node, named, (&columns, spare), palette)));
    }
    lines
}

/// The lines from a number on, below their heads, with a hint where some do not fit.
pub(crate) fn fit(mut lines: Vec<Line<'static>>, skipped: usize, height: u16, palette: Palette) -> Paragraph<'static> {
    let height = usize::from(height);
    if lines.len() > height && height > 1 {
        let skipped = skipped.min(lines.len() - height);
        lines.drain(1..=skipped);
        let more = lines.len() - height;
        if more > 0 {
            lines.truncate(height - 1);
            lines.push(Line::styled(format!("   … {} more lines: ↓", more + 1), palette.quiet()));
        }
    }
    Paragraph::new(lines)
}

/// As many columns as fit, the least important ones left out first.
fn fitting(width: usize) -> Vec<&'static Column> {
    let mut columns: Vec<&Column> = COLUMNS.iter().collect();
    while columns.iter().map(|column| column.width).sum::<usize>() > width {
        let Some(most) = columns.iter().map(|column| column.spare).max().filter(|spare| *spare > 0) else { break };
        columns.retain(|column| column.spare != most);
    }
    columns
}

/// Texts stand at the left of their column, numbers at the right.
fn padded(column: &Column, spare: usize, text: &str) -> String {
    let width = column.width + spare;
    match column.head {
        "STATE" | "ROLE" => format!("{:<width$}", cut(text, width - 1)),
        _ => format!("{:>width$}", cut(text, width)),
    }
}

fn row(
    model: &Model,
    node: &Node,
    named: usize,
    (columns, spare): (&[&Column], usize),
    palette: Palette,
) -> Line<'static> {
    let leads = model.leader == Some(node.id);
    let mark = if leads { "★" } else { " " };
    let name = format!("  {mark} {:<1$}", cut(&node.name, LONGEST_NAME), named - 4);
    let style = match (leads, node.load.is_some()) {
        (true, _) => palette.leader(),
        (false, true) => palette.strong(),
        (false, false) => palette.quiet(),
    };
    let mut spans = vec![Span::styled(name, style)];
    for column in columns {
        let (text, style) = (column.cell)(node, palette);
        spans.push(Span::styled(padded(column, spare, &text), style));
    }
    Line::from(spans)
}

/// A region's name.
fn name(region: &Region, named: usize, palette: Palette) -> Span<'static> {
    Span::styled(format!(" {:<1$}", cut(&region.name, named - 2), named - 1), palette.region())
}

/// A region's name and what it does at the moment, where there is no past to draw.
fn title(region: &Region, named: usize, palette: Palette) -> Line<'static> {
    let rate = |value: fn(Rates) -> f64| {
        region.rates.map_or_else(|| "–".to_owned(), |rates| format!("{}/s", bytes(value(rates))))
    };
    let (received, sent) = (rate(|rates| rates.received_bytes_per_s), rate(|rates| rates.sent_bytes_per_s));
    Line::from(vec![name(region, named, palette), Span::raw(format!("in {received}   out {sent}"))])
}

/// A region's name, and its curves.
fn banner(region: &Region, named: usize, width: usize, palette: Palette) -> Line<'static> {
    const WORDS: usize = "in  1.2 MB/s   out  1.2 MB/s ".len();
    let curve = (width.saturating_sub(named + WORDS + 2) / 2).min(LONGEST_CURVE);
    let rate = |value: fn(Rates) -> f64| {
        region.rates.map_or_else(|| format!("{:>8}", "–"), |rates| format!("{:>6}/s", bytes(value(rates))))
    };
    let received = |rates: Rates| rates.received_bytes_per_s;
    let sent = |rates: Rates| rates.sent_bytes_per_s;
    Line::from(vec![
        name(region, named, palette),
        Span::styled("in ", palette.quiet()),
        Span::styled(spark(&region.past, curve, received), palette.received()),
        Span::raw(format!(" {}", rate(received))),
        Span::styled("   out ", palette.quiet()),
        Span::styled(spark(&region.past, curve, sent), palette.sent()),
        Span::raw(format!(" {}", rate(sent))),
    ])
}

/// A curve of the last values, the newest at the right, as high as the highest of them. Below [`FULL_CURVE`] it is flat:
/// a few questions a second are no load.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 8 is what is cast")]
fn spark(past: &[Option<Rates>], width: usize, value: fn(Rates) -> f64) -> String {
    const STEPS: [char; 9] = ['▁', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = &past[past.len().saturating_sub(width)..];
    let most = shown.iter().flatten().map(|rates| value(*rates)).fold(FULL_CURVE, f64::max);
    let step = |rates: &Option<Rates>| match rates {
        None => '·',
        Some(rates) => STEPS[((value(*rates) / most * 8.0).ceil() as usize).min(8)],
    };
    let curve: String = shown.iter().map(step).collect();
    format!("{curve:·>width$}")
}

fn number(value: Option<u64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}

fn state(node: &Node, palette: Palette) -> (String, Style) {
    match node.state.as_str() {
        "up" if node.load.is_some() => ("up".to_owned(), palette.good()),
        "up" => ("silent".to_owned(), palette.odd()),
        "draining" => ("draining".to_owned(), palette.odd()),
        other => (other.to_owned(), palette.bad()),
    }
}

fn role(node: &Node, _: Palette) -> (String, Style) {
    let vote = if node.voter { " v" } else { "" };
    (format!("{}{vote}", cut(&node.role, 7)), Style::new())
}

fn lag(node: &Node, palette: Palette) -> (String, Style) {
    let style = if node.lag.is_some_and(|lag| lag > 100) { palette.odd() } else { Style::new() };
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let text = node.lag.map_or_else(|| "–".to_owned(), |lag| count(lag as f64));
    (text, style)
}

fn rate(node: &Node, palette: Palette, value: fn(Rates) -> f64, say: fn(f64) -> String) -> (String, Style) {
    match node.rates.map(value) {
        None => ("–".to_owned(), palette.quiet()),
        Some(rate) if rate > 0.0 => (say(rate), Style::new()),
        Some(_) => (say(0.0), palette.quiet()),
    }
}

fn faults(node: &Node, palette: Palette) -> (String, Style) {
    let (text, style) = rate(node, palette, |rates| rates.faults_per_s, count);
    (text, if node.rates.is_some_and(|rates| rates.faults_per_s > 0.0) { palette.bad() } else { style })
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn queue(node: &Node, palette: Palette) -> (String, Style) {
    match node.load {
        None => ("–".to_owned(), palette.quiet()),
        Some(load) if load.queue == 0 => ("0".to_owned(), palette.quiet()),
        Some(load) => (format!("{} {}", count(load.queue as f64), bytes(load.queue_bytes as f64)), palette.odd()),
    }
}

fn load(_: &Node, palette: Palette, value: Option<u64>) -> (String, Style) {
    let style = if value.is_some_and(|value| value > 0) { Style::new() } else { palette.quiet() };
    (number(value), style)
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn disk(node: &Node, palette: Palette) -> (String, Style) {
    /// Uploads stop at 1 GiB.
    const LITTLE: u64 = 5 << 30;
    match node.load.and_then(|load| load.disk_free_bytes) {
        None => ("–".to_owned(), palette.quiet()),
        Some(free) => (bytes(free as f64), if free < LITTLE { palette.bad() } else { Style::new() }),
    }
}

fn seen(node: &Node, palette: Palette) -> (String, Style) {
    match node.last_seen_ms {
        None => ("never".to_owned(), palette.bad()),
        Some(ms) if ms < 3_000 => ("now".to_owned(), palette.quiet()),
        Some(ms) => (age(ms), palette.odd()),
    }
}
