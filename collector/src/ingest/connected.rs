//! Which agents are connected now.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Nodes with an open stream. Bounded by the limit on streams. Cheap to clone.
#[derive(Clone, Default)]
pub struct Connected(Arc<Mutex<HashMap<String, usize>>>);

impl Connected {
    /// Notes a stream of this node until the guard is dropped.
    #[must_use]
    pub fn enter(&self, node: &str) -> Guard {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *nodes.entry(node.to_owned()).or_default() += 1;
        Guard {
            connected: self.clone(),
            node: node.to_owned(),
        }
    }

    /// Whether this node has an open stream.
    #[must_use]
    pub fn contains(&self, node: &str) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(node)
    }
}

/// An open stream.
pub struct Guard {
    connected: Connected,
    node: String,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut nodes = self.connected.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(streams) = nodes.get_mut(&self.node) {
            *streams -= 1;
            if *streams == 0 {
                nodes.remove(&self.node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_connected_while_any_of_its_streams_is() {
        let connected = Connected::default();
        let first = connected.enter("a");
        let second = connected.enter("a");
        drop(first);
        assert!(connected.contains("a"));
        assert!(!connected.contains("b"));
        drop(second);
        assert!(!connected.contains("a"));
    }
}
