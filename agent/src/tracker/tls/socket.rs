//! A TCP connection that carries TLS.

use std::sync::Arc;

use agent_common::{Role, Tuple};
use protocol::tls::Facts;

use super::finding::{Finding, NO_LIBRARY, NOT_BOUND, OLDER_THAN_AGENT};
use super::hello::Hello;
use super::meter::Meter;
use crate::attribution::Process;
use crate::source::{Close, Open};
use crate::tracker::class::Class;
use crate::tracker::connection::Ledger;
use crate::tracker::delivery::Tls;
use crate::tracker::ends::Place;

/// Whether its plaintext is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// No session over it is known.
    No,
    /// One is, which was found when bytes had gone by before it; of these some are not counted yet.
    Late(&'static str),
    /// One is, from its begin or from what was counted last on.
    Since(&'static str),
}

/// See the module's description.
#[derive(Debug)]
pub struct Socket {
    /// Its cookie.
    pub id: u64,
    /// Who uses it.
    pub process: Arc<Process>,
    /// The pid of what was heard last of it.
    pub pid: u32,
    /// First sequence numbers received and sent, where it was seen from its begin.
    pub base: Option<[u32; 2]>,
    /// Which end connected.
    pub role: Role,
    /// Addresses.
    pub tuple: Tuple,
    netns: u32,
    /// When the source was last asked where it stands, or its begin.
    pub asked_ns: u64,
    /// The session over it that was announced last.
    pub session: Option<u64>,
    /// Its hellos, until they are read.
    pub hello: Option<Box<Hello>>,
    /// What they said.
    pub facts: Facts,
    bound: Bound,
    /// Its bytes are in the books of a connection that was HTTP before it was TLS.
    has_books: bool,
    meters: [Meter; 2],
    /// The class that it counts in.
    counted: Option<Class>,
}

impl Socket {
    /// Where it is.
    pub fn place(&self) -> Place {
        Place::new(self.tuple, self.netns, false)
    }

    /// One of which only the announcement is known: its own, or that of a session over it. `has_books`: what goes over it is counted as
    /// that of a connection of another class already.
    pub fn new(id: u64, open: &Open, process: Arc<Process>, has_books: bool) -> Self {
        // The places of a session are not its socket's.
        let base = open.base.filter(|_| open.session.is_none());
        Self {
            id,
            process,
            pid: open.owner.pid,
            base,
            role: open.role,
            tuple: open.tuple,
            netns: open.owner.netns,
            asked_ns: open.time_ns,
            session: None,
            hello: base.map(|base| Box::new(Hello::new(base, open.role))),
            facts: Facts::default(),
            bound: Bound::No,
            has_books,
            meters: match base {
                Some(base) => base.map(|first| Meter::new(Some(first))),
                None => [Meter::new(None); 2],
            },
            counted: None,
        }
    }

    /// A session goes over it. `is_fresh`: it was seen from its begin. Whether some of what went by before has to be told apart.
    pub fn bind(&mut self, session: u64, library: &'static str, is_fresh: bool) -> bool {
        self.session = Some(session);
        if self.bound == Bound::No {
            self.bound = if is_fresh {
                Bound::Since(library)
            } else {
                Bound::Late(library)
            };
        }
        matches!(self.bound, Bound::Late(_))
    }

    /// What a session over it is told with.
    pub fn tls(&self, library: Arc<str>) -> Arc<Tls> {
        Arc::new(Tls {
            facts: self.facts.clone(),
            library,
        })
    }

    fn class(&self, finding: Option<Finding>) -> Class {
        match (self.bound, finding) {
            (Bound::Since(library), _) => Class::Decrypted { library },
            (Bound::Late(library), _) => Class::Undecrypted {
                library,
                reason: NOT_BOUND,
            },
            (Bound::No, None) => Class::Undecrypted {
                library: "",
                reason: NO_LIBRARY,
            },
            (Bound::No, Some(Finding { library, reason })) => {
                let no_session = if self.base.is_some() {
                    NOT_BOUND
                } else {
                    OLDER_THAN_AGENT
                };
                Class::Undecrypted {
                    library,
                    reason: reason.unwrap_or(no_session),
                }
            }
        }
    }

    /// The kernel says where it stands; with `last`, where it has ended.
    pub fn told(&mut self, close: &Close, last: bool, finding: Option<Finding>, ledger: &mut Ledger) {
        let told = self.meters.iter_mut().zip(close.end).zip(close.moved);
        let mut bytes: u64 = told.map(|((meter, end), moved)| meter.told(end, moved)).sum();
        if last {
            bytes = bytes.saturating_add(u64::from(close.unread));
        }
        self.count(bytes, last, finding, ledger);
        if let Bound::Late(library) = self.bound {
            self.bound = Bound::Since(library);
        }
    }

    /// Nobody will say where it ended.
    pub fn give_up(&mut self, finding: Option<Finding>, ledger: &mut Ledger) {
        self.count(0, true, finding, ledger);
    }

    fn count(&mut self, bytes: u64, last: bool, finding: Option<Finding>, ledger: &mut Ledger) {
        if self.has_books {
            return;
        }
        let class = self.class(finding);
        let is_first = self.counted.is_none() && last;
        let is_other = self.counted != Some(class) && bytes > 0;
        if is_first || is_other {
            self.counted = Some(class);
        }
        let connections = u64::from(is_first || is_other);
        ledger
            .coverage
            .of(&self.process.workload.name, class)
            .wire(connections, bytes);
    }
}
