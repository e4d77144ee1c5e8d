//! Bounded reads of `/proc/PID`, all through one descriptor of that directory.
//!
//! The kernel binds the directory to the process: when the process ends, reads through it fail, even if the pid has been
//! given to another one meanwhile.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::Mode;
use nix::unistd::{SysconfVar, sysconf};

use super::cgroup::{self, CgroupFacts};
use super::types::ProcessHint;

/// Ticks per second of `/proc` where the system does not say; the same on every architecture that matters.
const TICKS_PER_SECOND_DEFAULT: u64 = 100;
/// `stat` has 52 numbers and a name of at most 64 bytes (kernel threads).
const STAT_BYTES_MAX: usize = 4096;
/// Arguments beyond this are not looked at.
pub(super) const ARGS_BYTES_MAX: usize = 4096;
/// Room for the membership in every v1 hierarchy.
const CGROUP_BYTES_MAX: usize = 64 << 10;
/// `status` is about 1.5 KB; the lines wanted come early.
const STATUS_BYTES_MAX: usize = 4096;

/// Where `/proc` is, and how it counts time.
#[derive(Clone, Debug)]
pub(super) struct ProcFs {
    root: PathBuf,
    tick_ns: u64,
}

/// An open `/proc/PID`.
#[derive(Debug)]
pub(super) struct ProcDir(OwnedFd);

/// What `stat` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) comm: Vec<u8>,
    pub(super) ppid: u32,
    pub(super) start_ticks: u64,
}

impl ProcFs {
    pub(super) fn new(root: &Path) -> Self {
        let ticks = sysconf(SysconfVar::CLK_TCK)
            .ok()
            .flatten()
            .and_then(|t| u64::try_from(t).ok());
        let ticks = ticks
            .filter(|t| (1..=1_000_000).contains(t))
            .unwrap_or(TICKS_PER_SECOND_DEFAULT);
        Self {
            root: root.to_owned(),
            tick_ns: 1_000_000_000 / ticks,
        }
    }

    /// Start time in ticks, as `/proc` shows it: the resolution at which two sources can be compared.
    pub(super) const fn ticks(&self, start_ns: u64) -> u64 {
        start_ns / self.tick_ns
    }

    /// `None` when there is no such process (any more) or it may not be looked at.
    pub(super) fn open(&self, pid: u32) -> Option<ProcDir> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        open(&self.root.join(pid.to_string()), flags, Mode::empty())
            .ok()
            .map(ProcDir)
    }

    /// True when `stat` shows the start time of a kernel record, within a tick.
    pub(super) const fn same_start(&self, stat: &Stat, start_ns: u64) -> bool {
        stat.start_ticks.abs_diff(self.ticks(start_ns)) <= 1
    }

    /// What a kernel record would say of a running process, for those that are older than the agent. The start time has the
    /// resolution of a tick.
    pub(super) fn hint(
        &self,
        pid: u32,
        cgroup_id_of: impl FnOnce(&CgroupFacts) -> u64,
    ) -> Option<ProcessHint> {
        let dir = self.open(pid)?;
        let stat = dir.stat()?;
        let mut comm = [0; 16];
        // The last byte stays NUL, as in the kernel.
        for (to, from) in comm.iter_mut().take(15).zip(&stat.comm) {
            *to = *from;
        }
        Some(ProcessHint {
            pid,
            start_ns: stat.start_ticks.saturating_mul(self.tick_ns),
            ppid: stat.ppid,
            uid: dir.real_uid()?,
            cgroup_id: dir.cgroup().map_or(0, |facts| cgroup_id_of(&facts)),
            netns: dir.netns().unwrap_or(0),
            comm,
        })
    }
}

impl ProcDir {
    /// pid(5): `PID (COMM) STATE PPID …`, field 22 is the start time. The name may hold spaces, parentheses and newlines.
    pub(super) fn stat(&self) -> Option<Stat> {
        parse_stat(&self.read("stat", STAT_BYTES_MAX)?)
    }

    /// Target of `exe`; `None` for kernel threads and where it may not be read.
    pub(super) fn executable(&self) -> Option<Vec<u8>> {
        readlinkat(&self.0, "exe")
            .ok()
            .map(OsStringExt::into_vec)
            .filter(|path| !path.is_empty())
    }

    /// Arguments, NUL separated, cut at [`ARGS_BYTES_MAX`].
    pub(super) fn args(&self) -> Option<Vec<u8>> {
        self.read("cmdline", ARGS_BYTES_MAX)
    }

