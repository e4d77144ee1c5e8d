//! The merged catalog: in memory for the APIs in use, in `_leaves` for all of them.
//!
//! A group of batches merges in memory first; then every record that changed is written once, and what derives from it
//! (endpoints, aliases, minutes) in the same transaction. When that fails, the APIs touched are forgotten and read again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use catalog::{ApiCatalog, ApiDelta, ApiKey, LeafId, Limits, Merge, Method, MinuteCounts, RecordKey, Stats};
use rusqlite::{Connection, OptionalExtension};

use crate::store::{CallSeen, Counts, Endpoint, EndpointDetail, HistogramBucket, Minute, Quantiles, Side};
use crate::timestamp::{MINUTE_US, Timestamp};

use super::{endpoints, leaves};

/// Share of the cache that is kept when it is over its limit, so that it is not cut for every API.
const KEPT_PERCENT: usize = 90;

/// Catalogs in memory.
pub struct Catalogs {
    records_max: usize,
    limits: Limits,
    apis: HashMap<ApiKey, Api>,
    touched: HashSet<ApiKey>,
    clock: u64,
}

/// One API in memory, and what is known of its rows.
struct Api {
    id: i64,
    catalog: ApiCatalog,
    /// Rows of `_leaves`: id, and the endpoint they say they belong to.
    rows: BTreeMap<RecordKey, (i64, Option<String>)>,
    /// Rows of `endpoints`, with a fingerprint of what was written, if known.
    endpoints: HashMap<String, Option<u64>>,
    dirty: BTreeSet<RecordKey>,
    folded: BTreeMap<LeafId, LeafId>,
    minutes: HashMap<(RecordKey, i64), MinuteCounts>,
    used: u64,
}

impl Catalogs {
    /// Keeps about this many records in memory between transactions.
    pub fn new(records_max: usize) -> Self {
        Self {
            records_max,
            limits: Limits::default(),
            apis: HashMap::new(),
            touched: HashSet::new(),
            clock: 0,
        }
    }

    /// APIs in memory.
    pub fn len(&self) -> usize {
        self.apis.len()
    }

    /// Merges a delta in memory. Returns the number of its records.
    pub fn merge(&mut self, connection: &Connection, delta: &ApiDelta) -> rusqlite::Result<u64> {
        self.clock += 1;
        if !self.apis.contains_key(&delta.api) {
            let api = load(connection, &delta.api, &self.limits)?;
            self.apis.insert(delta.api.clone(), api);
        }
        let Some(api) = self.apis.get_mut(&delta.api) else {
            return Ok(0);
        };
        api.used = self.clock;
        self.touched.insert(delta.api.clone());
        let changes = api.catalog.merge(delta);
        api.dirty.extend(changes.changed);
        api.dirty.extend(changes.removed);
        api.folded
            .extend(changes.folded.iter().map(|folded| (folded.from, folded.into)));
        for minute in delta.minutes() {
            let key = RecordKey {
                leaf: minute.leaf,
                method: minute.method,
            };
            let slot = api
                .minutes
                .entry((key, minute.minute_us / MINUTE_US))
                .or_default();
            slot.merge(&minute.counts);
        }
        Ok(delta.len() as u64)
    }

    /// The API of a call, and the leaf that counts it now: its own, or the one that this was folded into.
    pub fn locate(
        &self,
        connection: &Connection,
        seen: &CallSeen,
    ) -> rusqlite::Result<(i64, Option<LeafId>)> {
        let call = &seen.call;
        let leaf = seen.leaf.map(LeafId);
        let key = ApiKey {
            workload: call.workload.clone(),
            host: call.host.clone(),
            side: to_catalog(call.side),
        };
        let Some(api) = self.apis.get(&key) else {
            return Ok((api_id(connection, &key)?, leaf));
        };
        let Some(own) = leaf else {
            return Ok((api.id, api.catalog.leaf_of(&call.path)));
        };
        let method = Method::from_token(&call.method);
        let known = RecordKey { leaf: own, method };
        if api.rows.contains_key(&known) || api.dirty.contains(&known) && !api.folded.contains_key(&own) {
            return Ok((api.id, leaf));
        }
        Ok((api.id, api.catalog.leaf_of(&call.path).or(leaf)))
    }

    /// Writes what changed since the last time.
    pub fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        for key in &self.touched {
            if let Some(api) = self.apis.get_mut(key) {
                api.write(connection, key)?;
            }
        }
        Ok(())
    }

    /// After a commit: what was written is the truth. Drops the APIs unused for longest when there are too many records.
    /// Returns how many APIs were dropped.
    pub fn settle(&mut self) -> u64 {
        self.touched.clear();
        let mut records: usize = self.apis.values().map(|api| api.rows.len()).sum();
        if records <= self.records_max {
            return 0;
        }
        let mut by_use: Vec<(u64, ApiKey)> = self
            .apis
            .iter()
            .map(|(key, api)| (api.used, key.clone()))
            .collect();
        by_use.sort_unstable_by_key(|(used, _)| *used);
        // The one used last stays, however large.
        by_use.pop();
        let kept = self.records_max / 100 * KEPT_PERCENT;
        let mut dropped = 0;
        for (_, key) in by_use {
            if records <= kept {
                break;
            }
            if let Some(api) = self.apis.remove(&key) {
                records -= api.rows.len();
                dropped += 1;
            }
        }
        dropped
    }

    /// After a failure: what is in memory is not in the database.
    pub fn forget_touched(&mut self) {
        for key in self.touched.drain() {
            self.apis.remove(&key);
        }
    }
}

