//! `serve`: configuration → parts → signal → drain with a deadline.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, timeout};
use tonic::transport::server::TcpIncoming;
use wire::v1::collector_server::CollectorServer;

use crate::api;
use crate::config::Config;
use crate::ingest::{Connected, Ingest, PolicyError, PolicyHub};
use crate::metrics::Metrics;
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};
use crate::timestamp::Timestamp;

/// How often retention by age runs.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);

/// How often a silent agent's connection is probed, and how long it may take to answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// Why the collector could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address is taken or not ours.
    #[error(
        "cannot listen on {key} = {address}: {cause}. Choose another address; port 0 lets the kernel choose the port"
    )]
    Listen {
        /// The configuration's key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        cause: std::io::Error,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The policy cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// A collector that serves.
pub struct Running {
    /// Where agents connect.
    pub grpc: SocketAddr,
    /// Where the API answers.
    pub http: SocketAddr,
    /// Its counters.
    pub metrics: Arc<Metrics>,
    policy: Arc<PolicyHub>,
    store: Arc<dyn Store>,
    draining: watch::Sender<bool>,
    grpc_task: JoinHandle<()>,
    http_task: JoinHandle<()>,
    retention_task: JoinHandle<()>,
    deadline: Duration,
}

/// Whether everything ended in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything taken was stored and acknowledged.
    Complete,
    /// The deadline came first; what was not acknowledged will be sent again.
    Cut,
}

/// Starts a collector.
///
/// # Errors
/// See [`ServeError`].
pub async fn start(config: &Config) -> Result<Running, ServeError> {
    let metrics = Arc::new(Metrics::default());
    let grpc_listener = listen("listen.grpc", config.listen.grpc).await?;
    let http_listener = listen("listen.http", config.listen.http).await?;
    let address = |key, listener: &TcpListener, asked| {
        listener.local_addr().map_err(|cause| ServeError::Listen {
            key,
            address: asked,
            cause,
        })
    };
    let grpc = address("listen.grpc", &grpc_listener, config.listen.grpc)?;
    let http = address("listen.http", &http_listener, config.listen.http)?;

    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(
        &config.store,
        config.http.timeout,
        Arc::clone(&metrics),
    )?);
    let policy = PolicyHub::open(
        Arc::clone(&store),
        config.policy.file.clone(),
        Arc::clone(&metrics),
    )
    .await?;
    let policy = Arc::new(policy);
    let connected = Connected::default();
    let (draining, drained) = watch::channel(false);

    let ingest = Ingest::new(
        Arc::clone(&store),
        Arc::clone(&policy),
        connected.clone(),
        Arc::clone(&metrics),
        config.ingest.clone(),
        drained.clone(),
    );
    let grpc_task = tokio::spawn(serve_grpc(
        grpc_listener,
        ingest,
        config.ingest.message_bytes_max,
        drained.clone(),
    ));
    let router = api::router(Arc::clone(&store), connected, Arc::clone(&metrics), &config.http);
    let http_task = tokio::spawn(serve_http(http_listener, router, drained.clone()));
    let retention_task = tokio::spawn(retain(Arc::clone(&store), drained));
    Ok(Running {
        grpc,
        http,
        metrics,
        policy,
        store,
        draining,
        grpc_task,
        http_task,
        retention_task,
        deadline: config.shutdown.deadline,
    })
}

impl Running {
    /// Reads the policy file again. Errors are logged: the policy in force stays.
    pub async fn reload_policy(&self) {
        match self.policy.reload().await {
            Ok(version) => tracing::info!(version, "policy in force"),
            Err(error) => tracing::error!(%error, "the policy in force stays"),
        }
    }

    /// Stops taking, finishes what was taken, closes the store.
    ///
    /// # Errors
    /// When the store cannot be closed properly.
    pub async fn drain(mut self) -> Result<Drained, StoreError> {
        self.draining.send_replace(true);
        let ended = async {
            let _ = (&mut self.grpc_task).await;
            let _ = (&mut self.http_task).await;
            let _ = (&mut self.retention_task).await;
        };
        let in_time = timeout(self.deadline, ended).await.is_ok();
        if !in_time {
            self.grpc_task.abort();
            self.http_task.abort();
            self.retention_task.abort();
        }
        match timeout(self.deadline, self.store.close()).await {
            Ok(closed) => closed?,
            Err(_) => return Ok(Drained::Cut),
        }
        Ok(if in_time { Drained::Complete } else { Drained::Cut })
    }
}

async fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|cause| ServeError::Listen { key, address, cause })
}

async fn wait(mut draining: watch::Receiver<bool>) {
    // An error means that the sender is gone, which ends everything as well.
    let _ = draining.wait_for(|draining| *draining).await;
}

async fn serve_grpc(
    listener: TcpListener,
    ingest: Ingest,
    message_bytes_max: usize,
    draining: watch::Receiver<bool>,
) {
    let service = CollectorServer::new(ingest).max_decoding_message_size(message_bytes_max);
    let served = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_INTERVAL))
        .add_service(service)
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            wait(draining),
        )
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the gRPC server ended");
    }
}

async fn serve_http(listener: TcpListener, router: axum::Router, draining: watch::Receiver<bool>) {
    if let Err(error) = axum::serve(listener, router)
        .with_graceful_shutdown(wait(draining))
        .await
    {
        tracing::error!(%error, "the HTTP server ended");
    }
}

/// Removes what is past its age, again and again.
async fn retain(store: Arc<dyn Store>, draining: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(RETENTION_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut end = std::pin::pin!(wait(draining));
    loop {
        tokio::select! {
            () = &mut end => return,
            _ = ticks.tick() => {}
        }
        match store.evict(Timestamp::now()).await {
            Ok(evicted) => tracing::debug!(?evicted, "retention"),
            Err(error) => tracing::error!(%error, "retention failed"),
        }
    }
}
