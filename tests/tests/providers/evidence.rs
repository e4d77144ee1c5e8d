//! What was sent, and how it is compared with what was stored.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tests::api::Call;
use tests::http::Response;
use tests::servers::Server;
use tests::{Metrics, Node, until_within};

use super::cost;

/// Longest wait for one more call to be stored.
const GROWTH: Duration = Duration::from_secs(10);

/// One request that was answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sent {
    pub method: &'static str,
    pub status: u16,
    /// Of request and response on the wire, where the client knows them.
    pub bytes: Option<[u64; 2]>,
    /// The number that the server repeats, where it does.
    pub sequence: Option<u64>,
}

impl Sent {
    /// By a client that knows the sizes.
    pub fn counted(request: &str, sequence: Option<u64>, response: &Response) -> Self {
        Self {
            method: if request.starts_with("POST ") {
                "POST"
            } else {
                "GET"
            },
            status: response.status,
            bytes: Some([request.len() as u64, response.wire_bytes]),
            sequence,
        }
    }

    /// By a client that only says that it was answered with 200.
    pub fn plain(method: &'static str, sequence: Option<u64>) -> Self {
        Self {
            method,
            status: 200,
            bytes: None,
            sequence,
        }
    }
}

/// All that one check sent to one server. Keeps the server alive until it is judged.
#[derive(Debug)]
pub struct Evidence {
    pub port: u16,
    pub sent: Vec<Sent>,
    /// Parts of the clients' names: they took turns by the requests' numbers.
    pub clients: &'static [&'static str],
    /// Part of the server's name.
    pub server: &'static str,
    /// In a burst the agent may lose what it counts as lost.
    pub losses: Losses,
    pub _process: Option<Server>,
}

/// Calls of a burst that may be missing, of all.
const LOST_MAX_PERCENT: usize = 10;

/// Calls that may not be whole, of all, where the kernel says that it left out runs of programs. It does while a thread waits for a
/// processor that was taken from it in a program: where processors are emulated programs take a third of the time.
const LEFT_OUT_MAX_PERCENT: usize = 30;

/// Whether calls may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Losses {
    None,
    /// At most as many as the agent reports, and [`LOST_MAX_PERCENT`] of all.
    Counted,
}

impl Evidence {
    /// Waits until everything is stored, or until what arrives has stopped growing; the judgement then says what is missing.
    pub fn until_stored(&self, node: &Node) {
        let mut stored = 0;
        while stored < self.sent.len() as u64 {
            let grown = catch_unwind(AssertUnwindSafe(|| {
                until_within(GROWTH, "more calls are stored", || {
                    let now = node.api().call_count(self.port);
                    (now > stored).then_some(now)
                })
            }));
            match grown {
                Ok(now) => stored = now,
                Err(_) => return,
            }
        }
    }

    /// Figures.
    ///
    /// # Panics
    /// What is stored is not what was sent.
    pub fn judge(&self, stored: &Stored) -> String {
        let calls = stored.of(self.port);
        let wanted = tally(self.sent.iter().map(|sent| format!("{sent:?}")));
        let found = tally(calls.iter().map(|call| format!("{:?}", self.read(call))));
        let differences: Vec<String> = wanted
            .keys()
            .chain(found.keys().filter(|what| !wanted.contains_key(*what)))
            .map(|what| (what, number(&wanted, what), number(&found, what)))
            .filter(|(_, wanted, found)| wanted != found)
            .map(|(what, wanted, found)| format!("sent {wanted}, stored {found}: {what}"))
            .collect();
        let missing = self.sent.len().saturating_sub(calls.len());
        let only_missing = differences.len() <= missing && calls.len() <= self.sent.len();
        let is_counted = missing as u64 <= stored.lost && 100 * missing <= LOST_MAX_PERCENT * self.sent.len();
        let excused = self.losses == Losses::Counted && only_missing && is_counted;
        // Of what the kernel left out nothing is stored, or a call that says that it is not whole.
        let whole: Vec<_> = calls.iter().filter(|call| call.flags.is_empty()).collect();
        let found_whole = tally(whole.iter().map(|call| format!("{:?}", self.read(call))));
        let broken = self.sent.len().saturating_sub(whole.len());
        let was_left_out = calls.len() <= self.sent.len()
            && found_whole
                .iter()
                .all(|(what, found)| *found <= number(&wanted, what))
            && broken as u64 <= stored.left_out
            && 100 * broken <= LEFT_OUT_MAX_PERCENT * self.sent.len();
        assert!(
            differences.is_empty() || excused || was_left_out,
            "sent {}, stored {}, reported as lost {}, runs left out by the kernel {}: {}\nrows that are not as sent: {}",
            self.sent.len(),
            calls.len(),
            stored.lost,
            stored.left_out,
            differences.join("; "),
            calls
                .iter()
                .filter(|call| {
                    let read = format!("{:?}", self.read(call));
                    number(&wanted, &read) != number(&found, &read)
                })
                .map(|call| call.row.to_string())
                .collect::<Vec<_>>()
                .join(" ")
        );
        let named = |call: &&&Call| {
            let Call {
                client_workload,
                server_workload,
                row,
                ..
            } = call;
            let client_is_known = !client_workload.is_empty();
            let client = self.client_of(call);
            let right = !client_is_known || client_workload.contains(client);
            assert!(
                right && server_workload.contains(self.server),
                "not by {client} to {}: {row}",
                self.server
            );
            client_is_known
        };
        // A server may have answered before the kernel comes to tell that the client has asked: then the row cannot name the client.
        // That is rare where processors are real.
        let unnamed = calls.len() - calls.iter().filter(named).count();
        let left_out = if differences.is_empty() || excused {
            String::new()
        } else {
            format!(", {broken} left out by the kernel, in whole or in part")
        };
        format!(
            "{} of {}, {unnamed} without the client's name{left_out}",
            calls.len(),
            self.sent.len()
        )
    }

