//! Batches on disk until the collector has acknowledged them.
