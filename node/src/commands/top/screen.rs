//! The terminal: drawn at every sample and every key, and given back as it was on every way out.

use super::keys::{Input, Keys};
use super::model::Model;
use super::order::Sort;
use super::poll::{Poller, Source};
use super::view::{Picture, Trouble, draw};
use crate::client::ClientError;
use crate::commands::terminal::colours;
use crate::error::Failure;
use ratatui::DefaultTerminal;
use std::io;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior};

/// How much later than expected a sample may be before the picture says that it is old.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often the picture is drawn when nothing happens, so that its age is right.
const REDRAW: Duration = Duration::from_millis(500);

/// What the screen shows, and what was typed so far.
struct State {
    model: Model,
    sampled: Instant,
    /// Since when it has been asked: what is not asked for is not late.
    asked: Instant,
    error: Option<String>,
    interval: Duration,
    sort: Sort,
    skipped: usize,
    paused: bool,
    help: bool,
}

/// The terminal in its other screen. Dropping it brings the first one back.
struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    /// Also has a panic give the terminal back before its message is printed.
    fn open() -> io::Result<Self> {
        let terminal = ratatui::try_init().inspect_err(|_| {
            // It failed half way: whatever can be undone is.
            let _ = ratatui::try_restore();
        })?;
        Ok(Self { terminal })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing.
        let _ = ratatui::try_restore();
    }
}

/// The signals that end it.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Ends {
    fn watch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Shows the cluster until a key or a signal ends it.
///
/// # Errors
/// When the terminal cannot be used.
pub(crate) async fn watch(source: Source, first: Model, interval: Duration) -> Result<(), Failure> {
    // Before the terminal changes: from here on a signal no longer ends the process by itself.
    let ends = Ends::watch()?;
    let mut screen = Screen::open()?;
    let mut keys = Keys::read()?;
    let mut poller = Poller::start(source, interval);
    let state = State {
        model: first,
        sampled: Instant::now(),
        asked: Instant::now(),
        error: None,
        interval,
        sort: Sort::default(),
        skipped: 0,
        paused: false,
        help: false,
    };
    let result = show(&mut screen, &mut keys, &mut poller, ends, state).await;
    poller.finish().await;
    drop(keys);
    drop(screen);
    Ok(result?)
}

async fn show(
    screen: &mut Screen,
    keys: &mut Keys,
    poller: &mut Poller,
    mut ends: Ends,
    mut state: State,
) -> io::Result<()> {
    let mut redraw = tokio::time::interval(REDRAW);
    redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let picture = state.picture(colours());
        screen.terminal.draw(|frame| draw(&picture, frame.area(), frame.buffer_mut()))?;
        let lines = usize::from(screen.terminal.size()?.height);
        tokio::select! {
            () = ends.any() => return Ok(()),
            Some(input) = keys.inputs.recv() => {
                if !state.typed(input?, lines) {
                    return Ok(());
                }
                poller.pause(state.paused);
            }
            Some(sample) = poller.samples.recv() => state.sampled(sample),
            _ = redraw.tick() => {}
        }
    }
}

impl State {
    fn sampled(&mut self, sample: Result<Model, ClientError>) {
        match sample {
            Ok(model) => {
                self.model = model;
                self.sampled = Instant::now();
                self.error = None;
            }
            // What is known stays, and the next question follows.
            Err(error) => self.error = Some(error.to_string()),
        }
    }

    /// Whether to go on.
    fn typed(&mut self, input: Input, lines: usize) -> bool {
        match input {
            Input::Quit => return false,
            Input::Pause => {
                self.paused = !self.paused;
                self.asked = Instant::now();
            }
            Input::Sort => self.sort = self.sort.next(),
            Input::Help => self.help = !self.help,
            Input::Scroll(by) => {
                let most = (self.model.nodes.len() + self.model.regions.len() + 1).saturating_sub(lines.min(5));
                self.skipped = self.skipped.saturating_add_signed(by).min(most);
            }
            Input::Redraw => {}
        }
        true
    }

    fn picture(&self, colours: bool) -> Picture<'_> {
        let (age, waited) = (self.sampled.elapsed(), self.sampled.max(self.asked).elapsed());
        let late = (!self.paused && waited > self.interval + PATIENCE).then_some("no answer yet");
        let reason = self.error.as_deref().or(late);
        Picture {
            model: &self.model,
            interval: self.interval,
            trouble: reason.map(|reason| Trouble { reason, age }),
            sort: self.sort,
            skipped: self.skipped,
            paused: self.paused,
            help: self.help,
            keys: true,
            colours,
        }
    }
}
