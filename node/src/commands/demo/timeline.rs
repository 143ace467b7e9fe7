//! What happened when: printed as it happens, or kept for JSON.

use crate::commands::terminal::{Colour, paint, say};
use serde::Serialize;
use std::io;
use std::time::{Duration, Instant};

/// One thing that happened.
#[derive(Debug, Serialize)]
pub(crate) struct Event {
    /// When it was over, in milliseconds since the demo began.
    pub(crate) at_ms: u64,
    /// How long it took, in milliseconds.
    pub(crate) took_ms: u64,
    /// A word that names the step.
    pub(crate) step: &'static str,
    /// At which node.
    pub(crate) node: String,
    /// What happened, for a person.
    pub(crate) what: String,
}

/// The demo as it goes.
pub(crate) struct Timeline {
    began: Instant,
    silent: bool,
    events: Vec<Event>,
}

impl Timeline {
    /// Begins now. A silent one prints nothing.
    pub(crate) fn begin(silent: bool) -> Self {
        Self { began: Instant::now(), silent, events: Vec::new() }
    }

    /// Says what comes now, and why.
    ///
    /// # Errors
    /// When standard output is closed.
    pub(crate) fn chapter(&self, title: &str) -> io::Result<()> {
        if self.silent { Ok(()) } else { say(&format!("\n{}", paint(title, Colour::Strong))) }
    }

    /// Notes that something that began at `since` is done.
    ///
    /// # Errors
    /// When standard output is closed.
    pub(crate) fn done(&mut self, step: &'static str, node: &str, since: Instant, what: String) -> io::Result<()> {
        self.done_after(step, node, since, since.elapsed(), what)
    }

    /// Notes that something that began at `since` was done after `took`.
    ///
    /// # Errors
    /// When standard output is closed.
    pub(crate) fn done_after(
        &mut self,
        step: &'static str,
        node: &str,
        since: Instant,
        took: Duration,
        what: String,
    ) -> io::Result<()> {
        let at = (since + took).duration_since(self.began);
        if !self.silent {
            let when = paint(&format!("{:6.2} s", at.as_secs_f32()), Colour::Quiet);
            let how_long = paint(&format!("({})", in_words(took)), Colour::Quiet);
            say(&format!("{when}  {} {node:<12} {what} {how_long}", paint("✓", Colour::Good)))?;
        }
        let event = Event { at_ms: whole_ms(at), took_ms: whole_ms(took), step, node: node.to_owned(), what };
        self.events.push(event);
        Ok(())
    }

    /// Everything that happened.
    pub(crate) fn events(&self) -> &[Event] {
        &self.events
    }
}

/// A duration in the unit a person would use.
pub(crate) fn in_words(duration: Duration) -> String {
    match duration.as_millis() {
        0 => "under 1 ms".to_owned(),
        milliseconds @ 1..1000 => format!("{milliseconds} ms"),
        _ => format!("{:.2} s", duration.as_secs_f32()),
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
