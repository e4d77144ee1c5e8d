//! One connection to the collector, from hello to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::{Duration, Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;
use wire::WIRE_VERSION;
use wire::v1::agent_message::Body as Up;
use wire::v1::collector_client::CollectorClient;
use wire::v1::collector_message::Body as Down;
use wire::v1::{Ack, AgentMessage, CollectorMessage, Hello, Policy, PolicyApplied, Welcome};

use super::failure::{Stage, printable};
use super::policy_state::{Applied, apply};
use super::status::Link;
use super::watched::End;
use super::{Exporter, Failure, FailureKind, until_stopped};
use crate::spool::{Pending, Position, Removal, SharedSpool, SpoolError};

/// Largest message of a collector that is read, bytes: a policy of the largest size, and room.
const COLLECTOR_MESSAGE_BYTES_MAX: usize = 2 * policy::POLICY_BYTES_MAX;

/// Messages besides batches that may wait for the collector to read them.
const CONTROL_MESSAGES_MAX: usize = 16;

/// A connection that lives for so long is a good one, also when there is nothing to send.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// A batch on its way.
struct InFlight {
    boot: String,
    sequence: u64,
    bytes: usize,
}

struct Session<'a> {
    exporter: &'a mut Exporter,
    end: End,
    up: mpsc::Sender<AgentMessage>,
    in_flight: BTreeMap<Position, InFlight>,
    in_flight_bytes: usize,
    /// When the next acknowledgement is due, while anything is in flight.
    ack_due: Instant,
}

/// Says hello, sends the spool, and listens, until the connection fails, or until all is sent after a stop (`Ok`).
pub(super) async fn serve(
    exporter: &mut Exporter,
    channel: Channel,
    end: End,
    stopped: &mut watch::Receiver<bool>,
) -> Result<(), Failure> {
    let (up, messages) = mpsc::channel(exporter.options.window.max(1) + CONTROL_MESSAGES_MAX);
    let mut session = Session {
        up,
        in_flight: BTreeMap::new(),
        in_flight_bytes: 0,
        ack_due: Instant::now(),
        exporter,
        end,
    };
    let mut down = session.introduce(channel, messages).await?;
    session.exchange(&mut down, stopped).await
}

