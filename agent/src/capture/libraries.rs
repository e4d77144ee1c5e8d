//! TLS libraries: found by discovery, probed by the loader's programs, known to the ledger.

use std::fs::File;

use crate::config::Tls;
use crate::loader::{Attached, Probes, is_probed};
use crate::tls::Findings;
use crate::tls::discovery::{
    Attach, AttachError, Discovery, Inspect, InspectError, Limits, OpenedImage, Worker,
};
use crate::tls::elf::{self, ElfError};
use crate::tls::inodes;
use crate::tls::library::{Finding, Function, Functions, Library, State};
use crate::tracker;

/// Starts to look for libraries, in a thread of its own.
///
/// # Errors
/// There can be no other thread.
pub(super) fn start(config: &Tls, probes: Probes) -> std::io::Result<Worker> {
    let limits = Limits {
        processes: config.processes_max,
        inodes: inodes::Limits {
            files: config.files_max,
            libraries: config.libraries_max,
            linger_ns: config.linger_seconds.saturating_mul(1_000_000_000),
        },
        ..Limits::default()
    };
    Worker::start(Discovery::new(Elf, Uprobes(probes), limits))
}

/// Looks into ELF files. What is none has no library in it: programs map all sorts of things executable.
struct Elf;

impl Inspect for Elf {
    fn inspect(&mut self, file: &File) -> Result<Vec<Library>, InspectError> {
        match elf::read(file) {
            Ok(image) => Ok(image.libraries.into_iter().filter_map(probed).collect()),
            Err(ElfError::NotElf) => Ok(Vec::new()),
            Err(error) => Err(InspectError(error.to_string())),
        }
    }
}

/// A library as far as there are probes for it; `None`: it is only what another library stands on.
fn probed(mut library: Library) -> Option<Library> {
    if let Functions::Found(points) = &library.functions {
        let below = |function| matches!(function, Function::BioRead | Function::BioWrite);
        if points.iter().all(|point| below(point.function)) {
            return None;
        }
        if !points.iter().any(|point| is_probed(point.function)) {
            library.functions = Functions::Unsupported;
        }
    }
    Some(library)
}

/// Probes files by their descriptors.
struct Uprobes(Probes);

impl Attach for Uprobes {
    type Probes = Attached;

    fn attach(&mut self, image: &OpenedImage<'_>, library: &Library) -> Result<Attached, AttachError> {
        self.0
            .attach(image.file(), library.functions.found())
            .map_err(|error| AttachError(error.to_string()))
    }
}

/// `capture.tls.enabled` is off.
pub(super) const DISABLED: &str = "tls_disabled";
/// The kernel takes no probes.
pub(super) const NO_PROBES: &str = "no_probes";

/// For the ledger, which names one library and one reason.
#[derive(Debug)]
pub(super) struct Known(pub(super) Findings);

impl tracker::Findings for Known {
    fn of(&self, pid: u32) -> Option<tracker::Finding> {
        match self.0.of(pid) {
            Some(findings) => most_telling(&findings),
            None => Some(tracker::Finding::NOT_LOOKED_AT),
        }
    }
}

/// For the ledger where nobody looks for libraries, and why.
#[derive(Debug)]
pub(super) struct Unlooked(pub(super) &'static str);

impl tracker::Findings for Unlooked {
    fn of(&self, _: u32) -> Option<tracker::Finding> {
        Some(tracker::Finding {
            library: "",
            reason: Some(self.0),
        })
    }
}

/// Of several what is decrypted; else what is known to be a library; else that something could not be looked into.
fn most_telling(findings: &[Finding]) -> Option<tracker::Finding> {
    let rank = |finding: &&Finding| match (&finding.state, finding.library) {
        (State::Attached, _) => 0,
        (_, Some(_)) => 1,
        (_, None) => 2,
    };
    let finding = findings.iter().min_by_key(rank)?;
    let name = finding.state.name();
    Some(tracker::Finding {
        library: finding.library.map_or("", |library| library.name()),
        reason: (finding.state != State::Attached).then_some(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::library::{EntryPoint, LibraryName, Linkage};

    fn library(name: LibraryName, functions: &[Function]) -> Library {
        let point = |function: &Function| EntryPoint {
            function: *function,
            offset: 1,
            returns: Vec::new(),
        };
        Library {
            name,
            version: None,
            linkage: Linkage::Shared,
            functions: Functions::Found(functions.iter().map(point).collect()),
        }
    }

    #[test]
    fn only_what_has_probes_is_probed() {
        let whole = library(LibraryName::OpenSsl, &[Function::SslRead, Function::BioRead]);
        assert_eq!(probed(whole.clone()), Some(whole));
        let below = library(LibraryName::OpenSsl, &[Function::BioRead, Function::BioWrite]);
        assert_eq!(probed(below), None);
    }

    #[test]
    fn where_nobody_looks_that_is_the_reason() {
        use tracker::Findings as _;
        let reason = |finding: Option<tracker::Finding>| finding.and_then(|finding| finding.reason);
        let unlooked = tracker::Finding::NOT_LOOKED_AT.reason;
        assert!(unlooked.is_some());
        assert_eq!(reason(Known(Findings::default()).of(1)), unlooked);
        for why in [DISABLED, NO_PROBES] {
            assert_eq!(reason(Unlooked(why).of(1)), Some(why));
        }
    }

    #[test]
    fn the_ledger_hears_what_is_decrypted_first() {
        let finding = |library, state| Finding {
            library,
            version: None,
            state,
        };
        let rejected = finding(None, State::Rejected("damaged".to_owned()));
        let stripped = finding(Some(LibraryName::BoringSsl), State::NoSymbols);
        let attached = finding(Some(LibraryName::OpenSsl), State::Attached);
        for (findings, expected) in [
            (vec![], None),
            (vec![rejected.clone()], Some(("", Some("rejected")))),
            (
                vec![rejected.clone(), stripped.clone()],
                Some(("boringssl", Some("no_symbols"))),
            ),
            (vec![rejected, stripped, attached], Some(("openssl", None))),
        ] {
            let told = most_telling(&findings).map(|finding| (finding.library, finding.reason));
            assert_eq!(told, expected);
        }
    }
}
