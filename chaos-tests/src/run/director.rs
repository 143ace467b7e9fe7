//! Breaks and mends by the schedule, and takes down what came of it.

use crate::faults::{Injected, World};
use crate::history::Micros;
use crate::invariants::Event;
use crate::schedule::{Schedule, Step};
use crate::workload::{Clock, Counts};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often the progress is drawn anew.
const TICK: Duration = Duration::from_millis(500);

/// What was broken.
#[derive(Default)]
pub(super) struct Directed {
    pub(super) events: Vec<Event>,
    /// What faults saw nodes do that no node may do, and nodes that did not come back.
    pub(super) complaints: Vec<(usize, String)>,
    /// The nodes that are gone for good.
    pub(super) gone: BTreeSet<usize>,
}

/// What is told to whoever watches.
struct Progress {
    bar: ProgressBar,
    clock: Clock,
    length: Duration,
}

impl Progress {
    fn new(clock: Clock, length: Duration) -> Self {
        let bar = if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {len}s  {msg}");
            let bar = ProgressBar::new(length.as_secs());
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        } else {
            ProgressBar::hidden()
        };
        Self { bar, clock, length }
    }

    /// One line, above the bar where there is one.
    fn say(&self, text: &str) {
        let at = since_begin(self.clock.now()).as_secs_f64();
        if self.bar.is_hidden() {
            eprintln!("{at:8.1} s  {text}");
        } else {
            self.bar.println(format!("{at:8.1} s  {text}"));
        }
    }

    fn draw(&self, counts: &Counts) {
        let elapsed = since_begin(self.clock.now()).min(self.length);
        self.bar.set_position(elapsed.as_secs());
        self.bar.set_message(format!("{} calls, {} failed", counts.calls, counts.failed + counts.unknown));
    }
}

/// A fault that is not healed yet.
struct InForce {
    begin: Micros,
    made: Micros,
    injected: Injected,
}

/// A run's faults in force.
struct Director<'a, 'b> {
    world: &'a mut World<'b>,
    schedule: &'a Schedule,
    in_force: BTreeMap<usize, InForce>,
    directed: Directed,
    progress: Progress,
}

/// Runs a schedule, and on until the run's length is over.
pub(super) async fn direct(
    world: &mut World<'_>,
    schedule: &Schedule,
    (clock, began, length): (Clock, Instant, Duration),
    counts: &watch::Receiver<Counts>,
) -> crate::Result<Directed> {
    let progress = Progress::new(clock, length);
    let directed = Directed::default();
    let mut director = Director { world, schedule, in_force: BTreeMap::new(), directed, progress };
    for (at, step) in schedule.steps() {
        director.wait(began + at, counts).await;
        match step {
            Step::Inject(number) => director.inject(number).await,
            Step::Heal(number) => director.heal(number).await,
        }
    }
    director.wait(began + length, counts).await;
    for number in director.in_force.keys().copied().collect::<Vec<_>>() {
        director.heal(number).await;
    }
    director.progress.bar.finish_and_clear();
    Ok(director.directed)
}

impl Director<'_, '_> {
    async fn wait(&self, until: Instant, counts: &watch::Receiver<Counts>) {
        while Instant::now() < until {
            tokio::time::sleep_until((Instant::now() + TICK).min(until).into()).await;
            self.progress.draw(&counts.borrow());
        }
    }

    async fn inject(&mut self, number: usize) {
        let fault = &self.schedule.0[number].fault;
        if !fault.is_possible(self.world) {
            self.progress.say(&format!("{fault}: not possible now"));
            return;
        }
        let begin = self.progress.clock.now();
        let injected = match fault.inject(self.world).await {
            Ok(injected) => injected,
            // Often a finding by itself, such as that nobody leads. What else is known is not thrown away for it.
            Err(error) => {
                self.progress.say(&error.to_string());
                self.directed.complaints.push((0, error.to_string()));
                return;
            }
        };
        let made = self.progress.clock.now();
        self.progress.say(&format!("{fault}: {}", injected.said()));
        if fault.is_for_good() {
            let event = Event { made: Some(made), ..injected.event(begin, None) };
            self.directed.gone.extend(event.wiped.iter().copied());
            self.directed.complaints.extend_from_slice(injected.complaints());
            self.directed.events.push(event);
        } else {
            self.in_force.insert(number, InForce { begin, made, injected });
        }
    }

    /// A node that does not come back is a finding, and no reason to forget everything else.
    async fn heal(&mut self, number: usize) {
        let Some(InForce { begin, made, mut injected }) = self.in_force.remove(&number) else { return };
        let mending = Some(self.progress.clock.now());
        let healed = injected.heal(self.world).await;
        let end = self.progress.clock.now();
        let event = Event { made: Some(made), mending, ..injected.event(begin, Some(end)) };
        if let Err(error) = healed {
            self.progress.say(&format!("{error}"));
            let node = event.nodes.first().or(event.harmed.first()).copied().unwrap_or_default();
            self.directed.complaints.push((node, error.to_string()));
        } else {
            self.progress.say(&format!("{} healed", event.fault));
        }
        self.directed.complaints.extend_from_slice(injected.complaints());
        self.directed.events.push(event);
    }
}

/// A moment of the run's clock as a duration.
fn since_begin(moment: Micros) -> Duration {
    Duration::from_micros(moment.0)
}
