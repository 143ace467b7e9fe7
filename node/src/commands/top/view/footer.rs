//! The last lines: what an operator should know, and the keys.

use super::palette::Palette;
use super::picture::Picture;
use crate::commands::top::words::cut;
use ratatui::text::{Line, Span};

/// The most lines of warnings where room is scarce.
const MOST: usize = 8;

/// The warnings after an empty line: on a screen a third of what is left of it, so that others get room too.
pub(crate) fn warnings(picture: &Picture<'_>, palette: Palette, left: usize, width: u16) -> Vec<Line<'static>> {
    let warnings = &picture.model.warnings;
    let room = if picture.keys { (left / 3).clamp(2, MOST) } else { usize::MAX };
    if warnings.is_empty() || left < 3 {
        return Vec::new();
    }
    let mut lines = vec![Line::default()];
    for (at, warning) in warnings.iter().enumerate() {
        let wrapped = wrapped(warning, usize::from(width).saturating_sub(4));
        let is_last = at + 1 == warnings.len();
        if lines.len() - 1 + wrapped.len() + usize::from(!is_last) > room {
            let more = format!(" ! {} more: `portolan cluster status` tells them all", warnings.len() - at);
            lines.push(Line::styled(cut(&more, usize::from(width)), palette.odd()));
            break;
        }
        for (row, text) in wrapped.into_iter().enumerate() {
            let mark = if row == 0 { " ! " } else { "   " };
            lines.push(Line::from(vec![Span::styled(mark, palette.odd()), Span::raw(text)]));
        }
    }
    lines
}

/// A text in lines of at most so many letters; a longer word is cut.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        let taken = lines[last].chars().count();
        if taken == 0 {
            lines[last] = cut(word, width);
        } else if taken + 1 + word.chars().count() <= width {
            lines[last].push(' ');
            lines[last].push_str(word);
        } else {
            lines.push(cut(word, width));
        }
    }
    lines
}

/// What the keys do.
pub(crate) fn keys(picture: &Picture<'_>, palette: Palette) -> Line<'static> {
    let pause = if picture.paused { "go on" } else { "pause" };
    let sort = format!("sort by {}", picture.sort.name());
    let mut spans = Vec::new();
    for (key, does) in [("q", "quit"), ("p", pause), ("s", sort.as_str()), ("↑↓", "scroll"), ("?", "help")] {
        spans.push(Span::styled(format!(" {key} "), palette.strong()));
        spans.push(Span::styled(format!("{does} "), palette.quiet()));
    }
    if picture.paused {
        spans.push(Span::styled("  PAUSED", palette.odd()));
    }
    Line::from(spans)
}
