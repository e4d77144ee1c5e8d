//! The one thread that writes. Batches that wait together are committed together.
//!
//! Invariant: a reply is sent only after the transaction that it speaks of has ended; after a failure nothing of the group is
//! in the database nor in the catalogs in memory.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use crate::metrics::{Dropped, Metrics};
use crate::store::{Batch, Outcome, StoreError};

use super::catalogs::Catalogs;
use super::open::Writable;
use super::{agents, boots, calls, coverage, edges, open, workloads};

/// Most batches in one transaction: bounds how long the first of them waits.
pub const GROUP_BATCHES_MAX: usize = 256;

/// Jobs that wait for the writer; further ones wait with their sender.
pub const JOBS_MAX: usize = 1024;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;
type Small = Box<dyn FnOnce(&mut Writer) + Send>;

/// What the writer is asked to do.
pub enum Job {
    /// Apply a batch.
    Apply(Box<Batch>, Reply<Outcome>),
    /// Anything else, in a transaction of its own.
    Small(Small),
    /// End.
    Close(Reply<()>),
}

/// The writer's state.
pub struct Writer {
    path: PathBuf,
    connection: Connection,
    /// Released after the connection is closed: fields are dropped in their order.
    _lock: File,
    catalogs: Catalogs,
    calls_kept: u64,
    calls_max_rows: u64,
    metrics: Arc<Metrics>,
}

/// What a group of batches did, counted once it is durable.
#[derive(Default)]
struct Tally {
    calls: u64,
    calls_duplicate: u64,
    calls_evicted: u64,
    endpoint_deltas: u64,
}

impl Writer {
    /// # Errors
    /// When the database cannot be read.
    pub fn new(
        path: PathBuf,
        writable: Writable,
        cached_records_max: usize,
        calls_max_rows: u64,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        let Writable { connection, lock } = writable;
        let calls_kept =
            calls::count(&connection).map_err(|error| open::explain(&path, "counting its calls", &error))?;
        metrics
            .calls_kept
            .set(i64::try_from(calls_kept).unwrap_or(i64::MAX));
        let catalogs = Catalogs::new(cached_records_max);
        Ok(Self {
            path,
            connection,
            _lock: lock,
            catalogs,
            calls_kept,
            calls_max_rows,
            metrics,
        })
    }

