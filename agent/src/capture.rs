//! The capture thread: drains the ring buffer, tracks connections, feeds the pipeline, obeys the policy.
//!
//! One thread owns all state of the data path, so that nothing in it needs a lock. It wakes on a timer, never on an event: a wakeup in
//! the kernel is paid for by the traced process.

mod libraries;
mod rows;
mod unnamed;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agent_common::{Counter, FilterAction, Mode, Role, Settings};
use anyhow::{Context, Result};
use aya::maps::MapError;
use detect::Hosts;
use policy::{CaptureMode, CapturePolicy};
use tokio::sync::watch;

use self::rows::export_row;
pub use self::rows::{kernel_release, provider_rows};
use self::unnamed::Unnamed;
use crate::attribution::sockets::{self, SocketLimits};
use crate::attribution::{self, Attribution, Options as AttributionOptions};
use crate::clock;
use crate::config::Config;
use crate::coverage;
use crate::decay::Rest;
use crate::export::{ExportMonitor, Outbox, PolicyState};
use crate::harm::{Harm, Probe, hook_ns};
use crate::loader::{self, Loaded};
use crate::pipeline::Pipeline;
use crate::source::ebpf;
use crate::status::{CounterRow, ProgramRow, Published, Rows, Status};
use crate::tap::Taps;
use crate::tls::discovery::Worker;
use crate::tracker::{Limits, Order, PARSER_BYTES_MAX, Tracker};

/// Records taken in one round before timers are looked at.
const ROUND_RECORDS_MAX: usize = 65_536;
/// Records after which orders are given, and it is looked what capturing costs processes, if it is time.
const LOOK_RECORDS: usize = 1024;
/// How long records are still taken after the order to stop, should they come faster than they are handled.
const STOP_DRAIN_MAX: Duration = Duration::from_secs(2);
/// How often the status is published.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);

/// Where calls and status go.
pub struct Sinks {
    /// To the collector; `None` when calls are only shown.
    pub outbox: Option<Outbox>,
    /// State of the way there.
    pub export: Option<(String, ExportMonitor)>,
    /// Policy in force.
    pub policy: watch::Receiver<Arc<PolicyState>>,
    /// To viewers on this node.
    pub taps: Taps,
    /// Status.
    pub published: Published,
}

/// See the module's description.
pub struct Capture {
    loaded: Loaded,
    attribution: Attribution,
    tracker: Tracker,
    pipeline: Pipeline,
    tap_hosts: Hosts,
    sinks: Sinks,
    settings: Settings,
    config: Config,
    epoch_us: i64,
    status: Status,
    harm: Harm,
    unnamed: Unnamed,
    /// Looks for TLS libraries, where that is wanted and possible.
    libraries: Option<Worker>,
}

fn http_limits(policy: &CapturePolicy) -> protocol::Limits {
    protocol::Limits {
        body_bytes: policy.capture.body_bytes.get() as usize,
        ..protocol::Limits::default()
    }
}