impl Session<'_> {
    async fn introduce(
        &mut self,
        channel: Channel,
        messages: mpsc::Receiver<AgentMessage>,
    ) -> Result<Streaming<CollectorMessage>, Failure> {
        let identity = self.exporter.outbox.identity();
        let hello = Hello {
            wire_version: WIRE_VERSION,
            node: identity.node.clone(),
            boot: identity.boot.clone(),
            agent_version: self.exporter.agent_version.clone(),
            policy_version: self.exporter.policy.borrow().version,
        };
        self.say(Up::Hello(hello))?;
        let mut client = CollectorClient::new(channel).max_decoding_message_size(COLLECTOR_MESSAGE_BYTES_MAX);
        let limit = self.exporter.options.welcome_timeout;
        let answer = timeout(limit, async {
            let mut down = client.export(ReceiverStream::new(messages)).await?.into_inner();
            let first = down.message().await?;
            Ok((down, first))
        });
        let (down, first) = answer
            .await
            .map_err(|_| Failure::hung("did not welcome this agent", limit))?
            .map_err(|status| Failure::status(&status, self.end.seen(), Stage::Introduction))?;
        match first.and_then(|message| message.body) {
            Some(Down::Welcome(welcome)) => self.welcomed(&welcome)?,
            Some(_) => {
                return Err(Failure::new(
                    FailureKind::NotCollector,
                    "the server answers without a welcome",
                ));
            }
            None => {
                return Err(Failure::new(
                    FailureKind::Closed,
                    "the server ended the stream without a welcome",
                ));
            }
        }
        Ok(down)
    }

    fn welcomed(&mut self, welcome: &Welcome) -> Result<(), Failure> {
        // A collector takes agents of its own version and of the one before.
        if welcome.wire_version != WIRE_VERSION && welcome.wire_version != WIRE_VERSION + 1 {
            return Err(Failure::wire_version(welcome.wire_version));
        }
        let version = printable(&welcome.collector_version);
        if self.exporter.announcer.welcomed() {
            tracing::info!(url = %self.exporter.options.url, collector = version, "connected to the collector");
        }
        self.exporter.shared.update(|status| {
            status.link = Link::Connected;
            status.collector_version = Some(version);
            status.counters.connections += 1;
        });
        Ok(())
    }

    async fn exchange(
        &mut self,
        down: &mut Streaming<CollectorMessage>,
        stopped: &mut watch::Receiver<bool>,
    ) -> Result<(), Failure> {
        let settled_at = Instant::now() + SETTLED_AFTER;
        let mut settled = false;
        let mut stopping = *stopped.borrow();
        loop {
            self.send_what_fits().await?;
            if stopping && self.in_flight.is_empty() {
                return Ok(());
            }
            let wake = Arc::clone(&self.exporter.wake);
            tokio::select! {
                message = down.message() => match message {
                    Ok(Some(message)) => self.heard(message).await?,
                    Ok(None) => return Err(Failure::new(FailureKind::Closed, "the collector ended the stream")),
                    Err(status) => return Err(Failure::status(&status, self.end.seen(), Stage::Exchange)),
                },
                () = wake.notified() => {}
                () = sleep_until(self.ack_due), if !self.in_flight.is_empty() => {
                    return Err(Failure::hung("acknowledged nothing", self.exporter.options.ack_timeout));
                }
                () = sleep_until(settled_at), if !settled => {
                    settled = true;
                    self.progress();
                }
                () = until_stopped(stopped), if !stopping => stopping = true,
            }
        }
    }

    /// Sends from the spool as far as the window allows.
    async fn send_what_fits(&mut self) -> Result<(), Failure> {
        let (window, window_bytes) = (
            self.exporter.options.window.max(1),
            self.exporter.options.window_bytes,
        );
        while self.in_flight.len() < window
            && (self.in_flight.is_empty() || self.in_flight_bytes < window_bytes)
        {
            let skip: BTreeSet<Position> = self.in_flight.keys().copied().collect();
            let read = with_spool(&self.exporter.spool, move |spool| {
                spool.lock().next_pending(&skip)
            })
            .await?;
            match read.map_err(|error: SpoolError| Failure::new(FailureKind::Spool, error.to_string()))? {
                Some(pending) => self.send(pending)?,
                None => break,
            }
        }
        Ok(())
    }

    fn send(
        &mut self,
        Pending {
            position,
            batch,
            bytes,
        }: Pending,
    ) -> Result<(), Failure> {
        if self.in_flight.is_empty() {
            self.ack_due = Instant::now() + self.exporter.options.ack_timeout;
        }
        let flight = InFlight {
            boot: batch.boot.clone(),
            sequence: batch.sequence,
            bytes,
        };
        self.say(Up::Batch(batch))?;
        let again = self.exporter.sent_up_to.is_some_and(|newest| position <= newest);
        self.exporter.sent_up_to = self.exporter.sent_up_to.max(Some(position));
        self.in_flight_bytes += bytes;
        self.in_flight.insert(position, flight);
        let in_flight = self.in_flight.len();
        self.exporter.shared.update(|status| {
            status.in_flight = in_flight;
            status.counters.sent += 1;
            status.counters.resent += u64::from(again);
        });
        Ok(())
    }

    /// The window bounds batches; only a collector that sends policies and reads nothing fills the rest of the channel. That
    /// nobody takes from the channel any more is no error here: listening gives the cause.
    fn say(&self, body: Up) -> Result<(), Failure> {
        match self.up.try_send(AgentMessage { body: Some(body) }) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(Failure::new(
                FailureKind::Hung,
                "the collector sends and does not read",
            )),
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }

    async fn heard(&mut self, message: CollectorMessage) -> Result<(), Failure> {
        match message.body {
            Some(Down::Ack(ack)) => self.acknowledged(ack).await,
            Some(Down::Policy(policy)) => self.policy(&policy),
            // A second welcome says nothing new; what a newer collector may say besides is not for this agent.
            Some(Down::Welcome(_)) | None => Ok(()),
        }
    }

    async fn acknowledged(&mut self, ack: Ack) -> Result<(), Failure> {
        let named = |flight: &InFlight| flight.sequence == ack.sequence && flight.boot == ack.boot;
        let Some(position) = self
            .in_flight
            .iter()
            .find(|(_, flight)| named(flight))
            .map(|(&position, _)| position)
        else {
            self.exporter.shared.count(|counters| counters.unknown_acks += 1);
            tracing::debug!(
                sequence = ack.sequence,
                "the collector acknowledged a batch that is not on its way"
            );
            return Ok(());
        };
        if let Some(flight) = self.in_flight.remove(&position) {
            self.in_flight_bytes -= flight.bytes;
        }
        let why = if ack.rejected.is_empty() {
            Removal::Acknowledged
        } else {
            Removal::Rejected
        };
        if why == Removal::Rejected {
            self.rejected(ack);
        }
        self.ack_due = Instant::now() + self.exporter.options.ack_timeout;
        let in_flight = self.in_flight.len();
        self.exporter.shared.update(|status| {
            status.in_flight = in_flight;
            match why {
                Removal::Acknowledged => status.counters.acknowledged += 1,
                Removal::Rejected => status.counters.rejected += 1,
            }
        });
        self.progress();
        with_spool(&self.exporter.spool, move |spool| {
            spool.lock().remove(position, why)
        })
        .await?;
        Ok(())
    }

    fn rejected(&mut self, ack: Ack) {
        let reason = printable(&ack.rejected);
        if self.exporter.last_rejection.as_ref() != Some(&reason) {
            tracing::warn!(
                reason,
                sequence = ack.sequence,
                "the collector rejects a batch, which is lost; a collector of this agent's version understands it"
            );
            self.exporter.last_rejection = Some(reason);
        }
    }

    fn policy(&mut self, policy: &Policy) -> Result<(), Failure> {
        let version = policy.version;
        let error = match apply(&self.exporter.policy, policy) {
            Applied::New => {
                tracing::info!(version, "capture policy applied");
                self.exporter.shared.update(|status| {
                    status.policy_version = version;
                    status.counters.policies_applied += 1;
                });
                String::new()
            }
            Applied::Already => String::new(),
            Applied::Refused(reason) => {
                tracing::warn!(version, reason, "capture policy refused; the one in force stays");
                self.exporter
                    .shared
                    .count(|counters| counters.policies_refused += 1);
                reason
            }
        };
        self.say(Up::PolicyApplied(PolicyApplied { version, error }))
    }

    /// The collector takes what it is sent.
    fn progress(&mut self) {
        self.exporter.backoff.reset();
        if self.exporter.announcer.progressed() {
            tracing::info!(url = %self.exporter.options.url, "connected to the collector");
        }
    }
}

/// Works on the spool where waiting for the disk holds nothing else up.
async fn with_spool<T: Send + 'static>(
    spool: &SharedSpool,
    work: impl FnOnce(SharedSpool) -> T + Send + 'static,
) -> Result<T, Failure> {
    let spool = spool.clone();
    tokio::task::spawn_blocking(move || work(spool))
        .await
        .map_err(|error| {
            Failure::new(
                FailureKind::Spool,
                format!("working on the spool failed: {error}"),
            )
        })
}
