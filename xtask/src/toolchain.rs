//! The compiler that builds the eBPF object, and what follows from it: the LLVM that the linker must speak.
//!
//! Two ways lead to the same object:
//! - **system**: Debian's `rustc-web` with `libstd-rust-web-dev-bpf`, a compiler with a precompiled `core` for BPF;
//! - **rustup**: a pinned nightly with `rust-src`, which builds `core` itself (`-Zbuild-std=core`).
//!
//! `bpf-linker` reads the compiler's bitcode, so it must be linked to an LLVM of the same major version; its file is found
//! through the compiler's own dynamic linking, never by a hard-coded name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use crate::command;
use crate::workspace::Workspace;

/// The nightly of the rustup way. Its LLVM major must be one that [`BPF_LINKER_VERSION`] knows.
pub const NIGHTLY: &str = "nightly-2026-05-20";

/// The pinned linker.
pub const BPF_LINKER_VERSION: &str = "0.13.0";

/// The LLVM majors for which the pinned linker has a feature `llvm-NN`.
pub const BPF_LINKER_LLVM: std::ops::RangeInclusive<u32> = 21..=23;

/// Where Debian's `rustc-web` puts the compiler. Not searched on `PATH`: rustup's proxy of the same name comes first there.
pub const SYSTEM_RUSTC: &str = "/usr/bin/rustc";

/// Names a way other than the one chosen: `system`, or a rustup toolchain.
pub const OVERRIDE_VARIABLE: &str = "EASTWATCH_EBPF_TOOLCHAIN";

/// A compiler for the BPF target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compiler {
    /// A compiler with a precompiled `core` for BPF.
    System { rustc: PathBuf },
    /// A rustup toolchain with `rust-src`.
    Rustup { toolchain: String },
}

impl Compiler {
    /// What `OVERRIDE_VARIABLE` asks for, if anything.
    pub fn requested() -> Option<Self> {
        let name = std::env::var(OVERRIDE_VARIABLE)
            .ok()
            .filter(|name| !name.is_empty())?;
        Some(match name.as_str() {
            "system" => Self::system(),
            _ => Self::Rustup { toolchain: name },
        })
    }

    pub fn system() -> Self {
        Self::System {
            rustc: SYSTEM_RUSTC.into(),
        }
    }

    pub fn nightly() -> Self {
        Self::Rustup {
            toolchain: NIGHTLY.into(),
        }
    }

    /// A command that runs this compiler.
    pub fn rustc(&self) -> Command {
        let mut command = match self {
            Self::System { rustc } => Command::new(rustc),
            Self::Rustup { toolchain } => {
                let mut command = Command::new("rustup");
                command.args(["run", toolchain, "rustc"]);
                command
            }
        };
        command::without_toolchain_variables(&mut command);
        command
    }

    /// Version and LLVM of this compiler; an error where it is not installed.
    pub fn version(&self) -> Result<RustcVersion> {
        RustcVersion::parse(&command::output(self.rustc().arg("-vV"))?)
    }

    /// Whether this compiler can produce `core` for the BPF target `target`.
    pub fn has_core(&self, target: &str) -> bool {
        let Ok(sysroot) = command::output(self.rustc().args(["--print", "sysroot"])) else {
            return false;
        };
        let rustlib = Path::new(sysroot.trim()).join("lib/rustlib");
        match self {
            Self::System { .. } => fs::read_dir(rustlib.join(target).join("lib")).is_ok_and(|files| {
                files
                    .flatten()
                    .any(|file| file.file_name().to_string_lossy().starts_with("libcore-"))
            }),
            Self::Rustup { .. } => rustlib.join("src/rust/library/core/src/lib.rs").is_file(),
        }
    }

    /// The shared LLVM that this compiler itself runs on.
    pub fn shared_llvm(&self) -> Result<PathBuf> {
        let binary = match self {
            Self::System { rustc } => rustc.clone(),
            Self::Rustup { toolchain } => {
                let mut which = Command::new("rustup");
                which.args(["which", "--toolchain", toolchain, "rustc"]);
                command::output(command::without_toolchain_variables(&mut which))?
                    .trim()
                    .into()
            }
        };
        let mut ldd = Command::new("ldd");
        let listing = command::output(command::without_toolchain_variables(ldd.arg(&binary)))?;
        llvm_in_ldd(&listing).with_context(|| {
            format!(
                "{} is not linked to a shared libLLVM: bpf-linker has nothing to link to",
                binary.display()
            )
        })
    }

