-- Version 6: what carried the bytes that workloads moved. All that was counted before went in the clear.

-- `class` is http, tls_decrypted, tls_undecrypted, or other (taken for HTTP, and not, or no more); `library` the one of TLS, '' where
-- nobody knows or there is none.
-- Of `kind` read, left_out (on purpose) and missed `bytes` are what was said, by `reason`; the capture rate is read / (read + missed).
-- Of `kind` wire they are what the sockets moved by the kernel's own counts, of TLS as encrypted; there `connections` are counted, and
-- `reason` is why TLS is not decrypted. One that changes its class counts in each. `minute` counts from the Unix epoch.
ALTER TABLE coverage RENAME TO _coverage_in_the_clear;
CREATE TABLE coverage (
    workload TEXT NOT NULL,
    node TEXT NOT NULL,
    provider TEXT NOT NULL,
    minute INTEGER NOT NULL,
    class TEXT NOT NULL,
    library TEXT NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    connections INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (workload, node, provider, minute, class, library, kind, reason)
) WITHOUT ROWID;
INSERT INTO coverage (workload, node, provider, minute, class, library, kind, reason, bytes)
SELECT workload, node, provider, minute, iif(reason = 'other_protocol', 'other', 'http'), '', kind, reason, bytes
FROM _coverage_in_the_clear;
DROP TABLE _coverage_in_the_clear;
