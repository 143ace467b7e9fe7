//! Kills a process that writes, at any moment, and looks at what it left.

mod kill;
