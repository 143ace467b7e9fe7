//! What can be wrong with a configuration, in words that say how to mend it.

use std::fmt;

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
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Line(line) => write!(f, "line {line}: ")?,
            Place::Variable(name) => write!(f, "{name}: ")?,
            Place::Missing => {}
        }
        match &self.value {
            Some(value) => write!(f, "{} = {value}: {}", self.key, self.allowed),
            None => write!(f, "{}: {}", self.key, self.allowed),
        }
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
