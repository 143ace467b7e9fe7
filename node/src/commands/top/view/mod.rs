//! The picture: a model and the state of the screen, drawn into a buffer of any size.

mod footer;
mod header;
mod help;
mod matrices;
mod nodes;
mod palette;
mod picture;
#[cfg(test)]
mod tests;

pub(crate) use picture::{Picture, Trouble};

use palette::Palette;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Widget};

/// How many lines of nodes there are at least before anything else gets room.
const FEWEST_NODE_LINES: u16 = 5;

/// Draws it.
pub(crate) fn draw(picture: &Picture<'_>, area: Rect, buffer: &mut Buffer) {
    let palette = Palette { colours: picture.colours };
    let head = header::lines(picture, palette, area.width);
    let nodes = nodes::lines(picture, palette, area.width);
    let foot = if picture.keys { vec![footer::keys(picture, palette)] } else { Vec::new() };
    let fixed = height(&head) + height(&foot);
    let mut left = area.height.saturating_sub(fixed + FEWEST_NODE_LINES.min(height(&nodes)));
    let warnings = footer::warnings(picture, palette, usize::from(left), area.width);
    left = left.saturating_sub(height(&warnings));
    let matrices = matrices::lines(picture, palette, area.width, left);
    let others = fixed + height(&warnings) + height(&matrices);
    let middle = height(&nodes).min(area.height.saturating_sub(others));

    let rows = Layout::vertical([
        Constraint::Length(height(&head)),
        Constraint::Length(middle),
        Constraint::Length(height(&matrices)),
        Constraint::Fill(1),
        Constraint::Length(height(&warnings)),
        Constraint::Length(height(&foot)),
    ]);
    let [top, middle, below, _, warned, bottom] = rows.areas(area);
    Paragraph::new(head).render(top, buffer);
    nodes::fit(nodes, picture.skipped, middle.height, palette).render(middle, buffer);
    Paragraph::new(matrices).render(below, buffer);
    Paragraph::new(warnings).render(warned, buffer);
    Paragraph::new(foot).render(bottom, buffer);
    if picture.trouble.is_some() {
        for old in [middle, below, warned] {
            buffer.set_style(old, faded(picture.colours));
        }
    }
    if picture.help {
        help::draw(palette, area, buffer);
    }
}

/// How many lines it takes to show everything.
pub(crate) fn full_height(picture: &Picture<'_>, width: u16) -> u16 {
    let palette = Palette { colours: picture.colours };
    let parts = [
        header::lines(picture, palette, width),
        nodes::lines(picture, palette, width),
        matrices::lines(picture, palette, width, u16::MAX),
        footer::warnings(picture, palette, usize::MAX, width),
    ];
    parts.iter().map(|lines| height(lines)).fold(u16::from(picture.keys), u16::saturating_add)
}

fn height(lines: &[Line<'_>]) -> u16 {
    u16::try_from(lines.len()).unwrap_or(u16::MAX)
}

/// How that looks which is not known to be so any more.
fn faded(colours: bool) -> Style {
    let plain = Style::new().remove_modifier(Modifier::BOLD).add_modifier(Modifier::DIM);
    if colours { plain.fg(Color::DarkGray) } else { plain }
}
