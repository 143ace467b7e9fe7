//! Reads tables of settings from a TOML text and from `PORTOLAN_TABLE_KEY` variables, key by key, so that every
//! mistake is reported at once and with its line.

use super::nearest::nearest;
use super::problem::{Place, Problems};
use super::values::{allowed, out_of_range};
use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use toml::Value;
use toml::de::DeTable;

/// The tables of a configuration, in the order of the documentation.
pub(crate) const TABLES: [&str; 13] = [
    "node",
    "cluster",
    "public",
    "peer",
    "ops",
    "storage",
    "uploads",
    "limits",
    "reads",
    "deletes",
    "replication",
    "routing",
    "auth",
];

/// The key of problems of the text as a whole.
const SYNTAX: &str = "TOML";
/// What names of variables begin with.
const PREFIX: &str = "PORTOLAN_";

/// One setting as it was written.
#[derive(Debug)]
struct Entry {
    place: Place,
    /// What it may mean: a variable may be a plain string or a TOML value, and the type of the key decides.
    readings: Vec<Value>,
}

impl Entry {
    fn written(&self) -> Option<String> {
        self.readings.first().map(ToString::to_string)
    }
}

/// Settings by table and key, consumed table by table.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    tables: BTreeMap<&'static str, BTreeMap<String, Entry>>,
    known: BTreeMap<&'static str, BTreeSet<&'static str>>,
    places: BTreeMap<String, (Place, Option<String>)>,
    /// Everything that was found wrong so far.
    pub(crate) problems: Problems,
}

impl Settings {
    /// Reads the file's text and the environment. Mistakes are kept in `problems`.
    pub(crate) fn read(text: &str, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut settings = Self::default();
        settings.read_text(text);
        let mut variables: Vec<_> = variables.into_iter().collect();
        variables.sort();
        for (name, value) in variables {
            settings.read_variable(&name, &value);
        }
        settings
    }

    fn read_text(&mut self, text: &str) {
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let line = error.span().map_or(Place::Missing, |span| Place::Line(line_of(text, span.start)));
            self.problems.add(line, SYNTAX, None, error.message());
        }
        if !errors.is_empty() {
            return;
        }
        let values: toml::Table = match toml::from_str(text) {
            Ok(values) => values,
            Err(error) => {
                self.problems.add(Place::Missing, SYNTAX, None, error.message());
                return;
            }
        };
        for (name, table) in document.get_ref() {
            let line = Place::Line(line_of(text, name.span().start));
            let name = name.get_ref().as_ref();
            let Some(known) = TABLES.into_iter().find(|known| *known == name) else {
                if table.get_ref().as_table().is_some() {
                    self.problems.add(line, format!("[{name}]"), None, unknown("table", name, TABLES));
                } else {
                    let words = format!("stands outside of any table; the tables are {}", TABLES.join(", "));
                    self.problems.add(line, name, None, words);
                }
                continue;
            };
            let (Some(keys), Some(Value::Table(values))) = (table.get_ref().as_table(), values.get(name)) else {
                self.problems.add(line, name, None, format!("is a table: write [{name}] and its keys below it"));
                continue;
            };
            for key in keys.keys() {
                let place = Place::Line(line_of(text, key.span().start));
                let key: &str = key.get_ref().as_ref();
                if let Some(value) = values.get(key) {
                    let entry = Entry { place, readings: vec![value.clone()] };
                    self.tables.entry(known).or_default().insert(key.to_owned(), entry);
                }
            }
        }
    }

    fn read_variable(&mut self, name: &str, value: &str) {
        if is_service_link(name) {
            return;
        }
        let Some((table, key)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')) else {
            return;
        };
        let (table, key) = (table.to_lowercase(), key.to_lowercase());
        let place = Place::Variable(name.to_owned());
        let Some(known) = TABLES.into_iter().find(|known| *known == table) else {
            // Other variables of that prefix belong to other commands; a near miss is a mistake.
            if let Some(near) = nearest(&table, TABLES) {
                let meant = format!("{PREFIX}{}_{}", near.to_uppercase(), key.to_uppercase());
                self.problems.add(place, format!("[{table}]"), None, format!("unknown table; did you mean {meant}?"));
            }
            return;
        };
        let mut readings = vec![Value::String(value.to_owned())];
        if let Ok(mut parsed) = toml::from_str::<toml::Table>(&format!("value = {value}")) {
            readings.extend(parsed.remove("value"));
        }
        self.tables.entry(known).or_default().insert(key, Entry { place, readings });
    }

    /// Whether the text is no TOML at all: then nothing can be said about its keys.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.problems.0.iter().any(|problem| problem.key == SYNTAX)
    }

    /// Takes those keys of a table that `T` has. May be called several times for one table with different types; what
    /// nobody takes is reported by [`Settings::finish`].
    pub(crate) fn take<T: DeserializeOwned + Default>(&mut self, table: &'static str) -> T {
        let fields = fields_of::<T>();
        self.known.entry(table).or_default().extend(fields);
        let mut good = toml::Table::new();
        let entries = self.tables.entry(table).or_default();
        for key in fields {
            let Some(entry) = entries.remove(*key) else { continue };
            let full_key = format!("{table}.{key}");
            self.places.insert(full_key.clone(), (entry.place.clone(), entry.written()));
            let mut complaint = None;
            let reading = entry.readings.iter().find(|reading| match one::<T>(key, reading) {
                Ok(()) => true,
                Err(error) => {
                    complaint = Some(error);
                    false
                }
            });
            match (reading, complaint) {
                (Some(value), _) => {
                    if let Some(range) = out_of_range(table, key, value) {
                        self.problems.add(entry.place.clone(), full_key, entry.written(), range);
                    } else {
                        good.insert((*key).to_owned(), value.clone());
                    }
                }
                (None, complaint) => {
                    if let Some((at, shown, words)) = entry.readings.last().and_then(|list| wrong_entry::<T>(key, list))
                    {
                        self.problems.add(entry.place.clone(), format!("{full_key}[{at}]"), Some(shown), words);
                        continue;
                    }
                    let words = allowed(table, key)
                        .map_or_else(|| in_words(&complaint.unwrap_or_default()), |words| format!("must be {words}"));
                    self.problems.add(entry.place.clone(), full_key, entry.written(), words);
                }
            }
        }
        Value::Table(good).try_into().unwrap_or_default()
    }

    /// Adds a problem of a key that was taken, with its place and value when it was written.
    pub(crate) fn wrong(&mut self, key: &str, allowed: impl Into<String>) {
        let (place, value) = self.places.get(key).cloned().unwrap_or((Place::Missing, None));
        self.problems.add(place, key, value, allowed);
    }

    /// Adds a problem of one entry of a list, counted from 1.
    pub(crate) fn wrong_at(&mut self, key: &str, at: usize, words: impl Into<String>) {
        let place = self.places.get(key).map_or(Place::Missing, |(place, _)| place.clone());
        self.problems.add(place, format!("{key}[{at}]"), None, words);
    }

    /// Whether something was found wrong with a key already.
    pub(crate) fn is_wrong(&self, key: &str) -> bool {
        self.problems.0.iter().any(|problem| problem.key.split('[').next() == Some(key))
    }

    /// Whether a key was written, rightly or wrongly.
    pub(crate) fn is_written(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// Reports every key that nobody took, and gives all problems in the order of the file.
    pub(crate) fn finish(mut self) -> Problems {
        for (table, entries) in std::mem::take(&mut self.tables) {
            let known = self.known.get(table).cloned().unwrap_or_default();
            for (key, entry) in entries {
                let allowed = unknown("key", &key, known.iter().copied());
                self.problems.add(entry.place.clone(), format!("{table}.{key}"), entry.written(), allowed);
            }
        }
        self.problems.in_order()
    }
}

