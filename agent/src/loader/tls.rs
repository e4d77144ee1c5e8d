//! Probes at functions of TLS libraries, in whichever files these are.
//!
//! The programs are loaded once. They are attached to a file, not to a process: whoever runs it is probed, in every container.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsRawFd;

use aya::Ebpf;
use aya::programs::uprobe::{UProbe, UProbeLink, UProbeScope};
use aya::programs::{ProbeKind, Program};

use super::{LoadError, ProgramFacts, chain, verdict};
use crate::tls::library::{EntryPoint, Function};

/// Returns of all functions.
const RETURN: &str = "tls_return";

/// The program at a function's entry, and whether its return is probed too; `None`: nothing is to be learnt there yet.
const fn program_of(function: Function) -> Option<(&'static str, bool)> {
    Some(match function {
        Function::SslRead => ("ssl_read", true),
        // Also inside of SSL_read_early_data and SSL_write_early_data.
        Function::SslReadEx => ("ssl_read_ex", true),
        Function::SslWrite => ("ssl_write", true),
        Function::SslWriteEx => ("ssl_write_ex", true),
        Function::SslWriteEx2 => ("ssl_write_ex2", true),
        Function::SslSendfile => ("ssl_sendfile", true),
        // Each probe costs: what else uses the socket comes after it.
        Function::SslDoHandshake => ("ssl_other", true),
        Function::GnutlsRecordRecv | Function::GnutlsRecordRecvSeq => ("gnutls_read", true),
        Function::GnutlsRecordSend | Function::GnutlsRecordSend2 => ("gnutls_write", true),
        Function::GnutlsRecordSendFile => ("gnutls_sendfile", true),
        Function::GnutlsHandshake => ("gnutls_other", true),
        Function::BioWrite => ("bio_write", false),
        Function::SslFree | Function::GnutlsDeinit => ("tls_free", false),
        _ => return None,
    })
}

/// Whether probes exist for it.
#[must_use]
pub fn is_probed(function: Function) -> bool {
    program_of(function).is_some()
}

/// Why a library is not probed.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// None of the functions that were found is one that probes exist for.
    #[error("none of its functions is one that can be probed yet")]
    Nothing,
    /// The kernel refused.
    #[error("the kernel refused a probe at {function}: {detail}")]
    Refused {
        /// Function.
        function: &'static str,
        /// What the kernel said.
        detail: String,
    },
}

/// A probed library. Dropping it takes the probes away.
#[derive(Debug)]
pub struct Attached {
    links: Vec<UProbeLink>,
}

/// The kernel waits for all processors before each probe is gone, and side by side they wait together: one after the other they would take
/// seconds.
impl Drop for Attached {
    fn drop(&mut self) {
        std::thread::scope(|scope| {
            for link in self.links.drain(..) {
                let thread = std::thread::Builder::new().name("tls-detach".to_owned());
                if let Err(error) = thread.spawn_scoped(scope, move || drop(link)) {
                    // Then it went with the closure.
                    tracing::debug!(%error, "a probe was taken away by itself");
                }
            }
        });
    }
}

impl Attached {
    /// Probes.
    #[must_use]
    pub fn probes(&self) -> usize {
        self.links.len()
    }
}

/// The loaded programs.
#[derive(Debug)]
pub struct Probes {
    programs: BTreeMap<&'static str, UProbe>,
}

impl Probes {
    /// Loads them, and adds them to `facts`.
    ///
    /// # Errors
    /// What the kernel said of the first one that it refused.
    pub(super) fn load(ebpf: &mut Ebpf, facts: &mut Vec<ProgramFacts>) -> Result<Self, LoadError> {
        let mut names: Vec<&'static str> = Function::ALL
            .iter()
            .filter_map(|function| program_of(*function))
            .map(|(name, _)| name)
            .chain([RETURN])
            .collect();
        names.sort_unstable();
        names.dedup();
        let mut programs = BTreeMap::new();
        for name in names {
            let failed = |error: aya::programs::ProgramError| LoadError::Program {
                program: name.into(),
                detail: verdict(&error),
            };
            let Some(Program::UProbe(program)) = ebpf.program_mut(name) else {
                return Err(LoadError::Program {
                    program: name.into(),
                    detail: "not in the object: agent and object are of different versions".into(),
                });
            };
            program.load().map_err(failed)?;
            let info = program.info().map_err(failed)?;
            facts.push(ProgramFacts {
                name: name.into(),
                id: info.id(),
                verified: info.verified_instruction_count(),
            });
            let kind = if name == RETURN {
                ProbeKind::Return
            } else {
                ProbeKind::Entry
            };
            // Another handle of the same program, which does not need the rest of the object.
            // SAFETY: of the programs of this type it was loaded as the one that `kind` says.
            let program =
                unsafe { UProbe::from_program_info(info, Cow::Borrowed(name), kind) }.map_err(failed)?;
            programs.insert(name, program);
        }
        Ok(Self { programs })
    }

    /// Probes a library in an open file, for all who run it.
    ///
    /// # Errors
    /// [`AttachError`]; then none of its functions is probed.
    pub fn attach(&mut self, file: &File, points: &[EntryPoint]) -> Result<Attached, AttachError> {
        // By its descriptor: whatever lies at its name meanwhile, this is the file that was looked into.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let mut links = Vec::new();
        for point in points {
            let Some((entry, returns)) = program_of(point.function) else {
                continue;
            };
            // First the return: a call whose return is not seen would be thought to go on.
            for name in returns.then_some(RETURN).into_iter().chain([entry]) {
                let link = self.attach_one(name, point.offset, &path);
                links.push(link.map_err(|detail| AttachError::Refused {
                    function: point.function.symbol(),
                    detail,
                })?);
            }
        }
        if links.is_empty() {
            return Err(AttachError::Nothing);
        }
        // Taken away in this order: entries first.
        links.reverse();
        Ok(Attached { links })
    }

    fn attach_one(&mut self, name: &str, offset: u64, path: &str) -> Result<UProbeLink, String> {
        let program = self
            .programs
            .get_mut(name)
            .ok_or_else(|| format!("the program {name} is not loaded"))?;
        let link = program
            .attach(offset, path, UProbeScope::AllProcesses)
            .map_err(|error| chain(&error))?;
        program.take_link(link).map_err(|error| chain(&error))
    }
}
