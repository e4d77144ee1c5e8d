//! Loading and attaching the eBPF programs: the one place that knows the object.
//!
//! A provider is chosen by trying: load and attach, best first. What was tried and why it failed is kept for `doctor`.

mod accounts;
mod births;
mod btf;
mod features;
mod left_out;
mod maps;
mod object;
mod offsets;
mod provider;
mod states;
mod tls;

pub use accounts::Accounts;
use agent_common::{STATES_MAX, Settings, THREADS_MAX, TLS_SESSIONS_MAX};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel, maps::RingBuf, programs::Program};
pub use btf::{Btf, BtfError, KERNEL_BTF};
pub use maps::{Control, Counters, Filters};
pub use provider::{Attempt, Provider, ProviderChoice};
pub use states::States;
pub use tls::{AttachError, Attached, Probes, is_probed};

use features::Features;
use provider::Hook;

/// The programs, aligned as the ELF reader wants it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/agent-ebpf.o"));

/// Programs that every provider needs.
const COMMON: [Hook; 4] = [
    Hook::named("inet_sock_set_state"),
    Hook::new("inet_sock_set_state_spare", "inet_sock_set_state"),
    Hook::named("sched_process_exec"),
    Hook::named("sched_process_exit"),
];

/// How to load.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which provider, or the best that works.
    pub provider: ProviderChoice,
    /// Size of the ring buffer, bytes: a power of two, at least a page.
    pub ring_bytes: u32,
    /// Connections whose state is kept by their sockets' addresses.
    pub states_max: u32,
    /// Threads whose calls in progress are remembered.
    pub threads_max: u32,
    /// TLS sessions whose state is kept.
    pub tls_sessions_max: u32,
    /// Programs walk as on kernels without `bpf_loop`, also where there is one.
    pub unrolled: bool,
    /// First settings.
    pub settings: Settings,
    /// Diagnostics of the programs themselves, in the agent's log.
    pub diagnostics: bool,
}

impl Options {
    /// With the usual limits.
    #[must_use]
    pub const fn new(provider: ProviderChoice, ring_bytes: u32, settings: Settings) -> Self {
        Self {
            provider,
            ring_bytes,
            states_max: STATES_MAX,
            threads_max: THREADS_MAX,
            tls_sessions_max: TLS_SESSIONS_MAX,
            unrolled: false,
            settings,
            diagnostics: false,
        }
    }
}

/// Why the programs could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Kernel without usable BTF.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// Not allowed.
    #[error(
        "not allowed to load eBPF programs: run as root, or with the capabilities BPF, PERFMON, NET_ADMIN and SYS_PTRACE ({detail})"
    )]
    NotAllowed {
        /// What the kernel said.
        detail: String,
    },
    /// The object or a map.
    #[error("cannot load the eBPF object: {detail}")]
    Object {
        /// What the kernel said.
        detail: String,
    },
    /// A program that every provider needs.
    #[error("cannot attach {program}: {detail}")]
    Program {
        /// Program.
        program: String,
        /// What the kernel said.
        detail: String,
    },
    /// None works.
    #[error("no way of capturing works on this kernel: {}", list(.0))]
    NoProvider(Vec<Attempt>),
}

fn list(attempts: &[Attempt]) -> String {
    attempts
        .iter()
        .map(|attempt| {
            format!(
                "{}: {}",
                attempt.provider.name(),
                attempt.error.as_deref().unwrap_or("works")
            )
        })
        .collect::<Vec<_>>()
        .join("; ")
}

/// An attached program, for `doctor` and benchmarks.
#[derive(Clone, Debug)]
pub struct ProgramFacts {
    /// Name.
    pub name: String,
    /// Kernel's id.
    pub id: u32,
    /// Instructions that the verifier walked (limit one million).
    pub verified: Option<u32>,
}

