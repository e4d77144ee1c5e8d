//! Which sockets were born since the agent attached its programs.
//!
//! The kernel numbers the inodes of sockets, and of much else, from one sequence, of which each CPU takes a batch at a time
//! (`get_next_ino` in fs/inode.c). So a number tells its age: one of a batch that was taken later is younger, and within a batch the
//! higher one. User space notes the number that each CPU had reached, and the last batch that anyone had taken. Without a last batch in the
//! map every socket counts as old: programs and user space remove it when sockets lose what was known of them, and user space notes anew.

/// Numbers of a batch: those from 1 on, then those from 1025 on, and so forth.
pub const BATCH: u32 = 1024;

/// CPUs whose numbers are noted; sockets of batches of others count as old.
pub const BIRTHS_MAX: u32 = 4096;

/// Key of the last batch in the map of births; no batch has this number.
pub const LAST_BATCH: u32 = u32::MAX;

/// The batch that a number belongs to.
#[must_use]
pub const fn batch_of(inode: u32) -> u32 {
    inode.wrapping_sub(1) / BATCH
}

/// Whether a number was given after what was noted: `reached` in its own batch, if that was then in use, and `last`, the last batch.
#[must_use]
pub const fn is_born_since(inode: u32, reached: Option<u32>, last: u32) -> bool {
    let ahead = match reached {
        Some(reached) => inode.wrapping_sub(reached),
        None => batch_of(inode).wrapping_sub(last).wrapping_mul(BATCH),
    };
    ahead as i32 > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_begin_after_their_multiples() {
        assert_eq!([1, 1024, 1025, 2048].map(batch_of), [0, 0, 1, 1]);
    }

    #[test]
    fn a_number_tells_its_age() {
        // Batch 7 was in use up to 7200, the last one taken was 9.
        for (inode, reached, born) in [
            (7200, Some(7200), false),
            (7199, Some(7200), false),
            (7201, Some(7200), true),
            (8 * BATCH + 5, None, false),
            (9 * BATCH + 1, None, false),
            (10 * BATCH, None, false),
            (10 * BATCH + 1, None, true),
        ] {
            assert_eq!(is_born_since(inode, reached, 9), born, "{inode}");
        }
        // The sequence begins anew.
        let last = batch_of(u32::MAX - 5);
        assert!(is_born_since(3, None, last));
        assert!(!is_born_since(u32::MAX - 3000, None, 1));
    }
}
