//! What an open file is to the kernel: what mappings of it show, and what a file of a union file system really is.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

use crate::tls::maps::{FileKey, Reader};

/// Room for a file handle (`MAX_HANDLE_SZ` of linux/exportfs.h), bytes.
const HANDLE_BYTES: usize = 128;
/// `OVL_FILEID_V1` of fs/overlayfs/overlayfs.h.
const OVERLAY_HANDLE: i32 = 0xf8;
/// `OVL_FH_MAGIC` of the same file, after the version.
const OVERLAY_MAGIC: u8 = 0xfb;
/// Where such a handle has its version, and the UUID of the real file system.
const OVERLAY_VERSION_AT: usize = 3;
const OVERLAY_UUID_AT: std::ops::Range<usize> = 8..24;

/// What `/proc/PID/maps` says of mappings of the file, told by the kernel itself: the file is mapped, without access, for a moment.
///
/// On file systems with several trees in one (btrfs, overlayfs) that differs from what stat(2) says.
pub(super) fn mapped_as(file: &File, reader: &mut Reader) -> Option<FileKey> {
    let mapping = Unreadable::map(file)?;
    let at = mapping.0.as_ptr() as u64;
    let mut found = None;
    reader
        .read(File::open("/proc/self/maps").ok()?, |line| {
            if (line.start..line.end).contains(&at) {
                found = line.file;
            }
            found.is_none()
        })
        .ok()?;
    found
}

/// A byte of a file, mapped so that nobody can touch it: touching one behind the file's end would end the agent.
struct Unreadable(NonNull<libc::c_void>);

impl Unreadable {
    fn map(file: &File) -> Option<Self> {
        // SAFETY: a new mapping at a place that the kernel chooses; nothing that exists is touched, and nothing can read it.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                1,
                libc::PROT_NONE,
                libc::MAP_PRIVATE,
                file.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return None;
        }
        NonNull::new(base).map(Self)
    }
}

impl Drop for Unreadable {
    fn drop(&mut self) {
        // SAFETY: the mapping that `map` made, which nothing refers to.
        unsafe { libc::munmap(self.0.as_ptr(), 1) };
    }
}

/// A file handle as the kernel writes it.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    content: [u8; HANDLE_BYTES],
}

/// The real file behind one of overlayfs: the real file system's UUID and its own handle of the file (Linux 6.6, `AT_HANDLE_FID`).
/// The same in all unions that have the same layer. `None` where the kernel does not say, or the file system has no UUID.
pub(super) fn real_file(file: &File) -> Option<Box<[u8]>> {
    let mut handle = Handle {
        bytes: HANDLE_BYTES as u32,
        kind: 0,
        content: [0; HANDLE_BYTES],
    };
    let mut mount = 0;
    // SAFETY: the path is empty and ends in NUL, the handle has as much room as it says, and both outlive the call.
    let done = unsafe {
        libc::name_to_handle_at(
            file.as_raw_fd(),
            c"".as_ptr(),
            (&raw mut handle).cast(),
            &raw mut mount,
            libc::AT_EMPTY_PATH | libc::AT_HANDLE_FID,
        )
    };
    if done != 0 {
        return None;
    }
    real_of(handle.kind, handle.content.get(..handle.bytes as usize)?)
}

/// A null UUID is that of every file system without one.
fn real_of(kind: i32, content: &[u8]) -> Option<Box<[u8]>> {
    let known = kind == OVERLAY_HANDLE
        && content.get(OVERLAY_VERSION_AT..OVERLAY_VERSION_AT + 2)? == [0, OVERLAY_MAGIC]
        && content.get(OVERLAY_UUID_AT)?.iter().any(|byte| *byte != 0)
        && content.len() > OVERLAY_UUID_AT.end;
    known.then(|| content.get(OVERLAY_UUID_AT.start..).unwrap_or_default().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(version: u8, magic: u8, uuid: u8, inode: &[u8]) -> Vec<u8> {
        let mut content = vec![0, 0, 0, version, magic, 0x21, 0, 1];
        content.extend([uuid; 16]);
        content.extend(inode);
        content
    }

    #[test]
    fn handles_of_unions() {
        let whole = handle(0, 0xfb, 7, b"abcdefgh");
        assert_eq!(
            real_of(0xf8, &whole).unwrap().as_ref(),
            [[7; 16].as_slice(), b"abcdefgh"].concat()
        );
        for (kind, content) in [
            (1, whole.clone()),
            (0xf8, handle(1, 0xfb, 7, b"abcd")),
            (0xf8, handle(0, 0xfa, 7, b"abcd")),
            (0xf8, handle(0, 0xfb, 0, b"abcd")),
            (0xf8, handle(0, 0xfb, 7, b"")),
        ] {
            assert_eq!(real_of(kind, &content), None);
        }
        for length in 0..whole.len() - 8 {
            assert_eq!(real_of(0xf8, &whole[..length]), None, "{length}");
        }
    }

    #[test]
    fn a_mapping_is_of_the_file_that_was_mapped() {
        let mut reader = Reader::default();
        let (a, b) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let inode = |file: &File| std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap());
        let of = |file: &File, reader: &mut Reader| mapped_as(file, reader).map(|key| key.inode);
        assert_eq!(of(&a, &mut reader), Some(inode(&a)));
        assert_eq!(of(&b, &mut reader), Some(inode(&b)));
        assert_ne!(inode(&a), inode(&b));
        assert_eq!(mapped_as(&File::open("/").unwrap(), &mut reader), None);
    }
}
