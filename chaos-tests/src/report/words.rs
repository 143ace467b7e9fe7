//! Figures as people read them.

use crate::history::Micros;

/// A number with its thousands apart.
pub(super) fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things.
pub(super) fn many(number: usize, one: &str, more: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { more })
}

/// How long something took, in three digits or so.
pub(super) fn duration(micros: Micros) -> String {
    match micros.0 {
        0 => "0 s".to_owned(),
        under @ ..1_000 => format!("{under} µs"),
        under @ ..1_000_000 => format!("{} ms", under / 1_000),
        under @ ..100_000_000 => format!("{:.1} s", under as f64 / 1e6),
        over => {
            let seconds = over / 1_000_000;
            let (minutes, seconds) = (seconds / 60, seconds % 60);
            if minutes >= 60 {
                format!("{} h {:02} min", minutes / 60, minutes % 60)
            } else {
                format!("{minutes} min {seconds:02} s")
            }
        }
    }
}

/// A moment of the run, to the second: `2:03`, `1:02:03`.
pub(super) fn clock(at: Micros) -> String {
    let seconds = at.0 / 1_000_000;
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// A moment of the run, to the millisecond.
pub(super) fn moment(at: Micros) -> String {
    format!("{}.{:03}", clock(at), at.0 / 1_000 % 1_000)
}

/// A share of a whole, with as many digits as tell it from nothing.
pub(super) fn share(part: usize, whole: usize) -> String {
    let percent = if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 };
    match percent {
        0.0 => "0 %".to_owned(),
        ..0.01 => "< 0.01 %".to_owned(),
        ..1.0 => format!("{percent:.2} %"),
        _ => format!("{percent:.1} %"),
    }
}

/// A digest, short enough for a line and long enough to tell it from others.
pub(super) fn digest(digest: &str) -> String {
    match digest.split_once(':') {
        Some((_, hex)) if hex.chars().count() > 8 => hex.chars().take(8).collect(),
        Some((_, hex)) => hex.to_owned(),
        None => digest.chars().take(8).collect(),
    }
}

/// Text without the control characters that no page may hold, for what programs said.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|sign| if sign.is_control() || matches!(sign, '\u{fffe}' | '\u{ffff}') { ' ' } else { sign })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{clean, clock, count, digest, duration, many, moment, share};
    use crate::history::Micros;

    #[test]
    fn figures_read_well() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((many(1, "call", "calls"), many(2, "call", "calls")), ("1 call".to_owned(), "2 calls".to_owned()));
        let spans = [0, 340, 12_999, 3_140_000, 123_000_000, 7_380_000_000].map(|micros| duration(Micros(micros)));
        assert_eq!(spans, ["0 s", "340 µs", "12 ms", "3.1 s", "2 min 03 s", "2 h 03 min"]);
        assert_eq!([61_000_000, 3_723_000_000].map(|at| clock(Micros(at))), ["1:01", "1:02:03"]);
        assert_eq!(moment(Micros(61_002_900)), "1:01.002");
        assert_eq!(
            [(0, 9), (1, 100_000), (1, 200), (1, 8), (0, 0)].map(|(part, all)| share(part, all)),
            ["0 %", "< 0.01 %", "0.50 %", "12.5 %", "0 %"]
        );
        assert_eq!([digest("sha256:0123456789abcdef"), digest("sha256:ab"), digest("odd")], ["01234567", "ab", "odd"]);
        assert_eq!(clean("a\u{1b}[31m\nb"), "a [31m b");
    }
}
