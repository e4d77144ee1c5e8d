//! The present state, for the status of the agent.

use serde::{Deserialize, Serialize};

/// Endpoints by how much of them is captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// One call in so many; 1: all.
    pub every: u32,
    /// Endpoints.
    pub endpoints: u64,
}

/// See the module's description.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// It is in force.
    pub enabled: bool,
    /// Sorted; those without endpoints are left out.
    pub levels: Vec<Level>,
    /// Connections that are watched.
    pub connections: u64,
    /// Those of which not all is captured.
    pub connections_resting: u64,
    /// What all of this keeps in memory, bytes.
    pub bytes: u64,
}