impl Capture {
    /// Loads and attaches the programs, and looks at the connections that exist already.
    ///
    /// # Errors
    /// Why nothing can be captured, with the remedy.
    pub fn start(config: &Config, node: &str, boot: &str, mut sinks: Sinks) -> Result<Self> {
        let policy = Arc::clone(&sinks.policy.borrow_and_update());
        let settings = settings(config, &policy.policy, 1);
        let mut probe = Probe::new().context("connecting to itself, to measure what hooks cost")?;
        let without_ns = probe.transfer_ns().context("measuring what hooks cost")?;
        let mut loaded = loader::load(&loader::Options {
            states_max: config.capture.states_max,
            threads_max: config.capture.threads_max,
            tls_sessions_max: config.capture.tls_sessions_max,
            diagnostics: config.capture.diagnostics,
            ..loader::Options::new(config.capture.provider, config.capture.ring_bytes, settings)
        })
        .context("cannot capture")?;
        let hook_ns = hook_ns(
            without_ns,
            probe.transfer_ns().context("measuring what hooks cost")?,
            loaded.provider.usual_hook_ns(),
        );
        let limits = Limits {
            connections: config.limits.connections,
            idle_ns: config.limits.idle_s.saturating_mul(1_000_000_000),
            http: http_limits(&policy.policy),
            parser_bytes: PARSER_BYTES_MAX,
            reconcile_ns: config.capture.reconcile_seconds.saturating_mul(1_000_000_000),
            rests: decays(config, &policy.policy),
        };
        let mut tracker = Tracker::new(limits, policy.policy.filter.clone());
        let libraries = libraries_of(config, &mut loaded);
        tracker.know_libraries(match &libraries {
            Some(worker) => Box::new(libraries::Known(worker.findings().clone())),
            None if config.capture.tls.enabled => Box::new(libraries::Unlooked(libraries::NO_PROBES)),
            None => Box::new(libraries::Unlooked(libraries::DISABLED)),
        });
        let attribution_options = AttributionOptions::default();
        // After attaching: what is established later is announced by the kernel.
        let snapshot = sockets::existing_sockets(&attribution_options.proc_root, &SocketLimits::default());
        tracker.know_roles(snapshot.sockets.iter().map(|socket| {
            let role = match sockets::role_of(socket, &snapshot.listeners) {
                sockets::Role::Server => Role::Server,
                sockets::Role::Client => Role::Client,
            };
            (socket.cookie, role)
        }));
        tracing::info!(
            provider = loaded.provider.name(),
            existing_connections = snapshot.sockets.len(),
            hook_ns = hook_ns.round(),
            "capturing"
        );
        let status = Status {
            node: node.to_owned(),
            boot: boot.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: kernel_release(),
            provider: loaded.provider.name().to_owned(),
            ring_bytes: config.capture.ring_bytes,
            started_us: clock::epoch_of_monotonic_us()
                + i64::try_from(clock::monotonic_ns() / 1000).unwrap_or(0),
            programs: loaded
                .programs
                .iter()
                .map(|program| ProgramRow {
                    name: program.name.clone(),
                    id: program.id,
                    verified: program.verified.unwrap_or(0),
                })
                .collect(),
            providers: provider_rows(&loaded.attempts),
            ..Status::default()
        };
        let head_bytes = config.capture.head_bytes.min(config.capture.turn_bytes);
        let mut capture = Self {
            loaded,
            attribution: Attribution::new(attribution_options),
            tracker,
            pipeline: Pipeline::new(&policy.policy, boot)
                .with_decay(config.capture.decay.rules(), decays(config, &policy.policy)),
            tap_hosts: Hosts::default(),
            sinks,
            settings,
            config: config.clone(),
            epoch_us: clock::epoch_of_monotonic_us(),
            status,
            harm: Harm::new(&config.harm, head_bytes, hook_ns, clock::monotonic_ns()),
            unnamed: Unnamed::default(),
            libraries,
        };
        capture.status.policy_version = policy.version;
        capture.publish();
        Ok(capture)
    }

    /// Works until told to stop; hands over everything that is known then.
    pub fn run(mut self, stop: &AtomicBool) {
        let interval = Duration::from_millis(self.config.collector.interval_ms);
        let mut handed_over = Instant::now();
        let mut published = Instant::now();
        let mut stop_by = None;
        loop {
            let stopping = stop.load(Ordering::Acquire);
            if stopping {
                // First of all, whatever is left to be done: nothing is added to any process from here on.
                self.loaded.detach();
                // It may be about to look into a file.
                if let Some(worker) = &mut self.libraries {
                    worker.stop();
                }
            }
            let drained = self.round();
            if self.sinks.policy.has_changed().unwrap_or(false) {
                self.apply_policy();
            }
            if self.sinks.published.is_wanted() || published.elapsed() >= PUBLISH_INTERVAL {
                published = Instant::now();
                self.epoch_us = clock::epoch_of_monotonic_us();
                self.publish();
            }
            if handed_over.elapsed() >= interval {
                handed_over = Instant::now();
                self.hand_over();
            }
            let more = drained == ROUND_RECORDS_MAX;
            if stopping {
                let stop_by = *stop_by.get_or_insert_with(|| Instant::now() + STOP_DRAIN_MAX);
                if more && Instant::now() < stop_by {
                    continue;
                }
                if more {
                    tracing::warn!(
                        "stopped with records left in the ring buffer: they came faster than they were handled"
                    );
                }
                break;
            }
            if more {
                continue;
            }
            std::thread::park_timeout(self.config.drain_interval());
        }
        let (tracker, mut sink) = self.split();
        tracker.finish_all(clock::monotonic_ns(), &mut |call| sink.take(&call));
        self.publish();
        self.hand_over();
    }