/// Loaded and attached programs. Dropping it detaches everything.
pub struct Loaded {
    /// Which provider is attached.
    pub provider: Provider,
    /// What was tried.
    pub attempts: Vec<Attempt>,
    /// Attached programs.
    pub programs: Vec<ProgramFacts>,
    /// Records.
    pub ring: RingBuf<aya::maps::MapData>,
    /// Orders about connections.
    pub control: Control,
    /// Filters and settings.
    pub filters: Filters,
    /// Counters.
    pub counters: Counters,
    /// What processes are charged, and what may be taken of them.
    pub accounts: Accounts,
    /// States of connections by address.
    pub states: States,
    /// Probes for TLS libraries, or why there are none.
    pub tls: Result<Probes, String>,
    /// Diagnostics of the programs, when asked for.
    logger: Option<aya_log::EbpfLogger<&'static dyn log::Log>>,
    /// Keeps programs and links alive.
    ebpf: Option<Ebpf>,
}

impl Loaded {
    /// Detaches and unloads all programs. What they sent before can still be read.
    pub fn detach(&mut self) {
        self.ebpf = None;
    }

    /// Runs that the kernel left out and no spare program did, at most.
    #[must_use]
    pub fn runs_left_out(&self) -> u64 {
        left_out::of_programs(self.ebpf.iter().flat_map(Ebpf::programs))
    }

    /// Writes what the programs logged since the last call to the agent's log.
    pub fn flush_diagnostics(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }
}

/// Loads the object with the offsets of the running kernel and attaches the programs.
///
/// # Errors
/// [`LoadError`].
pub fn load(options: &Options) -> Result<Loaded, LoadError> {
    let kernel = Btf::kernel()?;
    let mut offsets = offsets::resolve(&kernel)?;
    offsets.extend(features::iterator(&kernel)?);
    offsets.push(features::thread_status(&kernel));
    let mut attempts = Vec::new();
    for provider in options.provider.candidates() {
        match attach(options, &kernel, &offsets, provider) {
            Ok(mut loaded) => {
                attempts.push(Attempt {
                    provider,
                    error: None,
                });
                loaded.attempts = attempts;
                return Ok(loaded);
            }
            Err(LoadError::Program { program, detail }) => {
                attempts.push(Attempt {
                    provider,
                    error: Some(format!("{program}: {detail}")),
                });
            }
            Err(error) => return Err(error),
        }
    }
    Err(LoadError::NoProvider(attempts))
}

