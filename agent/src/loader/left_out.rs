//! Runs of programs that the kernel left out: a program does not run on a processor where it has been interrupted at work already.

use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};

use aya::programs::Program;

use super::provider::{is_spare, spares};

/// What the kernel calls them in what it tells of a program's descriptor (5.12 and later).
const FIELD: &str = "recursion_misses:";

/// Those of all programs that no spare did: at most so many. Kernels that do not tell give 0.
pub fn of_programs<'a>(programs: impl Iterator<Item = (&'a str, &'a Program)>) -> u64 {
    let told = programs.filter_map(|(name, program)| {
        // Programs of other providers are not loaded.
        let descriptor = program.fd().ok()?.as_fd().as_raw_fd();
        let said = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).ok()?;
        Some((name, field(&said)?))
    });
    not_done(&told.collect())
}

fn field(said: &str) -> Option<u64> {
    let value = said.lines().find_map(|line| line.strip_prefix(FIELD))?;
    value.trim().parse().ok()
}

/// Nobody has done what neither a program nor one of its spares was let to do.
fn not_done(left_out: &HashMap<&str, u64>) -> u64 {
    let first = left_out.iter().filter(|(name, _)| !is_spare(name));
    first
        .map(|(name, of_first)| {
            let of_spares = spares(name).iter().filter_map(|spare| left_out.get(spare));
            of_spares.fold(*of_first, |least, of_spare| least.min(*of_spare))
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_how_many() {
        let said =
            "pos:\t0\nflags:\t02000002\nprog_type:\t26\nrecursion_misses:\t35\nverified_insns:\t9467\n";
        assert_eq!(field(said), Some(35));
        assert_eq!(field("prog_type:\t26\n"), None, "before 5.12");
        assert_eq!(field("recursion_misses:\tmany\n"), None);
    }

    #[test]
    fn a_spare_does_what_the_first_was_not_let_to_do() {
        let of = |told: &[(&'static str, u64)]| not_done(&told.iter().copied().collect());
        assert_eq!(of(&[("sock_send_length", 35), ("sched_process_exit", 4)]), 39);
        let both = [("sock_send_length", 35), ("sock_send_length_spare", 2)];
        assert_eq!(of(&both), 2, "at most so often neither");
        assert_eq!(of(&[("sock_send_length", 1), ("sock_send_length_spare", 7)]), 1);
        let all = [
            ("sock_send_length", 35),
            ("sock_send_length_spare", 7),
            ("sock_send_length_spare_2", 0),
        ];
        assert_eq!(of(&all), 0);
    }
}
