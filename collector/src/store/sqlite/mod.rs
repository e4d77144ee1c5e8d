//! The embedded store: SQLite in one file, one writing thread, several reading connections.

mod agents;
mod boots;
mod calls;
mod catalogs;
mod coverage;
mod edges;
mod endpoints;
mod leaves;
mod open;
mod policies;
mod readers;
mod select;
#[cfg(test)]
mod tests;
mod workloads;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use rusqlite::{Connection, Row};
use tokio::sync::{mpsc, oneshot};

use crate::config;
use crate::metrics::{Dropped, Metrics};
use crate::timestamp::Timestamp;

use super::{
    Agent, AgentHello, Batch, BatchId, Call, CallFilter, CallId, Coverage, CoverageFilter, Edge, EdgeFilter,
    Endpoint, EndpointDetail, EndpointFilter, Evicted, Outcome, Page, Paging, Side, Store, StoreError,
    StoredPolicy, TimeRange, Workload, WorkloadFilter,
};
use readers::Readers;
use writer::{JOBS_MAX, Job, Writer};

/// Most minutes in the answer about one endpoint: a week.
pub const MINUTES_MAX: u32 = 7 * 24 * 60;

/// Calls removed by age in one transaction, so that batches do not wait for long.
const EVICTED_ROWS_MAX: u64 = 20_000;

/// A store in one SQLite file.
pub struct SqliteStore {
    jobs: mpsc::Sender<Job>,
    readers: Readers,
    metrics: Arc<Metrics>,
    ages: Ages,
}

#[derive(Clone, Copy)]
struct Ages {
    calls: Duration,
    minutes: Duration,
    idle: Duration,
}

impl SqliteStore {
    /// Opens the file, creating it when it is missing, and starts the writing thread.
    ///
    /// # Errors
    /// See [`StoreError`]; a file that cannot be used is left untouched.
    pub fn open(
        config: &config::Store,
        query_time_max: Duration,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        let path: &Path = &config.path;
        let writable = open::writable(path, config.bytes_max)?;
        let writer = Writer::new(
            path.to_owned(),
            writable,
            config.cached_records_max,
            config.calls_max_rows,
            Arc::clone(&metrics),
        )?;
        let readers = Readers::open(path, config.readers, query_time_max)?;
        let (jobs, receiver) = mpsc::channel(JOBS_MAX);
        let thread = std::thread::Builder::new().name("store-writer".to_owned());
        let spawned = thread.spawn(move || writer.run(receiver));
        spawned.map_err(|error| StoreError::Failed {
            doing: "starting its thread",
            cause: error.to_string(),
        })?;
        let ages = Ages {
            calls: config.calls_max_age,
            minutes: config.minutes_max_age,
            idle: config.idle_max_age,
        };
        Ok(Self {
            jobs,
            readers,
            metrics,
            ages,
        })
    }

    async fn send<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs something small on the writing thread, in a transaction of its own.
    fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        self.send(move |reply| {
            Job::Small(Box::new(move |writer| {
                let _ = reply.send(writer.transaction(doing, work));
            }))
        })
        .boxed()
    }

    fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        self.readers.query(doing, query).boxed()
    }

    async fn evict_calls(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut total = 0;
        loop {
            let removed = self
                .send(move |reply| {
                    Job::Small(Box::new(move |writer: &mut Writer| {
                        let removed = writer.transaction("removing old calls", |connection| {
                            calls::evict_before(connection, before, EVICTED_ROWS_MAX)
                        });
                        if let Ok(count) = &removed {
                            writer.calls_removed(*count);
                        }
                        let _ = reply.send(removed);
                    }))
                })
                .await?;
            total += removed;
            if removed < EVICTED_ROWS_MAX {
                return Ok(total);
            }
        }
    }
}

