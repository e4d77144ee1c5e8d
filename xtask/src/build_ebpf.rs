//! `build-ebpf`: compiles `agent-ebpf` for BPF and puts the object where the agent's build script finds it.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

use crate::command;
use crate::toolchain::{self, Compiler, Linker};
use crate::workspace::Workspace;

/// The crate and its binary.
const PACKAGE: &str = "agent-ebpf";

/// Separates flags in `CARGO_ENCODED_RUSTFLAGS`.
const FLAG_SEPARATOR: &str = "\u{1f}";

/// Builds the object; copies it only when its bytes changed, so that the agent is not rebuilt without need.
pub fn run(workspace: &Workspace) -> Result<()> {
    let (compiler, linker) = toolchain::ready(workspace)?;
    eprintln!("     eBPF object: {}", compiler.describe());
    let build_dir = workspace.target.join("ebpf");
    command::run(
        cargo(workspace, &compiler, &linker, "build")?
            .arg("--target-dir")
            .arg(&build_dir),
    )?;

    let built = build_dir
        .join(toolchain::bpf_target())
        .join("release")
        .join(PACKAGE);
    let elf = fs::read(&built).with_context(|| format!("reading {}", built.display()))?;
    let stripped = without_dwarf(&elf).with_context(|| format!("stripping {}", built.display()))?;
    let destination = workspace.ebpf_object();
    let state = if write_if_changed(&destination, &stripped)? {
        "written"
    } else {
        "unchanged"
    };
    eprintln!(
        "     {}: {} bytes ({} with debug information), {state}",
        destination.display(),
        stripped.len(),
        elf.len()
    );
    Ok(())
}

/// A cargo command for the eBPF package: compiler, linker and flags set, the host toolchain's variables removed.
pub fn cargo(workspace: &Workspace, compiler: &Compiler, linker: &Linker, verb: &str) -> Result<Command> {
    let mut command = match compiler {
        Compiler::System { rustc } => {
            let mut command = command::cargo();
            command::without_toolchain_variables(&mut command);
            // `aya_ebpf` alone may use unstable features; the value `1` would make its build scripts ask for build-std.
            command
                .env("RUSTC", rustc)
                .env("RUSTC_BOOTSTRAP", "aya_ebpf")
                .arg(verb);
            command
        }
        Compiler::Rustup { toolchain } => {
            let mut command = Command::new("rustup");
            command::without_toolchain_variables(&mut command);
            command.args(["run", toolchain, "cargo", verb, "-Zbuild-std=core"]);
            command
        }
    };
    let path = env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(linker.binary_dir()).chain(env::split_paths(&path));
    command
        .args([
            "--package",
            PACKAGE,
            "--release",
            "--target",
            toolchain::bpf_target(),
        ])
        .current_dir(&workspace.root)
        .env("PATH", env::join_paths(path).context("PATH cannot be extended")?)
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            rustflags(env::consts::ARCH).join(FLAG_SEPARATOR),
        )
        // bpf-linker optimises the whole program itself; rustc's link-time optimisation would only get in its way.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        // The linker optimises the whole; what the profile says is for the host.
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    Ok(command)
}

/// The compiler's flags; `arch` is the architecture whose registers the programs read.
fn rustflags(arch: &str) -> Vec<String> {
    vec![
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        // BTF is made from debug information.
        "-Cdebuginfo=2".into(),
        "-Clinker=bpf-linker".into(),
        "-Clink-arg=--btf".into(),
    ]
}

/// The object without DWARF: `.BTF` and `.BTF.ext` are all that kernel and loader read.
fn without_dwarf(elf: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(elf)?;
    for section in &mut builder.sections {
        let name = section.name.to_string();
        let name = name.strip_prefix(".rel").unwrap_or(&name);
        section.delete |= name.starts_with(".debug_");
    }
    // LLVM keeps section names in the symbols' string table; the writer wants a table of their own.
    if !builder
        .sections
        .iter()
        .any(|section| matches!(section.data, SectionData::SectionString))
    {
        let names = builder.sections.add();
        names.name = ".shstrtab".into();
        names.sh_type = SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
    // Relocations and section symbols of what was deleted.
    builder.delete_orphans();
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}

/// Whether the file had to be written. The new content appears at once or not at all.
fn write_if_changed(file: &Path, content: &[u8]) -> Result<bool> {
    if fs::read(file).is_ok_and(|old| old == content) {
        return Ok(false);
    }
    let dir = file.parent().context("an object needs a directory")?;
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    let part = file.with_extension("part");
    fs::write(&part, content).with_context(|| format!("writing {}", part.display()))?;
    fs::rename(&part, file).with_context(|| format!("renaming {} to {}", part.display(), file.display()))?;
    Ok(true)
}
