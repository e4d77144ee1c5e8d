//! The gRPC service: accepts streams up to their limit, and ends them when the collector does.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use wire::v1::collector_server::Collector;
use wire::v1::{AgentMessage, CollectorMessage};

use crate::config;
use crate::metrics::{Dropped, Metrics};
use crate::store::Store;

use super::stream::Stream;
use super::{Connected, PolicyHub};

/// Messages to an agent that wait for its connection; a slow agent holds back its own stream only.
const OUTGOING_MAX: usize = 32;

/// Unit of the limit on queued bytes: permits of a semaphore are few.
pub(super) const QUEUE_UNIT_BYTES: usize = 1024;

/// What every stream shares.
pub(super) struct Shared {
    pub store: Arc<dyn Store>,
    pub policy: Arc<PolicyHub>,
    pub connected: Connected,
    pub metrics: Arc<Metrics>,
    pub limits: config::Ingest,
    /// One permit a stream.
    pub streams: Arc<Semaphore>,
    /// One permit a payload being decoded: each may need [`wire::PAYLOAD_BYTES_MAX`].
    pub decoding: Semaphore,
    /// One permit for each [`QUEUE_UNIT_BYTES`] of decoded payload that waits for the store.
    pub queue: Semaphore,
    /// Becomes true when streams shall end.
    pub draining: watch::Receiver<bool>,
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    shared: Arc<Shared>,
}

impl Ingest {
    /// Streams end, with everything taken acknowledged, when `draining` becomes true.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        policy: Arc<PolicyHub>,
        connected: Connected,
        metrics: Arc<Metrics>,
        limits: config::Ingest,
        draining: watch::Receiver<bool>,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let permits = |wanted: usize| wanted.min(Semaphore::MAX_PERMITS);
        Self {
            shared: Arc::new(Shared {
                store,
                policy,
                connected,
                metrics,
                streams: Arc::new(Semaphore::new(permits(limits.streams_max))),
                decoding: Semaphore::new(cores),
                queue: Semaphore::new(permits((limits.queue_bytes_max / QUEUE_UNIT_BYTES).max(1))),
                limits,
                draining,
            }),
        }
    }
}

#[tonic::async_trait]
impl Collector for Ingest {
    type ExportStream = ReceiverStream<Result<CollectorMessage, Status>>;

    async fn export(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::ExportStream>, Status> {
        let Ok(permit) = Arc::clone(&self.shared.streams).try_acquire_owned() else {
            self.shared.metrics.count_dropped(Dropped::Streams, 1);
            return Err(Status::resource_exhausted(format!(
                "{} agents are connected already; raise ingest.streams_max of the collector",
                self.shared.limits.streams_max
            )));
        };
        let (outgoing, messages) = mpsc::channel(OUTGOING_MAX);
        let stream = Stream::new(Arc::clone(&self.shared), request.into_inner(), outgoing.clone());
        tokio::spawn(async move {
            stream.shared.metrics.streams.inc();
            let shared = Arc::clone(&stream.shared);
            if let Err(status) = stream.run().await {
                // An agent that is gone does not hear it.
                let _ = outgoing.send(Err(status)).await;
            }
            shared.metrics.streams.dec();
            drop(permit);
        });
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}
