//! Which TLS libraries a file has: by the functions that it defines, and by texts where it has no symbols. Never by its name.

use std::sync::LazyLock;

use agent_common::TlsFamily;
use aho_corasick::BuildError;

use super::ElfError;
use super::layout::Layout;
use super::marks::{self, Marks};
use super::reader::Reader;
use super::search::Texts;
use super::symbols::{self, Symbol};
use super::{SEARCH_BYTES_MAX, go};
use crate::tls::library::{EntryPoint, Function, Functions, Library, LibraryName, Linkage};

/// Functions that only BoringSSL and AWS-LC, or only LibreSSL have.
const BORINGSSL_ONLY: &str = "SSL_CTX_set_grease_enabled";
const LIBRESSL_ONLY: &str = "SSL_CTX_use_certificate_chain_mem";

/// What is looked up: all functions that have a linker's symbol, then those that tell who it is.
static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let functions = Function::ALL
        .iter()
        .filter(|function| function.family() != TlsFamily::Go);
    let names = functions.map(|function| function.symbol());
    names.chain([BORINGSSL_ONLY, LIBRESSL_ONLY]).collect()
});

static TEXTS: LazyLock<Result<Texts, BuildError>> =
    LazyLock::new(|| Texts::new(NAMES.iter().map(|name| format!("{name}\0"))));

/// What is in a file.
pub(super) struct Found {
    pub(super) libraries: Vec<Library>,
    /// See [`super::Image::search_cut`].
    pub(super) search_cut: bool,
}

/// Finds them.
pub(super) fn find(reader: &mut Reader<'_>, layout: &Layout) -> Result<Found, ElfError> {
    let names = Names::look_up(reader, layout)?;
    let families = [TlsFamily::OpenSsl, TlsFamily::GnuTls, TlsFamily::Nss];
    let defined = families.map(|family| names.entry_points(layout, family));
    let go = go::find(reader, layout)?;
    let marks = if defined.iter().any(|points| !points.is_empty())
        || (go.is_none() && marks::worth_searching(layout))
    {
        marks::search(reader, layout, SEARCH_BYTES_MAX)?
    } else {
        Marks::default()
    };
    let shared = layout.has_library_name(reader)?;
    let mut libraries: Vec<Library> = Vec::new();
    for (family, points) in families.into_iter().zip(defined) {
        let (name, functions) = match family {
            TlsFamily::OpenSsl => open_ssl(&names, &marks, points),
            TlsFamily::GnuTls => gnu_tls(&marks, points),
            TlsFamily::Nss => nss(points),
            TlsFamily::Go => continue,
        };
        if let Some(functions) = functions {
            libraries.push(Library {
                name,
                version: marks.version(name).map(str::to_owned),
                linkage: if shared { Linkage::Shared } else { Linkage::Static },
                functions,
            });
        }
    }
    if marks.here.contains(&LibraryName::Rustls) {
        libraries.push(Library {
            name: LibraryName::Rustls,
            version: marks.version(LibraryName::Rustls).map(str::to_owned),
            linkage: Linkage::Static,
            functions: Functions::Unsupported,
        });
    }
    libraries.extend(go);
    Ok(Found {
        libraries,
        search_cut: marks.cut,
    })
}

/// OpenSSL and its kin: libssl, or both that and libcrypto; not libcrypto alone.
fn open_ssl(names: &Names, marks: &Marks, points: Vec<EntryPoint>) -> (LibraryName, Option<Functions>) {
    let here = |name| marks.here.contains(&name);
    let name = if names.defines(BORINGSSL_ONLY) || here(LibraryName::BoringSsl) {
        LibraryName::BoringSsl
    } else if names.defines(LIBRESSL_ONLY) || marks.version(LibraryName::LibreSsl).is_some() {
        LibraryName::LibreSsl
    } else {
        LibraryName::OpenSsl
    };
    // GnuTLS's library with OpenSSL's interface: its plaintext goes through GnuTLS, and would count twice.
    if names.imports(Function::GnutlsRecordRecv.symbol()) {
        return (name, None);
    }
    let any = points
        .iter()
        .any(|point| point.function.reads() || point.function.writes());
    let functions = if any {
        Some(Functions::Found(points))
    } else {
        let here = here(LibraryName::OpenSsl) || here(LibraryName::BoringSsl);
        here.then_some(Functions::NoSymbols)
    };
    (name, functions)
}

fn gnu_tls(marks: &Marks, points: Vec<EntryPoint>) -> (LibraryName, Option<Functions>) {
    let functions = if carry_plaintext(&points) {
        Some(Functions::Found(points))
    } else {
        let here = marks.here.contains(&LibraryName::GnuTls);
        here.then_some(Functions::NoSymbols)
    };
    (LibraryName::GnuTls, functions)
}

/// NSPR, or both that and NSS; not NSS alone, whose connections are read and written through NSPR.
fn nss(points: Vec<EntryPoint>) -> (LibraryName, Option<Functions>) {
    let functions = carry_plaintext(&points).then_some(Functions::Found(points));
    (LibraryName::Nss, functions)
}

/// Both directions.
fn carry_plaintext(points: &[EntryPoint]) -> bool {
    points.iter().any(|point| point.function.reads()) && points.iter().any(|point| point.function.writes())
}

/// What the symbol tables say of [`NAMES`].
struct Names(Vec<Symbol>);

impl Names {
    /// Exported functions are enough where they carry plaintext: the table of all symbols is many times longer.
    fn look_up(reader: &mut Reader<'_>, layout: &Layout) -> Result<Self, ElfError> {
        let Ok(texts) = LazyLock::force(&TEXTS) else {
            return Err(ElfError::Damaged { what: "names" });
        };
        let mut names = Self(vec![Symbol::default(); NAMES.len()]);
        if let Some(table) = layout.dynamic_symbols(reader)? {
            names.0 = symbols::find(reader, table, texts, NAMES.len())?;
        }
        let families = [TlsFamily::OpenSsl, TlsFamily::GnuTls, TlsFamily::Nss];
        if families
            .iter()
            .any(|family| carry_plaintext(&names.entry_points(layout, *family)))
        {
            return Ok(names);
        }
        if let Some(table) = layout.all_symbols()? {
            let all = symbols::find(reader, table, texts, NAMES.len())?;
            for (known, more) in names.0.iter_mut().zip(all) {
                known.address = known.address.or(more.address);
                known.imported |= more.imported;
            }
        }
        Ok(names)
    }

    fn get(&self, name: &str) -> Symbol {
        let index = NAMES.iter().position(|other| *other == name);
        index
            .and_then(|index| self.0.get(index))
            .copied()
            .unwrap_or_default()
    }

    fn defines(&self, name: &str) -> bool {
        self.get(name).address.is_some()
    }

    fn imports(&self, name: &str) -> bool {
        self.get(name).imported
    }

    /// The functions of a family that lie in instructions.
    fn entry_points(&self, layout: &Layout, family: TlsFamily) -> Vec<EntryPoint> {
        let functions = Function::ALL
            .iter()
            .filter(|function| function.family() == family);
        let points = functions.filter_map(|function| {
            let address = self.get(function.symbol()).address?;
            Some(EntryPoint {
                function: *function,
                offset: layout.code_offset(address)?,
                returns: Vec::new(),
            })
        });
        points.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_ends_with_another() {
        for name in NAMES.iter() {
            let mut others = NAMES.iter().filter(|other| *other != name);
            assert!(!others.any(|other| other.ends_with(name)), "{name}");
        }
    }
}
