//! The eBPF toolchain: which compiler, and the steps that bring compiler and linker.

use std::path::Path;

use anyhow::{Result, bail};

use crate::command;
use crate::setup::packages::{self, Simulation};
use crate::setup::plan::{Invocation, Step};
use crate::toolchain::{
    self, BPF_LINKER_LLVM, BPF_LINKER_VERSION, Compiler, Linker, OVERRIDE_VARIABLE, RustcVersion,
    SYSTEM_RUSTC, major_minor,
};
use crate::workspace::Workspace;

/// Debian's compiler and its `core` for BPF.
pub const SYSTEM_PACKAGES: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];

/// What building the linker takes on two cores.
const LINKER_COST: &str = "about 1 minute, 3 MB";

/// What rustup fetches for a nightly with `rust-src`; it prints no size itself.
const NIGHTLY_COST: &str = "about 200 MB to fetch, 900 MB on disk";

/// The compiler to use, and what has to be installed for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub compiler: Compiler,
    /// Why another was not chosen, for people.
    pub reason: String,
    /// Its version when it is installed.
    pub installed: Option<RustcVersion>,
}

/// Prefers what is installed, then Debian's packages, then rustup's nightly.
pub fn choose() -> Result<Choice> {
    if let Some(compiler) = Compiler::requested() {
        let installed = usable(&compiler);
        return Ok(Choice {
            compiler,
            reason: format!("{OVERRIDE_VARIABLE} asks for it"),
            installed,
        });
    }
    for compiler in [Compiler::system(), Compiler::nightly()] {
        if let Some(version) = usable(&compiler) {
            return Ok(Choice {
                compiler,
                reason: "installed".into(),
                installed: Some(version),
            });
        }
    }
    match system_packages() {
        Ok(reason) => Ok(Choice {
            compiler: Compiler::system(),
            reason,
            installed: None,
        }),
        Err(reason) => Ok(Choice {
            compiler: Compiler::nightly(),
            reason,
            installed: None,
        }),
    }
}

/// The version of a compiler that is installed, builds for BPF and has an LLVM that the linker speaks.
fn usable(compiler: &Compiler) -> Option<RustcVersion> {
    let version = compiler.version().ok()?;
    let new_enough = Some(version.minor) >= major_minor(env!("CARGO_PKG_RUST_VERSION"));
    (new_enough && compiler.has_core(toolchain::bpf_target()) && version.linker_feature().is_ok())
        .then_some(version)
}

/// Whether Debian's packages can be had; either way, the reason.
fn system_packages() -> Result<String, String> {
    if !packages::has_apt() {
        return Err("there is no apt-get here".into());
    }
    let candidates = packages::candidates(&SYSTEM_PACKAGES);
    let [compiler, _] = SYSTEM_PACKAGES;
    for package in SYSTEM_PACKAGES {
        let Some(version) = candidates.get(package) else {
            return Err(format!("apt does not know the package {package}"));
        };
        if major_minor(version) < major_minor(env!("CARGO_PKG_RUST_VERSION")) {
            return Err(format!(
                "apt has {package} {version}, older than {}",
                env!("CARGO_PKG_RUST_VERSION")
            ));
        }
    }
    match packages::simulate(&SYSTEM_PACKAGES) {
        Simulation::Possible { .. } => Ok(format!(
            "apt has {compiler} {}",
            candidates.get(compiler).map(String::as_str).unwrap_or_default()
        )),
        Simulation::Impossible(error) => Err(format!(
            "apt cannot install {}: {error}",
            SYSTEM_PACKAGES.join(" ")
        )),
    }
}

/// The step that installs rustup's pinned nightly, `None` for a compiler that apt brings.
pub fn compiler_step(choice: &Choice) -> Result<Option<Step>> {
    let Compiler::Rustup { toolchain } = &choice.compiler else {
        return Ok(None);
    };
    if choice.installed.is_some() {
        return Ok(None);
    }
    if command::find_program("rustup").is_none() {
        bail!(
            "{}, and there is no rustup to install {toolchain} with; install Debian's {} or rustup",
            choice.reason,
            SYSTEM_PACKAGES.join(" and ")
        );
    }
    let install = [
        "rustup",
        "toolchain",
        "install",
        toolchain,
        "--profile",
        "minimal",
    ];
    let components = ["--component", "rust-src", "--component", "clippy"];
    Ok(Some(Step {
        purpose: format!(
            "install rustup's {toolchain} with rust-src, to build the eBPF programs ({})",
            choice.reason
        ),
        cost: Some(NIGHTLY_COST.into()),
        invocations: vec![Invocation::new(install.into_iter().chain(components))],
        services: Vec::new(),
    }))
}

