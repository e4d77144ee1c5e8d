//! Puts the eBPF object where the loader includes it from. `cargo xtask build-ebpf` makes it.

use std::{env, fs, path::PathBuf};

const VARIABLE: &str = "EASTWATCH_EBPF_OBJECT";

fn main() {
    println!("cargo:rerun-if-env-changed={VARIABLE}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let object = env::var_os(VARIABLE).map_or_else(|| default_object(&out), PathBuf::from);
    println!("cargo:rerun-if-changed={}", object.display());
    match fs::read(&object) {
        Ok(bytes) => fs::write(out.join("agent-ebpf.o"), bytes).expect("OUT_DIR is writable"),
        Err(error) => {
            eprintln!("{}: {error}", object.display());
            eprintln!(
                "The eBPF programs are not built yet: run `cargo xtask build-ebpf` (or name an object in {VARIABLE})."
            );
            std::process::exit(1);
        }
    }
}

/// `<target>/bpf/agent-ebpf.o`: OUT_DIR is `<target>/<profile>/build/<package>/out`.
fn default_object(out: &std::path::Path) -> PathBuf {
    out.ancestors()
        .nth(4)
        .unwrap_or(out)
        .join("bpf")
        .join("agent-ebpf.o")
}
