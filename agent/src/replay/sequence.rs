//! In which file of a sequence of captures an exchange began.

/// Where a file begins among what came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// Index of the file.
    pub file: u32,
    /// The latest time in any packet before, nanoseconds.
    pub clock_ns: u64,
    /// The connection that began last before.
    pub newest: u64,
}

/// The files so far, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boundaries(Vec<Boundary>);

impl Extend<Boundary> for Boundaries {
    fn extend<I: IntoIterator<Item = Boundary>>(&mut self, files: I) {
        self.0.extend(files);
    }
}

impl Boundaries {
    /// The file that was begun last.
    #[must_use]
    pub fn last(&self) -> Option<u32> {
        self.0.last().map(|boundary| boundary.file)
    }

    /// The last file whose begin lies before the connection's, or before the request's first byte. Files of another time than the one
    /// before them have no connection with it in common, so that the first rule holds for them, and the second for the others.
    #[must_use]
    pub fn file_of(&self, connection: u64, first_byte_ns: u64) -> u32 {
        let began_in =
            |boundary: &&Boundary| connection > boundary.newest || first_byte_ns > boundary.clock_ns;
        let found = self.0.iter().rev().find(began_in).or(self.0.first());
        found.map_or(0, |boundary| boundary.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continued_and_unrelated_files() {
        let boundary = |file, clock_ns, newest| Boundary {
            file,
            clock_ns,
            newest,
        };
        let mut boundaries = Boundaries::default();
        assert_eq!(boundaries.file_of(1, 1), 0);
        // The second goes on where the first ended, the third is older, the fourth goes on from the second.
        boundaries.extend([
            boundary(2, 0, 0),
            boundary(3, 200, 10),
            boundary(5, 300, 20),
            boundary(6, 300, 30),
        ]);
        for (connection, time, file) in [
            (1, 100, 2),
            (1, 200, 2),
            (1, 201, 3),
            (11, 201, 3),
            (21, 50, 5),
            (31, 301, 6),
            (15, 301, 6),
        ] {
            assert_eq!(boundaries.file_of(connection, time), file, "{connection} {time}");
        }
        assert_eq!(boundaries.last(), Some(6));
    }
}