impl Api {
    fn write(&mut self, connection: &Connection, key: &ApiKey) -> rusqlite::Result<()> {
        let dirty = std::mem::take(&mut self.dirty);
        let mut gone = Vec::new();
        for record in dirty {
            match self.catalog.record(record.leaf, record.method) {
                Some(bytes) => {
                    let known = self.rows.get(&record).map(|(row, _)| *row);
                    let row = leaves::put(connection, self.id, record, known, &bytes)?;
                    self.rows.entry(record).or_insert((row, None));
                }
                None => gone.push(record),
            }
        }
        let mut renamed = Vec::new();
        for record in gone {
            let Some((row, endpoint)) = self.rows.remove(&record) else {
                continue;
            };
            let into = RecordKey {
                leaf: self.folded_into(record.leaf),
                ..record
            };
            let into_row = self.row(connection, into)?;
            leaves::fold(connection, self.id, record, row, into, into_row)?;
            renamed.extend(endpoint.map(|endpoint| (endpoint, into)));
        }
        self.write_endpoints(connection, key)?;
        for (old, into) in renamed {
            let current = self.rows.get(&into).and_then(|(_, endpoint)| endpoint.as_ref());
            if let Some(current) = current.filter(|_| !self.endpoints.contains_key(&old)) {
                endpoints::put_alias(connection, &old, current)?;
            }
        }
        for ((record, minute), counts) in std::mem::take(&mut self.minutes) {
            let here = if self.rows.contains_key(&record) {
                record.leaf
            } else {
                self.folded_into(record.leaf)
            };
            let row = self.row(connection, RecordKey { leaf: here, ..record })?;
            leaves::add_minute(connection, row, minute, &counts)?;
        }
        self.folded.clear();
        Ok(())
    }

    /// The row of a record; made when the catalog has no such record, so that nothing counted is lost.
    fn row(&mut self, connection: &Connection, record: RecordKey) -> rusqlite::Result<i64> {
        if let Some((row, _)) = self.rows.get(&record) {
            return Ok(*row);
        }
        let row = leaves::put_empty(connection, self.id, record)?;
        self.rows.insert(record, (row, None));
        Ok(row)
    }

    /// Where a leaf's counts are now. Each step leads to a coarser leaf, so it ends.
    fn folded_into(&self, leaf: LeafId) -> LeafId {
        let mut into = leaf;
        while let Some(next) = self.folded.get(&into) {
            into = *next;
        }
        into
    }

    fn write_endpoints(&mut self, connection: &Connection, key: &ApiKey) -> rusqlite::Result<()> {
        let mut before = std::mem::take(&mut self.endpoints);
        for endpoint in self.catalog.endpoints() {
            let id = endpoint.id.to_string();
            let fingerprint = fingerprint(&endpoint);
            if before.remove(&id).flatten() != Some(fingerprint) {
                endpoints::put(connection, self.id, &to_row(key, id.clone(), &endpoint))?;
                for alias in &endpoint.aliases {
                    endpoints::put_alias(connection, &alias.to_string(), &id)?;
                }
            }
            for leaf in &endpoint.leaves {
                let record = RecordKey {
                    leaf: *leaf,
                    method: endpoint.method,
                };
                if let Some((row, belongs)) = self.rows.get_mut(&record)
                    && belongs.as_deref() != Some(id.as_str())
                {
                    leaves::belong(connection, *row, &id)?;
                    *belongs = Some(id.clone());
                }
            }
            self.endpoints.insert(id, Some(fingerprint));
        }
        for id in before.keys() {
            endpoints::remove(connection, id)?;
        }
        Ok(())
    }
}

/// Changes whenever a row of `endpoints` or its aliases would: a call counts, so equal counts are equal statistics.
fn fingerprint(endpoint: &catalog::Endpoint) -> u64 {
    let mut hasher = DefaultHasher::new();
    endpoint
        .stats
        .calls
        .iter()
        .for_each(|(_, calls)| calls.hash(&mut hasher));
    (&endpoint.template, endpoint.confirmed).hash(&mut hasher);
    endpoint
        .aliases
        .iter()
        .for_each(|alias| alias.0.hash(&mut hasher));
    hasher.finish()
}

