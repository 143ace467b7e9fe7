//! Whether uses of one register can be put in an order that explains their answers and agrees with time.
//!
//! The search is that of Wing, Gong and Lowe: from a state, take any use that may come next, remember what was tried, go
//! back when nothing fits. `todc-utils` has one too, without a bound, whose cost doubles with every write that nobody
//! heard of; it is the oracle of this one's tests. What keeps the cost low here, and loses no order:
//!
//! - a read that fits is taken at once, since it changes nothing;
//! - a value that nobody writes again is not left while reads of it are still to come;
//! - nor is it taken up before another that must come first;
//! - a write without an end is tried only right before a use that needs it, and of equal ones the oldest.

use super::uses::{Span, Use};
use std::collections::{BTreeMap, HashSet};

/// How many states are tried before the search gives up: some hundred times what thousands of uses need.
const MOST_STATES: usize = 500_000;

/// No end.
const NEVER: u64 = u64::MAX;

/// What the search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is such an order.
    Fits,
    /// There is none.
    Contradicts,
    /// It was not found within the bound.
    Unsure,
}

/// What a use does, with digests as numbers; 0 is "no such tag".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Put(u32),
    Remove { was_there: bool },
    RemoveIf(u32),
    Get(u32),
}

/// A use that took effect before its end.
#[derive(Clone, Copy, Debug)]
struct Op {
    start: u64,
    end: u64,
    act: Act,
}

/// Writes of one effect that may have happened at any time after their starts, or never.
struct Open {
    act: Act,
    starts: Vec<u64>,
}

/// Where a search stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    /// All ops before this one are done.
    first: usize,
    /// Those after it that are done, in order.
    done: Vec<usize>,
    value: u32,
    /// How many of each group of open writes are used up.
    used: Vec<u16>,
}

struct Search {
    /// By start.
    ops: Vec<Op>,
    open: Vec<Open>,
    /// Where each value is read, and where it is put, in `ops`.
    gets: BTreeMap<u32, Vec<usize>>,
    puts: BTreeMap<u32, Vec<usize>>,
}

/// Looks for an order of some spans.
pub(super) fn search<'a>(spans: impl IntoIterator<Item = &'a Span<'a>>) -> Verdict {
    let search = Search::new(spans);
    let start = State { first: 0, done: Vec::new(), value: 0, used: vec![0; search.open.len()] };
    let mut tried = HashSet::new();
    let mut stack = vec![start];
    while let Some(mut state) = stack.pop() {
        search.take_reads(&mut state);
        if state.first == search.ops.len() {
            return Verdict::Fits;
        }
        if !tried.insert(state.clone()) {
            continue;
        }
        if tried.len() > MOST_STATES {
            return Verdict::Unsure;
        }
        search.push_next(&state, &mut stack);
    }
    Verdict::Contradicts
}

