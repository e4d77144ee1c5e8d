-- Version 5: the TLS session that a call went through. All that was seen before it went in the clear.

ALTER TABLE _calls ADD COLUMN tls_version TEXT NOT NULL DEFAULT '';
ALTER TABLE _calls ADD COLUMN tls_cipher TEXT NOT NULL DEFAULT '';
ALTER TABLE _calls ADD COLUMN tls_server_name TEXT NOT NULL DEFAULT '';
ALTER TABLE _calls ADD COLUMN tls_alpn TEXT NOT NULL DEFAULT '';
ALTER TABLE _calls ADD COLUMN tls_ja4 TEXT NOT NULL DEFAULT '';
ALTER TABLE _calls ADD COLUMN tls_library TEXT NOT NULL DEFAULT '';

-- Individual calls, bounded by rows and age. `query_names` and the headers are JSON, `flags` a bit set: 1 truncated, 2 gap,
-- 4 late_join, 8 unpaired, 16 socket_guessed. Of a call that went in the clear all of `tls_` is empty; of one that went through TLS
-- `tls_library` never is, and the others where they are not known.
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
    c.headers_unknown AS headers_unknown,
    c.tls_version AS tls_version,
    c.tls_cipher AS tls_cipher,
    c.tls_server_name AS tls_server_name,
    c.tls_alpn AS tls_alpn,
    c.tls_ja4 AS tls_ja4,
    c.tls_library AS tls_library
FROM _calls c
JOIN _apis a ON a.id = c.api_id
JOIN _boots b ON b.id = c.boot_id
LEFT JOIN _leaves l ON l.api_id = c.api_id AND l.leaf = c.leaf AND l.method = c.leaf_method;
