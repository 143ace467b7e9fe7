//! What things look like, with colours and without.

use ratatui::style::{Color, Modifier, Style};

/// The looks of everything. Without colours (`NO_COLOR`) weight says what colour would.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Palette {
    /// Whether there are colours.
    pub(crate) colours: bool,
}

impl Palette {
    fn coloured(self, colour: Color, otherwise: Modifier) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new().add_modifier(otherwise) }
    }

    /// As it should be.
    pub(crate) fn good(self) -> Style {
        self.coloured(Color::Green, Modifier::empty())
    }

    /// Worth a look.
    pub(crate) fn odd(self) -> Style {
        self.coloured(Color::Yellow, Modifier::BOLD)
    }

    /// Needs a look.
    pub(crate) fn bad(self) -> Style {
        self.coloured(Color::LightRed, Modifier::BOLD).add_modifier(Modifier::BOLD)
    }

    /// Beside the point.
    pub(crate) fn quiet(self) -> Style {
        self.coloured(Color::DarkGray, Modifier::DIM)
    }

    /// The point.
    pub(crate) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Who leads.
    pub(crate) fn leader(self) -> Style {
        self.coloured(Color::Cyan, Modifier::BOLD).add_modifier(Modifier::BOLD)
    }

    /// A region's name.
    pub(crate) fn region(self) -> Style {
        self.coloured(Color::LightBlue, Modifier::BOLD).add_modifier(Modifier::BOLD)
    }

    /// What comes from clients.
    pub(crate) fn received(self) -> Style {
        self.coloured(Color::Magenta, Modifier::empty())
    }

    /// What goes to clients.
    pub(crate) fn sent(self) -> Style {
        self.coloured(Color::Green, Modifier::empty())
    }

    /// The heads of columns.
    pub(crate) fn heads(self) -> Style {
        self.coloured(Color::Gray, Modifier::UNDERLINED).add_modifier(Modifier::UNDERLINED)
    }
}