/// The step that builds the linker for an installed compiler; `None` when it is there.
pub fn linker_step(
    workspace: &Workspace,
    compiler: &Compiler,
    version: &RustcVersion,
) -> Result<Option<Step>> {
    let linker = Linker::in_cache(workspace);
    let feature = version.linker_feature()?;
    let llvm = compiler.shared_llvm()?;
    if linker.is_ready(&feature, &llvm) {
        return Ok(None);
    }
    Ok(Some(linker_build(&linker, &feature, &llvm, version.llvm_major)))
}

fn linker_build(linker: &Linker, feature: &str, llvm: &Path, llvm_major: u32) -> Step {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let lib = linker.llvm_prefix.join("lib");
    let cargo = command::cargo().get_program().to_string_lossy().into_owned();
    let install = Invocation::new([
        cargo.as_str(),
        "install",
        "bpf-linker",
        "--version",
        BPF_LINKER_VERSION,
        "--no-default-features",
        "--features",
        feature,
        "--locked",
        "--force",
        "--root",
        &text(&linker.root),
    ])
    .with("LLVM_PREFIX", text(&linker.llvm_prefix))
    .with("CARGO_PROFILE_RELEASE_DEBUG", "0")
    .with("CARGO_PROFILE_RELEASE_LTO", "off")
    .with("CARGO_PROFILE_RELEASE_OPT_LEVEL", "2");
    Step {
        purpose: format!(
            "build bpf-linker {BPF_LINKER_VERSION} against the compiler's own LLVM {llvm_major}"
        ),
        cost: Some(LINKER_COST.into()),
        invocations: vec![
            Invocation::new(["mkdir", "-p", &text(&lib)]),
            Invocation::new(["ln", "-sfn", &text(llvm), &text(&lib.join("libLLVM.so"))]),
            // Under its own name too, which the linker asks for when it starts: rustup's LLVM is on no search path.
            Invocation::new([
                "ln",
                "-sfn",
                &text(llvm),
                &text(&lib.join(llvm.file_name().unwrap_or_default())),
            ]),
            install,
        ],
        services: Vec::new(),
    }
}

/// What the linker will need once the compiler is there, for plans made before that.
pub fn linker_outlook() -> String {
    format!(
        "then: build bpf-linker {BPF_LINKER_VERSION} against that compiler's LLVM ({} to {}; {LINKER_COST})",
        BPF_LINKER_LLVM.start(),
        BPF_LINKER_LLVM.end()
    )
}

/// Where the compiler of [`SYSTEM_PACKAGES`] is found once installed.
pub fn describe_missing() -> String {
    format!(
        "a compiler with core for {} (such as {SYSTEM_RUSTC} of Debian's packages)",
        toolchain::bpf_target()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linker_is_built_for_the_compilers_llvm() {
        let linker = Linker {
            root: "/c/tools".into(),
            llvm_prefix: "/c/llvm".into(),
        };
        let step = linker_build(&linker, "llvm-22", Path::new("/lib/libLLVM.so.22.1"), 22);
        let plan = crate::setup::plan::Plan { steps: vec![step] }.to_string();
        for part in [
            "$ mkdir -p /c/llvm/lib\n",
            "$ ln -sfn /lib/libLLVM.so.22.1 /c/llvm/lib/libLLVM.so\n",
            "$ ln -sfn /lib/libLLVM.so.22.1 /c/llvm/lib/libLLVM.so.22.1\n",
            "--version 0.13.0 --no-default-features --features llvm-22 --locked --force --root /c/tools\n",
            "LLVM_PREFIX=/c/llvm",
        ] {
            assert!(plan.contains(part), "{part:?} is not in\n{plan}");
        }
    }
}
