//! What can be wrong with a configuration, in words that say how to mend it.

use std::fmt::{self, Write as _};

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A line of the file, from 1.
    Line(usize),
    /// An environment variable.
    Variable(String),
    /// Nowhere: it is missing.
    Missing,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where.
    pub(crate) place: Place,
    /// Which key, as `table.key`, or a table.
    pub(crate) key: String,
    /// The value as it was written, when there is one.
    pub(crate) value: Option<String>,
    /// What is wrong, or what is allowed instead.
    pub(crate) allowed: String,
}

impl fmt::Display for Problem {
    /// One line, whatever the keys and values are made of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, allowed) = (OneLine(&self.key), OneLine(&self.allowed));
        match &self.place {
            Place::Line(line) => write!(f, "line {line}: ")?,
            Place::Variable(name) => write!(f, "{}: ", OneLine(name))?,
            Place::Missing => {}
        }
        match &self.value {
            Some(value) => write!(f, "{key} = {}: {allowed}", OneLine(value)),
            None => write!(f, "{key}: {allowed}"),
        }
    }
}

/// A text as the log may have it: control characters escaped, since a value of several lines would pass for several
/// problems; and never a key that somebody wrote where the path of its file belongs.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains("-----BEGIN") {
            return f.write_str("(the content of a PEM file)");
        }
        self.0.chars().try_for_each(|character| {
            if character.is_control() { write!(f, "{}", character.escape_debug()) } else { f.write_char(character) }
        })
    }
}

/// Everything that is wrong, in the order of the file; never empty when it is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl Problems {
    /// Adds a problem of a setting that was written somewhere.
    pub(crate) fn add(
        &mut self,
        place: Place,
        key: impl Into<String>,
        value: Option<String>,
        allowed: impl Into<String>,
    ) {
        self.0.push(Problem { place, key: key.into(), value, allowed: allowed.into() });
    }

    /// First what the file says, by its lines, then variables, then what is missing.
    pub(crate) fn in_order(mut self) -> Self {
        self.0.sort_by_key(|problem| match &problem.place {
            Place::Line(line) => (0, *line, String::new()),
            Place::Variable(name) => (1, 0, name.clone()),
            Place::Missing => (2, 0, problem.key.clone()),
        });
        self
    }

    /// Adds a setting that must be there and is not.
    pub(crate) fn missing(&mut self, key: &str, allowed: &str) {
        self.add(Place::Missing, key, None, format!("is missing; it must be {allowed}"));
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "{count} {} in the configuration:", if count == 1 { "problem" } else { "problems" })?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Problems};

    #[test]
    fn a_problem_is_one_line_whatever_was_written() {
        let mut problems = Problems::default();
        let name = Place::Variable("PORTOLAN_A\u{1b}".to_owned());
        problems.add(name, "node.x\ny", Some("\"a\r\u{9b}2J\"".to_owned()), "must not be \0");
        problems.missing("node.name", "a name");
        let told = problems.to_string();
        assert_eq!(told.lines().count(), 3, "{told}");
        let want = r#"  PORTOLAN_A\u{1b}: node.x\ny = "a\r\u{9b}2J": must not be \0"#;
        assert_eq!(told.lines().nth(1), Some(want));
    }

    #[test]
    fn a_key_in_place_of_its_path_is_not_told() {
        let mut problems = Problems::default();
        let pem = "\"\"\"\n-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n\"\"\"";
        let place = Place::Variable("PORTOLAN_PEER_KEY".to_owned());
        problems.add(place, "peer.key", Some(pem.to_owned()), "must be a path");
        let want = "PORTOLAN_PEER_KEY: peer.key = (the content of a PEM file): must be a path";
        assert_eq!(problems.0[0].to_string(), want);
    }

    #[test]
    fn problems_are_told_in_the_order_of_the_file() {
        let mut problems = Problems::default();
        problems.missing("b", "there");
        problems.add(Place::Variable("V".to_owned()), "v", None, "no");
        problems.missing("a", "there");
        problems.add(Place::Line(7), "x", None, "no");
        problems.add(Place::Line(3), "y", None, "no");
        let keys: Vec<String> = problems.in_order().0.into_iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["y", "x", "v", "a", "b"]);
    }
}
