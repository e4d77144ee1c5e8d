//! One io_uring, one request at a time.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::RawFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::sys;
use crate::trouble::{Done, Trouble, refused};

/// Operations, as numbered by the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Operation {
    /// `IORING_OP_SENDMSG`.
    SendMessage = 9,
    /// `IORING_OP_RECVMSG`.
    ReceiveMessage = 10,
    /// `IORING_OP_READ`.
    Read = 22,
    /// `IORING_OP_WRITE`.
    Write = 23,
    /// `IORING_OP_SEND`.
    Send = 26,
    /// `IORING_OP_RECV`.
    Receive = 27,
    /// `IORING_OP_SEND_ZC`.
    SendZeroCopy = 47,
}

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worker {
    /// This thread, as far as nothing has to be waited for.
    Inline,
    /// A thread of the kernel (`IOSQE_ASYNC`).
    Kernel,
}

const ENTRIES: u32 = 8;
const OFFSET_SUBMISSION: i64 = 0;
const OFFSET_COMPLETION: i64 = 0x800_0000;
const OFFSET_REQUESTS: i64 = 0x1000_0000;
const ENTER_GETEVENTS: usize = 1;
const REGISTER_PROBE: usize = 8;
const OPERATION_SUPPORTED: u16 = 1;
const REQUEST_ASYNC: u8 = 1 << 4;
const COMPLETION_MORE: u32 = 1 << 1;

// include/uapi/linux/io_uring.h
#[derive(Default)]
#[repr(C)]
struct Offsets {
    head: u32,
    tail: u32,
    mask: u32,
    entries: u32,
    flags: u32,
    /// Of the submission queue: dropped, array. Of the completion queue: completions (in the place of `flags`: overflow), flags.
    fifth: u32,
    sixth: u32,
    reserved: u32,
    address: u64,
}

#[derive(Default)]
#[repr(C)]
struct Parameters {
    submissions: u32,
    completions: u32,
    flags: u32,
    thread: [u32; 2],
    features: u32,
    queue: u32,
    reserved: [u32; 3],
    submission: Offsets,
    completion: Offsets,
}

#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Request {
    operation: u8,
    flags: u8,
    priority: u16,
    fd: i32,
    offset: u64,
    address: u64,
    length: u32,
    operation_flags: u32,
    user_data: u64,
    rest: [u64; 3],
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Completion {
    user_data: u64,
    result: i32,
    flags: u32,
}

#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Supported {
    operation: u8,
    reserved: u8,
    flags: u16,
    reserved2: u32,
}

#[repr(C)]
struct Probe {
    last: u8,
    length: u8,
    reserved: [u16; 7],
    operations: [Supported; 64],
}

const _: () =
    assert!(size_of::<Parameters>() == 120 && size_of::<Request>() == 64 && size_of::<Completion>() == 16);

/// See the module's description.
pub struct Uring {
    fd: RawFd,
    requests: *mut Request,
    submission_tail: *const AtomicU32,
    submission_slots: *mut u32,
    completion_head: *const AtomicU32,
    completion_tail: *const AtomicU32,
    completions: *const Completion,
    completion_mask: u32,
}

fn map(fd: RawFd, bytes: usize, offset: i64) -> io::Result<*mut u8> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
    // SAFETY: a new mapping at an address that the kernel chooses.
    let address = unsafe { libc::mmap(null_mut(), bytes, protection, flags, fd, offset) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(address.cast())
}

impl Uring {
    /// A ring of a kernel that knows `operation`.
    pub fn new(operation: Operation) -> Done<Self> {
        let mut parameters = Parameters::default();
        let address = &raw mut parameters as usize;
        // SAFETY: a local that lives through the call.
        let fd = unsafe { sys::call(libc::SYS_io_uring_setup, [ENTRIES as usize, address, 0, 0, 0, 0]) }
            .map_err(refused("io_uring_setup"))? as RawFd;
        let (sent, done) = (&parameters.submission, &parameters.completion);
        let submission_bytes = sent.sixth as usize + parameters.submissions as usize * size_of::<u32>();
        let completion_bytes =
            done.fifth as usize + parameters.completions as usize * size_of::<Completion>();
        let request_bytes = parameters.submissions as usize * size_of::<Request>();
        let failed = || refused("mapping the queues of io_uring");
        let submission = map(fd, submission_bytes, OFFSET_SUBMISSION).map_err(failed())?;
        let completion = map(fd, completion_bytes, OFFSET_COMPLETION).map_err(failed())?;
        let requests = map(fd, request_bytes, OFFSET_REQUESTS).map_err(failed())?.cast();
        // SAFETY: the kernel gives offsets within its mappings, which are never unmapped.
        let ring = unsafe {
            Self {
                fd,
                requests,
                submission_tail: submission.add(sent.tail as usize).cast(),
                submission_slots: submission.add(sent.sixth as usize).cast(),
                completion_head: completion.add(done.head as usize).cast(),
                completion_tail: completion.add(done.tail as usize).cast(),
                completions: completion.add(done.fifth as usize).cast(),
                completion_mask: completion.add(done.mask as usize).cast::<u32>().read(),
            }
        };
        ring.require(operation).map(|()| ring)
    }

