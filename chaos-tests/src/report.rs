//! What a run leaves for people and for programs: one page that shows it, and the same figures as JSON beside it. Pure but
//! for [`Report::write`]. In reading order:
//!
//! - [`run`] is what is known of a run beside the evidence, [`figures`] everything that is shown of it;
//! - [`calls`] says what counts as a pull, a push and a failure, and puts calls into words;
//! - [`series`] is what happened over time, [`impact`] what each kind of fault did to clients, by the gaps of [`acks`];
//! - [`page`] is the page: `svg` draws its timeline of `lane`s and `curves`, `spacetime` the calls of a violation, `tables` its
//!   tables;
//! - [`json`] writes the files and reads them again;
//! - [`table`] is the summary for a terminal, [`dr`] the table of DR numbers over several runs.

pub mod acks;
pub mod calls;
mod curves;
pub mod dr;
pub mod figures;
pub mod impact;
pub mod json;
mod lane;
pub mod page;
pub mod run;
pub mod series;
mod spacetime;
mod svg;
pub mod table;
mod tables;
mod words;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

pub use figures::Report;
pub use run::{Judged, Run};
