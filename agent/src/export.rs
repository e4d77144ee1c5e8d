//! Batches from the spool to the collector, policy back.
//!
//! Invariants: batches leave in the spool's order, a bounded number of them unacknowledged; only an acknowledgement or a
//! final refusal takes a batch out of the spool; whatever happens on the connection ends in another attempt, after a wait
//! that grows. A change of state is told once in the log, and every event is counted.

mod backoff;
mod dial;
mod failure;
mod outbox;
mod policy_state;
mod session;
mod split;
mod status;
#[cfg(test)]
mod tests;
mod watched;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tonic::transport::Endpoint;
use xxhash_rust::xxh3::xxh3_64;

pub use dial::UrlError;
pub use failure::{Failure, FailureKind};
pub use outbox::Outbox;
pub use policy_state::{FingerprintKey, PolicyState};
pub use status::{ExportCounters, ExportMonitor, ExportStatus, Link};

use crate::spool::{Identity, Position, SharedSpool};
use backoff::Backoff;
use dial::{Connector, Dial};
use status::{Announcer, Shared};
use watched::End;

/// Where to, and how patiently.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// `http://HOST:PORT` of the collector's gRPC port.
    pub url: String,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for the collector's welcome.
    pub welcome_timeout: Duration,
    /// Longest wait for the next acknowledgement while batches are on their way.
    pub ack_timeout: Duration,
    /// How often a ping is sent.
    pub keepalive_interval: Duration,
    /// Longest wait for its answer.
    pub keepalive_timeout: Duration,
    /// First wait between attempts.
    pub backoff_min: Duration,
    /// Longest wait between attempts.
    pub backoff_max: Duration,
    /// Batches on their way at a time, at most; at least 1.
    pub window: usize,
    /// Bytes of the batches on their way at which no further one is sent.
    pub window_bytes: usize,
    /// Size of a payload, decoded, beyond which it is split into several batches, bytes.
    pub payload_bytes: usize,
    /// Longest time that stopping may take to send what is left.
    pub flush_timeout: Duration,
}

impl ExportOptions {
    /// The defaults: 16 batches or 4 MiB on their way, payloads of 2 MiB, waits of half a second to half a minute.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connect_timeout: Duration::from_secs(10),
            welcome_timeout: Duration::from_secs(10),
            ack_timeout: Duration::from_secs(60),
            keepalive_interval: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(10),
            backoff_min: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            window: 16,
            window_bytes: 4 << 20,
            payload_bytes: 2 << 20,
            flush_timeout: Duration::from_secs(5),
        }
    }
}

/// Sends the spool to the collector until told to stop.
pub struct Exporter {
    options: ExportOptions,
    agent_version: String,
    spool: SharedSpool,
    outbox: Outbox,
    wake: Arc<Notify>,
    policy: watch::Sender<Arc<PolicyState>>,
    shared: Arc<Shared>,
    endpoint: Endpoint,
    dial: Dial,
    backoff: Backoff,
    announcer: Announcer,
    /// The newest batch that any connection was given.
    sent_up_to: Option<Position>,
    last_rejection: Option<String>,
}

impl Exporter {
    /// Does not connect yet; [`Self::run`] does.
    ///
    /// # Errors
    /// When the URL is none of a collector.
    pub fn new(
        options: ExportOptions,
        spool: SharedSpool,
        identity: Identity,
        agent_version: impl Into<String>,
    ) -> Result<Self, UrlError> {
        let (_, host, port) = dial::parse_url(&options.url)?;
        Self::with_dial(
            options,
            spool,
            identity,
            agent_version.into(),
            dial::tcp(host, port),
        )
    }

