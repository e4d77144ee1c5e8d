//! One connection: which endpoints it carries, and what was ordered of it.

use smallvec::SmallVec;

/// Endpoints of a connection that are remembered: those of its latest calls.
pub const ENDPOINTS_MAX: usize = 4;

/// Captured calls of a connection after which an endpoint that was not among them is none of its any more.
pub const LATELY: u32 = 64;

/// Most calls between two times that less is asked for.
const PATIENCE_MAX: u32 = 4096;

/// See the module's description.
#[derive(Debug)]
pub struct Connection {
    /// Captured calls.
    calls: u32,
    /// Latest first, each with the number of its latest call.
    lately: SmallVec<[(u64, u32); ENDPOINTS_MAX]>,
    /// What was ordered last; 1: everything.
    pub every: u32,
    /// Calls to wait before less may be asked for again, and what it was before: it was refused.
    waits: u32,
    patience: u32,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            calls: 0,
            lately: SmallVec::new(),
            every: 1,
            waits: 0,
            patience: 0,
        }
    }
}

impl Connection {
    /// Notes a captured call. Gives the endpoints that it forgot for it.
    pub fn note(&mut self, endpoint: u64) -> SmallVec<[u64; ENDPOINTS_MAX]> {
        self.waits = self.waits.saturating_sub(1);
        self.calls = self.calls.wrapping_add(1);
        let now = self.calls;
        let mut forgotten = SmallVec::new();
        self.lately.retain(|(known, at)| {
            let stays = *known == endpoint || now.wrapping_sub(*at) <= LATELY;
            if !stays {
                forgotten.push(*known);
            }
            stays && *known != endpoint
        });
        if self.lately.len() >= ENDPOINTS_MAX
            && let Some((oldest, _)) = self.lately.pop()
        {
            forgotten.push(oldest);
        }
        self.lately.insert(0, (endpoint, now));
        forgotten
    }

    /// Whether less may be asked for.
    pub const fn may_ask(&self) -> bool {
        self.waits == 0
    }

    /// Less was asked for, and cannot be had: each time it takes twice as many calls until it is asked for again.
    pub fn refused(&mut self) {
        self.every = 1;
        self.patience = (2 * self.patience).clamp(1, PATIENCE_MAX);
        self.waits = self.patience;
    }

    /// What it carried is known no more.
    pub fn forget(&mut self) {
        self.lately.clear();
    }

    /// Endpoints that it carries.
    pub fn endpoints(&self) -> impl Iterator<Item = u64> + '_ {
        self.lately.iter().map(|(endpoint, _)| *endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(calls: &[u64]) -> (Connection, Vec<u64>) {
        let mut connection = Connection::default();
        let mut forgotten = Vec::new();
        for endpoint in calls {
            forgotten.extend(connection.note(*endpoint));
        }
        (connection, forgotten)
    }

    #[test]
    fn the_latest_endpoints_are_remembered() {
        for (calls, endpoints, forgets) in [
            (&[1, 1, 1][..], &[1][..], &[][..]),
            (&[1, 2, 1], &[1, 2], &[]),
            (&[1, 2, 3, 4], &[4, 3, 2, 1], &[]),
            (&[1, 2, 3, 4, 1, 5], &[5, 1, 4, 3], &[2]),
        ] {
            let (connection, forgotten) = after(calls);
            assert_eq!(connection.endpoints().collect::<Vec<_>>(), endpoints, "{calls:?}");
            assert_eq!(forgotten, forgets, "{calls:?}");
        }
    }

    #[test]
    fn less_is_asked_for_more_and_more_rarely_where_it_cannot_be_had() {
        let mut connection = Connection::default();
        let mut asked = Vec::new();
        for call in 0..3 * PATIENCE_MAX {
            connection.note(1);
            if connection.may_ask() {
                asked.push(call);
                connection.refused();
            }
        }
        assert_eq!(asked.get(..5), Some(&[0, 1, 3, 7, 15][..]));
        let longest = asked.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert_eq!(longest, Some(PATIENCE_MAX));
    }

    #[test]
    fn an_endpoint_that_comes_no_more_is_forgotten() {
        let mut calls = vec![1, 2];
        calls.extend(std::iter::repeat_n(2, LATELY as usize - 1));
        assert!(after(&calls).1.is_empty());
        calls.push(2);
        let (connection, forgotten) = after(&calls);
        assert_eq!(forgotten, [1]);
        assert_eq!(connection.endpoints().collect::<Vec<_>>(), [2]);
    }
}
