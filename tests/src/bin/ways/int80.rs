//! 32-bit system calls of a 64-bit process.

use std::io;
use std::os::fd::RawFd;

use crate::sys;
use crate::trouble::{Done, Trouble, refused};

/// Numbers of i386.
#[cfg(target_arch = "x86_64")]
const READ: u32 = 3;
#[cfg(target_arch = "x86_64")]
const WRITE: u32 = 4;
#[cfg(target_arch = "x86_64")]
const GETPID: u32 = 20;

/// Memory that such calls can reach, and proof that the kernel takes them.
pub struct Int80 {
    memory: &'static mut [u8],
}

impl Int80 {
    /// Tries a harmless call first, in a process that may die of it.
    #[cfg(target_arch = "x86_64")]
    pub fn new(bytes: usize) -> Done<Self> {
        let tried = crate::process::Child::run(|| {
            // SAFETY: no addresses.
            let got = unsafe { call(GETPID, 0, 0, 0) };
            i32::from(got != std::process::id() as i32)
        });
        match tried.and_then(crate::process::Child::wait) {
            Ok(Some(0)) => {}
            Ok(Some(_)) => return Err(Trouble::Refused("ENOSYS int 0x80".to_owned())),
            Ok(None) => return Err(Trouble::Refused("SIGSEGV int 0x80: no 32-bit calls".to_owned())),
            Err(error) => return Err(crate::trouble::broken("fork")(error)),
        }
        let memory = sys::map(bytes, libc::MAP_PRIVATE | libc::MAP_32BIT).map_err(refused("MAP_32BIT"))?;
        Ok(Self { memory })
    }

    /// They exist on x86-64 only.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn new(_: usize) -> Done<Self> {
        Err(Trouble::Refused(
            "ENOSYS int 0x80: not an x86-64 machine".to_owned(),
        ))
    }

    /// read(2).
    pub fn read(&mut self, fd: RawFd, bytes: &mut [u8]) -> io::Result<usize> {
        let length = bytes.len().min(self.memory.len());
        let got = self.transfer(true, fd, length)?;
        for (to, from) in bytes.iter_mut().zip(self.memory.iter().take(got)) {
            *to = *from;
        }
        Ok(got)
    }

    /// write(2).
    pub fn write(&mut self, fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
        for (to, from) in self.memory.iter_mut().zip(bytes) {
            *to = *from;
        }
        let length = bytes.len().min(self.memory.len());
        self.transfer(false, fd, length)
    }

    #[cfg(target_arch = "x86_64")]
    fn transfer(&mut self, reads: bool, fd: RawFd, length: usize) -> io::Result<usize> {
        let number = if reads { READ } else { WRITE };
        // SAFETY: the memory is this value's, at least `length` bytes, below 2 GiB.
        let result = unsafe { call(number, fd as u32, self.memory.as_mut_ptr() as u32, length as u32) };
        usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn transfer(&mut self, _: bool, _: RawFd, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// # Safety
/// As any system call: what is an address must be valid for it.
#[cfg(target_arch = "x86_64")]
unsafe fn call(number: u32, first: u32, second: u32, third: u32) -> i32 {
    let result: i32;
    // SAFETY: by the caller. rbx belongs to the compiler and is put back; the entry code may change r8 to r11.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {first:r}",
            "int 0x80",
            "xchg rbx, {first:r}",
            first = inout(reg) u64::from(first) => _,
            inlateout("eax") number => result,
            in("ecx") second,
            in("edx") third,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    result
}
