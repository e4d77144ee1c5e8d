//! The policy in force on this node.

use std::fmt;
use std::sync::Arc;

use policy::CapturePolicy;
use tokio::sync::watch;
use wire::v1;

/// Key that fingerprints of values are made with; the same on all nodes of a cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct FingerprintKey {
    /// The secret.
    pub key: [u8; 32],
    /// Which of the keys that the collector made in its life.
    pub epoch: u32,
}

impl fmt::Debug for FingerprintKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("FingerprintKey")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// What the collector wants, as last applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyState {
    /// 0 for the defaults in force until the collector has spoken.
    pub version: u64,
    /// The policy.
    pub policy: CapturePolicy,
    /// `None` until the collector has sent one.
    pub fingerprint: Option<FingerprintKey>,
}

impl TryFrom<&v1::Policy> for PolicyState {
    /// Cause and remedy.
    type Error = String;

    fn try_from(message: &v1::Policy) -> Result<Self, String> {
        let policy = CapturePolicy::parse(&message.capture_toml).map_err(|error| error.to_string())?;
        let fingerprint = match message.fingerprint_key.as_slice() {
            [] => None,
            bytes => {
                let key = bytes.try_into().map_err(|_| {
                    format!(
                        "the fingerprint key has {} bytes; the collector must send 32",
                        bytes.len()
                    )
                })?;
                Some(FingerprintKey {
                    key,
                    epoch: message.fingerprint_epoch,
                })
            }
        };
        Ok(Self {
            version: message.version,
            policy,
            fingerprint,
        })
    }
}

/// What became of a policy message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// Now in force.
    New,
    /// It was in force already.
    Already,
    /// The one before stays, because.
    Refused(String),
}

/// Puts a policy into force, if it is newer and valid.
pub(super) fn apply(state: &watch::Sender<Arc<PolicyState>>, message: &v1::Policy) -> Applied {
    let current = state.borrow().version;
    if message.version == 0 {
        return Applied::Refused("policy version 0 stands for no policy; number policies from 1".to_owned());
    }
    if message.version < current {
        return Applied::Refused(format!(
            "policy version {} is older than version {current}, which is in force; send a higher version",
            message.version
        ));
    }
    if message.version == current {
        return Applied::Already;
    }
    match PolicyState::try_from(message) {
        Ok(new) => {
            for lint in new.policy.lint() {
                tracing::info!(version = new.version, "capture policy: {lint}");
            }
            state.send_replace(Arc::new(new));
            Applied::New
        }
        Err(error) => Applied::Refused(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(version: u64, capture_toml: &str) -> v1::Policy {
        v1::Policy {
            version,
            capture_toml: capture_toml.to_owned(),
            fingerprint_key: vec![7; 32],
            fingerprint_epoch: 3,
        }
    }

    #[test]
    fn newer_and_valid_wins_everything_else_leaves_the_old_one() {
        let (state, _keep) = watch::channel(Arc::new(PolicyState::default()));
        assert_eq!(apply(&state, &message(2, "calls.budget = 7")), Applied::New);
        let in_force = Arc::clone(&state.borrow());
        assert_eq!(in_force.version, 2);
        assert_eq!(in_force.policy.calls.budget, policy::CallRate::PerSecond(7));
        assert_eq!(
            in_force.fingerprint,
            Some(FingerprintKey {
                key: [7; 32],
                epoch: 3
            })
        );

        assert_eq!(apply(&state, &message(2, "calls.budget = 8")), Applied::Already);
        let mut short_key = message(3, "");
        short_key.fingerprint_key = vec![1; 31];
        for (bad, part) in [
            (message(1, ""), "older than version 2"),
            (message(0, ""), "from 1"),
            (
                message(3, "budget = 1"),
                "line 1, column 1, budget: unknown field",
            ),
            (message(3, "headers.request = ['cookie']"), "credentials"),
            (short_key, "31 bytes"),
        ] {
            match apply(&state, &bad) {
                Applied::Refused(reason) => assert!(reason.contains(part), "{reason}"),
                other => panic!("{bad:?}: {other:?}"),
            }
            assert_eq!(*state.borrow(), in_force);
        }
    }

    #[test]
    fn the_key_is_not_printed() {
        let text = format!(
            "{:?}",
            FingerprintKey {
                key: [171; 32],
                epoch: 5
            }
        );
        assert!(text.contains('5') && !text.contains("171"), "{text}");
    }
}
