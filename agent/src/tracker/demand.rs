//! The demand that all of a connection be sent: made once, and again when records lack bytes nevertheless, since the order may have been
//! overwritten by one for another connection.

/// Records that lack bytes after which the demand is made again.
pub const AGAIN: u32 = 64;

/// See the module's description.
#[derive(Clone, Copy, Debug, Default)]
pub struct Demand {
    made: bool,
    /// Records that lacked bytes since.
    cut: u32,
}

impl Demand {
    /// Notes a record of a connection of which all is needed; `cut`: it lacked bytes. True when the demand is to be made.
    pub fn is_due(&mut self, cut: bool) -> bool {
        if !self.made {
            self.made = true;
            return true;
        }
        let again = cut && self.cut == 0;
        self.cut = (self.cut + u32::from(cut)) % AGAIN;
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_and_again_for_so_many_cut_records() {
        let mut demand = Demand::default();
        assert!(demand.is_due(false) && !demand.is_due(false));
        let due = (0..10 * AGAIN).filter(|_| demand.is_due(true)).count();
        assert_eq!(due, 10);
        assert!(!demand.is_due(false));
    }
}
