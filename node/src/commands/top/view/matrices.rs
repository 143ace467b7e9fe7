//! Regions against regions: how far one is behind another, and how long the way between them is.

use super::palette::Palette;
use super::picture::Picture;
use crate::answer::LagAnswer;
use crate::commands::top::model::{Model, RegionLink};
use crate::commands::top::words::{age, bytes, cut, round_trip};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// The longest name of a region at the left of its row.
const LONGEST_LABEL: usize = 16;

/// One matrix.
struct Matrix {
    title: &'static str,
    /// The narrowest and the widest cell.
    widths: (usize, usize),
    cell: fn(&Model, &str, &str, Palette) -> (String, Style),
}

const LAG: Matrix = Matrix { title: "BEHIND (column lacks of row)", widths: (11, 14), cell: behind };
const TRIPS: Matrix = Matrix { title: "ROUND TRIP ms (row to column)", widths: (9, 12), cell: trip };

/// Both matrices beside each other, or above each other, or the one that has more to say, as there is room.
pub(crate) fn lines(picture: &Picture<'_>, palette: Palette, width: u16, height: u16) -> Vec<Line<'static>> {
    let (model, width) = (picture.model, usize::from(width));
    let count = model.regions.len();
    let longest = model.regions.iter().map(|region| region.name.chars().count()).max().unwrap_or(0);
    let label = longest.min(LONGEST_LABEL) + 2;
    let (rows, room) = (count + 3, usize::from(height));
    let has_trips = model.region_links.iter().any(|link| link.links > 0);
    let matrices = match (count, has_trips) {
        (0 | 1, false) => return Vec::new(),
        (1, true) => vec![&TRIPS],
        (_, false) => vec![&LAG],
        (_, true) => vec![&LAG, &TRIPS],
    };
    let narrow: usize = matrices.iter().map(|matrix| matrix.widths.0 * count).sum::<usize>() + 3 * (matrices.len() - 1);
    let fits_beside = label + narrow <= width;
    if fits_beside && rows <= room {
        let spare = (width - label - narrow) / (count * matrices.len()).max(1);
        let cell = |matrix: &Matrix| (matrix.widths.0 + spare).min(matrix.widths.1).min(widest(matrix, longest));
        return drawn(model, &matrices, label, &cell, palette);
    }
    let cell = |matrix: &Matrix| matrix.widths.0;
    if rows * matrices.len() <= room {
        return matrices.iter().flat_map(|matrix| drawn(model, &[*matrix], label, &cell, palette)).collect();
    }
    if rows > room {
        return Vec::new();
    }
    let behind = model.lags.iter().any(|lag| lag.blobs > 0);
    let chosen = if behind || !has_trips { &LAG } else { &TRIPS };
    drawn(model, &[chosen], label, &cell, palette)
}

/// No cell is wider than what may stand in it or above it.
fn widest(matrix: &Matrix, longest: usize) -> usize {
    matrix.widths.0.max(longest + 2)
}

/// Matrices beside each other, after an empty line.
fn drawn(
    model: &Model,
    matrices: &[&Matrix],
    label: usize,
    cell: &dyn Fn(&Matrix) -> usize,
    palette: Palette,
) -> Vec<Line<'static>> {
    let count = model.regions.len();
    let mut titles = vec![Span::raw(" ".repeat(label))];
    let mut heads = vec![Span::styled(format!(" {:<1$}", "", label - 1), palette.heads())];
    for (at, matrix) in matrices.iter().enumerate() {
        let (cell, gap) = (cell(matrix), if at == 0 { 0 } else { 3 });
        let title = format!("{:gap$} {:<2$}", "", cut(matrix.title, (cell * count).max(12) - 1), cell * count - 1);
        titles.push(Span::styled(title, palette.strong()));
        heads.push(Span::styled(" ".repeat(gap), palette.heads()));
        for region in &model.regions {
            heads.push(Span::styled(format!("{:>cell$}", cut(&region.name, cell - 1)), palette.heads()));
        }
    }
    let mut lines = vec![Line::default(), Line::from(titles), Line::from(heads)];
    for from in &model.regions {
        let name = format!(" {:<1$}", cut(&from.name, label - 2), label - 1);
        let mut spans = vec![Span::styled(name, palette.region())];
        for (at, matrix) in matrices.iter().enumerate() {
            let cell = cell(matrix);
            spans.push(Span::raw(" ".repeat(if at == 0 { 0 } else { 3 })));
            for to in &model.regions {
                let (text, style) = (matrix.cell)(model, &from.name, &to.name, palette);
                spans.push(Span::styled(format!("{:>cell$}", cut(&text, cell - 1)), style));
            }
        }
        lines.push(Line::from(spans));
    }
    lines
}

#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn behind(model: &Model, from: &str, to: &str, palette: Palette) -> (String, Style) {
    match model.lag(from, to) {
        None if from == to => ("·".to_owned(), palette.quiet()),
        None => ("–".to_owned(), palette.quiet()),
        Some(LagAnswer { blobs: 0, .. }) => ("0".to_owned(), palette.quiet()),
        Some(lag) => {
            let style = if lag.age_ms >= 60_000 { palette.bad() } else { palette.odd() };
            (format!("{} {}", bytes(lag.bytes as f64), age(lag.age_ms)), style)
        }
    }
}

fn trip(model: &Model, from: &str, to: &str, palette: Palette) -> (String, Style) {
    match model.region_link(from, to) {
        None => ("·".to_owned(), palette.quiet()),
        Some(RegionLink { rtt_ms: None, .. }) => ("silent".to_owned(), palette.bad()),
        Some(RegionLink { rtt_ms: Some(rtt_ms), silent: 0, .. }) => (round_trip(*rtt_ms), Style::new()),
        Some(RegionLink { rtt_ms: Some(rtt_ms), .. }) => (format!("{} !", round_trip(*rtt_ms)), palette.odd()),
    }
}
