//! Batches from the spool to the collector, policy back.
