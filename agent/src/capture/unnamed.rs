//! What the programs count without a name: connections of other protocols, and those that the kernel itself encrypts. Nobody tells the
//! agent of them one by one, so they count for the node as a whole.

use agent_common::Counter;

use super::Capture;
use crate::tracker::Class;

/// Connections and bytes since the last call, of one class.
pub type Increment = (Class, u64, u64);

/// TLS of the kernel itself (kTLS), as its counter is named.
const KERNEL_TLS: Class = Class::Undecrypted {
    library: "kernel",
    reason: Counter::KernelTls.name(),
};

/// What the counters said when they were last looked at.
#[derive(Debug, Default)]
pub struct Unnamed {
    /// Of other protocols: connections and bytes. Of TLS sessions that carry other protocols it is their plaintext.
    other: [u64; 2],
    /// Of the kernel's own TLS.
    kernel_tls: [u64; 2],
}

fn more(known: &mut [u64; 2], now: [u64; 2], class: Class) -> Increment {
    let [connections, bytes] = std::mem::replace(known, now);
    let [connections_now, bytes_now] = now;
    (
        class,
        connections_now.saturating_sub(connections),
        bytes_now.saturating_sub(bytes),
    )
}

impl Unnamed {
    /// What is new. `read` gives events and bytes of a counter; nothing is new while one cannot be read.
    pub fn take<E>(&mut self, read: impl Fn(Counter) -> Result<(u64, u64), E>) -> Result<[Increment; 2], E> {
        let (connections, _) = read(Counter::NotHttpConnections)?;
        let (_, bytes) = read(Counter::NotHttp)?;
        let (kernel_tls, kernel_tls_bytes) = read(Counter::KernelTls)?;
        Ok([
            more(&mut self.other, [connections, bytes], Class::Other),
            more(&mut self.kernel_tls, [kernel_tls, kernel_tls_bytes], KERNEL_TLS),
        ])
    }
}

impl Capture {
    /// Looks at the counters.
    pub(super) fn count_unnamed(&mut self) {
        match self.unnamed.take(|counter| self.loaded.counters.read(counter)) {
            Ok(increments) => {
                for (class, connections, bytes) in increments {
                    self.tracker.count_unnamed(class, connections, bytes);
                }
            }
            Err(error) => tracing::warn!(%error, "counters of the programs cannot be read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_told_once() {
        let mut unnamed = Unnamed::default();
        let counters = |connections, bytes, kernel| {
            move |counter| match counter {
                Counter::NotHttpConnections => Ok((connections, 0)),
                Counter::NotHttp => Ok((999, bytes)),
                Counter::KernelTls if kernel > 0 => Ok((1, kernel)),
                _ => Err("no such counter"),
            }
        };
        let told = unnamed.take(counters(2, 100, 70)).unwrap();
        assert_eq!(told, [(Class::Other, 2, 100), (KERNEL_TLS, 1, 70)]);
        assert_eq!(unnamed.take(counters(5, 500, 0)), Err("no such counter"));
        let told = unnamed.take(counters(3, 130, 70)).unwrap();
        assert_eq!(told, [(Class::Other, 1, 30), (KERNEL_TLS, 0, 0)]);
    }
}
