-- Version 4: of which workloads an agent captures less than everything. `lowered` is JSON as `drops` is, `lowered_more` counts those
-- beyond it.

ALTER TABLE agents ADD COLUMN lowered TEXT NOT NULL DEFAULT '[]';
ALTER TABLE agents ADD COLUMN lowered_more INTEGER NOT NULL DEFAULT 0;
