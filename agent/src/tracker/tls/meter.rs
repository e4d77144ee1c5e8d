//! How many bytes went one way over a socket, by what the kernel says of it now and then.

/// See the module's description.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    /// Sequence number of the first byte; `None` while nothing was heard of a connection that was joined late.
    base: Option<u32>,
    /// Bytes so far.
    bytes: u64,
    /// The socket's own count at that place: it may be some off, and goes beyond 32 bits.
    moved: u64,
}

impl Meter {
    /// Of a way whose first sequence number is known if it was seen from its begin.
    pub const fn new(base: Option<u32>) -> Self {
        Self {
            base,
            bytes: 0,
            moved: 0,
        }
    }

    /// The kernel says that the next sequence number is `end`, and that the socket counted about `moved` bytes (0: nobody counted). The
    /// bytes since it said so the last time. Of a connection that was joined late the first answer is all that its socket counted: what
    /// went by before is not known apart.
    pub fn told(&mut self, end: u32, moved: u64) -> u64 {
        let base = *self.base.get_or_insert(end.wrapping_sub(moved as u32));
        let near = self.bytes.saturating_add(moved.saturating_sub(self.moved));
        let ahead = end.wrapping_sub(base.wrapping_add(near as u32)) as i32;
        let bytes = near.checked_add_signed(i64::from(ahead)).unwrap_or(near);
        let more = bytes.saturating_sub(self.bytes);
        self.bytes += more;
        self.moved = self.moved.max(moved);
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_counted_once() {
        // First sequence number; then next one, the socket's count, and the bytes since.
        type Said = (u32, u64, u64);
        let cases: [(&str, Option<u32>, &[Said]); 6] = [
            (
                "from its begin",
                Some(100),
                &[(150, 50, 50), (150, 50, 0), (175, 75, 25)],
            ),
            (
                "SYN and FIN count in the socket's own",
                Some(100),
                &[(150, 51, 50), (200, 102, 50)],
            ),
            (
                "sequence numbers wrap",
                Some(u32::MAX - 9),
                &[(40, 50, 50), (50, 60, 10)],
            ),
            (
                "beyond 32 bits",
                Some(0),
                &[(1 << 31, 5 << 31, 5 << 31), (1, (6 << 31) + 1, (1 << 31) + 1)],
            ),
            ("nobody counted", Some(7), &[(17, 0, 10), (20, 0, 3)]),
            ("joined late", None, &[(5_000, 700, 700), (5_010, 710, 10)]),
        ];
        for (name, base, said) in cases {
            let mut meter = Meter::new(base);
            for (end, moved, expect) in said {
                assert_eq!(meter.told(*end, *moved), *expect, "{name}: {end}");
            }
        }
    }

    #[test]
    fn nonsense_counts_nothing_twice() {
        let mut meter = Meter::new(Some(0));
        let sum: u64 = [(10, 10), (5, 5), (10, 10), (3, u64::MAX), (4, 0)]
            .iter()
            .fold(0_u64, |sum, (end, moved)| {
                sum.saturating_add(meter.told(*end, *moved))
            });
        assert_eq!(sum, meter.bytes);
    }
}