fn attach(
    options: &Options,
    kernel: &Btf,
    offsets: &[(&'static str, u32)],
    provider: Provider,
) -> Result<Loaded, LoadError> {
    let hooks = provider.hooks(kernel).map_err(|missing| LoadError::Program {
        program: missing.into(),
        detail: "this kernel does not have it".into(),
    })?;
    let pid = std::process::id();
    let mut features = Features::of(kernel);
    if options.unrolled {
        features = features.without_loops();
    }
    let mut spares = provider.spares(features, &hooks);
    let features_globals = features.globals(provider);
    let has_spares = ("HAS_SPARES", u32::from(!spares.is_empty()));
    // 0 is below every level: the programs' log statements are dead code for the verifier.
    let log_level: u8 = if options.diagnostics { 5 } else { 0 };
    let mut loader = EbpfLoader::new();
    for (name, value) in offsets.iter().chain(&features_globals).chain([&has_spares]) {
        loader.override_global(name, value, true);
    }
    loader
        .override_global("SELF_PID", &pid, true)
        .override_global("AYA_LOG_LEVEL", &log_level, false)
        .map_max_entries("EVENTS", options.ring_bytes)
        .map_max_entries("CONNECTIONS_BY_ADDRESS", options.states_max)
        .map_max_entries("CALLS", options.threads_max)
        .map_max_entries("SENDS", options.threads_max)
        .map_max_entries("TLS_CALLS", options.threads_max)
        .map_max_entries("TLS_SESSIONS", options.tls_sessions_max)
        .map_max_entries("RECEIVES", options.threads_max)
        .verifier_log_level(VerifierLogLevel::STATS);
    let adapted = object::adapted(OBJECT, features).map_err(|detail| LoadError::Object {
        detail: detail.into(),
    })?;
    let mut ebpf = loader
        .load(adapted.as_deref().unwrap_or(OBJECT))
        .map_err(object_error)?;
    let types = aya::Btf::from_sys_fs().map_err(|error| LoadError::Object {
        detail: chain(&error),
    })?;

    // Settings and filters first: programs judge connections from their first run on.
    let mut filters = Filters::take(&mut ebpf).map_err(object_error_map)?;
    filters
        .write_settings(options.settings)
        .map_err(object_error_map)?;
    let mut programs = Vec::new();
    // At returns of functions the newest program runs first, at tracepoints the oldest.
    let (older, newer) = match provider {
        Provider::Fexit => {
            spares.reverse();
            (&spares, &hooks)
        }
        _ => (&hooks, &spares),
    };
    for hook in COMMON.iter().chain(older).chain(newer) {
        let facts = attach_program(&mut ebpf, &types, *hook)?;
        programs.push(facts);
    }
    // Without them there still is everything that is not encrypted.
    let tls = Probes::load(&mut ebpf, &mut programs).map_err(|error| chain(&error));
    if let Err(error) = &tls {
        tracing::warn!(%error, "TLS libraries are not probed");
    }
    // Of sockets that are born later the programs see all.
    let states = States::take(&mut ebpf, options.states_max).map_err(object_error_map)?;
    let map = |ebpf: &mut Ebpf, name: &str| {
        ebpf.take_map(name).ok_or_else(|| LoadError::Object {
            detail: format!("the object has no map {name}"),
        })
    };
    let logger = options
        .diagnostics
        .then(|| aya_log::EbpfLogger::init(&mut ebpf))
        .transpose()
        .map_err(|error| LoadError::Object {
            detail: chain(&error),
        })?;
    let ring = RingBuf::try_from(map(&mut ebpf, "EVENTS")?).map_err(object_error_map)?;
    let control = Control::take(&mut ebpf).map_err(object_error_map)?;
    let counters = Counters::take(&mut ebpf).map_err(object_error_map)?;
    let accounts = Accounts::take(&mut ebpf).map_err(object_error_map)?;
    Ok(Loaded {
        provider,
        attempts: Vec::new(),
        programs,
        ring,
        control,
        filters,
        counters,
        accounts,
        states,
        tls,
        logger,
        ebpf: Some(ebpf),
    })
}

fn attach_program(
    ebpf: &mut Ebpf,
    types: &aya::Btf,
    Hook {
        program: name,
        target,
    }: Hook,
) -> Result<ProgramFacts, LoadError> {
    let failed = |error: aya::programs::ProgramError| LoadError::Program {
        program: name.into(),
        detail: verdict(&error),
    };
    let program = ebpf.program_mut(name).ok_or_else(|| LoadError::Program {
        program: name.into(),
        detail: "not in the object: agent and object are of different versions".into(),
    })?;
    let info = match program {
        Program::BtfTracePoint(program) => {
            program.load(target, types).map_err(failed)?;
            program.attach().map_err(failed)?;
            program.info()
        }
        Program::FEntry(program) => {
            program.load(target, types).map_err(failed)?;
            program.attach().map_err(failed)?;
            program.info()
        }
        Program::FExit(program) => {
            program.load(target, types).map_err(failed)?;
            program.attach().map_err(failed)?;
            program.info()
        }
        Program::KProbe(program) => {
            program.load().map_err(failed)?;
            program.attach(target, 0).map_err(failed)?;
            program.info()
        }
        _ => {
            return Err(LoadError::Program {
                program: name.into(),
                detail: "is of a kind that is not expected here".into(),
            });
        }
    }
    .map_err(failed)?;
    Ok(ProgramFacts {
        name: name.into(),
        id: info.id(),
        verified: info.verified_instruction_count(),
    })
}

/// The last lines of a verifier's log say what is wrong, the rest how it got there.
fn verdict(error: &aya::programs::ProgramError) -> String {
    const LINES: usize = 12;
    let text = chain(error);
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(LINES)..)
        .unwrap_or(&lines)
        .join("\n")
}

fn object_error(error: aya::EbpfError) -> LoadError {
    let detail = chain(&error);
    if detail.contains("Operation not permitted") || detail.contains("Permission denied") {
        LoadError::NotAllowed { detail }
    } else {
        LoadError::Object { detail }
    }
}

fn object_error_map(error: aya::maps::MapError) -> LoadError {
    LoadError::Object {
        detail: chain(&error),
    }
}

/// An error with all its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    // Of a program that the verifier never came to see.
    let said = text.trim_end();
    said.strip_suffix(". Verifier output:").unwrap_or(said).to_owned()
}
