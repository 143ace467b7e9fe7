//! `--watch`: bars that are drawn again in place on a terminal, lines where somebody reads later.

use super::render::{called, line};
use crate::commands::terminal::say;
use crate::commands::top::words;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use portolan_registry::{ImageRegion, ImageReport};
use std::collections::BTreeMap;
use std::io::{self, IsTerminal};

/// What is drawn of an image.
pub(super) struct Picture {
    image: String,
    kind: Kind,
    last: String,
}

enum Kind {
    Json,
    Lines,
    Bars { all: MultiProgress, regions: BTreeMap<String, ProgressBar> },
}

impl Picture {
    pub(super) fn new(json: bool, image: String) -> Self {
        let kind = match (json, io::stdout().is_terminal()) {
            (true, _) => Kind::Json,
            (false, false) => Kind::Lines,
            (false, true) => {
                let all = MultiProgress::with_draw_target(indicatif::ProgressDrawTarget::stdout());
                Kind::Bars { all, regions: BTreeMap::new() }
            }
        };
        Self { image, kind, last: String::new() }
    }

    /// Draws the newest report.
    ///
    /// # Errors
    /// When it cannot be printed.
    pub(super) fn show(&mut self, report: &ImageReport, json: &str) -> io::Result<()> {
        let head = self.last.is_empty();
        match &mut self.kind {
            Kind::Json => {
                json.trim_end().clone_into(&mut self.last);
                say(json.trim_end())
            }
            Kind::Lines => {
                if head {
                    say(&called(&self.image, report))?;
                }
                let lines: Vec<String> = counted(report).map(|region| line(region, report.blobs)).collect();
                let text = lines.join("\n");
                // Nothing new is nothing to say.
                if text != self.last {
                    say(&text)?;
                    self.last = text;
                }
                Ok(())
            }
            Kind::Bars { all, regions } => {
                if head {
                    all.println(called(&self.image, report))?;
                    self.last = "drawn".to_owned();
                }
                let width = counted(report).map(|region| region.region.len()).max().unwrap_or_default();
                for region in counted(report) {
                    let bar = regions.entry(region.region.clone()).or_insert_with(|| all.add(bar(region, width)));
                    bar.set_length(region.bytes + region.missing_bytes);
                    bar.set_position(region.bytes + region.received_bytes);
                    bar.set_message(beside(region));
                }
                Ok(())
            }
        }
    }

    /// Says that a question was not answered; it is asked again.
    ///
    /// # Errors
    /// When it cannot be printed.
    pub(super) fn trouble(&mut self, what: &str) -> io::Result<()> {
        match &self.kind {
            Kind::Json => say(&serde_json::json!({ "error": what }).to_string()),
            Kind::Lines => say(what),
            Kind::Bars { regions, .. } => {
                regions.values().for_each(|bar| bar.set_message(what.to_owned()));
                Ok(())
            }
        }
    }

    /// Everything is where it shall be.
    ///
    /// # Errors
    /// When it cannot be printed.
    pub(super) fn finish(self, report: &ImageReport) -> io::Result<()> {
        match self.kind {
            Kind::Json => Ok(()),
            Kind::Lines => say("it is everywhere where it shall be"),
            Kind::Bars { regions, .. } => {
                for region in counted(report) {
                    if let Some(bar) = regions.get(&region.region) {
                        bar.abandon_with_message("complete");
                    }
                }
                Ok(())
            }
        }
    }
}

/// The regions that shall have it.
fn counted(report: &ImageReport) -> impl Iterator<Item = &ImageRegion> {
    report.regions.iter().filter(|region| region.copies > 0)
}

fn bar(region: &ImageRegion, width: usize) -> ProgressBar {
    let template = format!("{{prefix:{width}}} [{{bar:30}}] {{percent:>3}} %  {{msg}}");
    // The template is ours: it cannot be wrong, and a bar without one would still tell.
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style.progress_chars("=> ")).with_prefix(region.region.clone())
}

/// What stands behind a bar.
fn beside(region: &ImageRegion) -> String {
    let all = region.bytes + region.missing_bytes;
    let have = words::bytes((region.bytes + region.received_bytes) as f64);
    let mut text = format!("{have} of {}", words::bytes(all as f64));
    if region.bytes_per_second > 0 {
        text.push_str(&format!("  {}/s", words::bytes(region.bytes_per_second as f64)));
    }
    if let Some(eta_ms) = region.eta_ms {
        text.push_str(&format!("  {} left", words::age(eta_ms)));
    }
    if !region.sources.is_empty() {
        text.push_str(&format!("  from {}", region.sources.join(", ")));
    }
    text
}
