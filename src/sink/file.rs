//! Line protocol into files, rotated.

use std::path::PathBuf;

#[derive(Clone, Debug)]
pub struct Settings {
    pub path: PathBuf,
    pub file_bytes_max: u64,
    pub files_max: u32,
    /// `fdatasync` before a batch counts as stored.
    pub sync: bool,
}
