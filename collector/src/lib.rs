//! The collector: takes what the node agents know, keeps it in one store, and answers questions about it.
//!
//! The way of the data: [`ingest`] (gRPC streams of batches) → [`store`] (each batch applied exactly once, durable before it
//! is acknowledged) → [`api`] (typed queries over HTTP) → [`cli`] (the client of that API). [`serve`] wires them together.
//!
//! Invariants: nothing is acknowledged before it is durable; a batch is applied whole or not at all; no table in memory grows
//! with calls, endpoints or history; every limit is named, counted and visible on `/metrics`.
#![forbid(unsafe_code)]

pub mod api;
pub mod cli;
pub mod config;
pub mod ingest;
pub mod metrics;
pub mod serve;
pub mod store;
#[cfg(test)]
mod testing;
pub mod timestamp;
