//! Why a way was not gone.

use std::fmt;
use std::io;

/// See the module's description.
#[derive(Debug)]
pub enum Trouble {
    /// The kernel does not offer it.
    Refused(String),
    /// It went wrong.
    Broken(String),
}

/// What may meet trouble.
pub type Done<T = ()> = Result<T, Trouble>;

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Refused(text) | Self::Broken(text)) = self;
        f.write_str(text)
    }
}

/// `ENOSYS io_uring_setup`.
fn describe(what: &str, error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("{:?} {what}", nix::errno::Errno::from_raw(number)),
        None => format!("{what}: {error}"),
    }
}

/// For calls by which the kernel says whether it offers something.
pub fn refused(what: &str) -> impl Fn(io::Error) -> Trouble {
    move |error| Trouble::Refused(describe(what, &error))
}

/// For all others.
pub fn broken(what: &str) -> impl Fn(io::Error) -> Trouble {
    move |error| Trouble::Broken(describe(what, &error))
}
