//! Records of connections that nobody tracks: an order to leave them out was given, and may have been overwritten by one for another
//! connection. It is given again, but not for every record.

/// Records after which an order is given again.
pub const AGAIN: u32 = 256;
/// Counters shared by hash of the connection: a connection counted with another is told a little earlier.
const SLOTS: usize = 1024;

/// See the module's description.
#[derive(Debug)]
pub struct Leftover(Box<[u32; SLOTS]>);

impl Default for Leftover {
    fn default() -> Self {
        Self(Box::new([0; SLOTS]))
    }
}

impl Leftover {
    /// Counts a record. True when the order is to be given again.
    pub fn is_due(&mut self, connection: u64) -> bool {
        let Some(count) = self.0.get_mut(connection as usize % SLOTS) else {
            return false;
        };
        *count = (*count + 1) % AGAIN;
        *count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_for_so_many_records() {
        let mut leftover = Leftover::default();
        let due = (0..10 * AGAIN).filter(|_| leftover.is_due(7)).count();
        assert_eq!(due, 10);
        assert!(!leftover.is_due(u64::MAX));
    }
}
