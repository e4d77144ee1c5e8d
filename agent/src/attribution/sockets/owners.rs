//! Which processes hold a socket, from `/proc/PID/fd`.

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use smallvec::SmallVec;

use super::{ExistingSocket, is_pid};

/// Holders of one socket that are kept: forked servers share theirs with every worker.
const HOLDERS_MAX: usize = 8;

/// Bounds of one pass over `/proc`.
#[derive(Clone, Copy, Debug)]
pub struct OwnerLimits {
    /// Processes looked at.
    pub processes: usize,
    /// Descriptors looked at, all processes together.
    pub descriptors: usize,
}

impl Default for OwnerLimits {
    fn default() -> Self {
        Self {
            processes: 65_536,
            descriptors: 4_194_304,
        }
    }
}

/// What a pass had to leave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnerCounters {
    /// Processes looked at.
    pub processes: u64,
    /// Processes whose descriptors could not be read: no privilege, or gone meanwhile.
    pub processes_skipped: u64,
    /// Processes beyond a limit.
    pub processes_beyond_limit: u64,
    /// Descriptors looked at.
    pub descriptors: u64,
    /// Holders beyond the eight that are kept per socket.
    pub holders_beyond_limit: u64,
}

/// Socket inode → processes that hold it.
#[derive(Clone, Debug, Default)]
pub struct SocketOwners {
    by_inode: HashMap<u64, SmallVec<[u32; 2]>>,
    counters: OwnerCounters,
}

impl SocketOwners {
    /// Looks for the holders of `sockets` in one pass over all processes. Takes time in proportion to all descriptors of the
    /// node, so it is for the start of the agent, once.
    #[must_use]
    pub fn scan<'a>(
        proc_root: &Path,
        sockets: impl IntoIterator<Item = &'a ExistingSocket>,
        limits: &OwnerLimits,
    ) -> Self {
        let wanted: HashSet<u64> = sockets
            .into_iter()
            .map(|socket| socket.inode)
            .filter(|inode| *inode != 0)
            .collect();
        let mut owners = Self::default();
        let Ok(entries) = std::fs::read_dir(proc_root) else {
            return owners;
        };
        if wanted.is_empty() {
            return owners;
        }
        for entry in entries
            .flatten()
            .filter(|entry| is_pid(entry.file_name().as_bytes()))
        {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if owners.counters.processes >= limits.processes as u64
                || owners.counters.descriptors >= limits.descriptors as u64
            {
                owners.counters.processes_beyond_limit += 1;
                continue;
            }
            owners.counters.processes += 1;
            owners.scan_process(pid, &entry.path().join("fd"), &wanted, limits);
        }
        owners
    }

    fn scan_process(&mut self, pid: u32, fds: &Path, wanted: &HashSet<u64>, limits: &OwnerLimits) {
        let Ok(entries) = std::fs::read_dir(fds) else {
            self.counters.processes_skipped += 1;
            return;
        };
        for entry in entries.flatten() {
            if self.counters.descriptors >= limits.descriptors as u64 {
                self.counters.processes_beyond_limit += 1;
                return;
            }
            self.counters.descriptors += 1;
            let Ok(target) = std::fs::read_link(entry.path()) else {
                continue;
            };
            let Some(inode) = parse_socket_link(target.as_os_str().as_bytes()) else {
                continue;
            };
            if !wanted.contains(&inode) {
                continue;
            }
            let holders = self.by_inode.entry(inode).or_default();
            if holders.contains(&pid) {
                continue;
            }
            if holders.len() < HOLDERS_MAX {
                holders.push(pid);
            } else {
                self.counters.holders_beyond_limit += 1;
            }
        }
    }

    /// Processes that hold the socket, in the order of `/proc` (ascending pids); empty when it is not held or its holder is
    /// not visible.
    #[must_use]
    pub fn holders(&self, socket: &ExistingSocket) -> &[u32] {
        self.by_inode.get(&socket.inode).map_or(&[], SmallVec::as_slice)
    }

    /// The process most likely to use the socket: where a parent shares it with its children, the newest pid.
    #[must_use]
    pub fn owner(&self, socket: &ExistingSocket) -> Option<u32> {
        self.holders(socket).last().copied()
    }

    /// What was left out.
    #[must_use]
    pub const fn counters(&self) -> &OwnerCounters {
        &self.counters
    }
}

/// `socket:[12345]`.
fn parse_socket_link(target: &[u8]) -> Option<u64> {
    std::str::from_utf8(target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?)
        .ok()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::sockets::TcpState;

    fn socket(inode: u64) -> ExistingSocket {
        let any = "0.0.0.0:0".parse().unwrap();
        ExistingSocket {
            cookie: 1,
            local: any,
            remote: any,
            netns: 1,
            inode,
            state: TcpState::ESTABLISHED,
            uid: 0,
        }
    }

    fn tree(holders: &[(u32, &[&str])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (pid, targets) in holders {
            let fds = root.path().join(pid.to_string()).join("fd");
            std::fs::create_dir_all(&fds).unwrap();
            for (fd, target) in targets.iter().enumerate() {
                std::os::unix::fs::symlink(target, fds.join(fd.to_string())).unwrap();
            }
        }
        std::fs::create_dir(root.path().join("self")).unwrap();
        root
    }

    #[test]
    fn holders_of_wanted_sockets_only() {
        let root = tree(&[
            (10, &["/dev/null", "socket:[7]", "socket:[7]", "socket:[8]"]),
            (11, &["socket:[7]", "pipe:[7]", "socket:[x]"]),
            (12, &["socket:[0]"]),
        ]);
        let owners = SocketOwners::scan(
            root.path(),
            &[socket(7), socket(0), socket(9)],
            &OwnerLimits::default(),
        );
        let mut holders = owners.holders(&socket(7)).to_vec();
        holders.sort_unstable();
        assert_eq!(holders, [10, 11]);
        for other in [0, 8, 9] {
            assert_eq!(owners.owner(&socket(other)), None);
        }
    }

    #[test]
    fn limits_are_kept_and_counted() {
        let many: Vec<(u32, &[&str])> = (1..=20).map(|pid| (pid, &["socket:[7]"] as &[&str])).collect();
        let root = tree(&many);
        let scan = |processes, descriptors| {
            SocketOwners::scan(
                root.path(),
                &[socket(7)],
                &OwnerLimits {
                    processes,
                    descriptors,
                },
            )
        };
        let all = scan(20, 20);
        assert_eq!(
            (all.holders(&socket(7)).len(), all.counters().holders_beyond_limit),
            (HOLDERS_MAX, 12)
        );
        let few = scan(3, 100);
        assert_eq!(
            (few.counters().processes, few.counters().processes_beyond_limit),
            (3, 17)
        );
        let short = scan(100, 3);
        assert_eq!(
            (
                short.counters().descriptors,
                short.counters().processes_beyond_limit
            ),
            (3, 17)
        );
    }
}
