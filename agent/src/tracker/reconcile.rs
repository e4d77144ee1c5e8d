//! The books of a connection: every byte that its socket moved gets exactly one fate.
//!
//! Invariant: the bytes with a fate, and those of which the fate is still open, are those between the place where a direction begins
//! (its first byte, or where the connection was joined) and the place that was reached. Places only go forward, so no byte counts twice.
//!
//! A stretch that no record told of has its fate open until the kernel says how many bytes found the ring buffer full: at the
//! connection's end, or when it is asked where it stands. What it says of a connection that goes on may be ahead of records that are
//! still to come, so only what it said the time before is held against the records.

use agent_common::Direction as Way;

use super::coverage::Row;
use super::fate::Fate;
use crate::source::Close;

/// Books of one direction.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// Sequence number of place 0; `None` while nothing was heard of a connection that was joined late.
    base: Option<u32>,
    /// Bytes before it have a fate, or are in `open`.
    place: u64,
    /// Bytes passed over, whose fate is open.
    open: u64,
    /// What the kernel had said it lost when it was last asked.
    lost: u32,
    /// Of that, what no open byte was found for yet.
    lost_unplaced: u64,
    /// The same of what went by while the connection rested.
    rested: u64,
    rested_unplaced: u64,
    /// Place that the kernel told when it was last asked.
    told: u64,
    /// A place, and the socket's own count of bytes there.
    anchor: Option<(u64, u64)>,
    /// Fate of what goes by without a record; `None`: open.
    unrecorded: Option<Fate>,
}

/// What the kernel says of a direction.
#[derive(Clone, Copy, Debug)]
struct Said {
    /// Sequence number after the last byte.
    end: u32,
    /// The socket's own count of bytes; 0 when not known.
    moved: u64,
    /// Bytes that found the ring buffer full.
    lost: u32,
    /// Bytes that went by while the connection rested.
    rested: u64,
}

impl Account {
    fn sequence(&self, base: u32, place: u64) -> u32 {
        base.wrapping_add(place as u32)
    }

    /// Place of a sequence number less than 2^31 from `near`.
    fn place_near(&self, sequence: u32, near: u64) -> Option<u64> {
        let base = self.base?;
        let ahead = sequence.wrapping_sub(self.sequence(base, near)) as i32;
        near.checked_add_signed(i64::from(ahead))
    }

    /// Place that the kernel tells. The socket's own count of bytes tells it also where more than 2^31 went by unrecorded.
    fn place_told(&self, said: &Said) -> Option<u64> {
        let near = match self.anchor {
            Some((place, moved)) if said.moved > 0 => place.saturating_add(said.moved.saturating_sub(moved)),
            _ => self.place,
        };
        self.place_near(said.end, near)
    }

    /// Everything up to `to` went by without a record.
    fn pass_over(&mut self, to: u64, out: &mut Row<'_>) {
        let bytes = to.saturating_sub(self.place);
        self.place += bytes;
        match self.unrecorded {
            Some(fate) => out.add(fate, bytes),
            None => self.open += bytes,
        }
    }

    /// Everything up to `to` has this fate.
    fn give(&mut self, to: u64, fate: Fate, out: &mut Row<'_>) {
        let bytes = to.saturating_sub(self.place);
        self.place += bytes;
        out.add(fate, bytes);
    }

    /// Gives fates to what was passed over, as far as the kernel knows it.
    fn settle(&mut self, said: &Said, out: &mut Row<'_>) {
        self.lost_unplaced += u64::from(said.lost.wrapping_sub(self.lost));
        self.lost = said.lost;
        let lost = self.open.min(self.lost_unplaced);
        self.lost_unplaced -= lost;
        self.open -= lost;
        out.add(Fate::RingFull, lost);
        self.rested_unplaced += said.rested.saturating_sub(self.rested);
        self.rested = self.rested.max(said.rested);
        let rested = self.open.min(self.rested_unplaced);
        self.rested_unplaced -= rested;
        self.open -= rested;
        out.add(Fate::Rested, rested);
        out.add(Fate::Unseen, std::mem::take(&mut self.open));
    }
}

/// A record that was passed on, or cannot be.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Sequence number of the first byte.
    pub sequence: u32,
    /// Bytes captured.
    pub captured: usize,
    /// Bytes that it stands for.
    pub length: u32,
    /// Fate of those not captured.
    pub missing: Fate,
    /// What is missing before it went by while the connection rested: it lies ahead, however far.
    pub behind_rest: bool,
}

/// See the module's description.
#[derive(Clone, Copy, Debug, Default)]
pub struct Books {
    accounts: [Account; 2],
    /// Bytes given to the parser that are not known to be understood yet.
    read: u64,
    /// Bytes that the parser could not understand, beyond `read`.
    surplus: u64,
}