    /// Empties the ring buffer once. Gives the number of records.
    fn round(&mut self) -> usize {
        let mut records = 0;
        let now_ns = clock::monotonic_ns();
        while records < ROUND_RECORDS_MAX {
            // Also in a round that takes long: that there is too much is when processes need it, and when orders help.
            self.look_at_harm();
            let taken = self.take_records(LOOK_RECORDS, now_ns);
            records += taken;
            self.let_rest(now_ns);
            self.give_orders();
            if taken < LOOK_RECORDS {
                break;
            }
        }
        let (tracker, mut sink) = self.split();
        tracker.tick(now_ns, &mut |call| sink.take(&call));
        self.tracker.check_excluded(now_ns, &self.attribution);
        self.give_orders();
        self.make_room(now_ns);
        self.loaded.flush_diagnostics();
        records
    }

    /// Before the programs have no room for the states of connections.
    fn make_room(&mut self, now_ns: u64) {
        match self.loaded.states.make_room(now_ns, &self.loaded.counters) {
            Ok(forgotten) => {
                let (tracker, mut sink) = self.split();
                for connection in forgotten {
                    tracker.forget(connection, now_ns, &mut |call| sink.take(&call));
                }
            }
            Err(error) => tracing::warn!(%error, "no room can be made for the states of connections"),
        }
    }

    fn look_at_harm(&mut self) {
        let now_ns = clock::monotonic_ns();
        self.harm.look(now_ns, &mut self.loaded.accounts, |process| {
            let key = attribution::ProcessKey {
                pid: process.pid,
                start_ns: process.start_ns,
            };
            Some(self.attribution.workload_of(key, now_ns)?.name.clone())
        });
    }

    /// Takes at most so many records. Gives how many there were.
    fn take_records(&mut self, most: usize, now_ns: u64) -> usize {
        let mut sink = Sink {
            pipeline: &mut self.pipeline,
            taps: &self.sinks.taps,
            hosts: &mut self.tap_hosts,
            outbox: self.sinks.outbox.as_ref(),
            epoch_us: self.epoch_us,
        };
        for taken in 0..most {
            let Some(record) = self.loaded.ring.next() else {
                return taken;
            };
            match ebpf::parse(&record) {
                None => self.tracker.invalid_record(),
                Some(event) => {
                    let out = &mut |call| sink.take(&call);
                    self.tracker.handle(&event, &mut self.attribution, now_ns, out);
                }
            }
        }
        most
    }

    /// Less of what is known, more of what is new.
    fn let_rest(&mut self, now_ns: u64) {
        self.pipeline
            .tick(now_ns, |connection| self.tracker.tracks(connection));
        for Rest { connection, every } in self.pipeline.take_rests() {
            if !self.tracker.rest(connection, every) && every > 1 {
                self.pipeline.rest_refused(connection);
            }
        }
    }

    fn give_orders(&mut self) {
        for order in self.tracker.take_orders() {
            if let Err(error) = self.give(order) {
                // The order only saves work: without it the connection is captured and left out here.
                tracing::debug!(?order, %error, "an order to the programs failed");
            }
        }
    }

