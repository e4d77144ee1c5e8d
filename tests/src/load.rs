//! An exact number of requests over many connections.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::http::Client;

/// Threads that send. Few, so that what is measured gets its share of the processors.
const THREADS: usize = 4;

/// Between the rounds of [`Load::busy`].
const PAUSE: Duration = Duration::from_millis(20);

/// Connections that stay open between bursts.
#[derive(Debug)]
pub struct Load {
    /// The connections of each thread.
    threads: Vec<Mutex<Vec<Client>>>,
    address: SocketAddr,
    next: AtomicU64,
}

impl Load {
    /// Opens connections.
    ///
    /// # Panics
    /// The server does not accept them.
    #[must_use]
    pub fn connect(address: SocketAddr, connections: usize) -> Self {
        let mut threads: Vec<Vec<Client>> = (0..THREADS).map(|_| Vec::new()).collect();
        for number in 0..connections {
            threads[number % THREADS].push(Client::connect(address).unwrap());
        }
        Self {
            threads: threads.into_iter().map(Mutex::new).collect(),
            address,
            next: AtomicU64::new(1),
        }
    }

    /// Each connection sends `count` requests for `path`, the next after the response to the one before. Gives the sequence numbers
    /// used, first and last + 1.
    ///
    /// # Panics
    /// A request is not answered with 200 and its own sequence number.
    pub fn run(&self, count: u64, path: &str) -> (u64, u64) {
        let first = self.next();
        thread::scope(|scope| {
            for connections in &self.threads {
                scope.spawn(move || {
                    let mut connections = connections.lock().unwrap();
                    for _ in 0..count {
                        self.round(&mut connections, path);
                    }
                });
            }
        });
        (first, self.next())
    }

    /// Each connection in turn sends one request for each path, with `between` after them. Gives the sequence numbers used, as [`Self::run`].
    ///
    /// # Panics
    /// As [`Self::run`].
    pub fn one_by_one(&self, paths: &[&str], mut between: impl FnMut()) -> (u64, u64) {
        let first = self.next();
        for connections in &self.threads {
            for client in connections.lock().unwrap().iter_mut() {
                for path in paths {
                    self.round(std::slice::from_mut(client), path);
                }
                between();
            }
        }
        (first, self.next())
    }

    /// Keeps all connections busy while `work` runs. Gives its result.
    pub fn busy<T>(&self, path: &str, work: impl FnOnce() -> T) -> T {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for connections in &self.threads {
                let stop = &stop;
                scope.spawn(move || {
                    let mut connections = connections.lock().unwrap();
                    while !stop.load(Ordering::SeqCst) {
                        self.round(&mut connections, path);
                        // As an application does that has something else to do as well.
                        thread::sleep(PAUSE);
                    }
                });
            }
            let _stop = StopOnDrop(&stop);
            work()
        })
    }

    /// The sequence number that comes next: all before have been used.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next.load(Ordering::SeqCst)
    }

    /// One request on each connection, then all responses.
    fn round(&self, connections: &mut [Client], path: &str) {
        let host = self.address;
        let sent: Vec<String> = connections
            .iter_mut()
            .map(|client| {
                let sequence = self.next.fetch_add(1, Ordering::SeqCst).to_string();
                let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nx-seq: {sequence}\r\n\r\n");
                client.send(head.as_bytes());
                sequence
            })
            .collect();
        for (client, sequence) in connections.iter_mut().zip(sent) {
            let response = client.response(false);
            assert_eq!(response.status, 200);
            assert_eq!(response.header("x-seq"), Some(sequence.as_str()));
        }
    }
}

/// Also when the work panics: its threads would run for ever.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
