//! Durations, shares, rates and sizes as people write them: `120ms`, `1%`, `1gbit`, `4MB`.

use std::time::Duration;

/// A value that cannot be read; the message names it and shows the forms that can.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{value:?} is no {kind} (like {like})")]
pub struct QuantityError {
    value: String,
    kind: &'static str,
    like: &'static str,
}

/// Reads `80ms`, `1.5s`, `300us` or `0`.
///
/// # Errors
/// When it is none of these.
pub fn duration(text: &str) -> Result<Duration, QuantityError> {
    let units = [("", 0.0), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let seconds = scaled(text, &units, "duration", "80ms, 1.5s, 300us")?;
    Duration::try_from_secs_f64(seconds).map_err(|_| bad(text, "duration", "80ms, 1.5s, 300us"))
}

/// Reads `1%` or `0.01`; the result lies between 0 and 1.
///
/// # Errors
/// When it is neither, or more than all.
pub fn share(text: &str) -> Result<f64, QuantityError> {
    let share = scaled(text, &[("", 1.0), ("%", 0.01)], "share", "1%, 0.01")?;
    if share <= 1.0 { Ok(share) } else { Err(bad(text, "share", "1%, 0.01")) }
}

/// Reads `1gbit`, `100mbit`, `56kbit` as bits per second; `none` is 0, without a limit.
///
/// # Errors
/// When it is none of these.
pub fn rate(text: &str) -> Result<u64, QuantityError> {
    let units = [("bit", 1.0), ("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9)];
    if text == "none" { Ok(0) } else { scaled(text, &units, "rate", "1gbit, 100mbit, none").map(|bits| bits as u64) }
}

/// Reads `4MB`, `256KiB`, `1500` as bytes; `auto` is 0.
///
/// # Errors
/// When it is none of these.
pub fn size(text: &str) -> Result<u64, QuantityError> {
    let units = [("", 1.0), ("b", 1.0), ("kb", 1e3), ("mb", 1e6), ("gb", 1e9), ("kib", 1024.0), ("mib", 1_048_576.0)];
    if text == "auto" { Ok(0) } else { scaled(text, &units, "size", "4MB, 256KiB, auto").map(|bytes| bytes as u64) }
}

/// Shows a duration in milliseconds, `80 ms`.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    if ms >= 10.0 && (ms - ms.round()).abs() < 0.05 { format!("{ms:.0} ms") } else { format!("{ms:.1} ms") }
}

/// Shows a share in percent, `1 %`.
#[must_use]
pub fn show_share(share: f64) -> String {
    if share == 0.0 { "0 %".to_owned() } else { format!("{:.2} %", share * 100.0) }
}

/// Shows bits per second, `1 Gbit/s`; 0 is `none`.
#[must_use]
pub fn show_rate(bits: u64) -> String {
    match bits {
        0 => "none".to_owned(),
        bits if bits >= 1_000_000_000 => format!("{} Gbit/s", trimmed(bits as f64 / 1e9)),
        bits if bits >= 1_000_000 => format!("{} Mbit/s", trimmed(bits as f64 / 1e6)),
        bits => format!("{} kbit/s", trimmed(bits as f64 / 1e3)),
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

fn scaled(text: &str, units: &[(&str, f64)], kind: &'static str, like: &'static str) -> Result<f64, QuantityError> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| bad(text, kind, like))?;
    let unit = unit.trim().to_ascii_lowercase();
    let factor = units.iter().find(|(name, _)| *name == unit).ok_or_else(|| bad(text, kind, like))?.1;
    // A duration without a unit is only clear when it is nothing.
    if factor == 0.0 && number != 0.0 { Err(bad(text, kind, like)) } else { Ok(number * factor) }
}

fn bad(text: &str, kind: &'static str, like: &'static str) -> QuantityError {
    QuantityError { value: text.to_owned(), kind, like }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::{duration, rate, share, show_rate, size};
    use std::time::Duration;

    #[test]
    fn quantities_are_read_as_people_write_them() {
        assert_eq!(duration("120ms"), Ok(Duration::from_millis(120)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(share("1%"), Ok(0.01));
        assert_eq!(rate("1gbit"), Ok(1_000_000_000));
        assert_eq!(rate("none"), Ok(0));
        assert_eq!(size("4MB"), Ok(4_000_000));
        assert_eq!(size("256KiB"), Ok(262_144));
        assert_eq!(show_rate(1_500_000_000), "1.5 Gbit/s");
    }

    #[test]
    fn what_is_unclear_is_refused() {
        for text in ["80", "ms", "", "-1ms", "1h"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(share("101%").is_err());
        assert!(rate("1000").is_err());
        assert_eq!(rate("fast").unwrap_err().to_string(), r#""fast" is no rate (like 1gbit, 100mbit, none)"#);
    }
}
