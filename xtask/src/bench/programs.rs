//! The kernel's own statistics of eBPF programs, and the program that does nothing.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result, bail};
use aya::programs::{BtfTracePoint, ProgramInfo, loaded_programs};
use aya::sys::{Stats, enable_stats};
use aya::{Btf, Ebpf, EbpfLoader};

/// Attached to `sock_send_length`, returns at once.
const EMPTY_PROGRAM: &str = "empty_sock_send_length";
const EMPTY_TRACEPOINT: &str = "sock_send_length";

/// Size of the ring buffer that comes with the object of the empty program and is never used.
const UNUSED_RING_BYTES: u32 = 4096;

/// Runs of a program and the time that they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Runs {
    pub count: u64,
    pub nanoseconds: u64,
}

impl Runs {
    pub fn since(self, before: Self) -> Self {
        Self {
            count: self.count.saturating_sub(before.count),
            nanoseconds: self.nanoseconds.saturating_sub(before.nanoseconds),
        }
    }

    pub fn plus(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            nanoseconds: self.nanoseconds + other.nanoseconds,
        }
    }

    /// Nanoseconds a run; NaN when there was none.
    pub fn each(self) -> f64 {
        if self.count == 0 {
            f64::NAN
        } else {
            self.nanoseconds as f64 / self.count as f64
        }
    }
}

/// The kernel keeps statistics while this exists.
#[derive(Debug)]
pub struct Counting {
    _open: OwnedFd,
}

impl Counting {
    pub fn start() -> Result<Self> {
        let open =
            enable_stats(Stats::RunTime).context("asking the kernel for statistics of eBPF programs")?;
        Ok(Self { _open: open })
    }
}

/// A loaded program of which the kernel keeps statistics.
#[derive(Debug)]
pub struct Counted {
    pub name: String,
    id: u32,
}

impl Counted {
    pub fn new(name: &str, id: u32) -> Self {
        Self {
            name: name.to_owned(),
            id,
        }
    }

    /// Since the program was loaded, but only while statistics were kept.
    pub fn runs(&self) -> Result<Runs> {
        let info = of_id(self.id).with_context(|| format!("looking for program {}", self.name))?;
        Ok(Runs {
            count: info.run_count(),
            nanoseconds: u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX),
        })
    }
}

fn of_id(id: u32) -> Result<ProgramInfo> {
    for info in loaded_programs() {
        let info = info.context("reading loaded programs")?;
        if info.id() == id {
            return Ok(info);
        }
    }
    bail!("program {id} is no longer loaded")
}

/// Names of all tracing programs that are loaded now.
pub fn loaded_names() -> Vec<String> {
    loaded_programs()
        .filter_map(Result::ok)
        .filter_map(|info| info.name_as_str().map(str::to_owned))
        .filter(|name| !name.is_empty())
        .collect()
}

/// A program that does nothing, attached while this exists. Its time is what keeping statistics costs.
#[derive(Debug)]
pub struct Empty {
    _object: Ebpf,
    pub program: Counted,
}

impl Empty {
    /// `object` holds it beside the agent's programs, which stay unloaded.
    pub fn attach(object: &Path) -> Result<Self> {
        let bytes = fs::read(object).with_context(|| format!("reading {}", object.display()))?;
        let types = Btf::from_sys_fs().context("reading the kernel's types")?;
        let mut loaded = EbpfLoader::new()
            .map_max_entries("EVENTS", UNUSED_RING_BYTES)
            .load(&bytes)
            .with_context(|| format!("loading {}", object.display()))?;
        let program: &mut BtfTracePoint = loaded
            .program_mut(EMPTY_PROGRAM)
            .with_context(|| format!("{} has no program {EMPTY_PROGRAM}", object.display()))?
            .try_into()?;
        program
            .load(EMPTY_TRACEPOINT, &types)
            .context("loading the empty program")?;
        program.attach().context("attaching the empty program")?;
        let id = program.info()?.id();
        Ok(Self {
            _object: loaded,
            program: Counted::new(EMPTY_PROGRAM, id),
        })
    }
}