    fn require(&self, operation: Operation) -> Done {
        let mut probe = Probe {
            last: 0,
            length: 0,
            reserved: [0; 7],
            operations: [Supported::default(); 64],
        };
        let count = probe.operations.len();
        let arguments = [
            self.fd as usize,
            REGISTER_PROBE,
            &raw mut probe as usize,
            count,
            0,
            0,
        ];
        // SAFETY: a local with room for `count` operations.
        unsafe { sys::call(libc::SYS_io_uring_register, arguments) }
            .map_err(refused("IORING_REGISTER_PROBE"))?;
        let known =
            |found: &&Supported| found.operation == operation as u8 && found.flags & OPERATION_SUPPORTED != 0;
        match probe.operations.iter().find(known) {
            Some(_) => Ok(()),
            None => Err(Trouble::Refused(format!(
                "EOPNOTSUPP IORING_OP {}",
                operation as u8
            ))),
        }
    }

    /// Does one request and waits for its end.
    fn perform(&self, request: Request, worker: Worker) -> io::Result<usize> {
        let flags = if worker == Worker::Kernel {
            REQUEST_ASYNC
        } else {
            0
        };
        // SAFETY: nothing is under way in the ring, so its first request is free; the tail is written last.
        unsafe {
            self.requests.write(Request { flags, ..request });
            let tail = &*self.submission_tail;
            let place = tail.load(Ordering::Relaxed);
            self.submission_slots
                .add((place & (ENTRIES - 1)) as usize)
                .write(0);
            tail.store(place.wrapping_add(1), Ordering::Release);
        }
        let mut submit = 1;
        loop {
            let arguments = [self.fd as usize, submit, 1, ENTER_GETEVENTS, 0, 0];
            // SAFETY: no addresses; callers keep what the request points to until its last completion.
            match unsafe { sys::call(libc::SYS_io_uring_enter, arguments) } {
                Ok(_) => submit = 0,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            // With zero copy a second completion says that the memory is free again.
            let Some(first) = self.take() else { continue };
            if first.flags & COMPLETION_MORE != 0 {
                while self.take().is_none() {
                    // SAFETY: no addresses.
                    unsafe {
                        sys::call(
                            libc::SYS_io_uring_enter,
                            [self.fd as usize, 0, 1, ENTER_GETEVENTS, 0, 0],
                        )
                    }?;
                }
            }
            return usize::try_from(first.result).map_err(|_| io::Error::from_raw_os_error(-first.result));
        }
    }

    fn take(&self) -> Option<Completion> {
        // SAFETY: pointers into mappings that stay; the kernel writes a completion before it moves the tail.
        unsafe {
            let head = (*self.completion_head).load(Ordering::Relaxed);
            if head == (*self.completion_tail).load(Ordering::Acquire) {
                return None;
            }
            let found = self
                .completions
                .add((head & self.completion_mask) as usize)
                .read();
            (*self.completion_head).store(head.wrapping_add(1), Ordering::Release);
            Some(found)
        }
    }

    /// Receives into `bytes`: `Read` or `Receive`.
    pub fn receive(
        &self,
        operation: Operation,
        worker: Worker,
        fd: RawFd,
        bytes: &mut [u8],
    ) -> io::Result<usize> {
        self.perform(
            request(operation, fd, bytes.as_mut_ptr() as u64, bytes.len()),
            worker,
        )
    }

    /// Sends `bytes`: `Write`, `Send`, `SendZeroCopy`.
    pub fn send(&self, operation: Operation, worker: Worker, fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
        self.perform(request(operation, fd, bytes.as_ptr() as u64, bytes.len()), worker)
    }

    /// `ReceiveMessage`.
    pub fn receive_message(
        &self,
        worker: Worker,
        fd: RawFd,
        parts: &mut [IoSliceMut<'_>],
    ) -> io::Result<usize> {
        let header = sys::message(parts.as_ptr().cast(), parts.len(), &[]);
        self.perform(
            request(Operation::ReceiveMessage, fd, &raw const header as u64, 1),
            worker,
        )
    }

    /// `SendMessage`.
    pub fn send_message(&self, worker: Worker, fd: RawFd, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let header = sys::message(parts.as_ptr(), parts.len(), &[]);
        self.perform(
            request(Operation::SendMessage, fd, &raw const header as u64, 1),
            worker,
        )
    }
}

fn request(operation: Operation, fd: RawFd, address: u64, length: usize) -> Request {
    Request {
        operation: operation as u8,
        fd,
        address,
        length: length as u32,
        ..Request::default()
    }
}
