//! Without a terminal: one picture as text, or samples as lines of JSON.

use super::model::Model;
use super::order::Sort;
use super::poll::{Source, now_ms};
use super::view::{Picture, draw, full_height};
use crate::commands::terminal::say;
use crate::error::Failure;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use serde_json::json;
use std::io::{self, IsTerminal};
use std::time::Duration;
use tokio::time::Instant;

/// How long the rates of all nodes may take to be known. What a node does comes with its pings, one a second.
const RATED_WITHIN: Duration = Duration::from_secs(4);

/// Between two questions while some rate is unknown.
const AGAIN: Duration = Duration::from_millis(250);

/// How wide a text is that goes into a file or a pipe.
const WIDTH: u16 = 120;

/// The widest text: beyond it, no column gets wider.
const WIDEST: u16 = 160;

/// The next sample after an interval, or the first after it in which all rates are known.
///
/// # Errors
/// When the server does not answer.
pub(crate) async fn rated(source: &mut Source, interval: Duration) -> Result<Model, Failure> {
    let (mut pause, until) = (interval, Instant::now() + interval + RATED_WITHIN);
    loop {
        tokio::time::sleep(pause).await;
        let model = source.sample().await?;
        if model.is_rated() || Instant::now() > until {
            return Ok(model);
        }
        pause = AGAIN;
    }
}

/// Prints one picture.
///
/// # Errors
/// When it cannot be printed.
pub(crate) fn text(model: &Model, interval: Duration) -> Result<(), Failure> {
    let picture = Picture {
        model,
        interval,
        trouble: None,
        sort: Sort::default(),
        skipped: 0,
        paused: false,
        help: false,
        keys: false,
        colours: false,
    };
    Ok(say(&plain(&picture, width()))?)
}

/// A picture as lines of text.
fn plain(picture: &Picture<'_>, width: u16) -> String {
    let area = Rect::new(0, 0, width, full_height(picture, width));
    let mut buffer = Buffer::empty(area);
    draw(picture, area, &mut buffer);
    let row = |y| {
        let cells = (0..area.width).filter_map(|x| buffer.cell((x, y)));
        cells.map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned()
    };
    let lines: Vec<String> = (0..area.height).map(row).collect();
    lines.join("\n").trim_end().to_owned()
}

/// The terminal's width, else that of `COLUMNS`.
fn width() -> u16 {
    let terminal = if io::stdout().is_terminal() { ratatui::crossterm::terminal::size().ok() } else { None };
    let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal.map(|(width, _)| width).or_else(columns).unwrap_or(WIDTH).clamp(40, WIDEST)
}

/// Prints a sample as a line of JSON.
///
/// # Errors
/// When it cannot be printed.
pub(crate) fn line(model: &Model) -> Result<(), Failure> {
    let line = serde_json::to_string(model).map_err(io::Error::other)?;
    Ok(say(&line)?)
}

/// Prints a line for each sample, until nobody reads them. A question without an answer is a line too, with `error`.
///
/// # Errors
/// When it cannot be printed.
pub(crate) async fn lines(source: &mut Source, first: Model, interval: Duration) -> Result<(), Failure> {
    line(&first)?;
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        match source.sample().await {
            Ok(model) => line(&model)?,
            Err(error) => {
                let said = json!({"at_ms": now_ms(), "server": source.server(), "error": error.to_string()});
                say(&said.to_string())?;
            }
        }
    }
}