    fn give(&mut self, order: Order) -> Result<(), MapError> {
        let loaded = &mut self.loaded;
        let exclude = Some(FilterAction::Exclude);
        match order {
            Order::Ignore { connection } => loaded.control.order_both(connection, Mode::Ignore, 0),
            Order::LeaveOut { connection } => {
                let epoch = self.settings.epoch;
                loaded.control.order_both(connection, Mode::LeaveOut, epoch)
            }
            Order::Full { connection } => loaded.control.order_both(connection, Mode::Full, 0),
            Order::Skip {
                connection,
                way,
                sequence,
            } => loaded.control.order(connection, way, Mode::SkipTo, sequence),
            Order::Rest {
                connection,
                way,
                every,
            } => loaded.control.order(connection, way, Mode::Rest, every),
            Order::Report { connection, way } => loaded.control.order(connection, way, Mode::Report, 0),
            Order::Exclude { pid } => loaded.filters.set_pid(pid, exclude),
            Order::ExcludeGroup { cgroup, pid } => {
                let filters = &mut loaded.filters;
                filters
                    .set_cgroup(cgroup, exclude)
                    .or_else(|_| filters.set_pid(pid, exclude))
            }
            Order::Admit { pid } => loaded.filters.admit_pid(pid),
            Order::Rejudge { pid } => {
                loaded.filters.admit_pid(pid)?;
                self.settings.epoch = self.settings.epoch.wrapping_add(1);
                loaded.filters.write_settings(self.settings)
            }
        }
    }

    fn apply_policy(&mut self) {
        let policy = Arc::clone(&self.sinks.policy.borrow_and_update());
        self.status.policy_version = policy.version;
        let filter = policy.policy.filter.clone();
        let (tracker, mut sink) = self.split();
        tracker.set_policy(http_limits(&policy.policy), filter, &mut |call| sink.take(&call));
        self.pipeline.set_policy(&policy.policy);
        let decays = decays(&self.config, &policy.policy);
        self.pipeline.enable_decay(decays);
        self.tracker.allow_rests(decays);
        let settings = settings(&self.config, &policy.policy, self.settings.epoch.wrapping_add(1));
        let filters = &mut self.loaded.filters;
        let ports = policy.policy.filter.exclude.iter().filter_map(|filter| {
            let only_port =
                filter.executable.is_none() && filter.container.is_none() && filter.cgroup.is_none();
            filter.port.filter(|_| only_port)
        });
        let written = filters
            .clear()
            .and_then(|()| {
                ports
                    .into_iter()
                    .try_for_each(|port| filters.set_port(port, Some(FilterAction::Exclude)))
            })
            // Last: the new epoch makes the programs judge anew what a filter left out.
            .and_then(|()| filters.write_settings(settings));
        match written {
            Ok(()) => self.settings = settings,
            Err(error) => {
                tracing::warn!(%error, "the policy's filters hold in the agent only, not in the kernel")
            }
        }
    }

    fn hand_over(&mut self) {
        self.count_unnamed();
        let Some(outbox) = &self.sinks.outbox else {
            return;
        };
        let mut payload = self.pipeline.take_payload();
        payload.workloads = self
            .attribution
            .take_changed_workloads()
            .iter()
            .map(|workload| workload.to_wire(self.epoch_us))
            .collect();
        let provider = self.loaded.provider.name();
        payload.coverage = coverage::to_wire(&self.tracker.take_coverage(), provider);
        payload.status = Some(self.status.to_wire(&self.status.node));
        outbox.submit(payload);
    }

    fn split(&mut self) -> (&mut Tracker, Sink<'_>) {
        let sink = Sink {
            pipeline: &mut self.pipeline,
            taps: &self.sinks.taps,
            hosts: &mut self.tap_hosts,
            outbox: self.sinks.outbox.as_ref(),
            epoch_us: self.epoch_us,
        };
        (&mut self.tracker, sink)
    }

