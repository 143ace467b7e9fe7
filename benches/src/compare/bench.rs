//! What the scenarios share: the plan, the bound, the progress bar, and the charts that they fill.

use super::load::Sample;
use super::outcome::{Bar, Better, Chart, Plot};
use super::plan::{Bound, Plan};
use super::target::Target;
use indicatif::{ProgressBar, ProgressStyle};
use portolan_chaos_tests::Result;
use std::time::Duration;

/// A run under way.
pub struct Bench<P = Plan> {
    /// How much is run.
    pub plan: P,
    /// The end of this part.
    pub bound: Bound,
    /// How many cores the machine has.
    pub cores: usize,
    charts: Vec<Chart>,
    skipped: Vec<String>,
    progress: ProgressBar,
}

/// A chart that is being filled.
#[derive(Clone, Copy, Debug)]
pub struct Sheet(usize);

impl<P> Bench<P> {
    /// Nothing measured yet.
    #[must_use]
    pub fn new(plan: P, bound: Bound) -> Self {
        let style = ProgressStyle::with_template("{prefix} {bar:30} {elapsed} of at most {len} s · {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let progress = ProgressBar::new(bound.limit() as u64).with_style(style);
        progress.enable_steady_tick(Duration::from_millis(500));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { plan, bound, cores, charts: Vec::new(), skipped: Vec::new(), progress }
    }

    /// Begins a chart.
    pub fn chart(
        &mut self,
        scenario: &'static str,
        title: impl Into<String>,
        (unit, better): (&'static str, Better),
        note: impl Into<String>,
    ) -> Sheet {
        self.charts.push(Chart::new(scenario, title.into(), (unit, better), note.into()));
        Sheet(self.charts.len() - 1)
    }

    /// Says what is aimed at on a chart.
    pub fn aim(&mut self, sheet: Sheet, goal: f64) {
        self.charts[sheet.0].goal = Some(goal);
    }

    /// Draws something below a chart's bars.
    pub fn plot(&mut self, sheet: Sheet, plot: Plot) {
        self.charts[sheet.0].plots.push(plot);
    }

    /// The bar of a case and a target.
    pub fn bar(&mut self, sheet: Sheet, case: &str, target: &str) -> &mut Bar {
        self.charts[sheet.0].bar(case, target)
    }

    /// Says what is being measured. False when there is no time left for it: it is left out, and that is told.
    pub fn begin(&mut self, what: &str, target: &Target, wanted: Duration) -> bool {
        self.enter(&format!("{what} · {}", target.name), wanted)
    }

    /// [`Bench::begin`] where there is but one target.
    pub fn enter(&mut self, what: &str, wanted: Duration) -> bool {
        self.progress.set_position(self.bound.elapsed() as u64);
        self.progress.set_message(what.to_owned());
        let fits = self.bound.has(wanted);
        if !fits {
            self.skip(format!("{what}: the time was up"));
        }
        fits
    }

    /// Says what is being prepared.
    pub fn prepare(&mut self, what: &str) {
        self.progress.set_position(self.bound.elapsed() as u64);
        self.progress.set_message(format!("preparing: {what}"));
    }

    /// Says something that would be misunderstood otherwise.
    pub fn say(&self, sentence: &str) {
        self.progress.suspend(|| eprintln!("{sentence}"));
    }

    /// Notes that something is left out.
    pub fn skip(&mut self, what: String) {
        if !self.skipped.contains(&what) {
            self.skipped.push(what);
        }
    }

    /// Takes a value and the sample it comes from.
    pub fn add(&mut self, sheet: Sheet, case: &str, target: &str, value: f64, sample: &Sample) {
        let cores = self.cores;
        self.charts[sheet.0].bar(case, target).add(value, sample, cores);
    }

    /// Takes a value that comes from no closed loop.
    pub fn add_value(&mut self, sheet: Sheet, case: &str, target: &str, value: f64) {
        let bar: &mut Bar = self.charts[sheet.0].bar(case, target);
        bar.values.push(value);
    }

    /// Counts a failure outside of any loop.
    pub fn add_error(&mut self, sheet: Sheet, case: &str, target: &str, error: &portolan_chaos_tests::Error) {
        let bar = self.charts[sheet.0].bar(case, target);
        bar.errors += 1;
        bar.first_error.get_or_insert(error.to_string());
    }

    /// What was measured and what was left out.
    #[must_use]
    pub fn finish(mut self) -> (Vec<Chart>, Vec<String>) {
        self.progress.finish_and_clear();
        self.charts.retain(|chart| !chart.cases.is_empty());
        (self.charts, self.skipped)
    }
}

/// Writes everything to the disk that is not there yet, so that no server pays for another one's writes; gives the
/// seconds that took.
///
/// # Errors
/// When the runtime is stopping.
pub async fn flush_disks() -> Result<f64> {
    let started = std::time::Instant::now();
    tokio::task::spawn_blocking(rustix::fs::sync).await?;
    Ok(started.elapsed().as_secs_f64())
}
