//! What can be broken, in words: `kill eu-west-1`, `slow eu-west us-east 400ms`. A fault is written, told in reports and
//! given again by these words. How each is done is in [`crate::faults`].
//!
//! Nodes and regions are named as the cluster names them. Where a schedule is drawn, `*` stands for any of them.

use crate::wan::quantity;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// One thing to break.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Fault {
    /// `kill NODE`: SIGKILL; started again when it heals.
    Kill { node: String },
    /// `pause NODE`: SIGSTOP until it heals.
    Pause { node: String },
    /// `restart NODE`: SIGTERM, and started again at once.
    Restart { node: String },
    /// `kill-all`: all nodes at one moment, as the power of the building.
    KillAll,
    /// `cut A B`: no packet passes between two regions.
    Cut { a: String, b: String },
    /// `cut-one-way A B`: none passes from A to B.
    CutOneWay { from: String, to: String },
    /// `isolate REGION`: cut from all others.
    Isolate { region: String },
    /// `isolate-leader`: the region of whichever node leads then.
    IsolateLeader,
    /// `flap A B PERIOD`: cut for the first half of each period.
    Flap { a: String, b: String, period: Duration },
    /// `slow A B RTT`: the round trip between two regions takes so long.
    Slow { a: String, b: String, rtt: Duration },
    /// `lossy A B SHARE`: this share of packets vanishes, both ways.
    Lossy { a: String, b: String, share: f64 },
    /// `reorder A B SHARE`: this share of packets is overtaken, both ways.
    Reorder { a: String, b: String, share: f64 },
    /// `thin A B RATE`: so many bits per second, each way.
    Thin { a: String, b: String, rate: u64 },
    /// `full-disk NODE`: others fill its disk up. Only where it is a small one of its own.
    FullDisk { node: String },
    /// `slow-fsync NODE TIME`: each sync takes so much longer. Wants the forgetting disk, as the next two.
    SlowFsync { node: String, by: Duration },
    /// `failing-fsync NODE PATTERN`: syncs of these files below its data folder fail with EIO; see [`crate::forget`].
    FailingFsync { node: String, pattern: String },
    /// `forget NODE`: killed on a disk that forgets what was not synced.
    Forget { node: String },
    /// `rot NODE`: bits of its blob files turn, of blobs that another sound node has, too.
    Rot { node: String },
    /// `damage-log NODE [FILE]`: killed, and bytes of its Raft log changed, in a file with this in its name where one is
    /// given; it must refuse to start.
    DamageLog { node: String, file: Option<String> },
    /// `damage-snapshot NODE`: killed, and bytes of its newest snapshot changed; it must refuse to start, or end when it reads
    /// them.
    DamageSnapshot { node: String },
    /// `lose-disk NODE`: killed, and back with an empty disk; it must be refused. The old disk comes back when it heals.
    LoseDisk { node: String },
    /// `wipe REGION`: all its nodes are killed and their disks are gone, for good.
    Wipe { region: String },
    /// `clock NODE OFFSET`: its wall clock jumps by so much, and back when it heals; in milliseconds.
    Clock { node: String, offset_ms: i64 },
    /// `memory NODE BYTES`: it may use so much memory in all, or is killed.
    Memory { node: String, bytes: u64 },
    /// `move-leader`: it is told to hand over to another node, as an operator would.
    MoveLeader,
    /// `hang-leader`: whoever leads hangs (SIGSTOP) until another node does.
    HangLeader,
}

/// Words that are no fault.
#[derive(Debug, thiserror::Error)]
pub enum WordsError {
    /// No fault has this form.
    #[error(
        "{0:?} is no fault (like `kill eu-west-1`, `cut eu-west us-east`, `slow eu-west us-east 400ms`, `kill-all`)"
    )]
    Form(String),
    /// A value does not fit.
    #[error("{words:?}: {reason}")]
    Value { words: String, reason: String },
}

impl FromStr for Fault {
    type Err = WordsError;

