//! The first lines: which cluster this is, who leads it, who was asked and when.

use super::palette::Palette;
use super::picture::Picture;
use crate::commands::top::words::{age, clock, cut};
use ratatui::text::{Line, Span};

/// Two lines, and a third when the picture is old.
pub(crate) fn lines(picture: &Picture<'_>, palette: Palette, width: u16) -> Vec<Line<'static>> {
    let model = picture.model;
    let width = usize::from(width);
    let time = format!("{}  every {} ", clock(model.at_ms), every(picture));
    let numbers = format!("  epoch {}  term {}", model.epoch, model.term);
    let rest = " portolan top  cluster  ".len() + numbers.len() + time.len();
    let cluster = model.cluster_id.clone().unwrap_or_else(|| "not known yet".to_owned());
    let first = vec![
        Span::styled(" portolan top", palette.strong()),
        Span::raw("  cluster "),
        Span::styled(cut(&cluster, width.saturating_sub(rest).max(8)), palette.strong()),
        Span::raw(numbers),
    ];
    let up = model.nodes.iter().filter(|node| node.state == "up").count();
    let voters = model.nodes.iter().filter(|node| node.voter).count();
    let counts = format!("{up} of {} nodes up, {voters} voters ", model.nodes.len());
    let mut second = vec![Span::raw(" leader ")];
    second.push(match model.leader.and_then(|id| model.node(id)) {
        Some(node) => Span::styled(format!("★ {} in {}", node.name, node.region), palette.leader()),
        None => Span::styled("none: writes wait until one is elected", palette.bad()),
    });
    let asked = model.asked.and_then(|id| model.node(id)).map_or("a node", |node| node.name.as_str());
    second.push(Span::raw(format!("  asked {asked} at {}", model.server)));
    let mut lines = vec![spread(first, time, palette, width), spread(second, counts, palette, width)];
    if let Some(trouble) = picture.trouble {
        let old = age(u64::try_from(trouble.age.as_millis()).unwrap_or(u64::MAX));
        let text = format!(" {old} old: {} ", trouble.reason);
        lines.push(Line::styled(cut(&text, width), palette.bad()));
    } else {
        lines.push(Line::default());
    }
    lines
}

/// The interval as it was given.
fn every(picture: &Picture<'_>) -> String {
    match picture.interval.as_millis() {
        whole if whole.is_multiple_of(1_000) => format!("{} s", whole / 1_000),
        milliseconds => format!("{milliseconds} ms"),
    }
}

/// One text at the left, and another at the right if there is room for it.
fn spread(left: Vec<Span<'static>>, right: String, palette: Palette, width: usize) -> Line<'static> {
    let mut line = Line::from(left);
    let gap = width.saturating_sub(line.width() + right.chars().count());
    if gap > 0 {
        line.push_span(Span::raw(" ".repeat(gap)));
        line.push_span(Span::styled(right, palette.quiet()));
    }
    line
}