    /// Part of the name of the client that sent this.
    fn client_of(&self, call: &Call) -> &'static str {
        let number: usize = call
            .response_header("x-seq")
            .and_then(|number| number.parse().ok())
            .unwrap_or(0);
        self.clients[number % self.clients.len()]
    }

    /// A stored call in terms of what is known of what was sent.
    fn read(&self, call: &Call) -> Sent {
        let method = match call.method.as_str() {
            "GET" => "GET",
            "POST" => "POST",
            _ => "another",
        };
        let known = self.sent.first();
        Sent {
            method,
            status: call.status,
            bytes: known
                .and_then(|sent| sent.bytes)
                .map(|_| [call.request_bytes, call.response_bytes]),
            sequence: known
                .and_then(|sent| sent.sequence)
                .and_then(|_| call.response_header("x-seq")?.parse().ok()),
        }
    }
}

/// What the collector has when the agent has ended.
#[derive(Debug)]
pub struct Stored {
    calls: Vec<Call>,
    /// Events that the agent reported as lost.
    lost: u64,
    /// Requests among the records for which there was no room, at the servers' ends.
    lost_requests: u64,
    /// Calls that servers' ends understood after the clients' ends had told them.
    late: u64,
    /// Runs that the kernel left out of all programs, at most.
    left_out: u64,
}

impl Stored {
    /// Asks the collector once: where it is emulated, that takes seconds. What the agent counted is told by its last two states.
    pub fn read(node: &Node, [before, after]: [&Metrics; 2]) -> Self {
        let since = |stage: &str, what: &str| after.event(stage, what) - before.event(stage, what);
        Self {
            calls: {
                let mut calls = node.api().all_calls();
                calls.retain(|call| call.path != cost::PATH);
                calls
            },
            lost: node.api().drops().iter().map(|(_, _, events)| events).sum(),
            lost_requests: since("kernel", "lost_requests_in"),
            late: since("tracker", "exchanges_late"),
            left_out: since("kernel", "runs_left_out"),
        }
    }

    /// Figures of all checks together: what was sent is what servers' ends told, what is counted as lost there, and what clients' ends
    /// told before, or what the kernel left out.
    ///
    /// # Panics
    /// It is not.
    pub fn balance<'a>(&self, sent: impl Iterator<Item = &'a Evidence>) -> String {
        let (mut count, mut ports) = (0, Vec::new());
        for evidence in sent {
            count += evidence.sent.len() as u64;
            ports.push(evidence.port);
        }
        let stored = |side: &str| {
            let calls = self.calls.iter();
            calls
                .filter(|call| call.side == side && ports.contains(&call.server.port()))
                .count() as u64
        };
        let (by_servers, by_clients) = (stored("server"), stored("client"));
        let Self {
            lost_requests,
            late,
            left_out,
            ..
        } = self;
        let figures = format!(
            "sent {count}, told by servers' ends {by_servers}, lost there {lost_requests}, told by clients' ends {by_clients}, {late} of \
             them before, runs left out {left_out}"
        );
        let unheard = count.checked_sub(by_servers + lost_requests + late);
        assert!(unheard.is_some_and(|unheard| unheard <= *left_out), "{figures}");
        figures
    }

    fn of(&self, port: u16) -> Vec<&Call> {
        let here = |call: &&Call| call.server.port() == port;
        self.calls.iter().filter(here).collect()
    }
}

fn number(counts: &BTreeMap<String, usize>, what: &str) -> usize {
    counts.get(what).copied().unwrap_or(0)
}

fn tally(items: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    counts
}
