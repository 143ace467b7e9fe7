//! What is typed, from a thread of its own: reading a terminal blocks.

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How long the thread looks for a key before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

/// How long the thread may take to end. When the terminal has gone, crossterm reads its end over and over and never
/// returns: that thread ends with the process, which has nothing else to do then.
const END: Duration = Duration::from_millis(500);

/// What a key, or the terminal, asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// To end.
    Quit,
    /// To stop the picture, or let it go on.
    Pause,
    /// To sort by something else.
    Sort,
    /// To show the help, or hide it.
    Help,
    /// To show what is so many lines further down.
    Scroll(isize),
    /// To draw again: the terminal has another size.
    Redraw,
}

/// Reads the terminal until it is dropped.
pub(crate) struct Keys {
    /// What was typed; the last is an error when the terminal has gone.
    pub(crate) inputs: mpsc::Receiver<io::Result<Input>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keys {
    /// Reads from now on.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(crate) fn read() -> io::Result<Self> {
        let (sender, inputs) = mpsc::channel(64);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let reading = move || {
            while !stopped.load(Ordering::Relaxed) {
                let input = match next() {
                    Ok(None) => continue,
                    Ok(Some(input)) => Ok(input),
                    Err(error) => Err(error),
                };
                let last = input.is_err();
                // Full only while nothing is drawn, when no key is to be missed that anybody waits for.
                let _ = sender.try_send(input);
                if last {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("keys".to_owned()).spawn(reading)?;
        Ok(Self { inputs, stop, thread: Some(thread) })
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return };
        let until = Instant::now() + END;
        while !thread.is_finished() && Instant::now() < until {
            std::thread::sleep(LOOK / 10);
        }
        if thread.is_finished() {
            // A panic in there has been printed.
            let _ = thread.join();
        }
    }
}

fn next() -> io::Result<Option<Input>> {
    if !event::poll(LOOK)? {
        return Ok(None);
    }
    Ok(match event::read()? {
        Event::Key(key) if key.kind != KeyEventKind::Release => meaning(key),
        Event::Resize(..) => Some(Input::Redraw),
        _ => None,
    })
}

fn meaning(key: KeyEvent) -> Option<Input> {
    match key.code {
        KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Input::Quit),
        KeyCode::Char('l') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Input::Redraw),
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Some(Input::Quit),
        KeyCode::Char('p' | ' ') => Some(Input::Pause),
        KeyCode::Char('s') => Some(Input::Sort),
        KeyCode::Char('?' | 'h') => Some(Input::Help),
        KeyCode::Up | KeyCode::Char('k') => Some(Input::Scroll(-1)),
        KeyCode::Down | KeyCode::Char('j') => Some(Input::Scroll(1)),
        KeyCode::PageUp => Some(Input::Scroll(-10)),
        KeyCode::PageDown => Some(Input::Scroll(10)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Input, KeyCode, KeyEvent, KeyModifiers, meaning};

    #[test]
    fn every_documented_key_does_what_the_help_says() {
        let plain = KeyModifiers::NONE;
        for (code, modifiers, expected) in [
            (KeyCode::Char('q'), plain, Some(Input::Quit)),
            (KeyCode::Esc, plain, Some(Input::Quit)),
            (KeyCode::Char('c'), KeyModifiers::CONTROL, Some(Input::Quit)),
            (KeyCode::Char('c'), plain, None),
            (KeyCode::Char('p'), plain, Some(Input::Pause)),
            (KeyCode::Char('s'), plain, Some(Input::Sort)),
            (KeyCode::Char('?'), KeyModifiers::SHIFT, Some(Input::Help)),
            (KeyCode::Up, plain, Some(Input::Scroll(-1))),
            (KeyCode::Down, plain, Some(Input::Scroll(1))),
        ] {
            assert_eq!(meaning(KeyEvent::new(code, modifiers)), expected, "{code:?}");
        }
    }
}