fn load(connection: &Connection, key: &ApiKey, limits: &Limits) -> rusqlite::Result<Api> {
    let id = api_id(connection, key)?;
    let mut rows = BTreeMap::new();
    let mut records = Vec::new();
    for leaf in leaves::of_api(connection, id)? {
        rows.insert(leaf.record, (leaf.row, leaf.endpoint));
        records.extend(leaf.bytes);
    }
    let catalog = ApiCatalog::from_records(key.clone(), limits.clone(), records).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(error))
    })?;
    let mut list = connection.prepare_cached("SELECT id FROM endpoints WHERE api_id = ?1")?;
    let endpoints = list
        .query_map([id], |row| Ok((row.get(0)?, None)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Api {
        id,
        catalog,
        rows,
        endpoints,
        dirty: BTreeSet::new(),
        folded: BTreeMap::new(),
        minutes: HashMap::new(),
        used: 0,
    })
}

/// The API's row; made when it is new.
fn api_id(connection: &Connection, key: &ApiKey) -> rusqlite::Result<i64> {
    let columns = (&key.workload, &key.host, from_catalog(key.side).name());
    let mut find =
        connection.prepare_cached("SELECT id FROM _apis WHERE workload = ?1 AND host = ?2 AND side = ?3")?;
    if let Some(id) = find.query_row(columns, |row| row.get(0)).optional()? {
        return Ok(id);
    }
    connection.execute(
        "INSERT INTO _apis (workload, host, side) VALUES (?1, ?2, ?3)",
        columns,
    )?;
    Ok(connection.last_insert_rowid())
}

/// An endpoint with what its records say.
pub fn detail(
    connection: &Connection,
    endpoint: Endpoint,
    aliases: Vec<String>,
    minutes: Vec<Minute>,
) -> rusqlite::Result<EndpointDetail> {
    let key = ApiKey {
        workload: endpoint.workload.clone(),
        host: endpoint.host.clone(),
        side: to_catalog(endpoint.side),
    };
    let records = leaves::of_endpoint(connection, &endpoint.id)?;
    let part = ApiCatalog::from_records(key, Limits::default(), records).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(error))
    })?;
    // Alone, the leaves may look like several endpoints; their sum is this one.
    let mut stats = Stats::default();
    part.endpoints().iter().for_each(|part| stats.merge(&part.stats));
    let buckets = |histogram: &catalog::ExpHistogram| {
        histogram
            .buckets()
            .map(|(from, count)| HistogramBucket { from, count })
            .collect()
    };
    Ok(EndpointDetail {
        endpoint,
        aliases,
        minutes,
        latency_histogram: buckets(&stats.latency_us),
        request_bytes_histogram: buckets(&stats.request_bytes),
        response_bytes_histogram: buckets(&stats.response_bytes),
    })
}

fn to_row(key: &ApiKey, id: String, endpoint: &catalog::Endpoint) -> Endpoint {
    let stats = &endpoint.stats;
    Endpoint {
        id,
        workload: key.workload.clone(),
        host: key.host.clone(),
        side: from_catalog(key.side),
        method: endpoint.method.as_str().to_owned(),
        path: endpoint.template.clone(),
        confirmed: endpoint.confirmed,
        total: Counts::new(stats),
        window: None,
        latency_us: Quantiles::new(&stats.latency_us),
        clients: stats.clients.estimate(),
        first_seen: Timestamp::from_us(stats.first_seen_us),
        last_seen: Timestamp::from_us(stats.last_seen_us),
    }
}

fn to_catalog(side: Side) -> catalog::Side {
    match side {
        Side::Server => catalog::Side::Server,
        Side::Client => catalog::Side::Client,
    }
}

fn from_catalog(side: catalog::Side) -> Side {
    match side {
        catalog::Side::Server => Side::Server,
        catalog::Side::Client => Side::Client,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_served_as_the_report_of_the_endpoint() {
        let key = ApiKey {
            workload: "shop".to_owned(),
            host: "shop.test:8080".to_owned(),
            side: catalog::Side::Client,
        };
        let mut node = catalog::NodeCatalog::new(Limits::default());
        for (status, latency_us) in [
            (Some(200), Some(70)),
            (Some(404), Some(9)),
            (Some(503), Some(4000)),
            (None, None),
        ] {
            node.observe(
                &key,
                &catalog::Observation {
                    method: "GET",
                    path: b"/users/1",
                    status,
                    latency_us,
                    request_bytes: 100,
                    response_bytes: 2000,
                    client: latency_us.unwrap_or(0),
                    ts_us: 1_750_744_800_123_456,
                    weight: 1,
                },
            );
        }
        let mut api = ApiCatalog::new(key.clone(), Limits::default());
        node.take_delta().iter().for_each(|delta| {
            api.merge(delta);
        });
        let endpoints = api.endpoints();
        assert_eq!(endpoints.len(), 1);
        for endpoint in &endpoints {
            let row = to_row(&key, endpoint.id.to_string(), endpoint);
            let report = catalog::EndpointReport::new(&key, endpoint);
            assert_eq!(
                serde_json::to_value(row).unwrap(),
                serde_json::to_value(report).unwrap()
            );
        }
    }
}
