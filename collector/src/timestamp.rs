//! Points in time: Unix epoch microseconds inside, RFC 3339 in UTC outside.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Latest time that RFC 3339 can write (9999-12-31T23:59:59.999999Z), epoch microseconds.
const TIMESTAMP_US_MAX: i64 = 253_402_300_799_999_999;

/// Microseconds in a minute.
pub const MINUTE_US: i64 = 60_000_000;

/// A point in time, epoch microseconds, within what RFC 3339 can write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From epoch microseconds; times that RFC 3339 cannot write are moved to the nearest one that it can.
    #[must_use]
    pub fn from_us(us: i64) -> Self {
        Self(us.clamp(0, TIMESTAMP_US_MAX))
    }

    /// Epoch microseconds.
    #[must_use]
    pub fn us(self) -> i64 {
        self.0
    }

    /// Now, by the system's clock.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_us(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// This much earlier, not before the epoch.
    #[must_use]
    pub fn earlier_by(self, span: Duration) -> Self {
        Self::from_us(
            self.0
                .saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// Parses RFC 3339 in UTC (`2026-01-31T12:00:00Z`), or a time relative to `now`: `now`, `-15m`, `-2h30m`.
    ///
    /// # Errors
    /// A sentence that names what was expected.
    pub fn parse(text: &str, now: Self) -> Result<Self, String> {
        if text == "now" {
            return Ok(now);
        }
        if let Some(span) = text.strip_prefix('-') {
            return match humantime::parse_duration(span) {
                Ok(span) => Ok(now.earlier_by(span)),
                Err(error) => Err(format!("`{text}` is not a relative time such as `-15m`: {error}")),
            };
        }
        match humantime::parse_rfc3339_weak(text) {
            Ok(time) => {
                let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
                Ok(Self::from_us(
                    i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
                ))
            }
            Err(_) => Err(format!(
                "`{text}` is neither a UTC time such as `2026-01-31T12:00:00Z` nor a relative one such as `-15m`"
            )),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = Duration::from_micros(self.0.unsigned_abs());
        write!(f, "{}", humantime::format_rfc3339_micros(UNIX_EPOCH + since))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text, Self::default()).map_err(serde::de::Error::custom)
    }
}

impl utoipa::PartialSchema for Timestamp {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("UTC, RFC 3339 with microseconds."))
            .into()
    }
}

impl utoipa::ToSchema for Timestamp {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_absolute_and_relative_times() {
        let now = Timestamp::from_us(1_700_000_000_000_000);
        for (text, us) in [
            ("now", 1_700_000_000_000_000),
            ("-15m", 1_700_000_000_000_000 - 15 * MINUTE_US),
            ("-1h30m", 1_700_000_000_000_000 - 90 * MINUTE_US),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000_000),
            ("2023-11-14T22:13:20.000001Z", 1_700_000_000_000_001),
            ("1970-01-01T00:00:00Z", 0),
        ] {
            assert_eq!(Timestamp::parse(text, now), Ok(Timestamp(us)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "yesterday",
            "15m",
            "-",
            "-x",
            "2023-13-01T00:00:00Z",
            "1700000000",
        ] {
            assert!(Timestamp::parse(text, Timestamp::default()).is_err(), "{text}");
        }
    }

    #[test]
    fn every_value_survives_a_round_trip() {
        for us in [
            i64::MIN,
            -1,
            0,
            1,
            1_700_000_000_123_456,
            TIMESTAMP_US_MAX,
            i64::MAX,
        ] {
            let time = Timestamp::from_us(us);
            assert_eq!(
                Timestamp::parse(&time.to_string(), Timestamp::default()),
                Ok(time)
            );
        }
    }
}
