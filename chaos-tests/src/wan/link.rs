//! What one direction of a pair of regions does to its packets.

use super::quantity::{self, QuantityError};
use std::time::Duration;

/// How much a queue holds when nobody said: what the link carries in this time.
const AUTO_QUEUE: Duration = Duration::from_millis(100);

/// The smallest queue that nobody asked for: four of the largest packets.
const AUTO_QUEUE_LEAST: u64 = 256 * 1024;

/// One direction of a pair of regions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Link {
    /// How long a packet travels once it has left the queue.
    pub delay: Duration,
    /// By how much the delay varies, evenly to both sides. Packets keep their order.
    pub jitter: Duration,
    /// The share of packets that vanish.
    pub loss: f64,
    /// The share of packets that later ones overtake: they arrive a tenth of the delay and a millisecond late.
    pub reorder: f64,
    /// Bits per second of IP packets; 0 is without a limit.
    pub rate: u64,
    /// Bytes that wait for the rate's turn; what comes on top is dropped. 0 is 100 ms at the rate.
    pub queue: u64,
    /// Nothing passes, and what was under way is lost.
    pub cut: bool,
}

impl Link {
    /// The queue in bytes, the automatic one worked out.
    #[must_use]
    pub fn queue_bytes(&self) -> u64 {
        match self.queue {
            0 => (self.rate / 8 * AUTO_QUEUE.as_millis() as u64 / 1000).max(AUTO_QUEUE_LEAST),
            bytes => bytes,
        }
    }
}

/// A change to a link: what it does not name stays.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinkChange {
    /// See [`Link::delay`].
    pub delay: Option<Duration>,
    /// See [`Link::jitter`].
    pub jitter: Option<Duration>,
    /// See [`Link::loss`].
    pub loss: Option<f64>,
    /// See [`Link::reorder`].
    pub reorder: Option<f64>,
    /// See [`Link::rate`].
    pub rate: Option<u64>,
    /// See [`Link::queue`].
    pub queue: Option<u64>,
    /// See [`Link::cut`].
    pub cut: Option<bool>,
}

/// A change that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChangeError {
    /// The key is none of ours.
    #[error("{0:?} is no property of a link (delay, rtt, jitter, loss, reorder, rate, queue, cut)")]
    Key(String),
    /// The words are not `key=value`.
    #[error("{0:?} is not KEY=VALUE")]
    Form(String),
    /// The value does not fit the key.
    #[error("{key}: {source}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong with the value.
        source: QuantityError,
    },
    /// A switch that is neither on nor off.
    #[error("{key}: {value:?} is neither true nor false")]
    Switch {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
}

impl LinkChange {
    /// Reads words like `delay=120ms loss=1% rate=100mbit cut=true`; `rtt` is twice the delay.
    ///
    /// # Errors
    /// When a word has another form, an unknown key, or a value that does not fit it.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, ChangeError> {
        let mut change = Self::default();
        for word in words {
            let (key, value) = word.split_once('=').ok_or_else(|| ChangeError::Form(word.to_owned()))?;
            change.put(key, value)?;
        }
        Ok(change)
    }

    /// Takes one property by its name.
    ///
    /// # Errors
    /// When the key is unknown or the value does not fit it.
    pub fn put(&mut self, key: &str, value: &str) -> Result<(), ChangeError> {
        let wrong = |source| ChangeError::Value { key: key.to_owned(), source };
        match key {
            "delay" => self.delay = Some(quantity::duration(value).map_err(wrong)?),
            "rtt" => self.delay = Some(quantity::duration(value).map_err(wrong)? / 2),
            "jitter" => self.jitter = Some(quantity::duration(value).map_err(wrong)?),
            "loss" => self.loss = Some(quantity::share(value).map_err(wrong)?),
            "reorder" => self.reorder = Some(quantity::share(value).map_err(wrong)?),
            "rate" => self.rate = Some(quantity::rate(value).map_err(wrong)?),
            "queue" => self.queue = Some(quantity::size(value).map_err(wrong)?),
            "cut" => {
                let wrong = |_| ChangeError::Switch { key: key.to_owned(), value: value.to_owned() };
                self.cut = Some(value.parse().map_err(wrong)?);
            }
            _ => return Err(ChangeError::Key(key.to_owned())),
        }
        Ok(())
    }

    /// Makes the change.
    pub fn apply(&self, link: &mut Link) {
        fn take<T: Copy>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        take(&mut link.delay, self.delay);
        take(&mut link.jitter, self.jitter);
        take(&mut link.loss, self.loss);
        take(&mut link.reorder, self.reorder);
        take(&mut link.rate, self.rate);
        take(&mut link.queue, self.queue);
        take(&mut link.cut, self.cut);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::{ChangeError, Link, LinkChange};
    use std::time::Duration;

    #[test]
    fn a_change_leaves_alone_what_it_does_not_name() {
        let mut link = Link { rate: 1_000_000, ..Link::default() };
        LinkChange::parse(["delay=120ms", "loss=1%"]).unwrap().apply(&mut link);
        let expected = Link { delay: Duration::from_millis(120), loss: 0.01, rate: 1_000_000, ..Link::default() };
        assert_eq!(link, expected);
        LinkChange::parse(["rtt=80ms", "cut=true"]).unwrap().apply(&mut link);
        assert_eq!(link, Link { delay: Duration::from_millis(40), cut: true, ..expected });
    }

    #[test]
    fn a_change_that_cannot_be_read_says_what_is_wrong() {
        assert_eq!(LinkChange::parse(["dealy=1ms"]), Err(ChangeError::Key("dealy".to_owned())));
        assert_eq!(LinkChange::parse(["cut"]), Err(ChangeError::Form("cut".to_owned())));
        let error = LinkChange::parse(["loss=many"]).unwrap_err();
        assert_eq!(error.to_string(), r#"loss: "many" is no share (like 1%, 0.01)"#);
    }
}
