//! Opening the file of a mapping, and no other one.
//!
//! `/proc/PID/map_files/START-END` leads to it without a name, whether or not it still has one. Where that is not to be had, the name is
//! looked up within the process's own root. Either way what was opened has to be what the kernel shows of the mapping: between the
//! look at the mapping and the opening a process may put anything there.
//!
//! What the kernel shows is the number of the file system's device and of the inode. On most file systems stat(2) says the same. On
//! those with several trees in one it does not: btrfs gives each subvolume a device of its own, so that files of two subvolumes show the
//! same two numbers in mappings; overlayfs shows the layer's numbers on older kernels and its own on newer ones, where the same
//! layer's file has other numbers in each container. So what differs is mapped, without access, and compared as the kernel shows it
//! then; and probes, which are put into the real file, are put there once for all containers.

mod filesystems;
mod identity;

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, fstatfs};

use self::filesystems::{Filesystem, Filesystems};
use super::maps::{Device, FileKey, Reader};

/// Longest name that is looked up, bytes.
pub const NAME_BYTES_MAX: usize = 4095;
/// Devices known to have several trees; when they are more, all are forgotten and found out again.
const DEVICES_MAX: usize = 4096;

/// A mapping whose file is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whose.
    pub pid: u32,
    /// First address.
    pub start: u64,
    /// Behind the last address.
    pub end: u64,
    /// What the kernel shows of it.
    pub file: FileKey,
    /// What it is called; not believed. Empty when it is longer than [`NAME_BYTES_MAX`].
    pub name: Box<[u8]>,
    /// Whose child it is, if that was told: it likely has the same root, and is there for longer.
    pub parent: Option<u32>,
}

/// What a file is, however processes come to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// Of a file system with one tree.
    Inode(FileKey),
    /// Of the layer that a union has it from.
    Real(Box<[u8]>),
}

/// Whether a file's content may have changed: size, and the times of its last change and of the last change of its inode, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

#[cfg(test)]
impl Stamp {
    pub(super) const fn of(size: u64) -> Self {
        Self {
            size,
            modified: (0, 0),
            changed: (0, 0),
        }
    }
}

/// A file, open for reading.
#[derive(Debug)]
pub struct Opened {
    /// It.
    pub file: File,
    /// What it is.
    pub identity: Identity,
    /// What tells it from others in mappings: what the kernel shows, or, where that is not enough, what stat(2) says.
    pub key: FileKey,
    /// Its state.
    pub stamp: Stamp,
    /// It has no name any more.
    pub unlinked: bool,
}

