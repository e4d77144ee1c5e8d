//! Read-only connections, off the async threads, with a time limit on every query.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::store::StoreError;

use super::open;

/// A pool. Cheap to clone.
#[derive(Clone)]
pub struct Readers {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    query_time_max: Duration,
}

impl Readers {
    /// Opens `count` connections.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(path: &Path, count: usize, query_time_max: Duration) -> Result<Self, StoreError> {
        let idle = (0..count)
            .map(|_| open::readable(path))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            shared: Arc::new(Shared {
                path: path.to_owned(),
                idle: Mutex::new(idle),
                permits: Arc::new(Semaphore::new(count)),
                query_time_max,
            }),
        })
    }

    /// Runs a query on a connection of the pool, in one read transaction, interrupted at the time limit.
    ///
    /// # Errors
    /// See [`StoreError`]; [`StoreError::Timeout`] at the limit.
    pub async fn query<T, F>(&self, doing: &'static str, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let permit = self.shared.permits.clone().acquire_owned();
        let permit = tokio::time::timeout(self.shared.query_time_max, permit)
            .await
            .map_err(|_| StoreError::Timeout)?
            .map_err(|_| StoreError::Closed)?;
        let connection = self.take()?;
        let interrupt = connection.get_interrupt_handle();
        let shared = Arc::clone(&self.shared);
        let mut task = tokio::task::spawn_blocking(move || {
            let result = connection.unchecked_transaction().and_then(|transaction| {
                let result = query(&transaction);
                transaction.finish()?;
                result
            });
            shared
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(connection);
            drop(permit);
            result.map_err(|error| open::explain(&shared.path, doing, &error))
        });
        let joined = match tokio::time::timeout(self.shared.query_time_max, &mut task).await {
            Ok(joined) => joined,
            Err(_) => {
                interrupt.interrupt();
                task.await
            }
        };
        joined.map_err(|error| StoreError::Failed {
            doing,
            cause: error.to_string(),
        })?
    }

    /// No further queries are taken.
    pub fn close(&self) {
        self.shared.permits.close();
        self.shared
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// A connection; one that was lost to a panic is opened anew.
    fn take(&self) -> Result<Connection, StoreError> {
        let idle = self
            .shared
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        idle.map_or_else(|| open::readable(&self.shared.path), Ok)
    }
}
