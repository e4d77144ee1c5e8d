//! How much of each message the node reads.

use serde::{Deserialize, Serialize};

/// Largest [`BodyBytes`].
pub const BODY_BYTES_MAX: u32 = 1 << 20;

/// What the kernel side hands to the agent of a connection that speaks HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaptureMode {
    /// Every byte, so that all framing is followed exactly.
    #[default]
    Full,
    /// Heads; bodies are skipped where their length is known, and counted.
    Headers,
}

/// Bytes of each body, in each direction, that the node keeps while it looks at an exchange; 0 to [`BODY_BYTES_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u32")]
pub struct BodyBytes(u32);

/// The table `[capture]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaptureRules {
    /// Default `"full"`.
    pub mode: CaptureMode,
    /// Default 0: bodies are measured, none is kept. Bodies never leave the node.
    pub body_bytes: BodyBytes,
    /// Whether fewer calls are captured of endpoints whose calls bring nothing new; all are counted. By default each node does as its own
    /// configuration says (`capture.decay`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay: Option<bool>,
}

impl BodyBytes {
    /// `None` beyond [`BODY_BYTES_MAX`].
    #[must_use]
    pub fn new(bytes: u32) -> Option<Self> {
        (bytes <= BODY_BYTES_MAX).then_some(Self(bytes))
    }

    /// Bytes.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u64> for BodyBytes {
    type Error = String;

    fn try_from(bytes: u64) -> Result<Self, String> {
        u32::try_from(bytes).ok().and_then(Self::new).ok_or_else(|| {
            format!("{bytes} is more than a node keeps of a body; write at most {BODY_BYTES_MAX}")
        })
    }
}

impl From<BodyBytes> for u32 {
    fn from(bytes: BodyBytes) -> u32 {
        bytes.0
    }
}