/// Why a mapping's file was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Mapping or process are gone.
    #[error("gone before it could be looked at")]
    Gone,
    /// Something else was found at its place.
    #[error("another file was found in the place of the mapped one")]
    Other,
    /// A device or the like.
    #[error("not a regular file")]
    Irregular,
    /// See [`Filesystem::Served`].
    #[error("on {0}: whoever serves it could leave the agent waiting")]
    Served(&'static str),
    /// The kernel refuses.
    #[error("cannot be opened: {0}")]
    Refused(#[from] io::Error),
}

/// See the module's description.
#[derive(Debug)]
pub struct Opener {
    proc_root: PathBuf,
    filesystems: Filesystems,
    /// What the kernel shows in mappings is not enough to tell files of these apart.
    several_trees: HashSet<Device>,
}

impl Opener {
    /// Of the processes of that procfs.
    #[must_use]
    pub fn new(proc_root: &Path) -> Self {
        Self {
            proc_root: proc_root.to_owned(),
            filesystems: Filesystems::default(),
            several_trees: HashSet::new(),
        }
    }

    /// Whether two mappings that show the same numbers of this device are of the same file.
    #[must_use]
    pub fn tells_files(&self, device: Device) -> bool {
        !self.several_trees.contains(&device)
    }

    /// Opens the file of a mapping.
    ///
    /// # Errors
    /// See [`OpenError`]. Nothing but the mapping's file is ever given.
    pub fn open(&mut self, wanted: &Wanted, reader: &mut Reader, now_ns: u64) -> Result<Opened, OpenError> {
        let device = wanted.file.device;
        let filesystem = self.filesystems.of(device, &self.proc_root, wanted.pid, now_ns);
        if let Filesystem::Served(name) = filesystem {
            return Err(OpenError::Served(name));
        }
        let place = self.place_of(wanted)?;
        let file = readable(&place)?;
        let stat = file.metadata()?;
        let own = FileKey {
            device: device_of(stat.dev()),
            inode: stat.ino(),
        };
        if own != wanted.file && identity::mapped_as(&file, reader) != Some(wanted.file) {
            return Err(OpenError::Other);
        }
        let union = fstatfs(&file).is_ok_and(|stat| stat.filesystem_type() == OVERLAYFS_SUPER_MAGIC);
        // A union on a kernel that shows its layers' numbers: those tell files apart.
        let shows_layers = union && filesystem != Filesystem::Overlay;
        let key = if own == wanted.file || shows_layers {
            wanted.file
        } else {
            if self.several_trees.len() >= DEVICES_MAX {
                self.several_trees.clear();
            }
            self.several_trees.insert(device);
            own
        };
        let real = if union { identity::real_file(&file) } else { None };
        Ok(Opened {
            identity: real.map_or(Identity::Inode(key), Identity::Real),
            key,
            stamp: Stamp {
                size: stat.size(),
                modified: (stat.mtime(), stat.mtime_nsec()),
                changed: (stat.ctime(), stat.ctime_nsec()),
            },
            unlinked: stat.nlink() == 0,
            file,
        })
    }

    /// Where a mapping's file may be.
    fn place_of(&self, wanted: &Wanted) -> Result<OwnedFd, OpenError> {
        let process = self.proc_root.join(wanted.pid.to_string());
        let range = format!("map_files/{:x}-{:x}", wanted.start, wanted.end);
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        match open(&process.join(range), flags, Mode::empty()) {
            Ok(place) => return Ok(place),
            // Not there any more as it was, or not for this process.
            Err(Errno::ENOENT | Errno::EPERM | Errno::EACCES | Errno::ESRCH) => {}
            Err(errno) => return Err(io::Error::from(errno).into()),
        }
        match within_root(&process, &wanted.name, ResolveFlag::empty()) {
            Err(OpenError::Gone) => {}
            found => return found,
        }
        // A process that was short may share its root with its parent, or with the agent. Not beyond the root's own file system: the
        // name leads where the process likes.
        let parent = wanted.parent.map(|parent| parent.to_string());
        [parent.as_deref(), Some("self")]
            .into_iter()
            .flatten()
            .find_map(|of| {
                let process = self.proc_root.join(of);
                let place = within_root(&process, &wanted.name, ResolveFlag::RESOLVE_NO_XDEV).ok()?;
                // The other one's root may have another file of that name.
                let stat = nix::sys::stat::fstat(&place).ok()?;
                (stat.st_ino == wanted.file.inode).then_some(place)
            })
            .ok_or(OpenError::Gone)
    }
}

/// `RESOLVE_CACHED` of linux/openat2.h (5.12): only names that the kernel knows already, so that nothing is waited for.
const RESOLVE_CACHED: ResolveFlag = ResolveFlag::from_bits_retain(0x20);

/// Within the root of a process and no further. The kernel's names have no links in them: a link is something else.
fn within_root(process: &Path, name: &[u8], further: ResolveFlag) -> Result<OwnedFd, OpenError> {
    let name = name.strip_prefix(b"/").ok_or(OpenError::Gone)?;
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let gone = |errno: Errno| match errno {
        // Or it is a link, or not known without a look at the disk, or to a kernel before 5.12.
        Errno::ENOENT
        | Errno::ESRCH
        | Errno::ENOTDIR
        | Errno::ELOOP
        | Errno::EAGAIN
        | Errno::EXDEV
        | Errno::EINVAL => OpenError::Gone,
        errno => OpenError::Refused(errno.into()),
    };
    let root = open(&process.join("root"), flags | OFlag::O_DIRECTORY, Mode::empty()).map_err(gone)?;
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS | RESOLVE_CACHED | further);
    openat2(&root, Path::new(std::ffi::OsStr::from_bytes(name)), how).map_err(gone)
}

/// Opens what a descriptor leads to, if that is a regular file: others may do something when they are opened.
fn readable(place: &OwnedFd) -> Result<File, OpenError> {
    let stat = nix::sys::stat::fstat(place).map_err(io::Error::from)?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err(OpenError::Irregular);
    }
    let path = format!("/proc/self/fd/{}", place.as_raw_fd());
    let open = |flags| {
        // Whoever holds a lease on it does not make the agent wait.
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY | flags;
        File::options().read(true).custom_flags(flags).open(&path)
    };
    // Nobody sees that it was read, where that is possible.
    Ok(open(libc::O_NOATIME).or_else(|_| open(0))?)
}

fn device_of(number: u64) -> Device {
    Device {
        major: libc::major(number),
        minor: libc::minor(number),
    }
}

#[cfg(test)]
#[path = "opening_tests.rs"]
mod tests;