impl Store for SqliteStore {
    fn apply(&self, batch: Batch) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        self.send(move |reply| Job::Apply(Box::new(batch), reply)).boxed()
    }

    fn note_rejected(
        &self,
        id: BatchId,
        reason: String,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write("noting a rejected batch", move |connection| {
            agents::seen(connection, &id, at, at, None)?;
            boots::reject(connection, &id, &reason, at)
        })
    }

    fn note_hello(&self, hello: AgentHello) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write("noting an agent", move |connection| {
            agents::hello(connection, &hello)
        })
    }

    fn note_policy(
        &self,
        node: String,
        version: u64,
        error: String,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write("noting an applied policy", move |connection| {
            agents::policy(connection, &node, version, &error, at)
        })
    }

    fn policy(&self) -> BoxFuture<'_, Result<Option<StoredPolicy>, StoreError>> {
        self.read("reading the policy", policies::get)
    }

    fn put_policy(&self, policy: StoredPolicy) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write("writing the policy", move |connection| {
            policies::put(connection, &policy)
        })
    }

    fn evict(&self, now: Timestamp) -> BoxFuture<'_, Result<Evicted, StoreError>> {
        let ages = self.ages;
        async move {
            let calls_by_age = self.evict_calls(now.earlier_by(ages.calls)).await?;
            let before = now.earlier_by(ages.minutes);
            let minutes = self
                .write("removing old minutes", move |connection| {
                    Ok(endpoints::evict_minutes(connection, before)?
                        + edges::evict_minutes(connection, before)?
                        + coverage::evict_minutes(connection, before)?)
                })
                .await?;
            let before = now.earlier_by(ages.idle);
            let idle = self
                .write("removing what was not seen for long", move |connection| {
                    Ok(edges::evict_idle(connection, before)?
                        + workloads::evict_idle(connection, before)?
                        + agents::evict_idle(connection, before)?)
                })
                .await?;
            self.metrics.count_dropped(Dropped::CallsByAge, calls_by_age);
            self.metrics.count_dropped(Dropped::Minutes, minutes);
            self.metrics.count_dropped(Dropped::Idle, idle);
            Ok(Evicted {
                calls_by_age,
                minutes,
                idle,
            })
        }
        .boxed()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            // Both ways in: the writing thread takes its turn, then a reader.
            self.write("answering a probe", |_| Ok(())).await?;
            self.read("answering a probe", |connection| {
                connection.query_row("SELECT 1", [], |_| Ok(()))
            })
            .await
        }
        .boxed()
    }

    fn endpoints(
        &self,
        filter: EndpointFilter,
        paging: Paging,
    ) -> BoxFuture<'_, Result<Page<Endpoint>, StoreError>> {
        self.read("listing endpoints", move |connection| {
            endpoints::list(connection, &filter, &paging)
        })
    }

    fn endpoint(
        &self,
        id: String,
        range: TimeRange,
    ) -> BoxFuture<'_, Result<Option<EndpointDetail>, StoreError>> {
        self.read("reading an endpoint", move |connection| {
            let Some(id) = endpoints::resolve(connection, &id)? else {
                return Ok(None);
            };
            let Some(mut endpoint) = endpoints::get(connection, &id)? else {
                return Ok(None);
            };
            if !range.is_open() {
                endpoint.window = Some(endpoints::window(connection, &id, range)?);
            }
            let minutes = endpoints::minutes(connection, &id, range, MINUTES_MAX)?;
            let aliases = endpoints::aliases(connection, &id)?;
            catalogs::detail(connection, endpoint, aliases, minutes).map(Some)
        })
    }

    fn calls(&self, filter: CallFilter, paging: Paging) -> BoxFuture<'_, Result<Page<Call>, StoreError>> {
        self.read("listing calls", move |connection| {
            calls::list(connection, &filter, &paging)
        })
    }

    fn call(&self, id: CallId) -> BoxFuture<'_, Result<Option<Call>, StoreError>> {
        self.read("reading a call", move |connection| calls::get(connection, id))
    }

    fn edges(&self, filter: EdgeFilter, paging: Paging) -> BoxFuture<'_, Result<Page<Edge>, StoreError>> {
        self.read("listing edges", move |connection| {
            edges::list(connection, &filter, &paging)
        })
    }

    fn workloads(
        &self,
        filter: WorkloadFilter,
        paging: Paging,
    ) -> BoxFuture<'_, Result<Page<Workload>, StoreError>> {
        self.read("listing workloads", move |connection| {
            workloads::list(connection, &filter, &paging)
        })
    }

    fn coverage(
        &self,
        filter: CoverageFilter,
        paging: Paging,
    ) -> BoxFuture<'_, Result<Page<Coverage>, StoreError>> {
        self.read("listing coverage", move |connection| {
            coverage::list(connection, &filter, &paging)
        })
    }

    fn agents(&self, paging: Paging) -> BoxFuture<'_, Result<Page<Agent>, StoreError>> {
        self.read("listing agents", move |connection| {
            agents::list(connection, &paging)
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            self.readers.close();
            self.send(Job::Close).await
        }
        .boxed()
    }
}

/// A column that holds a [`Side`]'s name.
fn side(row: &Row<'_>, column: usize) -> rusqlite::Result<Side> {
    let name: String = row.get(column)?;
    name.parse().map_err(|error: String| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into())
    })
}