    /// How people call it.
    pub fn describe(&self) -> String {
        match self {
            Self::System { rustc } => format!("{} (precompiled core for BPF)", rustc.display()),
            Self::Rustup { toolchain } => format!("rustup's {toolchain} (builds core from rust-src)"),
        }
    }
}

/// What `rustc -vV` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RustcVersion {
    /// As printed, such as `1.96.0` or `1.97.0-nightly`.
    pub release: String,
    /// Major and minor of the release.
    pub minor: (u32, u32),
    pub llvm_major: u32,
}

impl RustcVersion {
    /// Reads the output of `rustc -vV`: the lines `release: X.Y.Z[-channel]` and `LLVM version: X[.Y.Z]`.
    pub fn parse(text: &str) -> Result<Self> {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
                .with_context(|| format!("`rustc -vV` has no line `{name}:`"))
        };
        let release = field("release")?;
        let llvm = field("LLVM version")?;
        Ok(Self {
            release: release.to_owned(),
            minor: major_minor(release).with_context(|| format!("`{release}` is no Rust release"))?,
            llvm_major: llvm
                .split('.')
                .next()
                .and_then(|major| major.parse().ok())
                .with_context(|| format!("`{llvm}` is no LLVM version"))?,
        })
    }

    /// The linker's feature for this LLVM; an error naming those there are.
    pub fn linker_feature(&self) -> Result<String> {
        if BPF_LINKER_LLVM.contains(&self.llvm_major) {
            return Ok(format!("llvm-{}", self.llvm_major));
        }
        bail!(
            "rustc {} brings LLVM {}, but bpf-linker {BPF_LINKER_VERSION} speaks LLVM {} to {} only; \
             choose another compiler with {OVERRIDE_VARIABLE}=system or {OVERRIDE_VARIABLE}={NIGHTLY}",
            self.release,
            self.llvm_major,
            BPF_LINKER_LLVM.start(),
            BPF_LINKER_LLVM.end(),
        )
    }
}

/// The first two numbers of a version such as `1.96.0+dfsg1-1`.
pub fn major_minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The path of libLLVM in the output of `ldd`: a line `libLLVM.so.22.1 => /path (0x…)`.
fn llvm_in_ldd(listing: &str) -> Option<PathBuf> {
    listing.lines().find_map(|line| {
        let (name, rest) = line.trim().split_once(" => ")?;
        let path = rest.split(" (").next()?;
        (name.starts_with("libLLVM") && path.starts_with('/')).then(|| path.into())
    })
}

/// The tools that `setup` built for one LLVM major.
#[derive(Debug, Clone)]
pub struct Linker {
    /// The root that `cargo install` was given; the binary lies in `bin`.
    pub root: PathBuf,
    /// Holds `lib/libLLVM.so`; becomes the linker's RUNPATH, so it must stay.
    pub llvm_prefix: PathBuf,
}

impl Linker {
    pub fn in_cache(workspace: &Workspace) -> Self {
        Self {
            root: workspace.cache.join("tools"),
            llvm_prefix: workspace.cache.join("llvm"),
        }
    }

    pub fn binary_dir(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// Whether the pinned version, built for `feature` and against `llvm`, is there and starts.
    pub fn is_ready(&self, feature: &str, llvm: &Path) -> bool {
        let recorded = fs::read_to_string(self.root.join(".crates2.json")).unwrap_or_default();
        let linked = fs::canonicalize(self.llvm_prefix.join("lib/libLLVM.so")).ok();
        recorded_with(&recorded, feature)
            && linked.is_some()
            && linked == fs::canonicalize(llvm).ok()
            && command::output(Command::new(self.binary_dir().join("bpf-linker")).arg("--version"))
                .is_ok_and(|version| version.contains(BPF_LINKER_VERSION))
    }
}

/// Whether cargo's install record (`.crates2.json`) names the pinned linker with exactly this feature.
fn recorded_with(record: &str, feature: &str) -> bool {
    let Ok(record) = serde_json::from_str::<serde_json::Value>(record) else {
        return false;
    };
    let Some(installs) = record.get("installs").and_then(|installs| installs.as_object()) else {
        return false;
    };
    installs.iter().any(|(package, details)| {
        package.starts_with(&format!("bpf-linker {BPF_LINKER_VERSION} "))
            && details
                .get("features")
                .is_some_and(|features| *features == serde_json::json!([feature]))
    })
}

/// The BPF target of this machine's byte order.
pub const fn bpf_target() -> &'static str {
    if cfg!(target_endian = "little") {
        "bpfel-unknown-none"
    } else {
        "bpfeb-unknown-none"
    }
}

