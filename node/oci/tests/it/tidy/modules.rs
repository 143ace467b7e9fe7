//! The modules of one crate: which file each lies in, and which file a path leads to.

use super::paths::{Mention, imports_and_mentions, is_for_tests};
use super::tree::Tree;
use std::collections::BTreeMap;
use syn::{Item, ItemMod};

/// A module's path from the crate's root; the root's is empty.
type ModulePath = Vec<String>;

/// Who uses whom, and an example of what.
pub(crate) type Uses<'a> = BTreeMap<&'a str, BTreeMap<&'a str, String>>;

/// The files of one crate and who uses whom.
#[derive(Default)]
pub(crate) struct Modules {
    /// Module to file; an inline module lies in the file around it.
    files: BTreeMap<ModulePath, String>,
    /// What a name that a module imports stands for.
    names: BTreeMap<ModulePath, BTreeMap<String, Vec<String>>>,
    /// What is mentioned where.
    mentions: Vec<(ModulePath, Mention)>,
}

impl Modules {
    /// Reads a crate from its root file on, along `mod` declarations. Modules for tests are left out.
    pub(crate) fn read(tree: &Tree, root: &str) -> Self {
        let mut modules = Self::default();
        modules.read_file(tree, root, &[], true);
        modules
    }

    /// File to the files that it uses, itself left out, each with a path that it uses of it.
    pub(crate) fn uses(&self) -> Uses<'_> {
        let mut uses = Uses::new();
        for (module, mention) in &self.mentions {
            let user = self.files[module].as_str();
            let inner: ModulePath = module.iter().chain(&mention.within).cloned().collect();
            if let Some(used) = self.resolve(&inner, &mention.segments, 0).filter(|used| *used != user) {
                uses.entry(user).or_default().entry(used).or_insert_with(|| mention.segments.join("::"));
            }
        }
        uses
    }

    fn read_file(&mut self, tree: &Tree, path: &str, module: &[String], is_root: bool) {
        let Some(text) = tree.files.get(path) else {
            return; // Generated, or behind a `path` attribute.
        };
        let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        self.files.insert(module.to_vec(), path.to_owned());
        let (imports, mentions) = imports_and_mentions(&file);
        for import in imports.into_iter().filter(|import| !import.glob) {
            let inner = module.iter().cloned().chain(import.within).collect();
            self.names.entry(inner).or_default().insert(import.name, import.segments);
        }
        self.mentions.extend(mentions.into_iter().map(|mention| (module.to_vec(), mention)));
        let folder = child_folder(path, is_root);
        self.read_items(tree, path, module, &folder, &file.items);
    }

    fn read_items(&mut self, tree: &Tree, path: &str, module: &[String], folder: &str, items: &[Item]) {
        for item in items {
            let Item::Mod(ItemMod { attrs, ident, content, .. }) = item else { continue };
            if is_for_tests(attrs) {
                continue;
            }
            let name = ident.to_string();
            let inner: ModulePath = module.iter().cloned().chain([name.clone()]).collect();
            if let Some((_, items)) = content {
                self.files.insert(inner.clone(), path.to_owned());
                self.read_items(tree, path, &inner, &format!("{folder}/{name}"), items);
                continue;
            }
            let candidates = [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")];
            if let Some(child) = candidates.iter().find(|candidate| tree.files.contains_key(*candidate)) {
                self.read_file(tree, child, &inner, false);
            }
        }
    }

    /// The file that defines what a path in a module names; re-exports are followed. `None`: another crate's, or a
    /// local name.
    fn resolve(&self, module: &[String], segments: &[String], depth: usize) -> Option<&str> {
        let (first, rest) = segments.split_first()?;
        let mut start = module.to_vec();
        let mut rest = rest;
        match first.as_str() {
            "crate" => start.clear(),
            "self" => {}
            "super" => {
                start.pop()?;
                while let Some((next, after)) = rest.split_first().filter(|(next, _)| *next == "super") {
                    debug_assert_eq!(next, "super");
                    start.pop()?;
                    rest = after;
                }
            }
            name => {
                start.push(name.to_owned());
                if !self.files.contains_key(&start) {
                    return None;
                }
            }
        }
        self.descend(start, rest, depth)
    }

    fn descend(&self, mut module: ModulePath, mut rest: &[String], depth: usize) -> Option<&str> {
        while let Some((next, after)) = rest.split_first() {
            let inner: ModulePath = module.iter().cloned().chain([next.clone()]).collect();
            if !self.files.contains_key(&inner) {
                // Not a module: an item of `module`, or a name that it imports from elsewhere.
                let imported = self.names.get(&module).and_then(|names| names.get(next));
                let Some(imported) = imported.filter(|_| depth < 8) else { break };
                let target: Vec<String> = imported.iter().chain(after).cloned().collect();
                return self.resolve(&module, &target, depth + 1);
            }
            (module, rest) = (inner, after);
        }
        self.files.get(&module).map(String::as_str)
    }
}

/// Where the files of a file's own modules lie.
fn child_folder(path: &str, is_root: bool) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    if is_root || name == "mod.rs" { folder.to_owned() } else { path.trim_end_matches(".rs").to_owned() }
}
