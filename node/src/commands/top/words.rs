//! Numbers as they fit into a narrow column: three digits, and a unit where there is one.

/// Bytes: `0 B`, `999 kB`, `4.2 MB`.
pub(crate) fn bytes(number: f64) -> String {
    let (number, unit) = scaled(number, &["B", "kB", "MB", "GB", "TB", "PB"]);
    let decimals = usize::from(number < 9.95 && unit != "B");
    format!("{number:.decimals$} {unit}")
}

/// A count, or a rate of events: `0`, `0.4`, `12`, `1.2k`.
pub(crate) fn count(number: f64) -> String {
    let (scaled, unit) = scaled(number, &["", "k", "M", "G"]);
    let is_whole = (scaled * 10.0).round() % 10.0 == 0.0;
    let decimals = usize::from(scaled < 9.95 && !is_whole);
    format!("{scaled:.decimals$}{unit}")
}

/// A duration: `4s`, `12m`, `3h`, `2d`.
pub(crate) fn age(milliseconds: u64) -> String {
    match milliseconds / 1_000 {
        seconds @ 0..100 => format!("{seconds}s"),
        seconds @ 100..6_000 => format!("{}m", seconds / 60),
        seconds @ 6_000..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// A round trip: `0.25`, `80.2`, `1204`.
pub(crate) fn round_trip(milliseconds: f64) -> String {
    let decimals = match milliseconds {
        few if few < 9.995 => 2,
        some if some < 999.95 => 1,
        _ => 0,
    };
    format!("{milliseconds:.decimals$}")
}

/// The time of day of a moment in milliseconds since 1970.
pub(crate) fn clock(at_ms: u64) -> String {
    let seconds = at_ms / 1_000 % 86_400;
    format!("{:02}:{:02}:{:02} UTC", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// A text cut to a width, with an ellipsis where something is missing.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        kept.push('…');
    }
    kept
}

/// The number in the largest unit in which it is not below one. What would round up to a thousand is one of the next.
fn scaled<'a>(mut number: f64, units: &[&'a str]) -> (f64, &'a str) {
    let mut at = 0;
    while number >= 999.5 && at + 1 < units.len() {
        number /= 1_000.0;
        at += 1;
    }
    (number.max(0.0), units[at])
}

#[cfg(test)]
mod tests {
    use super::{age, bytes, clock, count, cut, round_trip};

    #[test]
    fn numbers_are_said_in_three_digits_and_a_unit() {
        for (number, expected) in [
            (0.0, "0 B"),
            (999.4, "999 B"),
            (999.6, "1.0 kB"),
            (9_940.0, "9.9 kB"),
            (9_960.0, "10 kB"),
            (4_200_000.0, "4.2 MB"),
            (999_600_000.0, "1.0 GB"),
            (31e18, "31000 PB"),
        ] {
            assert_eq!(bytes(number), expected);
        }
        for (number, expected) in [
            (0.0, "0"),
            (0.42, "0.4"),
            (3.0, "3"),
            (3.99, "4"),
            (12.6, "13"),
            (999.7, "1k"),
            (1_234.0, "1.2k"),
            (52_000.0, "52k"),
        ] {
            assert_eq!(count(number), expected);
        }
        for (milliseconds, expected) in
            [(0, "0s"), (99_999, "99s"), (100_000, "1m"), (5_999_000, "99m"), (6_000_000, "1h"), (172_800_000, "2d")]
        {
            assert_eq!(age(milliseconds), expected);
        }
        for (milliseconds, expected) in [(0.254, "0.25"), (9.999, "10.0"), (80.24, "80.2"), (1_204.4, "1204")] {
            assert_eq!(round_trip(milliseconds), expected);
        }
        assert_eq!(clock(1_763_724_031_999), "11:20:31 UTC");
    }

    #[test]
    fn a_long_name_is_cut_where_it_is_seen() {
        assert_eq!((cut("eu-west", 7), cut("eu-west", 6)), ("eu-west".to_owned(), "eu-we…".to_owned()));
        assert_eq!((cut("eu", 1), cut("eu", 0)), ("…".to_owned(), String::new()));
    }
}
