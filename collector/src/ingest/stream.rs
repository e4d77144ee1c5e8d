//! One agent's stream: hello, then batches up and acknowledgements and policies down.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};
use wire::WIRE_VERSION;
use wire::v1::agent_message::Body as Up;
use wire::v1::collector_message::Body as Down;
use wire::v1::{Ack, AgentMessage, Batch, CollectorMessage, Hello, Policy, PolicyApplied, Welcome};

use crate::metrics::{BatchOutcome, Dropped};
use crate::store::{AgentHello, Outcome, StoreError, StoredPolicy};
use crate::timestamp::Timestamp;

use super::decode::{self, Decoded, text};
use super::service::{QUEUE_UNIT_BYTES, Shared};

/// How long an agent may take to say hello.
const HELLO_TIME_MAX: Duration = Duration::from_secs(10);

type Outgoing = mpsc::Sender<Result<CollectorMessage, Status>>;
type Pending = FuturesOrdered<BoxFuture<'static, Result<Ack, StoreError>>>;

/// A stream that was accepted.
pub(super) struct Stream {
    pub shared: Arc<Shared>,
    incoming: Streaming<AgentMessage>,
    outgoing: Outgoing,
}

impl Stream {
    pub fn new(shared: Arc<Shared>, incoming: Streaming<AgentMessage>, outgoing: Outgoing) -> Self {
        Self {
            shared,
            incoming,
            outgoing,
        }
    }

    /// Serves the agent until it ends the stream, the collector drains, or something is wrong.
    pub async fn run(mut self) -> Result<(), Status> {
        let hello = self.hello().await?;
        let node = hello.node.clone();
        let _connected = self.shared.connected.enter(&node);
        tracing::info!(%node, boot = %hello.boot, version = %hello.version, "agent connected");
        self.shared.store.note_hello(hello).await.map_err(unavailable)?;
        let welcome = Welcome {
            wire_version: WIRE_VERSION,
            collector_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        self.send(Down::Welcome(welcome)).await;
        let result = self.serve(&node).await;
        match &result {
            Ok(()) => tracing::info!(%node, "agent disconnected"),
            Err(status) => {
                tracing::warn!(%node, code = ?status.code(), reason = status.message(), "stream ended")
            }
        }
        result
    }

    async fn serve(&mut self, node: &str) -> Result<(), Status> {
        let mut policies = self.shared.policy.subscribe();
        policies.mark_changed();
        let mut draining = self.shared.draining.clone();
        let mut pending = Pending::new();
        let mut reading = true;
        while reading || !pending.is_empty() {
            let room = pending.len() < self.shared.limits.inflight_per_stream_max;
            tokio::select! {
                Some(done) = pending.next(), if !pending.is_empty() => {
                    let ack = done.map_err(unavailable)?;
                    self.send(Down::Ack(ack)).await;
                }
                changed = policies.changed(), if reading => {
                    if changed.is_ok() {
                        let policy = Arc::clone(&policies.borrow_and_update());
                        self.send(Down::Policy(to_wire(&policy))).await;
                    }
                }
                () = drained(&mut draining), if reading => reading = false,
                () = self.outgoing.closed() => return Ok(()),
                message = self.incoming.message(), if reading && room => match self.read(message)? {
                    Some(Up::Batch(batch)) => pending.push_back(start(Arc::clone(&self.shared), batch)),
                    Some(Up::PolicyApplied(applied)) => self.policy_applied(node, applied).await?,
                    Some(Up::Hello(_)) => return Err(Status::invalid_argument("a second hello on one stream")),
                    None => reading = false,
                },
            }
        }
        Ok(())
    }

    /// The next message's body; `None` at the end of the stream. A body that this version does not know is skipped by prost
    /// and arrives empty, which only a newer agent sends: it is refused, because it may be a batch.
    fn read(&self, message: Result<Option<AgentMessage>, Status>) -> Result<Option<Up>, Status> {
        match message {
            Ok(Some(AgentMessage { body: Some(body) })) => Ok(Some(body)),
            Ok(Some(AgentMessage { body: None })) => {
                self.shared.metrics.count_dropped(Dropped::StreamsBroken, 1);
                Err(Status::invalid_argument(
                    "a message of a kind that this collector does not know",
                ))
            }
            Ok(None) => Ok(None),
            Err(status) => {
                self.shared.metrics.count_dropped(Dropped::StreamsBroken, 1);
                Err(status)
            }
        }
    }

    async fn hello(&mut self) -> Result<AgentHello, Status> {
        let first = tokio::time::timeout(HELLO_TIME_MAX, self.incoming.message()).await;
        let Ok(Ok(Some(AgentMessage {
            body: Some(Up::Hello(hello)),
        }))) = first
        else {
            self.shared.metrics.count_dropped(Dropped::StreamsWithoutHello, 1);
            return Err(match first {
                Err(_) => Status::deadline_exceeded("no hello within ten seconds"),
                Ok(Err(status)) => status,
                Ok(Ok(_)) => Status::invalid_argument("the first message of a stream must be a hello"),
            });
        };
        let oldest = WIRE_VERSION.saturating_sub(1).max(1);
        if !(oldest..=WIRE_VERSION).contains(&hello.wire_version) {
            self.shared.metrics.count_dropped(Dropped::StreamsWireVersion, 1);
            return Err(Status::failed_precondition(format!(
                "the agent speaks wire version {}, this collector {oldest} to {WIRE_VERSION}: upgrade the older of the two",
                hello.wire_version
            )));
        }
        check(hello).inspect_err(|_| self.shared.metrics.count_dropped(Dropped::StreamsWithoutHello, 1))
    }

    async fn policy_applied(&mut self, node: &str, applied: PolicyApplied) -> Result<(), Status> {
        if !applied.error.is_empty() {
            tracing::warn!(%node, version = applied.version, error = %applied.error, "agent refused the policy");
        }
        let error = text(applied.error, &self.shared.metrics);
        let noted = self
            .shared
            .store
            .note_policy(node.to_owned(), applied.version, error, Timestamp::now());
        noted.await.map_err(unavailable)
    }

    async fn send(&mut self, body: Down) {
        // An agent that is gone shows at `outgoing.closed()`.
        let _ = self
            .outgoing
            .send(Ok(CollectorMessage { body: Some(body) }))
            .await;
    }
}

/// Until streams shall end.
async fn drained(draining: &mut watch::Receiver<bool>) {
    // An error means that the collector is gone, which ends streams as well.
    let _ = draining.wait_for(|draining| *draining).await;
}

fn check(hello: Hello) -> Result<AgentHello, Status> {
    decode::check_identity(&hello.node, &hello.boot).map_err(Status::invalid_argument)?;
    let mut version = hello.agent_version;
    decode::cut(&mut version, decode::NAME_BYTES_MAX);
    Ok(AgentHello {
        node: hello.node,
        boot: hello.boot,
        version,
        policy_version: hello.policy_version,
        at: Timestamp::now(),
    })
}

/// Takes a batch on a task of its own: while this stream waits for its agent to read, the batch must not hold what others need.
fn start(shared: Arc<Shared>, batch: Batch) -> BoxFuture<'static, Result<Ack, StoreError>> {
    let task = tokio::spawn(take(shared, batch));
    Box::pin(async move {
        task.await.unwrap_or_else(|error| {
            Err(StoreError::Failed {
                doing: "taking a batch",
                cause: error.to_string(),
            })
        })
    })
}

