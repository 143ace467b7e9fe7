//! The sources as the rules see them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fmt, fs, io};

/// Folders that hold no sources of ours.
const SKIPPED: [&str; 3] = ["target", ".git", "fuzz"];
const KINDS: [&str; 4] = ["rs", "toml", "proto", "sh"];

/// The workspace: what lies at its top, and every source below it.
#[derive(Default)]
pub(crate) struct Tree {
    /// The names at the top level, without those that git ignores.
    pub(crate) top: BTreeSet<String>,
    /// Path from the top, with slashes, to content: Rust, TOML, protobuf and shell.
    pub(crate) files: BTreeMap<String, String>,
}

/// A broken rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The file, from the top of the workspace.
    pub(crate) path: String,
    /// The line, from 1; 0 when it is about the whole file.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line.max(1), self.message)
    }
}

impl Tree {
    /// Reads a workspace from the disk.
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let ignored = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
        let ignored: BTreeSet<&str> = ignored.lines().map(|line| line.trim_matches('/')).collect();
        let mut tree = Self::default();
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if ignored.contains(name.as_str()) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                tree.add_folder(&entry.path(), &name)?;
            } else {
                tree.add_file(&entry.path(), &name)?;
            }
            tree.top.insert(name);
        }
        Ok(tree)
    }

    /// A made-up workspace.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let files: BTreeMap<_, _> =
            files.iter().map(|&(path, content)| (path.to_owned(), content.to_owned())).collect();
        let top = files.keys().map(|path| path.split('/').next().unwrap_or(path).to_owned()).collect();
        Self { top, files }
    }

    /// The Rust sources.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter(|(path, _)| path.ends_with(".rs")).map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The manifests of crates: the folder each lies in, and what it says. The workspace's own has the folder "".
    pub(crate) fn crates(&self) -> impl Iterator<Item = (&str, toml::Table)> {
        self.files.iter().filter_map(|(path, text)| {
            let folder = path.strip_suffix("Cargo.toml")?;
            Some((folder.trim_end_matches('/'), text.parse().unwrap_or_else(|error| panic!("{path}: {error}"))))
        })
    }

    fn add_folder(&mut self, folder: &Path, name: &str) -> io::Result<()> {
        if SKIPPED.iter().any(|skipped| name == *skipped || name.ends_with(&format!("/{skipped}"))) {
            return Ok(());
        }
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = format!("{name}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                self.add_folder(&entry.path(), &name)?;
            } else {
                self.add_file(&entry.path(), &name)?;
            }
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path, name: &str) -> io::Result<()> {
        let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
        if KINDS.contains(&kind) {
            self.files.insert(name.to_owned(), fs::read_to_string(path)?);
        }
        Ok(())
    }
}

/// A dependency of a crate's manifest, from any of its tables.
pub(crate) fn dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    const TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let mut found = BTreeSet::new();
    let per_target = manifest.get("target").and_then(toml::Value::as_table);
    let targets = per_target.into_iter().flat_map(|targets| targets.values()).filter_map(toml::Value::as_table);
    for place in std::iter::once(manifest).chain(targets) {
        for table in TABLES.iter().filter_map(|table| place.get(*table)?.as_table()) {
            for (key, value) in table {
                // A renamed dependency hides its name in `package`.
                let package = value.get("package").and_then(toml::Value::as_str);
                found.insert(package.unwrap_or(key).to_owned());
            }
        }
    }
    found
}

#[test]
fn dependencies_are_found_in_every_table_and_under_every_name() {
    let manifest = r#"
        [dependencies]
        a = "1"
        alias = { package = "b", version = "1" }
        [dev-dependencies]
        c.workspace = true
        [build-dependencies]
        d = "1"
        [target.'cfg(unix)'.dependencies]
        e = "1"
    "#;
    let found = dependencies(&manifest.parse().unwrap());
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a", "b", "c", "d", "e"]);
}