impl Books {
    /// Of a connection whose first sequence numbers, received and sent, are known if it was seen from its begin.
    pub fn new(base: Option<[u32; 2]>) -> Self {
        let mut books = Self::default();
        if let Some(base) = base {
            for (account, base) in books.accounts.iter_mut().zip(base) {
                account.base = Some(base);
                account.anchor = Some((0, 0));
            }
        }
        books
    }

    fn account(&mut self, way: Way) -> &mut Account {
        let [incoming, outgoing] = &mut self.accounts;
        match way {
            Way::In => incoming,
            Way::Out => outgoing,
        }
    }

    /// A record went to the parser. `skipped`: what lies before this sequence number was skipped by order.
    pub fn read(&mut self, way: Way, entry: &Entry, skipped: Option<u32>, out: &mut Row<'_>) {
        self.read += self.enter(way, entry, skipped, out);
    }

    /// A record came that no parser can take, since nobody knows who is the client.
    pub fn not_understood(&mut self, way: Way, entry: &Entry, out: &mut Row<'_>) {
        let bytes = self.enter(way, entry, None, out);
        out.add(Fate::NotUnderstood, bytes);
    }

    /// Gives the bytes that were captured and not entered before.
    fn enter(&mut self, way: Way, entry: &Entry, skipped: Option<u32>, out: &mut Row<'_>) -> u64 {
        let account = self.account(way);
        account.base.get_or_insert(entry.sequence);
        let near = if entry.behind_rest {
            account.place.saturating_add(1 << 31)
        } else {
            account.place
        };
        let Some(begin) = account.place_near(entry.sequence, near) else {
            return 0;
        };
        if let Some(skipped) = skipped.and_then(|skipped| account.place_near(skipped, account.place)) {
            account.give(skipped.min(begin), Fate::Skipped, out);
        }
        account.pass_over(begin, out);
        account.unrecorded = None;
        let captured = begin + entry.captured as u64;
        let fresh = captured.saturating_sub(account.place);
        account.place += fresh;
        account.give(begin + u64::from(entry.length), entry.missing, out);
        fresh
    }

    /// From here on no records are wanted: what goes by has this fate, until a record goes to the parser again.
    pub fn want_no_records(&mut self, fate: Fate) {
        for account in &mut self.accounts {
            account.unrecorded = Some(fate);
        }
    }

    /// A record came nevertheless.
    pub fn unwanted(&mut self, way: Way, entry: &Entry, out: &mut Row<'_>) {
        let account = self.account(way);
        account.base.get_or_insert(entry.sequence);
        let end = entry.sequence.wrapping_add(entry.length);
        if let Some(end) = account.place_near(end, account.place) {
            account.pass_over(end, out);
        }
    }

    /// What went to the parser is `fate`, but `not_understood` bytes of it.
    pub fn understood(&mut self, fate: Fate, not_understood: u64, out: &mut Row<'_>) {
        // The parser may tell late of what it could not understand: then less is understood of what comes.
        self.surplus = self.surplus.saturating_add(not_understood);
        let read = std::mem::take(&mut self.read);
        let not = read.min(self.surplus);
        self.surplus -= not;
        out.add(Fate::NotUnderstood, not);
        out.add(fate, read - not);
    }

    /// The kernel says where the connection stands; with `last`, that it has ended. `skipped` as in [`Self::read`], received and sent.
    pub fn reconcile(&mut self, close: &Close, skipped: [Option<u32>; 2], last: bool, out: &mut Row<'_>) {
        let unread = [close.unread, 0];
        let parts = close.end.into_iter().zip(close.moved).zip(close.lost);
        let said = parts
            .zip(close.rested_bytes)
            .map(|(((end, moved), lost), rested)| Said {
                end,
                moved,
                lost,
                rested,
            });
        for (((account, said), skipped), unread) in
            self.accounts.iter_mut().zip(said).zip(skipped).zip(unread)
        {
            account.base.get_or_insert(said.end);
            let Some(told) = account.place_told(&said) else {
                continue;
            };
            let known = if last { told } else { account.told };
            if let Some(skipped) = skipped.and_then(|skipped| account.place_near(skipped, account.place)) {
                account.give(skipped.min(known), Fate::Skipped, out);
            }
            account.pass_over(known, out);
            account.settle(&said, out);
            account.told = told;
            account.anchor = Some((told, said.moved));
            if last {
                account.give(told.saturating_add(u64::from(unread)), Fate::Unread, out);
            }
        }
    }

    /// Nothing more is heard of the connection, and nobody said where it ended: the fate of what is open is not known.
    pub fn give_up(&mut self, out: &mut Row<'_>) {
        for account in &mut self.accounts {
            out.add(Fate::Unseen, std::mem::take(&mut account.open));
        }
    }
}