    pub(super) fn cgroup(&self) -> Option<CgroupFacts> {
        Some(cgroup::parse_file(&self.read("cgroup", CGROUP_BYTES_MAX)?))
    }

    /// Inode of the network namespace.
    pub(super) fn netns(&self) -> Option<u32> {
        let target = readlinkat(&self.0, "ns/net").ok()?.into_vec();
        parse_ns_link(&target)
    }

    /// `Uid:` line of `status`: real, effective, saved, file system. Records carry the real one.
    pub(super) fn real_uid(&self) -> Option<u32> {
        let text = self.read("status", STATUS_BYTES_MAX)?;
        let line = text
            .split(|b| *b == b'\n')
            .find_map(|line| line.strip_prefix(b"Uid:"))?;
        std::str::from_utf8(line)
            .ok()?
            .split_ascii_whitespace()
            .nth(1)?
            .parse()
            .ok()
    }

    fn read(&self, name: &str, bytes_max: usize) -> Option<Vec<u8>> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let file = File::from(openat(&self.0, name, flags, Mode::empty()).ok()?);
        let mut bytes = Vec::new();
        file.take(bytes_max as u64).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
}

/// `net:[4026531840]`.
pub(super) fn parse_ns_link(target: &[u8]) -> Option<u32> {
    std::str::from_utf8(target.strip_prefix(b"net:[")?.strip_suffix(b"]")?)
        .ok()?
        .parse()
        .ok()
}

/// Inode of a file or directory.
pub(super) fn inode_of(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|meta| meta.ino())
}

fn parse_stat(text: &[u8]) -> Option<Stat> {
    let open = text.iter().position(|b| *b == b'(')?;
    let close = text.iter().rposition(|b| *b == b')')?;
    let comm = text.get(open + 1..close)?.to_vec();
    let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    // Fields 3 (state), 4 (ppid) … 22 (start time).
    let ppid = fields.nth(1)?.parse().ok()?;
    let start_ticks = fields.nth(17)?.parse().ok()?;
    Some(Stat {
        comm,
        ppid,
        start_ticks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_a_hostile_name() {
        let tail = "S 7 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        for comm in ["nginx", "a b", ") S 1 (", "a\nb", ""] {
            let stat = parse_stat(format!("12 ({comm}) {tail}").as_bytes()).unwrap();
            assert_eq!(
                stat,
                Stat {
                    comm: comm.as_bytes().to_vec(),
                    ppid: 7,
                    start_ticks: 4242
                }
            );
        }
        for bad in ["", "12", "12 (", ")(", "12 (a) S", "12 (a) S x 1 1"] {
            assert_eq!(parse_stat(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn namespace_links() {
        assert_eq!(parse_ns_link(b"net:[4026531840]"), Some(4_026_531_840));
        for bad in ["", "net:[]", "mnt:[1]", "net:[99999999999]", "net:[1"] {
            assert_eq!(parse_ns_link(bad.as_bytes()), None);
        }
    }

    #[test]
    fn this_process() {
        let proc_fs = ProcFs::new(Path::new("/proc"));
        let pid = std::process::id();
        let hint = proc_fs.hint(pid, |_| 0).unwrap();
        let dir = proc_fs.open(pid).unwrap();
        let exe = dir.executable().unwrap();
        assert_eq!(exe, std::env::current_exe().unwrap().into_os_string().into_vec());
        assert_eq!(hint.uid, nix::unistd::getuid().as_raw());
        assert_eq!(hint.ppid, u32::try_from(nix::unistd::getppid().as_raw()).unwrap());
        assert_eq!(
            u64::from(hint.netns),
            inode_of(Path::new("/proc/self/ns/net")).unwrap()
        );
        assert!(
            dir.args()
                .unwrap()
                .starts_with(std::env::args().next().unwrap().as_bytes())
        );
        assert!(proc_fs.same_start(&dir.stat().unwrap(), hint.start_ns));
    }

    #[test]
    fn a_directory_outlives_its_process_silently() {
        let proc_fs = ProcFs::new(Path::new("/proc"));
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let dir = proc_fs.open(child.id()).unwrap();
        assert!(dir.stat().is_some());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(
            (dir.stat(), dir.executable(), dir.args(), dir.netns()),
            (None, None, None, None)
        );
        assert!(proc_fs.open(child.id()).is_none());
    }
}
