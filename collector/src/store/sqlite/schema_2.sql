-- Version 2: what speaks on top of HTTP. All that was seen before it is HTTP alone.

ALTER TABLE _calls ADD COLUMN application TEXT NOT NULL DEFAULT 'http';
ALTER TABLE _calls ADD COLUMN operation TEXT NOT NULL DEFAULT '';
ALTER TABLE _calls ADD COLUMN rpc_status INTEGER;
ALTER TABLE _calls ADD COLUMN rpc_error INTEGER NOT NULL DEFAULT 0;
ALTER TABLE _calls ADD COLUMN request_messages INTEGER NOT NULL DEFAULT 0;
ALTER TABLE _calls ADD COLUMN response_messages INTEGER NOT NULL DEFAULT 0;
ALTER TABLE _calls ADD COLUMN request_message_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE _calls ADD COLUMN response_message_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE _calls ADD COLUMN streaming TEXT NOT NULL DEFAULT '';
ALTER TABLE _calls ADD COLUMN headers_unknown INTEGER NOT NULL DEFAULT 0;

-- Individual calls, bounded by rows and age. `query_names` and the headers are JSON, `flags` a bit set: 1 truncated, 2 gap,
-- 4 late_join, 8 unpaired, 16 socket_guessed.
DROP VIEW calls;
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
    c.pid AS pid,
    c.application AS application,
    c.operation AS operation,
    c.rpc_status AS rpc_status,
    c.rpc_error AS rpc_error,
    c.request_messages AS request_messages,
    c.response_messages AS response_messages,
    c.request_message_bytes AS request_message_bytes,
    c.response_message_bytes AS response_message_bytes,
    c.streaming AS streaming,
    c.headers_unknown AS headers_unknown
FROM _calls c
JOIN _apis a ON a.id = c.api_id
JOIN _boots b ON b.id = c.boot_id
LEFT JOIN _leaves l ON l.api_id = c.api_id AND l.leaf = c.leaf AND l.method = c.leaf_method;

-- Who calls whom, and over what. SQLite cannot change what makes a row unique, so the table is made anew; ids stay, `edge_minutes`
-- refers to them.
ALTER TABLE edges RENAME TO _edges_1;
CREATE TABLE edges (
    id INTEGER PRIMARY KEY,
    client_workload TEXT NOT NULL,
    client_address TEXT NOT NULL,
    server_workload TEXT NOT NULL,
    server_address TEXT NOT NULL,
    server_port INTEGER NOT NULL,
    host TEXT NOT NULL,
    protocol TEXT NOT NULL,
    application TEXT NOT NULL,
    side TEXT NOT NULL,
    calls INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    request_bytes INTEGER NOT NULL,
    response_bytes INTEGER NOT NULL,
    duration_us_sum INTEGER NOT NULL,
    first_seen_us INTEGER NOT NULL,
    last_seen_us INTEGER NOT NULL,
    UNIQUE (client_workload, client_address, server_workload, server_address, server_port, host, protocol, application, side)
);
INSERT INTO edges (id, client_workload, client_address, server_workload, server_address, server_port, host, protocol, application,
    side, calls, errors, request_bytes, response_bytes, duration_us_sum, first_seen_us, last_seen_us)
SELECT id, client_workload, client_address, server_workload, server_address, server_port, host, protocol, 'http',
    side, calls, errors, request_bytes, response_bytes, duration_us_sum, first_seen_us, last_seen_us
FROM _edges_1;
DROP TABLE _edges_1;