    fn publish(&mut self) {
        self.status.connections = self.tracker.connections() as u64;
        self.status.exchanges = self.tracker.counters().exchanges;
        self.status.calls_sent = self.pipeline.calls_sent();
        self.status.harm = self.harm.report(self.epoch_us);
        self.status.decay = self.pipeline.decay_report();
        self.status.tls = self
            .libraries
            .as_ref()
            .map(|worker| worker.latest().1)
            .unwrap_or_default();
        self.status.resident_bytes = crate::status::resident_bytes();
        self.status.counters = self.counters();
        self.count_unnamed();
        let covered = self.tracker.coverage();
        self.status.coverage = coverage::rows(&covered);
        self.status.traffic = coverage::traffic(&covered);
        self.status.export = self
            .sinks
            .export
            .as_ref()
            .map(|(url, monitor)| export_row(url, monitor))
            .unwrap_or_default();
        self.sinks.published.set(self.status.clone());
    }

    fn counters(&mut self) -> Vec<CounterRow> {
        let mut rows = Rows::default();
        for counter in Counter::ALL {
            match self.loaded.counters.read(counter) {
                Ok((events, bytes)) => rows.kernel(counter, events, bytes),
                Err(error) => {
                    tracing::warn!(counter = counter.name(), %error, "a counter of the programs cannot be read")
                }
            }
        }
        rows.runs_left_out(self.loaded.runs_left_out());
        rows.states_evicted(self.loaded.states.evicted());
        rows.stage("tracker", self.tracker.counters().explained());
        rows.stage("protocol", self.tracker.protocol_counters().explained());
        rows.stage("attribution", self.attribution.counters().explained());
        if let Some(worker) = &self.libraries {
            rows.stage("discovery", worker.latest().0.explained());
        }
        rows.stage("harm", self.harm.counters().explained());
        rows.stage("decay", self.pipeline.decay_counters().explained());
        rows.pipeline(self.pipeline.drops());
        rows.finish()
    }
}

/// Begins to look for TLS libraries. Without them everything else is captured all the same.
fn libraries_of(config: &Config, loaded: &mut Loaded) -> Option<Worker> {
    if !config.capture.tls.enabled {
        return None;
    }
    let probes = std::mem::replace(&mut loaded.tls, Err("in use".to_owned()));
    let started = probes
        .and_then(|probes| libraries::start(&config.capture.tls, probes).map_err(|error| error.to_string()));
    match started {
        Ok(worker) => Some(worker),
        Err(reason) => {
            tracing::warn!(reason, "nothing of TLS can be decrypted");
            loaded.tls = Err(reason);
            None
        }
    }
}

/// Where calls go.
struct Sink<'a> {
    pipeline: &'a mut Pipeline,
    taps: &'a Taps,
    hosts: &'a mut Hosts,
    outbox: Option<&'a Outbox>,
    epoch_us: i64,
}

impl Sink<'_> {
    fn take(&mut self, call: &crate::tracker::Call) {
        let hosts = &mut *self.hosts;
        self.taps
            .show(call, || hosts.of(&call.exchange.request), self.epoch_us);
        let Some(outbox) = self.outbox else {
            return;
        };
        self.pipeline.take(call, self.epoch_us);
        if self.pipeline.is_full() {
            outbox.submit(self.pipeline.take_calls());
        }
    }
}

fn settings(config: &Config, policy: &CapturePolicy, epoch: u32) -> Settings {
    let turn_bytes_max = match policy.capture.mode {
        CaptureMode::Full => config.capture.turn_bytes,
        CaptureMode::Headers => config.capture.head_bytes,
    };
    // Include filters name processes, which are known here only: the programs send, the tracker leaves out and says so.
    Settings {
        epoch,
        turn_bytes_max,
        include_only: 0,
        reserved: 0,
    }
}

/// Whether less is captured of what is known. The policy has precedence.
fn decays(config: &Config, policy: &CapturePolicy) -> bool {
    policy.capture.decay.unwrap_or(config.capture.decay.enabled)
}
