//! The imports and paths of one source.

use super::tokens::{Token, of_stream, reads};
use syn::visit::{self, Visit};
use syn::{Attribute, File, Item, ItemMod, ItemUse, Macro, Path, UseTree, VisRestricted};

/// One name that a `use` brings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Import {
    /// The inline modules around it, outermost first.
    pub(crate) within: Vec<String>,
    /// What is imported, without the `*` of a glob.
    pub(crate) segments: Vec<String>,
    /// What it is called here.
    pub(crate) name: String,
    /// Whether it is `segments::*`.
    pub(crate) glob: bool,
    /// Its line.
    pub(crate) line: usize,
}

/// A path that is used, or imported.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mention {
    /// The inline modules around it, outermost first.
    pub(crate) within: Vec<String>,
    /// Its segments.
    pub(crate) segments: Vec<String>,
}

/// Every import, tests included.
pub(crate) fn imports(file: &File) -> Vec<Import> {
    let mut visitor = Visitor { tests: true, ..Visitor::default() };
    visitor.visit_file(file);
    visitor.imports
}

/// Every import and every path outside of `#[cfg(test)]`: tests may look wherever they like.
pub(crate) fn imports_and_mentions(file: &File) -> (Vec<Import>, Vec<Mention>) {
    let mut visitor = Visitor::default();
    visitor.visit_file(file);
    (visitor.imports, visitor.mentions)
}

/// Whether an item is there for tests only.
pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}

#[derive(Default)]
struct Visitor {
    tests: bool,
    within: Vec<String>,
    imports: Vec<Import>,
    mentions: Vec<Mention>,
}

impl Visitor {
    fn mention(&mut self, segments: Vec<String>) {
        self.mentions.push(Mention { within: self.within.clone(), segments });
    }

    fn import(&mut self, mut segments: Vec<String>, tree: &UseTree, line: usize) {
        let (name, glob) = match tree {
            UseTree::Path(path) => {
                segments.push(path.ident.to_string());
                return self.import(segments, &path.tree, line);
            }
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.import(segments.clone(), tree, line));
            }
            UseTree::Glob(_) => (String::new(), true),
            UseTree::Name(name) => {
                // `a::{self}` imports `a`.
                if name.ident != "self" || segments.is_empty() {
                    segments.push(name.ident.to_string());
                }
                (segments.last().cloned().unwrap_or_default(), false)
            }
            UseTree::Rename(rename) => {
                if rename.ident != "self" || segments.is_empty() {
                    segments.push(rename.ident.to_string());
                }
                (rename.rename.to_string(), false)
            }
        };
        self.mention(segments.clone());
        self.imports.push(Import { within: self.within.clone(), segments, name, glob, line });
    }
}

impl<'ast> Visit<'ast> for Visitor {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => &[],
        };
        if self.tests || !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        self.within.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.within.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.import(Vec::new(), &item.tree, item.use_token.span.start().line);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        self.mention(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        visit::visit_macro(self, call);
        for segments in rooted_paths(&of_stream(call.tokens.clone())) {
            self.mention(segments);
        }
    }

    /// `pub(crate)` and `pub(super)` name a module and use nothing of it.
    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {}
}

/// The paths in a macro's input that begin with `crate`, `self` or `super`.
fn rooted_paths(tokens: &[Token]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let first = tokens[at].text.as_str();
        at += 1;
        if !matches!(first, "crate" | "self" | "super") {
            continue;
        }
        let mut segments = vec![first.to_owned()];
        while reads(tokens, at, &[":", ":"]) && at + 2 < tokens.len() {
            segments.push(tokens[at + 2].text.clone());
            at += 3;
        }
        if segments.len() > 1 {
            found.push(segments);
        }
    }
    found
}
