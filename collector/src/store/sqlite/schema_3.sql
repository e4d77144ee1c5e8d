-- Version 3: what became of the bytes that workloads moved, by minute. Nobody counted them before.

-- `kind` is read, left_out (on purpose) or missed; the capture rate is read / (read + missed). `minute` counts from the Unix epoch.
CREATE TABLE coverage (
    workload TEXT NOT NULL,
    node TEXT NOT NULL,
    provider TEXT NOT NULL,
    minute INTEGER NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (workload, node, provider, minute, kind, reason)
) WITHOUT ROWID;
