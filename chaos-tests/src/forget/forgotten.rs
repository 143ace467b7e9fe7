//! How much a kill took back.

/// What was taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Names that were put back or removed.
    pub names: u64,
    /// Files that were cut, or whose old bytes were put back.
    pub files: u64,
    /// Bytes that were cut off.
    pub bytes: u64,
}

impl std::ops::AddAssign for Forgotten {
    fn add_assign(&mut self, other: Self) {
        self.names += other.names;
        self.files += other.files;
        self.bytes += other.bytes;
    }
}
