//! The nearest known word to a misspelt one.

/// The known word that is nearest to `word`, if one is near enough to be what was meant: at most a third of its
/// letters differ (a swap of two neighbours counts as one difference).
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance * 3 <= candidate.len().max(word.len()).max(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_word_is_found_only_when_it_is_near() {
        let known = ["name", "region", "zone", "data_dir"];
        for (word, expected) in [
            ("nmae", Some("name")),
            ("regoin", Some("region")),
            ("datadir", Some("data_dir")),
            ("regions", Some("region")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word:?}");
        }
    }
}