/// Whether a variable is one of those that Kubernetes puts into every container of a namespace with a Service of a name
/// like `portolan-peer`.
fn is_service_link(name: &str) -> bool {
    let after = |word| name.split_once(word).map(|(_, rest)| rest);
    let port = after("_PORT").is_some_and(|rest| {
        rest.is_empty()
            || rest.strip_prefix('_').is_some_and(|rest| rest.starts_with(|byte: char| byte.is_ascii_digit()))
    });
    port || name.ends_with("_SERVICE_HOST") || after("_SERVICE_PORT").is_some()
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn unknown<'a>(what: &str, word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if let Some(near) = nearest(word, known.clone()) {
        return format!("unknown {what}; did you mean {near}?");
    }
    let known: Vec<&str> = known.into_iter().collect();
    if known.is_empty() {
        return format!("unknown {what}; this table has no keys yet");
    }
    format!("unknown {what}; known are {}", known.join(", "))
}

/// Whether a table with this one key reads as a `T`.
fn one<T: DeserializeOwned>(key: &str, value: &Value) -> Result<(), String> {
    let table = toml::Table::from_iter([(key.to_owned(), value.clone())]);
    Value::Table(table).try_into::<T>().map(drop).map_err(|error| error.message().to_owned())
}

/// The first entry of a list of tables that does not read as one: its number from 1, how it was written, and why.
fn wrong_entry<T: DeserializeOwned>(key: &str, list: &Value) -> Option<(usize, String, String)> {
    list.as_array()?.iter().enumerate().filter(|(_, entry)| entry.is_table()).find_map(|(at, entry)| {
        let complaint = one::<T>(key, &Value::Array(vec![entry.clone()])).err()?;
        let first_line = complaint.lines().next().unwrap_or_default().replace('`', "");
        Some((at + 1, entry.to_string(), first_line))
    })
}

/// Says in plain words what a reader of a key expected.
fn in_words(complaint: &str) -> String {
    let Some((_, expected)) = complaint.split_once("expected ") else {
        return complaint.to_owned();
    };
    match expected.trim() {
        "u8" | "u16" | "u32" | "u64" | "usize" => "must be a whole number that is not negative".to_owned(),
        "i32" | "i64" => "must be a whole number".to_owned(),
        "f32" | "f64" => "must be a number".to_owned(),
        "a boolean" => "must be true or false".to_owned(),
        other => format!("must be {other}"),
    }
}

/// The keys of a settings struct, asked of its own `Deserialize`, so that they are written down once only.
fn fields_of<T: DeserializeOwned>() -> &'static [&'static str] {
    struct Probe<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Probe<'_> {
        type Error = de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(de::Error::custom("only structs have keys"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = fields;
            Err(de::Error::custom("the keys are known now"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut fields: &'static [&'static str] = &[];
    // It always fails: the probe has no values. What counts is what it was asked for.
    let _: Result<T, _> = T::deserialize(Probe(&mut fields));
    fields
}

/// A table of a struct without keys, for tables that have none yet.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NoKeys {}
