//! Server-sent events (WHATWG HTML 9.2.5 and 9.2.6): lines that end with CR, LF or both; an empty line ends an event, which
//! is one only if it had data. Comments and events without data are none. What stands behind the last empty line is dropped.

use crate::Messages;

/// Bytes of a line that tell its field, behind a byte order mark and with the space that may follow the colon.
const LINE_HEAD: usize = 3 + b"data: ".len();
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Counts the events of one body.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// First bytes of the current line.
    head: [u8; LINE_HEAD],
    /// Its length so far.
    len: u64,
    /// The previous byte was the CR that ended a line: an LF belongs to it.
    after_cr: bool,
    /// Not the first line any more.
    begun: bool,
    /// Lines of data of the current event, and bytes in them.
    lines: u64,
    bytes: u64,
    sync: Sync,
    messages: Messages,
}

/// Whether it is known where events begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sync {
    #[default]
    Known,
    /// Bytes were missing in the current line.
    InLine,
    /// The current event's begin was lost.
    InEvent,
}

impl Events {
    pub(super) fn read(&mut self, mut data: &[u8]) {
        if self.after_cr && !data.is_empty() {
            self.after_cr = false;
            data = data.strip_prefix(b"\n").unwrap_or(data);
        }
        while let Some(end) = memchr::memchr2(b'\r', b'\n', data) {
            let (line, rest) = data.split_at(end);
            self.go_on(line);
            self.line();
            data = match rest {
                [b'\r', b'\n', rest @ ..] => rest,
                [b'\r'] => {
                    self.after_cr = true;
                    &[]
                }
                [_, rest @ ..] => rest,
                [] => &[],
            };
        }
        self.go_on(data);
    }

    /// The current line goes on.
    fn go_on(&mut self, part: &[u8]) {
        let at = usize::try_from(self.len).unwrap_or(LINE_HEAD).min(LINE_HEAD);
        for (to, from) in self.head.iter_mut().skip(at).zip(part) {
            *to = *from;
        }
        self.len = self.len.saturating_add(part.len() as u64);
    }

    /// The current line is complete.
    fn line(&mut self) {
        let len = std::mem::take(&mut self.len);
        let seen = usize::try_from(len).unwrap_or(LINE_HEAD).min(LINE_HEAD);
        let first = !std::mem::replace(&mut self.begun, true);
        let head = self.head.get(..seen).unwrap_or_default();
        let (head, len) = match head.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) if first => (rest, len - BYTE_ORDER_MARK.len() as u64),
            _ => (head, len),
        };
        match (self.sync, len) {
            (Sync::InLine, _) => self.sync = Sync::InEvent,
            (_, 0) => self.dispatch(),
            (_, 4) if head == b"data" => self.lines += 1,
            (_, _) if head.starts_with(b"data:") => {
                let name = if head.starts_with(b"data: ") { 6 } else { 5 };
                self.lines += 1;
                self.bytes = self.bytes.saturating_add(len.saturating_sub(name));
            }
            _ => {}
        }
    }

    /// The current event is complete.
    fn dispatch(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        let bytes = std::mem::take(&mut self.bytes);
        let whole = self.sync == Sync::Known;
        self.sync = Sync::Known;
        if lines == 0 || !whole {
            return;
        }
        // Lines are joined by an LF.
        let bytes = bytes.saturating_add(lines - 1);
        self.messages.count += 1;
        self.messages.bytes = self.messages.bytes.saturating_add(bytes);
        self.messages.bytes_max = self.messages.bytes_max.max(bytes);
    }

    /// Bytes are missing: the event they were in is not counted.
    pub(super) fn missing(&mut self) {
        self.sync = Sync::InLine;
        self.messages.partial = true;
        self.after_cr = false;
        self.begun = true;
        self.len = 0;
    }

    /// The events. `cut`: the body did not come to its end.
    pub(super) fn finish(mut self, cut: bool) -> Messages {
        self.messages.partial |= cut;
        self.messages
    }
}
