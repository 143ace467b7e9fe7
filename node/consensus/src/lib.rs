//! The only home of openraft: one handle to read and to change the metadata