    fn from_str(text: &str) -> Result<Self, WordsError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let wrong = |reason: String| WordsError::Value { words: text.to_owned(), reason };
        let time = |word: &str| humantime::parse_duration(word).map_err(|error| wrong(error.to_string()));
        let share = |word: &str| quantity::share(word).map_err(|error| wrong(error.to_string()));
        let own = |name: &str| name.to_owned();
        Ok(match *words.as_slice() {
            ["kill", node] => Self::Kill { node: own(node) },
            ["pause", node] => Self::Pause { node: own(node) },
            ["restart", node] => Self::Restart { node: own(node) },
            ["kill-all"] => Self::KillAll,
            ["cut", a, b] => Self::Cut { a: own(a), b: own(b) },
            ["cut-one-way", from, to] => Self::CutOneWay { from: own(from), to: own(to) },
            ["isolate", region] => Self::Isolate { region: own(region) },
            ["isolate-leader"] => Self::IsolateLeader,
            ["flap", a, b, period] => Self::Flap { a: own(a), b: own(b), period: time(period)? },
            ["slow", a, b, rtt] => Self::Slow { a: own(a), b: own(b), rtt: time(rtt)? },
            ["lossy", a, b, part] => Self::Lossy { a: own(a), b: own(b), share: share(part)? },
            ["reorder", a, b, part] => Self::Reorder { a: own(a), b: own(b), share: share(part)? },
            ["thin", a, b, rate] => {
                let rate = quantity::rate(rate).map_err(|error| wrong(error.to_string()))?;
                Self::Thin { a: own(a), b: own(b), rate }
            }
            ["full-disk", node] => Self::FullDisk { node: own(node) },
            ["slow-fsync", node, by] => Self::SlowFsync { node: own(node), by: time(by)? },
            ["failing-fsync", node, pattern] => Self::FailingFsync { node: own(node), pattern: own(pattern) },
            ["forget", node] => Self::Forget { node: own(node) },
            ["rot", node] => Self::Rot { node: own(node) },
            ["damage-log", node] => Self::DamageLog { node: own(node), file: None },
            ["damage-log", node, file] => Self::DamageLog { node: own(node), file: Some(own(file)) },
            ["damage-snapshot", node] => Self::DamageSnapshot { node: own(node) },
            ["lose-disk", node] => Self::LoseDisk { node: own(node) },
            ["wipe", region] => Self::Wipe { region: own(region) },
            ["clock", node, offset] => Self::Clock { node: own(node), offset_ms: offset_ms(offset).map_err(wrong)? },
            ["memory", node, bytes] => {
                let bytes = quantity::size(bytes).map_err(|error| wrong(error.to_string()))?;
                Self::Memory { node: own(node), bytes }
            }
            ["move-leader"] => Self::MoveLeader,
            ["hang-leader"] => Self::HangLeader,
            _ => return Err(WordsError::Form(text.to_owned())),
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::KillAll | Self::IsolateLeader | Self::MoveLeader | Self::HangLeader => f.write_str(kind),
            Self::Kill { node }
            | Self::Pause { node }
            | Self::Restart { node }
            | Self::FullDisk { node }
            | Self::Forget { node }
            | Self::Rot { node }
            | Self::DamageLog { node, file: None }
            | Self::DamageSnapshot { node }
            | Self::LoseDisk { node } => write!(f, "{kind} {node}"),
            Self::DamageLog { node, file: Some(file) } => write!(f, "{kind} {node} {file}"),
            Self::Cut { a, b } | Self::CutOneWay { from: a, to: b } => write!(f, "{kind} {a} {b}"),
            Self::Isolate { region } | Self::Wipe { region } => write!(f, "{kind} {region}"),
            Self::Flap { a, b, period: time } | Self::Slow { a, b, rtt: time } => {
                write!(f, "{kind} {a} {b} {}", one_word(*time))
            }
            Self::Lossy { a, b, share } | Self::Reorder { a, b, share } => write!(f, "{kind} {a} {b} {share}"),
            Self::Thin { a, b, rate } => write!(f, "{kind} {a} {b} {}", rate_word(*rate)),
            Self::SlowFsync { node, by } => write!(f, "{kind} {node} {}", one_word(*by)),
            Self::FailingFsync { node, pattern } => write!(f, "{kind} {node} {pattern}"),
            Self::Clock { node, offset_ms } => {
                let sign = if *offset_ms < 0 { '-' } else { '+' };
                write!(f, "{kind} {node} {sign}{}", one_word(Duration::from_millis(offset_ms.unsigned_abs())))
            }
            Self::Memory { node, bytes } if bytes % (1 << 20) == 0 => write!(f, "{kind} {node} {}MiB", bytes >> 20),
            Self::Memory { node, bytes } => write!(f, "{kind} {node} {bytes}"),
        }
    }
}