/// Decodes and applies a batch.
async fn take(shared: Arc<Shared>, batch: Batch) -> Result<Ack, StoreError> {
    let (boot, sequence) = (batch.boot.clone(), batch.sequence);
    let ack = |rejected: String| Ack {
        boot: boot.clone(),
        sequence,
        rejected,
    };
    let decoding = shared.decoding.acquire().await.map_err(|_| StoreError::Closed)?;
    let decoded = {
        let metrics = Arc::clone(&shared.metrics);
        let task = tokio::task::spawn_blocking(move || decode::batch(batch, Timestamp::now(), &metrics));
        task.await.unwrap_or_else(|error| {
            Err(decode::Rejected {
                id: None,
                reason: format!("decoding it failed: {error}"),
            })
        })
    };
    let Decoded { batch, memory_bytes } = match decoded {
        Ok(decoded) => decoded,
        Err(rejected) => {
            shared.metrics.batch(BatchOutcome::Rejected);
            tracing::warn!(%boot, sequence, reason = %rejected.reason, "batch rejected");
            if let Some(id) = rejected.id {
                shared
                    .store
                    .note_rejected(id, rejected.reason.clone(), Timestamp::now())
                    .await?;
            }
            return Ok(ack(rejected.reason));
        }
    };
    let units = memory_bytes
        .div_ceil(QUEUE_UNIT_BYTES)
        .clamp(1, (shared.limits.queue_bytes_max / QUEUE_UNIT_BYTES).max(1));
    let units = u32::try_from(units).unwrap_or(u32::MAX);
    let queued = shared
        .queue
        .acquire_many(units)
        .await
        .map_err(|_| StoreError::Closed)?;
    drop(decoding);
    let applied = shared.store.apply(batch).await;
    drop(queued);
    let (outcome, rejected) = match &applied {
        Ok(Outcome::Applied) => (BatchOutcome::Applied, String::new()),
        Ok(Outcome::Duplicate) => (BatchOutcome::Duplicate, String::new()),
        Ok(Outcome::TooOld) => (
            BatchOutcome::TooOld,
            format!(
                "more than {} batches of this boot came after it",
                crate::store::SEQUENCE_WINDOW
            ),
        ),
        Err(_) => (BatchOutcome::Failed, String::new()),
    };
    shared.metrics.batch(outcome);
    applied?;
    Ok(ack(rejected))
}

fn to_wire(policy: &StoredPolicy) -> Policy {
    Policy {
        version: policy.version,
        capture_toml: policy.capture_toml.clone(),
        fingerprint_key: policy.fingerprint_key.to_vec(),
        fingerprint_epoch: policy.fingerprint_epoch,
    }
}

fn unavailable(error: StoreError) -> Status {
    tracing::error!(%error, "the store did not take what an agent sent");
    Status::unavailable(error.to_string())
}
