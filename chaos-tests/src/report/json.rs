//! The files of a report: the page for people, and beside it the same figures for programs.

use super::figures::{JSON, Report};
use super::page;
use std::fs;
use std::path::Path;

/// The page's file.
pub const PAGE: &str = "report.html";

impl Report {
    /// The figures as JSON, with a line break at the end.
    ///
    /// # Errors
    /// None that a report can cause.
    pub fn to_json(&self) -> crate::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Writes the page and the figures into a folder, which is made where it is missing.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write(&self, folder: &Path) -> crate::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join(JSON), self.to_json()?)?;
        fs::write(folder.join(PAGE), page::draw(self))?;
        Ok(())
    }

    /// Reads the figures that [`Report::write`] left in a folder.
    ///
    /// # Errors
    /// When there are none, or they are of another version.
    pub fn read(folder: &Path) -> crate::Result<Self> {
        let path = folder.join(JSON);
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?)
    }
}
