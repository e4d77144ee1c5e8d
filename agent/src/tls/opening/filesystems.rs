//! Which file system a device is of, asked before anything of it is opened.
//!
//! Opening a file of one that somebody else serves waits for whoever serves it: a process of a container, or a machine that is away,
//! could make the agent wait for ever.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::tls::maps::Device;

/// Most that is read of a list of mounts, bytes.
const MOUNTS_BYTES_MAX: u64 = 4 << 20;
/// Devices remembered; when they are more, all are asked again.
const DEVICES_MAX: usize = 4096;
/// How long a device is remembered, ns: its number may be given to another file system after it was unmounted.
const REMEMBERED_NS: u64 = 60_000_000_000;

/// What is known of a device's file system before it is asked anything itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filesystem {
    /// A union of others.
    Overlay,
    /// One whose files are served by a process or another machine; its name.
    Served(&'static str),
    /// Any other, or one that no list of mounts has: those of the kernel itself (memfd), or no longer mounted.
    Local,
}

/// File systems that are [`Filesystem::Served`]. Those of virtual machines (9p, virtiofs) are not here: their host serves them, and
/// may stop the agent as it likes anyway.
const SERVED: [&str; 9] = [
    "afs",
    "ceph",
    "cifs",
    "fuse",
    "fuseblk",
    "glusterfs",
    "nfs",
    "nfs4",
    "smb3",
];

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Filesystems {
    known: HashMap<Device, (u64, Filesystem)>,
}

impl Filesystems {
    /// Of a device that a process has mapped a file of.
    pub(super) fn of(&mut self, device: Device, proc_root: &Path, pid: u32, now_ns: u64) -> Filesystem {
        if let Some((asked_ns, known)) = self.known.get(&device)
            && now_ns.saturating_sub(*asked_ns) < REMEMBERED_NS
        {
            return *known;
        }
        let found = [pid.to_string().as_str(), "self"]
            .into_iter()
            .find_map(|of| find(File::open(proc_root.join(of).join("mountinfo")).ok()?, device))
            .unwrap_or(Filesystem::Local);
        if self.known.len() >= DEVICES_MAX {
            self.known.clear();
        }
        self.known.insert(device, (now_ns, found));
        found
    }
}

fn find(mounts: impl Read, device: Device) -> Option<Filesystem> {
    let mut mounts = BufReader::new(mounts.take(MOUNTS_BYTES_MAX));
    let mut line = Vec::new();
    while mounts.read_until(b'\n', &mut line).ok()? > 0 {
        if let Some(found) = parse(&line, device) {
            return Some(found);
        }
        line.clear();
    }
    None
}

/// proc_pid_mountinfo(5): `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAGS] - TYPE SOURCE OPTIONS`; blanks in names are escaped.
fn parse(line: &[u8], device: Device) -> Option<Filesystem> {
    let mut fields = line.split(|byte| *byte == b' ');
    let numbers = std::str::from_utf8(fields.nth(2)?).ok()?;
    let (major, minor) = numbers.split_once(':')?;
    if (major.parse(), minor.parse()) != (Ok(device.major), Ok(device.minor)) {
        return None;
    }
    fields.find(|field| *field == b"-")?;
    let kind = fields.next()?;
    if kind == b"overlay" {
        return Some(Filesystem::Overlay);
    }
    // `fuse.sshfs`
    let kind = kind.split(|byte| *byte == b'.').next()?;
    let served = SERVED.into_iter().find(|name| name.as_bytes() == kind);
    Some(served.map_or(Filesystem::Local, Filesystem::Served))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &[u8] = br"24 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
67 45 0:39 / /a\040-\040fuse rw - tmpfs t rw
68 45 0:40 / /m rw - overlay o rw,lowerdir=/l
69 45 0:41 / /mnt/x rw master:1 propagate_from:2 - fuse.sshfs a@b:/ rw
70 45 0:42 / /mnt/n rw - nfs4 server:/ rw
71 45 0:43 / /mnt/f rw - fusectl fusectl rw
72 45
";

    #[test]
    fn kinds() {
        for (minor, expected) in [
            (39, Some(Filesystem::Local)),
            (40, Some(Filesystem::Overlay)),
            (41, Some(Filesystem::Served("fuse"))),
            (42, Some(Filesystem::Served("nfs4"))),
            (43, Some(Filesystem::Local)),
            (44, None),
        ] {
            assert_eq!(find(MOUNTS, Device { major: 0, minor }), expected, "{minor}");
        }
    }

    #[test]
    fn devices_are_asked_again_after_a_while_and_when_they_are_too_many() {
        let proc_root = tempfile::tempdir().unwrap();
        let write = |kind: &str| {
            std::fs::create_dir_all(proc_root.path().join("7")).unwrap();
            let line = format!("1 1 0:9 / / rw - {kind} x rw\n");
            std::fs::write(proc_root.path().join("7/mountinfo"), line).unwrap();
        };
        let device = |minor| Device { major: 0, minor };
        let mut filesystems = Filesystems::default();
        write("ext4");
        let mut of = |minor, now_ns| filesystems.of(device(minor), proc_root.path(), 7, now_ns);
        assert_eq!(of(9, 0), Filesystem::Local);
        write("fuse");
        assert_eq!(of(9, REMEMBERED_NS - 1), Filesystem::Local);
        assert_eq!(of(9, REMEMBERED_NS), Filesystem::Served("fuse"));
        write("overlay");
        for minor in 10..10 + DEVICES_MAX as u32 {
            assert_eq!(of(minor, REMEMBERED_NS), Filesystem::Local);
        }
        assert_eq!(of(9, REMEMBERED_NS), Filesystem::Overlay);
        assert!(filesystems.known.len() <= DEVICES_MAX);
    }
}