/// The compiler to build with now, checked: installed, with `core` for BPF, with a matching linker.
pub fn ready(workspace: &Workspace) -> Result<(Compiler, Linker)> {
    let candidates = match Compiler::requested() {
        Some(compiler) => vec![compiler],
        None => vec![Compiler::system(), Compiler::nightly()],
    };
    let compiler = candidates
        .iter()
        .find(|compiler| compiler.has_core(bpf_target()))
        .ok_or_else(|| {
            anyhow!(
                "no compiler for {} is installed; run `cargo xtask setup`",
                bpf_target()
            )
        })?;
    let version = compiler.version()?;
    let linker = Linker::in_cache(workspace);
    if !linker.is_ready(&version.linker_feature()?, &compiler.shared_llvm()?) {
        bail!(
            "bpf-linker {BPF_LINKER_VERSION} for LLVM {} is not in {}; run `cargo xtask setup`",
            version.llvm_major,
            linker.binary_dir().display()
        );
    }
    Ok((compiler.clone(), linker))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rustc_vv(release: &str, llvm: &str) -> String {
        format!(
            "rustc {release} (ac68faa20 2026-05-25)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n\
             release: {release}\nLLVM version: {llvm}\n"
        )
    }

    #[test]
    fn derives_the_linker_feature_from_the_compiler() {
        for (release, llvm, minor, feature) in [
            ("1.96.0", "22.1.8", (1, 96), "llvm-22"),
            ("1.97.0-nightly", "22.1", (1, 97), "llvm-22"),
            ("1.92.0-beta.3", "21", (1, 92), "llvm-21"),
        ] {
            let version = RustcVersion::parse(&rustc_vv(release, llvm)).unwrap();
            assert_eq!((version.release.as_str(), version.minor), (release, minor));
            assert_eq!(version.linker_feature().unwrap(), feature);
        }
    }

    #[test]
    fn refuses_an_llvm_that_the_linker_does_not_speak() {
        let version = RustcVersion::parse(&rustc_vv("1.85.0", "19.1.7")).unwrap();
        let error = version.linker_feature().unwrap_err().to_string();
        assert!(error.contains("LLVM 19") && error.contains("21 to 23"), "{error}");
    }

    #[test]
    fn says_which_line_is_missing() {
        for (text, missing) in [
            ("release: 1.96.0\n", "LLVM version"),
            ("LLVM version: 22.1\n", "release"),
        ] {
            let error = RustcVersion::parse(text).unwrap_err().to_string();
            assert!(error.contains(missing), "{error}");
        }
        assert!(RustcVersion::parse(&rustc_vv("1.96.0", "unknown")).is_err());
        assert!(RustcVersion::parse(&rustc_vv("x", "22")).is_err());
    }

    #[test]
    fn finds_llvm_whatever_its_minor_version() {
        let debian =
            "\tlibc.so.6 => /lib/libc.so.6 (0x1)\n\tlibLLVM.so.22.1 => /lib/x/libLLVM.so.22.1 (0x7f)\n";
        assert_eq!(llvm_in_ldd(debian), Some("/lib/x/libLLVM.so.22.1".into()));
        let rustup =
            "\tlibLLVM.so.22.1-rust-1.97.0-nightly => /r/lib/libLLVM.so.22.1-rust-1.97.0-nightly (0x7f)\n";
        assert_eq!(
            llvm_in_ldd(rustup),
            Some("/r/lib/libLLVM.so.22.1-rust-1.97.0-nightly".into())
        );
        assert_eq!(llvm_in_ldd("\tlibLLVM.so.22.1 => not found\n"), None);
        assert_eq!(llvm_in_ldd("\tstatically linked\n"), None);
    }

    #[test]
    fn reads_cargos_install_record() {
        let record = |version: &str, feature: &str| {
            format!(r#"{{"installs":{{"bpf-linker {version} (registry+x)":{{"features":["{feature}"]}}}}}}"#)
        };
        assert!(recorded_with(&record(BPF_LINKER_VERSION, "llvm-22"), "llvm-22"));
        assert!(!recorded_with(&record(BPF_LINKER_VERSION, "llvm-21"), "llvm-22"));
        assert!(!recorded_with(&record("0.9.1", "llvm-22"), "llvm-22"));
        assert!(!recorded_with("not json", "llvm-22"));
    }
}
