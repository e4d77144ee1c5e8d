-- Version 1. Tables and views without a leading underscore are for people: their columns are stable.
-- Times (`…_us`) are Unix epoch microseconds UTC, `minute` counts minutes since the epoch, sizes are bytes.

-- Settings of the collector itself: the policy and the fingerprint key.
CREATE TABLE _meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

-- Runs of agents, and which batches of each were applied: exactly once by (node, boot, sequence).
CREATE TABLE _boots (
    id INTEGER PRIMARY KEY,
    node TEXT NOT NULL,
    boot TEXT NOT NULL,
    sequence_max INTEGER NOT NULL DEFAULT 0,
    batches INTEGER NOT NULL DEFAULT 0,
    batches_rejected INTEGER NOT NULL DEFAULT 0,
    last_rejection TEXT NOT NULL DEFAULT '',
    last_seen_us INTEGER NOT NULL,
    UNIQUE (node, boot)
);
CREATE TABLE _applied (
    boot_id INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (boot_id, sequence)
) WITHOUT ROWID;

-- One API: a workload, the host it is called by, the end it was seen at (`server`, `client`).
CREATE TABLE _apis (
    id INTEGER PRIMARY KEY,
    workload TEXT NOT NULL,
    host TEXT NOT NULL,
    side TEXT NOT NULL,
    UNIQUE (workload, host, side)
);

-- The catalog as it was merged: one record per (API, leaf of the path trie, method), and the endpoint that it is part of now.
CREATE TABLE _leaves (
    id INTEGER PRIMARY KEY,
    api_id INTEGER NOT NULL,
    leaf BLOB NOT NULL,
    method TEXT NOT NULL,
    endpoint_id TEXT,
    record BLOB,
    UNIQUE (api_id, leaf, method)
);
CREATE INDEX _leaves_endpoint ON _leaves (endpoint_id);

CREATE TABLE _leaf_minutes (
    leaf_id INTEGER NOT NULL,
    minute INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    status_1xx INTEGER NOT NULL,
    status_2xx INTEGER NOT NULL,
    status_3xx INTEGER NOT NULL,
    status_4xx INTEGER NOT NULL,
    status_5xx INTEGER NOT NULL,
    status_none INTEGER NOT NULL,
    duration_us_sum INTEGER NOT NULL,
    request_bytes INTEGER NOT NULL,
    response_bytes INTEGER NOT NULL,
    PRIMARY KEY (leaf_id, minute)
) WITHOUT ROWID;

