//! How many single calls travel to the collector.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Largest budget that is a number, rows per second and node. More than that is `"unlimited"`.
pub const CALLS_PER_SECOND_MAX: u32 = 1_000_000;

/// Rows per second that a node may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallRate {
    /// Every call is sent: demonstrations, tests, accuracy measurements. Text: `"unlimited"`.
    Unlimited,
    /// At most so many, 0 to [`CALLS_PER_SECOND_MAX`]. 0 sends counts only.
    PerSecond(u32),
}

/// A fraction from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(f64);

/// The table `[calls]`. What neither share takes is left to the fair sample of all other calls.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawCalls")]
pub struct CallsPolicy {
    /// Rows per second; default 50.
    pub budget: CallRate,
    /// Part of the budget set aside for calls that failed; default 0.3.
    pub error_share: Share,
    /// Part of the budget set aside for endpoints that are rarely called; default 0.2.
    pub rare_share: Share,
}

/// As written; the sum of the shares is checked when it becomes a [`CallsPolicy`].
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawCalls {
    budget: CallRate,
    error_share: Share,
    rare_share: Share,
}

impl Default for CallsPolicy {
    fn default() -> Self {
        Self {
            budget: CallRate::PerSecond(50),
            error_share: Share(0.3),
            rare_share: Share(0.2),
        }
    }
}

impl Default for RawCalls {
    fn default() -> Self {
        let CallsPolicy {
            budget,
            error_share,
            rare_share,
        } = CallsPolicy::default();
        Self {
            budget,
            error_share,
            rare_share,
        }
    }
}

impl TryFrom<RawCalls> for CallsPolicy {
    type Error = String;

    fn try_from(raw: RawCalls) -> Result<Self, String> {
        let RawCalls {
            budget,
            error_share,
            rare_share,
        } = raw;
        let sum = error_share.get() + rare_share.get();
        if sum > 1.0 {
            return Err(format!(
                "error_share and rare_share add up to {sum}, more than the whole budget; lower one of them (defaults 0.3 and 0.2)"
            ));
        }
        Ok(Self {
            budget,
            error_share,
            rare_share,
        })
    }
}

impl Share {
    /// `None` unless 0 ≤ `fraction` ≤ 1.
    #[must_use]
    pub fn new(fraction: f64) -> Option<Self> {
        (0.0..=1.0).contains(&fraction).then_some(Self(fraction))
    }

    /// The fraction, 0 to 1.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Share {
    type Error = String;

    fn try_from(fraction: f64) -> Result<Self, String> {
        Self::new(fraction).ok_or_else(|| format!("{fraction} is no share; write a fraction from 0 to 1"))
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> f64 {
        share.0
    }
}

impl Serialize for CallRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unlimited => serializer.serialize_str("unlimited"),
            Self::PerSecond(rows) => serializer.serialize_u32(*rows),
        }
    }
}

impl<'de> Deserialize<'de> for CallRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RateVisitor;

        impl Visitor<'_> for RateVisitor {
            type Value = CallRate;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(
                    out,
                    "\"unlimited\" or rows per second from 0 to {CALLS_PER_SECOND_MAX}"
                )
            }

            fn visit_i64<E: de::Error>(self, rows: i64) -> Result<CallRate, E> {
                let rows =
                    u64::try_from(rows).map_err(|_| E::invalid_value(de::Unexpected::Signed(rows), &self))?;
                self.visit_u64(rows)
            }

            fn visit_u64<E: de::Error>(self, rows: u64) -> Result<CallRate, E> {
                match u32::try_from(rows) {
                    Ok(rows) if rows <= CALLS_PER_SECOND_MAX => Ok(CallRate::PerSecond(rows)),
                    _ => Err(E::invalid_value(de::Unexpected::Unsigned(rows), &self)),
                }
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<CallRate, E> {
                match text {
                    "unlimited" => Ok(CallRate::Unlimited),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
        }

        deserializer.deserialize_any(RateVisitor)
    }
}
