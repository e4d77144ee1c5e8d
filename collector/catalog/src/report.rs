//! An endpoint as people and tools are shown it: the objects of the REST API, and of files.

use serde::{Deserialize, Serialize};

use crate::{ApiKey, Calls, Endpoint, ExpHistogram, Side, Stats, StatusClass};

/// Latest time that RFC 3339 can write (9999-12-31T23:59:59.999999Z), epoch microseconds.
const TIMESTAMP_US_MAX: i64 = 253_402_300_799_999_999;

/// One endpoint. Sizes are bytes, durations microseconds, times RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndpointReport {
    /// 32 hex digits.
    pub id: String,
    /// Workload that serves it; empty when that is not known.
    pub workload: String,
    /// Host that clients call it by.
    pub host: String,
    /// `server` or `client`: the end that it was seen at.
    pub side: &'static str,
    /// Method.
    pub method: &'static str,
    /// Path template.
    pub path: String,
    /// Whether it ever answered other than 4xx.
    pub confirmed: bool,
    /// Since it was first seen.
    pub total: Counts,
    /// Latency, microseconds.
    pub latency_us: Quantiles,
    /// Estimated number of distinct clients.
    pub clients: u64,
    /// First call.
    pub first_seen: String,
    /// Latest call.
    pub last_seen: String,
}

/// Counts of calls in some span of time. Exact under any call budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Counts {
    /// Calls.
    pub calls: u64,
    /// Calls answered with 5xx.
    pub errors: u64,
    /// Calls by class of their status.
    pub status: StatusCounts,
    /// Sum of the latencies that are known, microseconds.
    pub duration_us_sum: u64,
    /// Sum of request sizes, bytes.
    pub request_bytes: u64,
    /// Sum of response sizes, bytes.
    pub response_bytes: u64,
}

/// Calls by class of their status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StatusCounts {
    /// 100 to 199.
    #[serde(rename = "1xx")]
    pub informational: u64,
    /// 200 to 299.
    #[serde(rename = "2xx")]
    pub success: u64,
    /// 300 to 399.
    #[serde(rename = "3xx")]
    pub redirect: u64,
    /// 400 to 499.
    #[serde(rename = "4xx")]
    pub client_error: u64,
    /// 500 to 599.
    #[serde(rename = "5xx")]
    pub server_error: u64,
    /// No response was seen, or one outside the classes.
    pub none: u64,
}

impl Counts {
    /// Of all calls that were counted.
    #[must_use]
    pub fn new(stats: &Stats) -> Self {
        Self {
            calls: stats.calls.total(),
            errors: stats.calls.get(StatusClass::ServerError),
            status: StatusCounts::new(&stats.calls),
            duration_us_sum: stats.latency_us.sum(),
            request_bytes: stats.request_bytes.sum(),
            response_bytes: stats.response_bytes.sum(),
        }
    }
}

impl StatusCounts {
    /// Of counted calls.
    #[must_use]
    pub fn new(calls: &Calls) -> Self {
        Self {
            informational: calls.get(StatusClass::Informational),
            success: calls.get(StatusClass::Success),
            redirect: calls.get(StatusClass::Redirect),
            client_error: calls.get(StatusClass::ClientError),
            server_error: calls.get(StatusClass::ServerError),
            none: calls.get(StatusClass::None),
        }
    }
}

/// Estimated quantiles of a distribution; all 0 when nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Quantiles {
    /// Median.
    pub p50: u64,
    /// 95th percentile.
    pub p95: u64,
    /// 99th percentile.
    pub p99: u64,
}

impl Quantiles {
    /// Of a distribution.
    #[must_use]
    pub fn new(of: &ExpHistogram) -> Self {
        let at = |quantile| of.quantile(quantile).unwrap_or_default();
        Self {
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
        }
    }
}

impl EndpointReport {
    /// Of an endpoint of this API.
    #[must_use]
    pub fn new(api: &ApiKey, endpoint: &Endpoint) -> Self {
        let stats = &endpoint.stats;
        Self {
            id: endpoint.id.to_string(),
            workload: api.workload.clone(),
            host: api.host.clone(),
            side: match api.side {
                Side::Server => "server",
                Side::Client => "client",
            },
            method: endpoint.method.as_str(),
            path: endpoint.template.clone(),
            confirmed: endpoint.confirmed,
            total: Counts::new(stats),
            latency_us: Quantiles::new(&stats.latency_us),
            clients: stats.clients.estimate(),
            first_seen: rfc3339(stats.first_seen_us),
            last_seen: rfc3339(stats.last_seen_us),
        }
    }
}

/// RFC 3339 in UTC with microseconds, of Unix epoch microseconds; times that it cannot write are moved to the nearest one that it can.
#[must_use]
pub fn rfc3339(us: i64) -> String {
    let us = us.clamp(0, TIMESTAMP_US_MAX);
    let (days, in_day) = (us / 86_400_000_000, us % 86_400_000_000);
    // Years that begin in March end with the leap day: whole eras of 400 years, then the year, then the day of it.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let seconds = in_day / 1_000_000;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        in_day % 1_000_000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (us, expect) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_001, "2000-02-29T00:00:00.000001Z"),
            (1_750_744_799_999_999, "2025-06-24T05:59:59.999999Z"),
            (1_735_689_599_000_000, "2024-12-31T23:59:59.000000Z"),
            (1_740_787_200_000_000, "2025-03-01T00:00:00.000000Z"),
            (-1, "1970-01-01T00:00:00.000000Z"),
            (i64::MAX, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(rfc3339(us), expect, "{us}");
        }
    }
}