impl Search {
    fn new<'a>(spans: impl IntoIterator<Item = &'a Span<'a>>) -> Self {
        let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
        let mut ops = Vec::new();
        let mut open: BTreeMap<Act, Vec<u64>> = BTreeMap::new();
        for span in spans {
            let mut number = |digest: &'a str| {
                let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX - 1) + 1;
                *numbers.entry(digest).or_insert(next)
            };
            let act = match &span.use_ {
                Use::Put(digest) => Act::Put(number(digest)),
                Use::Remove { was_there } => Act::Remove { was_there: *was_there },
                Use::RemoveIf(digest) => Act::RemoveIf(number(digest)),
                Use::Get(None) => Act::Get(0),
                Use::Get(Some(digest)) => Act::Get(number(digest)),
            };
            match span.end {
                Some(end) => ops.push(Op { start: span.start.0, end: end.0, act }),
                None => open.entry(act).or_default().push(span.start.0),
            }
        }
        ops.sort_by_key(|op| (op.start, op.end));
        let (mut gets, mut puts): (BTreeMap<_, Vec<_>>, BTreeMap<_, Vec<_>>) = Default::default();
        for (at, op) in ops.iter().enumerate() {
            match op.act {
                Act::Get(value) => gets.entry(value).or_default().push(at),
                Act::Put(value) => puts.entry(value).or_default().push(at),
                Act::Remove { .. } | Act::RemoveIf(_) => {}
            }
        }
        let mut open: Vec<Open> = open.into_iter().map(|(act, starts)| Open { act, starts }).collect();
        open.iter_mut().for_each(|group| group.starts.sort_unstable());
        Self { ops, open, gets, puts }
    }

    /// The ops that may come next, and the moment before which they begin: the first end of any that is not done.
    fn eligible(&self, state: &State) -> (Vec<usize>, u64) {
        let mut until = NEVER;
        let mut next = Vec::new();
        let mut done = state.done.iter().peekable();
        for at in state.first..self.ops.len() {
            if done.next_if_eq(&&at).is_some() {
                continue;
            }
            let op = &self.ops[at];
            if op.start > until {
                break;
            }
            until = until.min(op.end);
            next.push(at);
        }
        next.retain(|&at| self.ops[at].start <= until);
        (next, until)
    }

    /// Takes every use that fits and changes nothing.
    fn take_reads(&self, state: &mut State) {
        loop {
            let (next, _) = self.eligible(state);
            let reads: Vec<usize> = next.into_iter().filter(|&at| self.is_read(state, at)).collect();
            if reads.is_empty() {
                return;
            }
            for at in reads {
                self.finish(state, at);
            }
        }
    }

    fn is_read(&self, state: &State, at: usize) -> bool {
        match self.ops[at].act {
            Act::Get(value) => state.value == value,
            Act::Remove { was_there: false } => state.value == 0,
            Act::RemoveIf(value) => state.value != value && !self.can_return(state, value),
            Act::Put(_) | Act::Remove { was_there: true } => false,
        }
    }

    fn finish(&self, state: &mut State, at: usize) {
        if let Err(place) = state.done.binary_search(&at) {
            state.done.insert(place, at);
        }
        let run = state.done.iter().enumerate().take_while(|&(offset, &at)| at == state.first + offset).count();
        state.done.drain(..run);
        state.first += run;
    }

    /// Whether some put of a value is still to come.
    fn can_return(&self, state: &State, value: u32) -> bool {
        let open = |(group, open): (usize, &Open)| open.act == Act::Put(value) && self.left(state, group).is_some();
        self.is_pending(state, self.puts.get(&value)) || self.open.iter().enumerate().any(open)
    }

    fn is_pending(&self, state: &State, places: Option<&Vec<usize>>) -> bool {
        let places = places.map_or(&[][..], Vec::as_slice);
        let from = places.partition_point(|&at| at < state.first);
        places[from..].iter().any(|at| state.done.binary_search(at).is_err())
    }

    /// The start of the next unused write of a group.
    fn left(&self, state: &State, group: usize) -> Option<u64> {
        self.open[group].starts.get(usize::from(state.used[group])).copied()
    }

    /// Whether the value may give way: not while reads of it are to come and nobody can put it again.
    fn may_leave(&self, state: &State) -> bool {
        state.value == 0 || !self.is_pending(state, self.gets.get(&state.value)) || self.can_return(state, state.value)
    }

    /// Whether a put comes too early: what reads it for the last time begins only after something else must have happened
    /// that needs another value, and nobody puts it again.
    fn is_early(&self, next: &[usize], at: usize) -> bool {
        let Act::Put(value) = self.ops[at].act else { return false };
        let is_single = self.puts.get(&value).is_some_and(|puts| puts.len() == 1)
            && self.open.iter().all(|open| open.act != Act::Put(value));
        // In the order of their starts, so that the last begins last.
        let Some(&last) = self.gets.get(&value).and_then(|gets| gets.last()) else { return false };
        let needs_another = |act: Act| act != Act::Get(value) && !matches!(act, Act::RemoveIf(_));
        is_single
            && next.iter().any(|&other| {
                let op = &self.ops[other];
                other != at && op.end < self.ops[last].start && needs_another(op.act)
            })
    }

    /// All states that may follow, the most urgent op's last, so that it is tried first.
    fn push_next(&self, state: &State, stack: &mut Vec<State>) {
        let (mut next, until) = self.eligible(state);
        next.sort_by_key(|&at| std::cmp::Reverse(self.ops[at].end));
        for &at in &next {
            if self.is_early(&next, at) {
                continue;
            }
            let act = self.ops[at].act;
            for (value, groups) in self.ways(state, act, until) {
                if value != state.value && !self.may_leave(state) {
                    continue;
                }
                let mut after = State { value, ..state.clone() };
                for group in groups.into_iter().flatten() {
                    after.used[group] += 1;
                }
                self.finish(&mut after, at);
                stack.push(after);
            }
        }
    }

    /// How an act can be done now.
    fn ways(&self, state: &State, act: Act, until: u64) -> Vec<Way> {
        let is_ready = |group: usize| self.left(state, group).is_some_and(|start| start <= until);
        let ready: Vec<(usize, Act)> =
            (0..self.open.len()).filter(|&group| is_ready(group)).map(|group| (group, self.open[group].act)).collect();
        let here = (state.value, [None, None]);
        match act {
            Act::Put(value) => vec![(value, [None, None])],
            Act::Get(0) | Act::Remove { was_there: false } if state.value == 0 => vec![here],
            Act::Get(0) | Act::Remove { was_there: false } => removed_before(state.value, &ready),
            Act::Get(value) if state.value == value => vec![here],
            Act::Get(value) => put_before(value, &ready).map(|group| (value, [Some(group), None])).collect(),
            Act::Remove { was_there: true } if state.value != 0 => vec![(0, [None, None])],
            Act::Remove { was_there: true } => {
                let puts = ready.iter().filter(|(_, act)| matches!(act, Act::Put(_)));
                puts.map(|&(group, _)| (0, [Some(group), None])).collect()
            }
            Act::RemoveIf(value) if state.value == value => vec![(0, [None, None])],
            Act::RemoveIf(value) => {
                let after_put = put_before(value, &ready).map(|group| (0, [Some(group), None]));
                std::iter::once(here).chain(after_put).collect()
            }
        }
    }
}

/// The value after an act, and the groups of the open writes that happen right before it.
type Way = (u32, [Option<usize>; 2]);

/// The open puts of a value.
fn put_before(value: u32, ready: &[(usize, Act)]) -> impl Iterator<Item = usize> {
    ready.iter().filter(move |(_, act)| *act == Act::Put(value)).map(|&(group, _)| group)
}

/// How open writes leave nothing where a value was: a delete, that of the value's manifest, or that of another whose push
/// nobody heard of either.
fn removed_before(value: u32, ready: &[(usize, Act)]) -> Vec<Way> {
    let mut ways = Vec::new();
    for &(group, act) in ready {
        match act {
            Act::Remove { .. } => ways.push((0, [Some(group), None])),
            Act::RemoveIf(of) if of == value => ways.push((0, [Some(group), None])),
            Act::RemoveIf(of) => {
                for put in put_before(of, ready) {
                    ways.push((0, [Some(put), Some(group)]));
                }
            }
            Act::Put(_) | Act::Get(_) => {}
        }
    }
    ways
}