    fn with_dial(
        options: ExportOptions,
        spool: SharedSpool,
        identity: Identity,
        agent_version: String,
        dial: Dial,
    ) -> Result<Self, UrlError> {
        let (uri, ..) = dial::parse_url(&options.url)?;
        let endpoint = Endpoint::from(uri)
            .http2_keep_alive_interval(options.keepalive_interval)
            .keep_alive_timeout(options.keepalive_timeout)
            .keep_alive_while_idle(true);
        let wake = Arc::new(Notify::new());
        let seed = xxh3_64(identity.boot.as_bytes());
        let outbox = Outbox::new(identity, spool.clone(), Arc::clone(&wake), options.payload_bytes);
        Ok(Self {
            backoff: Backoff::new(options.backoff_min, options.backoff_max, seed),
            options,
            agent_version,
            spool,
            outbox,
            wake,
            policy: watch::channel(Arc::default()).0,
            shared: Arc::default(),
            endpoint,
            dial,
            announcer: Announcer::default(),
            sent_up_to: None,
            last_rejection: None,
        })
    }

    /// Where payloads are handed over.
    #[must_use]
    pub fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    /// The policy in force; changes when the collector sends a newer one.
    #[must_use]
    pub fn policy(&self) -> watch::Receiver<Arc<PolicyState>> {
        self.policy.subscribe()
    }

    /// For `doctor` and metrics.
    #[must_use]
    pub fn monitor(&self) -> ExportMonitor {
        ExportMonitor {
            shared: Arc::clone(&self.shared),
            spool: self.spool.clone(),
        }
    }

    /// Works until `shutdown` is ready, then sends what is left, for [`ExportOptions::flush_timeout`] at most. What cannot
    /// be sent stays in the spool for the next run.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(false);
        let (shared, spool, flush_timeout) = (
            Arc::clone(&self.shared),
            self.spool.clone(),
            self.options.flush_timeout,
        );
        {
            let mut work = pin!(self.work(stopped));
            tokio::select! {
                () = &mut work => {}
                () = shutdown => {
                    stop.send_replace(true);
                    let in_time = tokio::time::timeout(flush_timeout, work).await;
                    if in_time.is_err() {
                        tracing::debug!("the time for sending what is left is over");
                    }
                }
            }
        }
        shared.update(|status| status.link = Link::Stopped);
        let backlog = {
            let mut spool = spool.lock();
            spool.remember_done();
            spool.backlog()
        };
        if backlog.in_memory > 0 {
            tracing::error!(
                batches = backlog.in_memory,
                "batches are lost: neither the collector nor the spool could take them"
            );
        }
        if backlog.batches > backlog.in_memory {
            tracing::info!(
                batches = backlog.batches - backlog.in_memory,
                "batches stay in the spool for the next run"
            );
        }
    }

    /// One connection after the other, until stopped.
    async fn work(&mut self, mut stopped: watch::Receiver<bool>) {
        loop {
            let ended = self.connect_and_serve(&mut stopped).await;
            let Err(failure) = ended else { return };
            self.shared.failed(&failure);
            if self.announcer.failed(failure.kind) {
                tracing::warn!(url = %self.options.url, "{failure}. Batches wait in the spool; trying again");
            } else {
                tracing::debug!(url = %self.options.url, "{failure}");
            }
            let delay = self.backoff.next_delay();
            tokio::select! {
                biased;
                () = until_stopped(&mut stopped) => return,
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    async fn connect_and_serve(&mut self, stopped: &mut watch::Receiver<bool>) -> Result<(), Failure> {
        let limit = self.options.connect_timeout;
        let (dial, shared, end) = (Arc::clone(&self.dial), Arc::clone(&self.shared), End::default());
        let connector = Connector {
            dial,
            shared,
            end: end.clone(),
        };
        let connecting = tokio::time::timeout(limit, self.endpoint.connect_with_connector(connector));
        let channel = match connecting.await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return Err(Failure::connect(&error)),
            Err(_) => {
                let cause = format!("no connection to the collector within {} s", limit.as_secs_f64());
                return Err(Failure::new(FailureKind::Unreachable, cause));
            }
        };
        session::serve(self, channel, end, stopped).await
    }
}

/// Until the flag is set, or nobody is left who could set it.
async fn until_stopped(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|&stop| stop).await;
}