impl Fault {
    /// Its kind: the first of its words.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::Pause { .. } => "pause",
            Self::Restart { .. } => "restart",
            Self::KillAll => "kill-all",
            Self::Cut { .. } => "cut",
            Self::CutOneWay { .. } => "cut-one-way",
            Self::Isolate { .. } => "isolate",
            Self::IsolateLeader => "isolate-leader",
            Self::Flap { .. } => "flap",
            Self::Slow { .. } => "slow",
            Self::Lossy { .. } => "lossy",
            Self::Reorder { .. } => "reorder",
            Self::Thin { .. } => "thin",
            Self::FullDisk { .. } => "full-disk",
            Self::SlowFsync { .. } => "slow-fsync",
            Self::FailingFsync { .. } => "failing-fsync",
            Self::Forget { .. } => "forget",
            Self::Rot { .. } => "rot",
            Self::DamageLog { .. } => "damage-log",
            Self::DamageSnapshot { .. } => "damage-snapshot",
            Self::LoseDisk { .. } => "lose-disk",
            Self::Wipe { .. } => "wipe",
            Self::Clock { .. } => "clock",
            Self::Memory { .. } => "memory",
            Self::MoveLeader => "move-leader",
            Self::HangLeader => "hang-leader",
        }
    }

    /// Whether it is never healed.
    #[must_use]
    pub fn is_for_good(&self) -> bool {
        matches!(self, Self::Wipe { .. })
    }

    /// The node that it is about.
    #[must_use]
    pub fn node(&self) -> Option<String> {
        self.clone().node_mut().cloned()
    }

    /// The regions that it names.
    #[must_use]
    pub fn regions(&self) -> Vec<String> {
        self.clone().regions_mut().into_iter().map(|region| region.clone()).collect()
    }

    /// The node that it is about, to put another in its place.
    pub fn node_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Kill { node }
            | Self::Pause { node }
            | Self::Restart { node }
            | Self::FullDisk { node }
            | Self::SlowFsync { node, .. }
            | Self::FailingFsync { node, .. }
            | Self::Forget { node }
            | Self::Rot { node }
            | Self::DamageLog { node, .. }
            | Self::DamageSnapshot { node }
            | Self::LoseDisk { node }
            | Self::Clock { node, .. }
            | Self::Memory { node, .. } => Some(node),
            Self::KillAll
            | Self::Wipe { .. }
            | Self::Cut { .. }
            | Self::CutOneWay { .. }
            | Self::Isolate { .. }
            | Self::IsolateLeader
            | Self::Flap { .. }
            | Self::Slow { .. }
            | Self::Lossy { .. }
            | Self::Reorder { .. }
            | Self::Thin { .. }
            | Self::MoveLeader
            | Self::HangLeader => None,
        }
    }

    /// The regions that it names, to put others in their place.
    pub fn regions_mut(&mut self) -> Vec<&mut String> {
        match self {
            Self::Cut { a, b }
            | Self::CutOneWay { from: a, to: b }
            | Self::Flap { a, b, .. }
            | Self::Slow { a, b, .. }
            | Self::Lossy { a, b, .. }
            | Self::Reorder { a, b, .. }
            | Self::Thin { a, b, .. } => vec![a, b],
            Self::Isolate { region } | Self::Wipe { region } => vec![region],
            _ => Vec::new(),
        }
    }
}

impl TryFrom<String> for Fault {
    type Error = WordsError;

    fn try_from(words: String) -> Result<Self, WordsError> {
        words.parse()
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.to_string()
    }
}

/// A duration without spaces: `1s500ms`.
fn one_word(time: Duration) -> String {
    humantime::format_duration(time).to_string().replace(' ', "")
}

fn rate_word(bits: u64) -> String {
    match bits {
        0 => "none".to_owned(),
        bits if bits % 1_000_000 == 0 => format!("{}mbit", bits / 1_000_000),
        bits => format!("{bits}bit"),
    }
}

