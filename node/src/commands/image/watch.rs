//! `--watch`: bars that are drawn again in place on a terminal, lines where somebody reads later; and when it ends.

use super::render::{called, line, lost};
use crate::client::Report;
use crate::commands::terminal::say;
use crate::commands::top::words;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use portolan_registry::{ImageRegion, ImageReport};
use std::collections::BTreeMap;
use std::io::{self, IsTerminal};

/// In how many pictures running nothing of a damaged image may move before nothing more is expected: between two
/// transfers there is a moment without one.
const STILL: u32 = 5;

/// What a picture means for whoever watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlook {
    /// More is to come.
    Coming,
    /// It is everywhere where it shall be.
    Done,
    /// It will not be, before somebody pushes it again.
    Damaged,
}

/// What the pictures so far mean.
#[derive(Default)]
pub(super) struct Course {
    still: u32,
}

impl Course {
    /// What the next one means. One that no leader confirmed may be long out of date, and ends nothing.
    pub(super) fn after(&mut self, report: &ImageReport, is_confirmed: bool) -> Outlook {
        let moves = report.regions.iter().any(|region| region.bytes_per_second > 0 || !region.sources.is_empty());
        self.still = if is_confirmed && report.lost_blobs > 0 && !moves { self.still + 1 } else { 0 };
        match is_confirmed {
            true if report.done => Outlook::Done,
            true if self.still >= STILL => Outlook::Damaged,
            _ => Outlook::Coming,
        }
    }
}

/// What is drawn of an image.
pub(super) struct Picture {
    image: String,
    kind: Kind,
    last: String,
    /// What was said of it as a whole, so that it is said once.
    notes: String,
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
        Self { image, kind, last: String::new(), notes: String::new() }
    }

    /// Draws the newest report.
    ///
    /// # Errors
    /// When it cannot be printed.
    pub(super) fn show(&mut self, shown: &Report<ImageReport>) -> io::Result<()> {
        let Report { told: report, json, remarks } = shown;
        let damage = lost(report).into_iter();
        let notes: Vec<String> =
            remarks.warnings().into_iter().map(|warning| format!("warning: {warning}")).chain(damage).collect();
        let notes = notes.join("\n");
        // Nothing new is nothing to say.
        let news = (notes != self.notes && !notes.is_empty()).then(|| notes.clone());
        self.notes = notes;
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
                if text != self.last {
                    say(&text)?;
                    self.last = text;
                }
                news.map_or(Ok(()), |news| say(&news))
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
                news.map_or(Ok(()), |news| all.println(news))
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

    /// Leaves what is drawn as it is.
    pub(super) fn give_up(self) {
        if let Kind::Bars { regions, .. } = self.kind {
            regions.values().for_each(ProgressBar::abandon);
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

#[cfg(test)]
mod tests {
    use super::super::render::tests::report;
    use super::{Course, Outlook, STILL};

    #[test]
    fn only_what_a_leader_confirmed_is_the_end() {
        let mut report = report();
        report.done = true;
        let mut course = Course::default();
        assert_eq!(course.after(&report, false), Outlook::Coming);
        assert_eq!(course.after(&report, true), Outlook::Done);
    }

    #[test]
    fn a_damaged_image_ends_once_nothing_moves_for_a_while() {
        let mut moving = report();
        moving.lost_blobs = 1;
        let mut still = moving.clone();
        for region in &mut still.regions {
            (region.bytes_per_second, region.sources) = (0, Vec::new());
        }
        let mut course = Course::default();
        for (report, is_confirmed) in [(&still, true), (&moving, true), (&still, true), (&still, false)] {
            assert_eq!(course.after(report, is_confirmed), Outlook::Coming);
        }
        for _ in 1..STILL {
            assert_eq!(course.after(&still, true), Outlook::Coming);
        }
        assert_eq!(course.after(&still, true), Outlook::Damaged);
        // Whole, however slow: there is more to wait for.
        still.lost_blobs = 0;
        assert_eq!(course.after(&still, true), Outlook::Coming);
    }
}
