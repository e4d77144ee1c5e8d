//! Files made by hand and real ones.

mod build;
mod go;
mod hostile;
mod linked;
mod real;

use super::{ElfError, Image};

/// What is in a file.
fn look(file: &[u8]) -> Image {
    super::read_source(&file).unwrap_or_else(|error| panic!("{error}"))
}

/// What is wrong with a file.
fn refused(file: &[u8]) -> ElfError {
    super::read_source(&file)
        .err()
        .unwrap_or_else(|| panic!("not refused"))
}
