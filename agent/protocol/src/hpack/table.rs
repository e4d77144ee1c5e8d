//! The dynamic table (RFC 7541 2.3.2, 4), as far as it is known.
//!
//! What the encoder's table holds is always the newest entries that were inserted, some number of them. This table
//! holds the newest that were *seen*, and never fewer than the encoder's, as long as they were seen: it drops an entry
//! only when the upper bound of the encoder's size says that it is gone, or when our own limit says so. Entries are
//! numbered from the newest, so whatever valid index the encoder uses, either the entry is here under that number, or
//! it is older than all that are here. An entry that the encoder dropped earlier than we do can be looked up by a faulty
//! encoder only.
//!
//! Below the entries that are here may lie older ones that were not seen, or were given up. Since the oldest go first,
//! they are gone for sure when a seen one had to go, or when less than the size of an empty entry is left for them. From
//! then on the table is exactly known, and an index beyond it is an error.

use std::collections::VecDeque;

use bytes::Bytes;

use super::static_table;

/// What an entry counts besides its bytes (RFC 7541 4.1).
pub(super) const ENTRY_OVERHEAD: usize = 32;

/// The table size before any update (RFC 9113 6.5.2).
pub(super) const DEFAULT_SIZE: u32 = 4096;

/// An entry. Its name is unknown if it was inserted with the name of an unknown entry.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub name: Option<Bytes>,
    pub value: Bytes,
}

impl Entry {
    /// Bytes that it counts; for an unknown name the least that it could be.
    fn size(&self) -> usize {
        ENTRY_OVERHEAD + self.name.as_ref().map_or(0, Bytes::len) + self.value.len()
    }
}

/// The dynamic table.
#[derive(Debug)]
pub(super) struct Table {
    /// Newest first.
    entries: VecDeque<Entry>,
    /// Sum of their sizes.
    size: usize,
    /// What the encoder's table holds at most; `None`: no bound is known.
    max: Option<u32>,
    /// Whether there may be entries older than those here.
    older: bool,
    /// Our own limit of `size`.
    limit: usize,
    /// Entries given up because of it.
    given_up: u64,
}

impl Table {
    /// The table of an encoder that begins.
    pub fn empty(limit: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            max: Some(DEFAULT_SIZE),
            older: false,
            limit,
            given_up: 0,
        }
    }

    /// Nothing is known any more.
    pub fn forget(&mut self) {
        self.entries = VecDeque::new();
        self.size = 0;
        self.max = None;
        self.older = true;
    }

    /// The entry of an index above [`static_table::LEN`], if it is known.
    #[inline]
    pub fn get(&self, index: u32) -> Option<&Entry> {
        let place = index.checked_sub(static_table::LEN + 1)?;
        self.entries.get(place as usize)
    }

    /// The largest index that could be valid.
    #[cold]
    pub fn last_index(&self) -> u32 {
        let older = match self.max {
            _ if !self.older => 0,
            None => return u32::MAX,
            Some(max) => self.left(max) / ENTRY_OVERHEAD,
        };
        let len = static_table::LEN as usize + self.entries.len() + older;
        u32::try_from(len).unwrap_or(u32::MAX)
    }

    /// Bytes that the known entries certainly take.
    pub fn size(&self) -> usize {
        self.size
    }

    /// About what the table costs, bytes: what an entry counts besides its bytes stands for their two allocations.
    pub fn memory_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.size
    }

    /// Upper bound of the encoder's table size, if there is one.
    pub fn max(&self) -> Option<u32> {
        self.max
    }

    /// Takes the count of entries given up because of our own limit.
    pub fn take_given_up(&mut self) -> u64 {
        std::mem::take(&mut self.given_up)
    }

    /// The encoder's table holds at most `max` bytes from now on.
    pub fn resize(&mut self, max: u32) {
        self.max = Some(max);
        self.evict();
    }

    /// Inserts the newest entry (RFC 7541 4.4).
    pub fn insert(&mut self, entry: Entry) {
        // Entries that are larger than the table are inserted and evicted at once, with all others: just as an encoder
        // empties its table for them.
        self.size += entry.size();
        self.entries.push_front(entry);
        self.evict();
    }

    fn left(&self, max: u32) -> usize {
        (max as usize).saturating_sub(self.size)
    }

    fn evict(&mut self) {
        if let Some(max) = self.max {
            while self.size > max as usize && self.drop_oldest() {
                // Whatever was older went before.
                self.older = false;
            }
        }
        while self.size > self.limit && self.drop_oldest() {
            self.older = true;
            self.given_up += 1;
        }
        // Room for not even an empty entry: nothing older can be left.
        if let Some(max) = self.max
            && self.left(max) < ENTRY_OVERHEAD
        {
            self.older = false;
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.entries.pop_back() else {
            return false;
        };
        self.size -= oldest.size();
        true
    }
}
