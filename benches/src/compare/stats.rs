//! Figures over repetitions. Pure.

/// The middle value, of an even number the lower one of the two; 0 of none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    percentile(values, 50)
}

/// The smallest value that at least so many percent of all values do not exceed (nearest rank); 0 of none.
#[must_use]
pub fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// The least and the greatest value; zeros of none.
#[must_use]
pub fn range(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if least <= greatest { (least, greatest) } else { (0.0, 0.0) }
}

/// The middle one of the ratios of what was measured in the same repetition; none when there is no pair.
#[must_use]
pub fn median_ratio(ours: &[f64], theirs: &[f64]) -> Option<f64> {
    let pairs = ours.iter().zip(theirs).filter(|(_, theirs)| **theirs > 0.0);
    let ratios: Vec<f64> = pairs.map(|(ours, theirs)| ours / theirs).collect();
    if ratios.is_empty() { None } else { Some(median(&ratios)) }
}

#[cfg(test)]
mod tests {
    use super::{median, median_ratio, percentile, range};

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        for (percent, want) in [(1, 1.0), (50, 50.0), (99, 99.0), (100, 100.0), (0, 1.0)] {
            assert_eq!(percentile(&hundred, percent), want, "of 100 values, {percent} %");
        }
        assert_eq!(percentile(&[7.0], 99), 7.0);
        assert_eq!(percentile(&[], 50), 0.0);
    }

    #[test]
    fn the_median_of_an_even_number_is_the_lower_middle() {
        assert_eq!(median(&[9.0, 1.0, 5.0]), 5.0);
        assert_eq!(median(&[9.0, 1.0, 5.0, 7.0]), 5.0);
    }

    #[test]
    fn a_range_of_nothing_is_empty_rather_than_infinite() {
        assert_eq!(range(&[3.0, 1.0, 2.0]), (1.0, 3.0));
        assert_eq!(range(&[]), (0.0, 0.0));
    }

    #[test]
    fn ratios_are_taken_pair_by_pair_before_their_middle() {
        assert_eq!(median_ratio(&[2.0, 30.0, 4.0], &[1.0, 10.0, 8.0]), Some(2.0));
        assert_eq!(median_ratio(&[2.0], &[]), None);
        assert_eq!(median_ratio(&[2.0, 3.0], &[0.0, 1.0]), Some(3.0), "nothing is divided by zero");
    }
}
