//! Payloads in, batches with an identity in the spool.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use wire::v1::{Batch, Payload};
use wire::{PAYLOAD_BYTES_MAX, encode_payload};

use super::split::{contents, split};
use crate::spool::{DropReason, Identity, SharedSpool};

/// Hands payloads over for sending. Clones share one sequence.
#[derive(Clone, Debug)]
pub struct Outbox {
    identity: Arc<Identity>,
    /// Of the last batch made; locked while batches are made, so that they enter the spool in order.
    sequence: Arc<Mutex<u64>>,
    spool: SharedSpool,
    wake: Arc<Notify>,
    payload_bytes: usize,
}

impl Outbox {
    pub(super) fn new(
        identity: Identity,
        spool: SharedSpool,
        wake: Arc<Notify>,
        payload_bytes: usize,
    ) -> Self {
        Self {
            identity: Arc::new(identity),
            sequence: Arc::default(),
            spool,
            wake,
            payload_bytes,
        }
    }

    /// Encodes, splitting what is too large for one batch, and puts the batches into the spool. Gives the sequence of the
    /// last one. Blocks as long as writing to the disk's cache takes. What cannot be encoded is counted by the spool as
    /// [`DropReason::TooLarge`].
    pub fn submit(&self, payload: Payload) -> u64 {
        let parts = split(payload, self.payload_bytes, PAYLOAD_BYTES_MAX);
        let mut last = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        if parts.lost_bytes > 0 {
            self.spool
                .lock()
                .count_lost(DropReason::TooLarge, parts.lost, parts.lost_bytes);
        }
        for part in parts.payloads {
            let contents = contents(&part);
            match encode_payload(&part) {
                Ok(payload_zstd) => {
                    *last += 1;
                    let batch = Batch {
                        node: self.identity.node.clone(),
                        boot: self.identity.boot.clone(),
                        sequence: *last,
                        created_us: now_us(),
                        payload_zstd,
                    };
                    self.spool.lock().append(&batch, contents);
                }
                Err(error) => {
                    tracing::error!(%error, "a payload cannot be encoded and is lost");
                    self.spool.lock().count_lost(DropReason::TooLarge, contents, 0);
                }
            }
        }
        self.wake.notify_one();
        *last
    }

    /// Who the batches are from.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