-- Operations: a method on a path template of an API. Derived from `_leaves`, kept current in the same transaction.
CREATE TABLE endpoints (
    id TEXT PRIMARY KEY,
    api_id INTEGER NOT NULL,
    workload TEXT NOT NULL,
    host TEXT NOT NULL,
    side TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    confirmed INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    status_1xx INTEGER NOT NULL,
    status_2xx INTEGER NOT NULL,
    status_3xx INTEGER NOT NULL,
    status_4xx INTEGER NOT NULL,
    status_5xx INTEGER NOT NULL,
    status_none INTEGER NOT NULL,
    duration_us_sum INTEGER NOT NULL,
    request_bytes INTEGER NOT NULL,
    response_bytes INTEGER NOT NULL,
    latency_us_p50 INTEGER NOT NULL,
    latency_us_p95 INTEGER NOT NULL,
    latency_us_p99 INTEGER NOT NULL,
    clients INTEGER NOT NULL,
    first_seen_us INTEGER NOT NULL,
    last_seen_us INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX _endpoints_api ON endpoints (api_id);
CREATE INDEX _endpoints_order ON endpoints (host, path, method, workload, side, id);

-- Ids that endpoints had before their templates were learnt better.
CREATE TABLE endpoint_aliases (
    alias TEXT PRIMARY KEY,
    endpoint_id TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX _endpoint_aliases_endpoint ON endpoint_aliases (endpoint_id);

-- What every endpoint did in every minute: exact, whatever share of the calls is kept.
CREATE VIEW endpoint_minutes AS
SELECT
    l.endpoint_id AS endpoint_id,
    m.minute AS minute,
    SUM(m.calls) AS calls,
    SUM(m.status_1xx) AS status_1xx,
    SUM(m.status_2xx) AS status_2xx,
    SUM(m.status_3xx) AS status_3xx,
    SUM(m.status_4xx) AS status_4xx,
    SUM(m.status_5xx) AS status_5xx,
    SUM(m.status_none) AS status_none,
    SUM(m.duration_us_sum) AS duration_us_sum,
    SUM(m.request_bytes) AS request_bytes,
    SUM(m.response_bytes) AS response_bytes
FROM _leaf_minutes m JOIN _leaves l ON l.id = m.leaf_id
WHERE l.endpoint_id IS NOT NULL
GROUP BY l.endpoint_id, m.minute;

CREATE TABLE _calls (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    boot_id INTEGER NOT NULL,
    api_id INTEGER NOT NULL,
    leaf BLOB,
    leaf_method TEXT NOT NULL,
    ts_us INTEGER NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    query_names TEXT NOT NULL,
    status INTEGER,
    request_bytes INTEGER NOT NULL,
    response_bytes INTEGER NOT NULL,
    request_body_bytes INTEGER NOT NULL,
    response_body_bytes INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    ttfb_us INTEGER NOT NULL,
    protocol TEXT NOT NULL,
    flags INTEGER NOT NULL,
    client_workload TEXT NOT NULL,
    client_address TEXT NOT NULL,
    server_workload TEXT NOT NULL,
    server_address TEXT NOT NULL,
    request_headers TEXT NOT NULL,
    response_headers TEXT NOT NULL,
    weight INTEGER NOT NULL,
    pid INTEGER NOT NULL
);
CREATE INDEX _calls_ts ON _calls (ts_us, seq);
CREATE INDEX _calls_leaf ON _calls (api_id, leaf, ts_us, seq);

-- Individual calls, bounded by rows and age. `query_names` and the headers are JSON, `flags` a bit set: 1 truncated, 2 gap,
-- 4 late_join, 8 unpaired, 16 socket_guessed.
CREATE VIEW calls AS
SELECT
    lower(hex(c.id)) AS id,
    b.node AS node,
    c.ts_us AS ts_us,
    l.endpoint_id AS endpoint_id,
    a.workload AS workload,
    a.host AS host,
    a.side AS side,
    c.method AS method,
    c.path AS path,
    c.query_names AS query_names,
    c.status AS status,
    c.request_bytes AS request_bytes,
    c.response_bytes AS response_bytes,
    c.request_body_bytes AS request_body_bytes,
    c.response_body_bytes AS response_body_bytes,
    c.duration_us AS duration_us,
    c.ttfb_us AS ttfb_us,
    c.protocol AS protocol,
    c.flags AS flags,
    c.client_workload AS client_workload,
    c.client_address AS client_address,
    c.server_workload AS server_workload,
    c.server_address AS server_address,
    c.request_headers AS request_headers,
    c.response_headers AS response_headers,
    c.weight AS weight,
    c.pid AS pid
FROM _calls c
JOIN _apis a ON a.id = c.api_id
JOIN _boots b ON b.id = c.boot_id
LEFT JOIN _leaves l ON l.api_id = c.api_id AND l.leaf = c.leaf AND l.method = c.leaf_method;

-- Who calls whom.
CREATE TABLE edges (
    id INTEGER PRIMARY KEY,
    client_workload TEXT NOT NULL,
    client_address TEXT NOT NULL,
    server_workload TEXT NOT NULL,
    server_address TEXT NOT NULL,
    server_port INTEGER NOT NULL,
    host TEXT NOT NULL,
    protocol TEXT NOT NULL,
    side TEXT NOT NULL,
    calls INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    request_bytes INTEGER NOT NULL,
    response_bytes INTEGER NOT NULL,
    duration_us_sum INTEGER NOT NULL,
    first_seen_us INTEGER NOT NULL,
    last_seen_us INTEGER NOT NULL,
    UNIQUE (client_workload, client_address, server_workload, server_address, server_port, host, protocol, side)
);
CREATE TABLE edge_minutes (
    edge_id INTEGER NOT NULL,
    minute INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    request_bytes INTEGER NOT NULL,
    response_bytes INTEGER NOT NULL,
    duration_us_sum INTEGER NOT NULL,
    PRIMARY KEY (edge_id, minute)
) WITHOUT ROWID;

-- What runs on the nodes and speaks HTTP.
CREATE TABLE workloads (
    name TEXT NOT NULL,
    node TEXT NOT NULL,
    kind TEXT NOT NULL,
    executable TEXT NOT NULL,
    command TEXT NOT NULL,
    user TEXT NOT NULL,
    container_id TEXT NOT NULL,
    container_runtime TEXT NOT NULL,
    systemd_unit TEXT NOT NULL,
    cgroup_id INTEGER NOT NULL,
    netns INTEGER NOT NULL,
    pid INTEGER NOT NULL,
    first_seen_us INTEGER NOT NULL,
    last_seen_us INTEGER NOT NULL,
    PRIMARY KEY (name, node)
) WITHOUT ROWID;

-- Node agents. `drops` is JSON.
CREATE TABLE agents (
    node TEXT PRIMARY KEY,
    boot TEXT NOT NULL,
    version TEXT NOT NULL DEFAULT '',
    provider TEXT NOT NULL DEFAULT '',
    kernel TEXT NOT NULL DEFAULT '',
    hostname TEXT NOT NULL DEFAULT '',
    first_seen_us INTEGER NOT NULL,
    last_seen_us INTEGER NOT NULL,
    started_us INTEGER NOT NULL DEFAULT 0,
    status_us INTEGER NOT NULL DEFAULT 0,
    policy_version INTEGER NOT NULL DEFAULT 0,
    policy_error TEXT NOT NULL DEFAULT '',
    connections INTEGER NOT NULL DEFAULT 0,
    exchanges INTEGER NOT NULL DEFAULT 0,
    resident_bytes INTEGER NOT NULL DEFAULT 0,
    drops TEXT NOT NULL DEFAULT '[]'
) WITHOUT ROWID;
