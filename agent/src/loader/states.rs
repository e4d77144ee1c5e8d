//! States of connections that the programs keep by sockets' addresses: see the module `state` in `agent_common`.
//!
//! Room is made before there is none, and at once where there was none. What is taken away is what was not used for longest. A socket that
//! is used again afterwards, or that was refused, must not be taken for one that has moved nothing yet: so births are forgotten first, and
//! noted anew when there is room.

use std::mem::offset_of;

use agent_common::{Counter, STATE_BYTES, StateHead, UNIX_CONNECTION};
use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError},
};

use super::births::Births;
use super::maps::{Counters, take};

/// How often it is looked whether programs have found no room, nanoseconds.
const LOOK_NS: u64 = 1_000_000_000;
/// In how many of these looks states are counted.
const COUNT_EVERY: u64 = 10;
/// In so many parts of the table: one is kept free, and when it is not, two are made so.
const PARTS: usize = 8;

/// A state as a map value.
type State = [u64; STATE_BYTES / size_of::<u64>()];

/// See the module's description.
pub struct States {
    map: HashMap<MapData, u64, State>,
    births: Births,
    room: usize,
    looked_ns: u64,
    looks: u64,
    refused: u64,
    evicted: u64,
}

/// A state, and at which socket's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    address: u64,
    head: StateHead,
}

impl Entry {
    fn new(address: u64, state: &State) -> Self {
        let word = |at: usize| state.get(at / size_of::<u64>()).copied().unwrap_or(0);
        // Two fields share a word.
        let used = word(offset_of!(StateHead, used));
        Self {
            address,
            head: StateHead {
                cookie: word(offset_of!(StateHead, cookie)),
                used: used as u32,
                inode: (used >> u32::BITS) as u32,
            },
        }
    }

    /// Whether the programs made up its name, and would do so again: cookies of sockets have neither of these bits.
    const fn is_renamed(&self) -> bool {
        self.head.cookie & (UNIX_CONNECTION | 1 << 63) != 0
    }
}

impl States {
    /// Of a table with so much room. Births are noted.
    pub(super) fn take(ebpf: &mut Ebpf, room: u32) -> Result<Self, MapError> {
        let mut births = Births::take(ebpf)?;
        note(&mut births);
        Ok(Self {
            map: HashMap::try_from(take(ebpf, "CONNECTIONS_BY_ADDRESS")?)?,
            births,
            room: room as usize,
            looked_ns: 0,
            looks: 0,
            refused: 0,
            evicted: 0,
        })
    }

    /// States taken away so far.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Looks whether there is room, if it is time to, and makes some. Gives the names of connections that were forgotten for that and
    /// will have others should they be used again.
    ///
    /// # Errors
    /// Maps could not be read or changed; it is tried again.
    pub fn make_room(&mut self, now_ns: u64, counters: &Counters) -> Result<Vec<u64>, MapError> {
        if now_ns.saturating_sub(self.looked_ns) < LOOK_NS {
            return Ok(Vec::new());
        }
        self.looked_ns = now_ns;
        self.looks += 1;
        let is_refused = refused(counters)? != self.refused;
        if !is_refused && !self.looks.is_multiple_of(COUNT_EVERY) {
            return Ok(Vec::new());
        }
        let entries = self.entries()?;
        let part = self.room / PARTS;
        let is_full = entries.len() > self.room - part;
        if !is_refused && !is_full {
            return Ok(Vec::new());
        }
        self.births.forget()?;
        let excess = entries.len().saturating_sub(self.room - 2 * part);
        let refused_before = refused(counters)?;
        let forgotten = self.evict(&oldest(entries, excess));
        note(&mut self.births);
        // From here on nothing may fail: whoever asks must learn what is forgotten.
        match refused(counters) {
            Ok(refused) if refused == refused_before => self.refused = refused,
            // Of a socket that was refused meanwhile it cannot be told whether it was there when births were noted.
            _ => {
                if let Err(error) = self.births.forget() {
                    tracing::warn!(%error, "UNIX connections that found no room may be taken for new ones");
                }
            }
        }
        Ok(forgotten)
    }

    fn entries(&self) -> Result<Vec<Entry>, MapError> {
        let mut entries = Vec::new();
        // The way through a table that changes may begin anew.
        for entry in self.map.iter().take(2 * self.room) {
            match entry {
                Ok((address, state)) => entries.push(Entry::new(address, &state)),
                Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(error),
            }
        }
        entries.sort_unstable_by_key(|entry| entry.address);
        entries.dedup_by_key(|entry| entry.address);
        Ok(entries)
    }

    fn evict(&mut self, entries: &[Entry]) -> Vec<u64> {
        let mut forgotten = Vec::new();
        for entry in entries {
            // One that cannot be removed was so by the programs.
            if self.map.remove(&entry.address).is_ok() {
                self.evicted += 1;
                if entry.is_renamed() {
                    forgotten.push(entry.head.cookie);
                }
            }
        }
        forgotten
    }
}

/// Notes which sockets are there. Where that cannot be done all are taken for older, until there is the next reason to.
fn note(births: &mut Births) {
    if let Err(error) = births.note() {
        tracing::warn!(%error, "UNIX connections are all taken for older than the agent");
    }
}

fn refused(counters: &Counters) -> Result<u64, MapError> {
    Ok(counters.read(Counter::StatesFull)?.0)
}

/// The `count` entries that were not used for longest.
fn oldest(mut entries: Vec<Entry>, count: usize) -> Vec<Entry> {
    let later = |a: u32, b: u32| if (b.wrapping_sub(a) as i32) > 0 { b } else { a };
    let newest = entries.iter().map(|entry| entry.head.used).reduce(later);
    let newest = newest.unwrap_or(0);
    entries.sort_by_key(|entry| std::cmp::Reverse(newest.wrapping_sub(entry.head.used)));
    entries.truncate(count);
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_also_where_ticks_begin_anew() {
        let entry = |address, used| Entry {
            address,
            head: StateHead {
                cookie: 0,
                used,
                inode: 0,
            },
        };
        let entries = vec![
            entry(1, 5),
            entry(2, u32::MAX - 9),
            entry(3, 7),
            entry(4, u32::MAX),
        ];
        let addresses = |count| -> Vec<u64> {
            let oldest = oldest(entries.clone(), count);
            oldest.iter().map(|entry| entry.address).collect()
        };
        assert!(addresses(0).is_empty());
        assert_eq!(addresses(2), [2, 4]);
        assert_eq!(addresses(9), [2, 4, 1, 3]);
        assert!(oldest(Vec::new(), 1).is_empty());
    }

    #[test]
    fn a_state_is_read_by_its_head() {
        let mut state = State::default();
        state[0] = 77;
        state[1] = 3 << 32 | 2;
        let head = StateHead {
            cookie: 77,
            used: 2,
            inode: 3,
        };
        assert_eq!(Entry::new(9, &state), Entry { address: 9, head });
    }
}
