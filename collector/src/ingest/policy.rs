//! The policy in force: read from its file, versioned, persisted, offered to every stream.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use policy::CapturePolicy;
use tokio::sync::{Mutex, watch};

use crate::metrics::Metrics;
use crate::store::{Store, StoreError, StoredPolicy};

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("cannot read the policy {}: {source}. Check policy.file", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a capture policy.
    #[error("{} is not a capture policy: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: policy::PolicyError,
    },
    /// No key could be made.
    #[error("cannot make a fingerprint key from /dev/urandom: {0}")]
    Random(std::io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The policy in force, and how to replace it.
pub struct PolicyHub {
    store: Arc<dyn Store>,
    file: Option<PathBuf>,
    current: watch::Sender<Arc<StoredPolicy>>,
    /// One reload at a time.
    reloading: Mutex<()>,
    metrics: Arc<Metrics>,
}

impl PolicyHub {
    /// Reads file and store. A text that differs from the stored one becomes its next version; the key is made once.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub async fn open(
        store: Arc<dyn Store>,
        file: Option<PathBuf>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, PolicyError> {
        let text = read(file.as_deref()).await?;
        let current = match store.policy().await? {
            Some(stored) => next(&stored, text),
            None => Some(StoredPolicy {
                version: 1,
                capture_toml: text,
                fingerprint_key: random_key().map_err(PolicyError::Random)?,
                fingerprint_epoch: 1,
            }),
        };
        let in_force = match current {
            Some(changed) => {
                store.put_policy(changed.clone()).await?;
                changed
            }
            None => store.policy().await?.ok_or(StoreError::Closed)?,
        };
        metrics
            .policy_version
            .set(i64::try_from(in_force.version).unwrap_or(i64::MAX));
        let (current, _) = watch::channel(Arc::new(in_force));
        Ok(Self {
            store,
            file,
            current,
            reloading: Mutex::new(()),
            metrics,
        })
    }

    /// The policy in force, and its changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<StoredPolicy>> {
        self.current.subscribe()
    }

    /// Reads the file again and returns the version in force. Persisted before any agent hears of it.
    ///
    /// # Errors
    /// See [`PolicyError`]; the policy in force stays then.
    pub async fn reload(&self) -> Result<u64, PolicyError> {
        let _one_at_a_time = self.reloading.lock().await;
        let result = self.try_reload().await;
        match &result {
            Ok(version) => {
                self.metrics
                    .policy_version
                    .set(i64::try_from(*version).unwrap_or(i64::MAX));
            }
            Err(_) => {
                self.metrics.policy_failures.inc();
            }
        }
        result
    }

    async fn try_reload(&self) -> Result<u64, PolicyError> {
        let text = read(self.file.as_deref()).await?;
        let before = Arc::clone(&self.current.borrow());
        let Some(changed) = next(&before, text) else {
            return Ok(before.version);
        };
        self.store.put_policy(changed.clone()).await?;
        let version = changed.version;
        self.current.send_replace(Arc::new(changed));
        Ok(version)
    }
}

/// The next version, if the text differs.
fn next(before: &StoredPolicy, text: String) -> Option<StoredPolicy> {
    (before.capture_toml != text).then(|| StoredPolicy {
        version: before.version.saturating_add(1),
        capture_toml: text,
        ..before.clone()
    })
}

async fn read(file: Option<&Path>) -> Result<String, PolicyError> {
    let Some(path) = file else {
        return Ok(CapturePolicy::default().to_toml());
    };
    let text = tokio::fs::read_to_string(path)
        .await
        .map_err(|source| PolicyError::Read {
            path: path.to_owned(),
            source,
        })?;
    let policy = CapturePolicy::parse(&text).map_err(|source| PolicyError::Parse {
        path: path.to_owned(),
        source,
    })?;
    for lint in policy.lint() {
        tracing::warn!(policy = %path.display(), %lint, "remark on the policy");
    }
    Ok(text)
}

fn random_key() -> std::io::Result<[u8; 32]> {
    let mut key = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    Ok(key)
}
