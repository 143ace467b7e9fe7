//! What the keys do and what the columns mean, over the picture.

use super::palette::Palette;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Rect};
use ratatui::widgets::{Block, Clear, Paragraph, Widget};

const TEXT: &str = " q Esc Ctrl-C  quit           p  pause, go on
 s  sort by the next column   ↑ ↓  scroll
 ?  this help, and back

 ★  the leader     v  has a vote
 STATE     silent: up, but has not answered for 3 s
 LAG       log entries not applied yet at its last ping
 IN OUT    bytes from and to clients; region: since
           this began, newest right, each to its own
           scale, full at 100 kB/s or more
 TO FETCH  blobs it should hold and lacks, their bytes
 BEHIND    what the row's region has and the column's
           lacks: bytes, and age of the oldest
 ROUND TRIP  of pings, smoothed; median of the nodes'
           !  some are silent
 Of the others the asked node tells their last ping:
 a second or two old; so are their rates.";

/// Draws it in the middle.
pub(crate) fn draw(palette: Palette, area: Rect, buffer: &mut Buffer) {
    let (width, height) = (TEXT.lines().map(|line| line.chars().count()).max().unwrap_or(0), TEXT.lines().count());
    let size = |inner: usize| Constraint::Length(u16::try_from(inner + 2).unwrap_or(u16::MAX));
    let middle = area.centered(size(width + 1), size(height));
    Clear.render(middle, buffer);
    let frame = Block::bordered().title(" portolan top ").border_style(palette.quiet()).title_style(palette.strong());
    Paragraph::new(TEXT).block(frame).render(middle, buffer);
}
