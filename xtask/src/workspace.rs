//! Where things are: the checkout, cargo's target directory, the cache of built tools.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The directories that every verb works with. All paths are absolute.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// The checkout: the directory of the root `Cargo.toml`.
    pub root: PathBuf,
    /// Cargo's target directory: `CARGO_TARGET_DIR`, else `target` in the checkout.
    pub target: PathBuf,
    /// What `setup` builds for itself and must outlive `cargo clean`: `EASTWATCH_CACHE`, else `$XDG_CACHE_HOME/eastwatch`,
    /// else `~/.cache/eastwatch`.
    pub cache: PathBuf,
}

impl Workspace {
    /// Locates the checkout from the manifest that cargo ran, so a moved checkout is found again.
    pub fn locate() -> Result<Self> {
        let manifest_dir =
            env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest_dir)
            .parent()
            .context("xtask has no parent directory")?
            .to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
            Some(dir) => env::current_dir()
                .context("reading the working directory")?
                .join(dir),
            None => root.join("target"),
        };
        Ok(Self {
            root,
            target,
            cache: cache_dir()?,
        })
    }

    /// The eBPF object that the agent's build script includes unless `EASTWATCH_EBPF_OBJECT` names another.
    pub fn ebpf_object(&self) -> PathBuf {
        self.target.join("bpf/agent-ebpf.o")
    }
}

/// A cargo profile for user-space binaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    Debug,
    Release,
}

impl Profile {
    pub const fn of(release: bool) -> Self {
        if release { Self::Release } else { Self::Debug }
    }

    /// Its directory below the target directory.
    pub const fn directory(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
        }
    }
}

fn cache_dir() -> Result<PathBuf> {
    let named = |name: &str| env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    if let Some(dir) = named("EASTWATCH_CACHE") {
        return Ok(env::current_dir()
            .context("reading the working directory")?
            .join(dir));
    }
    named("XDG_CACHE_HOME")
        .or_else(|| named("HOME").map(|home| home.join(".cache")))
        .map(|dir| dir.join("eastwatch"))
        .context("neither EASTWATCH_CACHE nor XDG_CACHE_HOME nor HOME is set: no place for built tools")
}