/// `+1h`, `-90s`: the sign is never left out.
fn offset_ms(word: &str) -> Result<i64, String> {
    let (sign, time) = match word.split_at_checked(1) {
        Some(("+", time)) => (1, time),
        Some(("-", time)) => (-1, time),
        _ => return Err(format!("{word:?} is no offset (like +1h, -90s)")),
    };
    let time = humantime::parse_duration(time).map_err(|error| error.to_string())?;
    Ok(sign * i64::try_from(time.as_millis()).map_err(|error| error.to_string())?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::Fault;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use std::collections::BTreeSet;
    use std::time::Duration;

    /// One of each, in the words of the documentation.
    const FORMS: [&str; 26] = [
        "kill a-1",
        "pause a-1",
        "restart a-1",
        "kill-all",
        "cut a b",
        "cut-one-way a b",
        "isolate a",
        "isolate-leader",
        "flap a b 3s",
        "slow a b 400ms",
        "lossy a b 5%",
        "reorder a b 0.01",
        "thin a b 10mbit",
        "full-disk a-1",
        "slow-fsync a-1 100ms",
        "failing-fsync a-1 raft/*.log",
        "forget a-1",
        "rot a-1",
        "damage-log a-1",
        "damage-snapshot a-1",
        "lose-disk a-1",
        "clock a-1 -90s",
        "memory a-1 256MiB",
        "move-leader",
        "hang-leader",
        "wipe eu-west",
    ];

    #[test]
    fn every_form_is_read_and_its_kind_is_its_first_word() {
        let mut kinds = BTreeSet::new();
        for words in FORMS {
            let fault: Fault = words.parse().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(fault.kind(), words.split(' ').next().unwrap());
            kinds.insert(fault.kind());
        }
        assert_eq!(kinds.len(), FORMS.len());
        let clock: Fault = "clock a-1 -90s".parse().unwrap();
        assert_eq!(clock, Fault::Clock { node: "a-1".to_owned(), offset_ms: -90_000 });
        let lossy: Fault = "lossy a b 5%".parse().unwrap();
        assert_eq!(lossy.regions(), ["a", "b"]);
        assert_eq!((clock.node().as_deref(), lossy.node()), (Some("a-1"), None));
    }

    #[test]
    fn words_of_drawn_faults_give_the_same_fault_again() {
        let seed = 20_261_121;
        eprintln!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        for _ in 0..2_000 {
            let fault = drawn(&mut random);
            let words = fault.to_string();
            assert_eq!(words.parse::<Fault>().unwrap_or_else(|error| panic!("{error}")), fault, "{words}");
            assert_eq!(words.split(' ').next(), Some(fault.kind()));
            let json = serde_json::to_string(&fault).unwrap();
            assert_eq!(serde_json::from_str::<Fault>(&json).unwrap(), fault, "{json}");
        }
    }

    /// A fault of any form with any values.
    fn drawn(random: &mut StdRng) -> Fault {
        let mut fault: Fault = FORMS[random.random_range(0..FORMS.len())].parse().unwrap();
        let time = Duration::from_micros(random.random_range(0..10_000_000_000));
        match &mut fault {
            Fault::Flap { period: own, .. } | Fault::Slow { rtt: own, .. } | Fault::SlowFsync { by: own, .. } => {
                *own = time;
            }
            Fault::Lossy { share, .. } | Fault::Reorder { share, .. } => *share = random.random(),
            Fault::Thin { rate, .. } => *rate = random.random_range(0..1_000) * 10_u64.pow(random.random_range(0..8)),
            Fault::Memory { bytes, .. } => *bytes = random.random_range(1..1 << 50) >> random.random_range(0..40),
            Fault::DamageLog { file, .. } => *file = random.random_bool(0.5).then(|| "MANIFEST".to_owned()),
            Fault::Clock { offset_ms, .. } => *offset_ms = random.random_range(-10_000_000_000..10_000_000_000),
            _ => {}
        }
        fault
    }

    #[test]
    fn words_that_are_no_fault_are_refused_with_the_reason() {
        let refused = |words: &str| words.parse::<Fault>().unwrap_err().to_string();
        for words in ["", "kill", "kill a-1 b-1", "explode a-1", "kill-all a-1"] {
            assert!(refused(words).contains("is no fault"), "{words}");
        }
        for words in ["slow a b fast", "lossy a b 200%", "clock a-1 90s", "clock a-1 +", "thin a b 5", "memory a-1 big"]
        {
            assert!(refused(words).contains(words), "{words}");
        }
    }
}