    /// Works until it is told to close or nobody is left to ask for anything.
    pub fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut group = Vec::new();
        let mut next = jobs.blocking_recv();
        while let Some(job) = next.take() {
            match job {
                Job::Apply(batch, reply) => {
                    group.push((*batch, reply));
                    while group.len() < GROUP_BATCHES_MAX {
                        match jobs.try_recv() {
                            Ok(Job::Apply(batch, reply)) => group.push((*batch, reply)),
                            Ok(other) => {
                                next = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.apply_group(&mut group);
                }
                Job::Small(small) => small(&mut self),
                Job::Close(reply) => {
                    // Folds the log into the file, so that one file is the whole database.
                    let checkpoint = self
                        .connection
                        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
                    let closed = checkpoint.map_err(|error| open::explain(&self.path, "closing", &error));
                    drop(self);
                    let _ = reply.send(closed);
                    return;
                }
            }
            if next.is_none() {
                next = jobs.blocking_recv();
            }
        }
    }

    /// Runs something in a transaction of its own.
    pub fn transaction<T>(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let result = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .and_then(|transaction| {
                let value = work(&transaction)?;
                transaction.commit()?;
                Ok(value)
            });
        result.map_err(|error| open::explain(&self.path, doing, &error))
    }

    /// Calls were removed outside of a batch.
    pub fn calls_removed(&mut self, count: u64) {
        self.calls_kept = self.calls_kept.saturating_sub(count);
        self.metrics
            .calls_kept
            .set(i64::try_from(self.calls_kept).unwrap_or(i64::MAX));
    }

    fn apply_group(&mut self, group: &mut Vec<(Batch, Reply<Outcome>)>) {
        let outcomes = self.apply(&mut group.iter().map(|(batch, _)| batch));
        match outcomes {
            Ok(outcomes) => {
                for ((_, reply), outcome) in group.drain(..).zip(outcomes) {
                    let _ = reply.send(Ok(outcome));
                }
            }
            // One batch must not take the others with it: each alone.
            Err(_) if group.len() > 1 => {
                for (batch, reply) in group.drain(..) {
                    let outcome = self.apply(&mut std::iter::once(&batch));
                    let first =
                        outcome.map(|outcomes| outcomes.first().copied().unwrap_or(Outcome::Duplicate));
                    let _ = reply.send(first);
                }
            }
            Err(error) => {
                if let Some((_, reply)) = group.pop() {
                    let _ = reply.send(Err(error));
                }
            }
        }
    }

    /// Applies batches in one transaction.
    fn apply(&mut self, batches: &mut dyn Iterator<Item = &Batch>) -> Result<Vec<Outcome>, StoreError> {
        let started = Instant::now();
        // A bug in a merge must not end the thread that everything else needs: the transaction is rolled back as the panic
        // passes, and what was in memory is forgotten below.
        let applied = catch_unwind(AssertUnwindSafe(|| self.try_apply(batches)));
        let Ok(applied) = applied else {
            self.catalogs.forget_touched();
            let cause = "a bug; the message before this one tells where".to_owned();
            return Err(StoreError::Failed {
                doing: "applying batches",
                cause,
            });
        };
        match applied {
            Ok((outcomes, tally)) => {
                self.metrics
                    .transaction_seconds
                    .observe(started.elapsed().as_secs_f64());
                self.settle(&tally);
                Ok(outcomes)
            }
            Err(error) => {
                self.catalogs.forget_touched();
                Err(open::explain(&self.path, "applying batches", &error))
            }
        }
    }

    fn try_apply(
        &mut self,
        batches: &mut dyn Iterator<Item = &Batch>,
    ) -> rusqlite::Result<(Vec<Outcome>, Tally)> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut tally = Tally::default();
        let mut outcomes = Vec::new();
        for batch in batches {
            outcomes.push(match boots::claim(&transaction, &batch.id, batch.received)? {
                Ok(boot_id) => {
                    apply_batch(&transaction, &mut self.catalogs, boot_id, batch, &mut tally)?;
                    Outcome::Applied
                }
                Err(outcome) => outcome,
            });
        }
        self.catalogs.write(&transaction)?;
        let beyond = (self.calls_kept + tally.calls).saturating_sub(self.calls_max_rows);
        if beyond > 0 {
            tally.calls_evicted = calls::evict_oldest(&transaction, beyond)?;
        }
        transaction.commit()?;
        Ok((outcomes, tally))
    }

    fn settle(&mut self, tally: &Tally) {
        self.calls_kept = (self.calls_kept + tally.calls).saturating_sub(tally.calls_evicted);
        self.metrics
            .calls_kept
            .set(i64::try_from(self.calls_kept).unwrap_or(i64::MAX));
        self.metrics.calls.inc_by(tally.calls);
        self.metrics.endpoint_deltas.inc_by(tally.endpoint_deltas);
        self.metrics
            .count_dropped(Dropped::CallsDuplicate, tally.calls_duplicate);
        self.metrics
            .count_dropped(Dropped::CallsByRows, tally.calls_evicted);
        self.metrics
            .count_dropped(Dropped::CachedApis, self.catalogs.settle());
        self.metrics
            .cached_apis
            .set(i64::try_from(self.catalogs.len()).unwrap_or(i64::MAX));
    }
}

fn apply_batch(
    connection: &Connection,
    catalogs: &mut Catalogs,
    boot_id: i64,
    batch: &Batch,
    tally: &mut Tally,
) -> rusqlite::Result<()> {
    agents::seen(
        connection,
        &batch.id,
        batch.created,
        batch.received,
        batch.status.as_ref(),
    )?;
    for workload in &batch.workloads {
        workloads::put(connection, workload)?;
    }
    for edge in &batch.edges {
        edges::add(connection, edge)?;
    }
    for increment in &batch.coverage {
        coverage::add(connection, &batch.id, batch.created, increment)?;
    }
    for delta in &batch.deltas {
        tally.endpoint_deltas += catalogs.merge(connection, delta)?;
    }
    for call in &batch.calls {
        let (api_id, leaf) = catalogs.locate(connection, call)?;
        if calls::insert(connection, boot_id, api_id, leaf, &call.call)? {
            tally.calls += 1;
        } else {
            tally.calls_duplicate += 1;
        }
    }
    Ok(())
}
