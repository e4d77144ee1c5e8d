//! What the hook itself costs a transfer: the trap, finding the connection's state, and leaving again.
//!
//! Measured at start-up on a connection of the agent with itself: receiving single bytes that are there already is the cheapest
//! transfer there is, it passes every provider's hook once, and the programs leave the agent's own connections alone. The best of many
//! short rounds with the programs less the best of as many without; the best of a round is what nothing interrupted. On a quiet machine
//! that is true to a tenth; on one with four times more threads than cores one start in four was far off, so what is measured is believed
//! within a factor of two of what was measured for the provider elsewhere.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Bytes received one by one in a round.
const ROUND_BYTES: u32 = 64;
/// Rounds in a row, which take less than a millisecond …
const ROUNDS: usize = 16;
/// … and how often, with a pause before each: whatever slows the processor down may last longer than a row.
const ROWS: usize = 16;
/// The pause.
const PAUSE: Duration = Duration::from_millis(1);
/// A connection with itself that hands nothing over for so long is not to be had.
const PATIENCE: Duration = Duration::from_secs(1);
/// How far what is measured may be from what is usual.
const FACTOR_MAX: f64 = 2.0;

/// A connection with itself.
#[derive(Debug)]
pub struct Probe {
    sender: TcpStream,
    receiver: TcpStream,
}

impl Probe {
    /// Connects.
    ///
    /// # Errors
    /// The system's.
    pub fn new() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let sender = TcpStream::connect(listener.local_addr()?)?;
        let receiver = loop {
            let (stream, from) = listener.accept()?;
            // Anyone may have connected.
            if from == sender.local_addr()? {
                break stream;
            }
        };
        sender.set_nodelay(true)?;
        receiver.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { sender, receiver })
    }

    /// Nanoseconds of one transfer, as things are.
    ///
    /// # Errors
    /// The system's.
    pub fn transfer_ns(&mut self) -> std::io::Result<f64> {
        let mut best = Duration::MAX;
        for round in 0..ROWS * ROUNDS {
            if round % ROUNDS == 0 {
                std::thread::sleep(PAUSE);
            }
            self.sender.write_all(&[0; ROUND_BYTES as usize])?;
            let mut byte = [0];
            let began = Instant::now();
            for _ in 0..ROUND_BYTES {
                self.receiver.read_exact(&mut byte)?;
            }
            best = best.min(began.elapsed());
        }
        Ok(best.as_secs_f64() * 1e9 / f64::from(ROUND_BYTES))
    }
}

/// What the hook costs, from a transfer without and with it, and what is usual; nanoseconds.
#[must_use]
pub fn hook_ns(without_ns: f64, with_ns: f64, usual_ns: f64) -> f64 {
    (with_ns - without_ns).clamp(usual_ns / FACTOR_MAX, usual_ns * FACTOR_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_within_reason() {
        for (without, with, expect) in [
            (300.0, 420.0, 120.0),
            (300.0, 290.0, 50.0),
            (300.0, 9_000.0, 200.0),
        ] {
            assert_eq!(hook_ns(without, with, 100.0), expect);
        }
    }

    #[test]
    fn every_byte_of_a_measurement_is_received() {
        let mut probe = Probe::new().unwrap();
        let took = probe.transfer_ns().unwrap();
        assert!(took.is_finite() && took > 0.0, "{took}");
        // Whatever was sent was received: the next measurement begins with nothing to read.
        probe.receiver.set_nonblocking(true).unwrap();
        let left = probe.receiver.read(&mut [0]).unwrap_err();
        assert_eq!(left.kind(), std::io::ErrorKind::WouldBlock);
    }
}
