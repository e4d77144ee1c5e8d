//! A buffer that the kernel writes records into, one for each processor: perf_event_open(2) and its mapped pages.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use aya_obj::generated::{
    perf_event_attr, perf_event_header, perf_event_mmap_page, perf_event_sample_format, perf_sw_ids,
    perf_type_id,
};

/// Data pages of one processor's buffer times their size, bytes: a power of two. With the page before it this is within what the
/// kernel lets even the unprivileged pin for each processor. An execution takes about 1 KB of it.
pub const RING_BYTES: usize = 256 << 10;
/// Of linux/perf_event.h: the descriptor is not for programs that this process starts.
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 1 << 3;
/// Of linux/perf_event.h: reading the event gives its count, and how long it has been enabled.
const PERF_FORMAT_TOTAL_TIME_ENABLED: u64 = 1;
/// Size of a record's head.
pub(super) const HEADER_BYTES: usize = size_of::<perf_event_header>();

/// See the module's description. Only the side band is asked for, which tells of tasks and mappings: the event itself counts nothing.
#[derive(Debug)]
pub(super) struct Ring {
    event: OwnedFd,
    base: NonNull<perf_event_mmap_page>,
    page_bytes: usize,
    /// Behind the last record that was taken.
    tail: u64,
    /// How long the event had been enabled when that was last asked, ns.
    enabled_ns: u64,
}

// SAFETY: the mapping belongs to this value alone, and may be used by whichever thread has it.
unsafe impl Send for Ring {}

impl Ring {
    /// Of a processor that is online.
    ///
    /// # Errors
    /// `ENODEV`: it is offline; `EACCES`: not allowed; and as perf_event_open(2) and mmap(2) say.
    pub(super) fn open(cpu: u32) -> io::Result<Self> {
        let page_bytes = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
            .ok()
            .flatten()
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(4096);
        let attributes = attributes();
        let cpu = libc::c_int::try_from(cpu).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the attributes are whole and outlive the call, which gives a new descriptor or an error.
        let event = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attributes,
                -1 as libc::pid_t,
                cpu,
                -1 as libc::c_int,
                PERF_FLAG_FD_CLOEXEC,
            )
        };
        let event = libc::c_int::try_from(event).map_err(|_| io::ErrorKind::InvalidData)?;
        if event < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it is a descriptor that nobody else has.
        let event = unsafe { OwnedFd::from_raw_fd(event) };
        // SAFETY: a new mapping at a place that the kernel chooses; nothing that exists is touched.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                page_bytes + RING_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                event.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self {
            event,
            base,
            page_bytes,
            tail: 0,
            enabled_ns: 0,
        })
    }

    /// Copies the oldest record that was not taken. False when there is none.
    pub(super) fn take(&mut self, record: &mut Vec<u8>) -> bool {
        let unread = self.head().load(Ordering::Acquire).wrapping_sub(self.tail);
        if unread < HEADER_BYTES as u64 || unread > RING_BYTES as u64 {
            return false;
        }
        let mut header = [0; HEADER_BYTES];
        self.copy(&mut header);
        let [_, _, _, _, _, _, low, high] = header;
        let size = u64::from(u16::from_le_bytes([low, high]));
        if size < HEADER_BYTES as u64 || size > unread {
            // The kernel does not write such; the next record cannot be found either.
            self.give_back(unread);
            return false;
        }
        record.resize(size as usize, 0);
        self.copy(record);
        self.give_back(size);
        true
    }

    /// Whether it was enabled at all since the last call: it is not any more when its processor went offline, not even when that came
    /// back.
    pub(super) fn lives(&mut self) -> bool {
        let mut counts = [0; 16];
        let Ok(16) = nix::unistd::read(&self.event, &mut counts) else {
            return false;
        };
        let [.., a, b, c, d, e, f, g, h] = counts;
        let enabled_ns = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        enabled_ns > std::mem::replace(&mut self.enabled_ns, enabled_ns)
    }

    #[cfg(test)]
    pub(super) fn disable(&self) {
        const PERF_EVENT_IOC_DISABLE: libc::c_ulong = 0x2401;
        // SAFETY: takes no argument.
        let done = unsafe { libc::ioctl(self.event.as_raw_fd(), PERF_EVENT_IOC_DISABLE, 0) };
        assert_eq!(done, 0);
    }

    /// Copies from the oldest byte on; `out` is no longer than what is unread.
    fn copy(&self, out: &mut [u8]) {
        let at = (self.tail % RING_BYTES as u64) as usize;
        let first = out.len().min(RING_BYTES - at);
        let data = self.base.as_ptr().cast::<u8>().wrapping_add(self.page_bytes);
        let (before, after) = out.split_at_mut(first);
        // SAFETY: both parts lie in the data pages, and between tail and head, where the kernel does not write; `out` is ours.
        unsafe {
            std::ptr::copy_nonoverlapping(data.wrapping_add(at), before.as_mut_ptr(), before.len());
            std::ptr::copy_nonoverlapping(data, after.as_mut_ptr(), after.len());
        }
    }

    /// The kernel may write there again.
    fn give_back(&mut self, bytes: u64) {
        self.tail = self.tail.wrapping_add(bytes);
        self.place(std::mem::offset_of!(perf_event_mmap_page, data_tail))
            .store(self.tail, Ordering::Release);
    }

    fn head(&self) -> &AtomicU64 {
        self.place(std::mem::offset_of!(perf_event_mmap_page, data_head))
    }

    fn place(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: an aligned u64 of the first page, which is mapped as long as `self` lives; kernel and agent both use it atomically.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().cast::<u8>().wrapping_add(offset).cast()) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping that `open` made, of that size; no reference into it outlives `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.page_bytes + RING_BYTES) };
    }
}

fn attributes() -> perf_event_attr {
    // SAFETY: all its fields are integers, for which zeros are values.
    let mut attributes: perf_event_attr = unsafe { std::mem::zeroed() };
    attributes.type_ = perf_type_id::PERF_TYPE_SOFTWARE as u32;
    attributes.size = size_of::<perf_event_attr>() as u32;
    attributes.config = perf_sw_ids::PERF_COUNT_SW_DUMMY as u64;
    attributes.sample_type = perf_event_sample_format::PERF_SAMPLE_TIME as u64;
    attributes.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED;
    // Executable mappings only: others are `mmap_data`.
    attributes.set_mmap(1);
    attributes.set_mmap2(1);
    attributes.set_comm(1);
    attributes.set_comm_exec(1);
    attributes.set_task(1);
    attributes.set_sample_id_all(1);
    // Times can be compared with those of this process.
    attributes.set_use_clockid(1);
    attributes.clockid = libc::CLOCK_MONOTONIC;
    // Nobody is woken: the buffer is read on a timer.
    attributes.set_watermark(1);
    attributes.__bindgen_anon_2.wakeup_watermark = u32::MAX;
    attributes
}
