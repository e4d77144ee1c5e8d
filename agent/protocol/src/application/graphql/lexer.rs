//! Tokens of GraphQL (GraphQL specification 2.1).

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A punctuator; `...` is `.`.
    Mark(u8),
    Name(&'a [u8]),
    /// A string or block string.
    Text,
    Number,
    /// The text is over, perhaps inside a string.
    End,
    /// A character that begins no token.
    Bad,
}

pub(super) struct Lexer<'a> {
    rest: &'a [u8],
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    pub(super) fn token(&mut self) -> Token<'a> {
        self.skip_ignored();
        let (token, len) = match self.rest {
            [] => return Token::End,
            [b'"', b'"', b'"', rest @ ..] => match end_of_block_string(rest) {
                Some(len) => (Token::Text, 3 + len),
                None => (Token::End, self.rest.len()),
            },
            [b'"', rest @ ..] => match end_of_string(rest) {
                StringEnd::At(len) => (Token::Text, 1 + len),
                StringEnd::Cut => (Token::End, self.rest.len()),
                StringEnd::Line => (Token::Bad, self.rest.len()),
            },
            [b'.', b'.', b'.', ..] => (Token::Mark(b'.'), 3),
            [b'.'] | [b'.', b'.'] => (Token::End, self.rest.len()),
            [
                mark @ (b'!' | b'$' | b'&' | b'(' | b')' | b':' | b'=' | b'@' | b'[' | b']' | b'{' | b'|'
                | b'}'),
                ..,
            ] => (Token::Mark(*mark), 1),
            [b'_' | b'a'..=b'z' | b'A'..=b'Z', ..] => {
                let len = self.length(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
                (Token::Name(self.rest.get(..len).unwrap_or_default()), len)
            }
            [b'-' | b'0'..=b'9', ..] => {
                let len =
                    self.length(|byte| matches!(byte, b'-' | b'+' | b'.') || byte.is_ascii_alphanumeric());
                (Token::Number, len)
            }
            _ => (Token::Bad, self.rest.len()),
        };
        self.rest = self.rest.get(len..).unwrap_or_default();
        token
    }

    fn length(&self, belongs: impl Fn(u8) -> bool) -> usize {
        self.rest.iter().take_while(|&&byte| belongs(byte)).count()
    }

    /// White space, commas, byte order marks and comments.
    fn skip_ignored(&mut self) {
        loop {
            self.rest = match self.rest {
                [b' ' | b'\t' | b'\r' | b'\n' | b',', rest @ ..] => rest,
                [0xef, 0xbb, 0xbf, rest @ ..] => rest,
                [b'#', rest @ ..] => {
                    let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                    rest.get(end..).unwrap_or_default()
                }
                _ => return,
            };
        }
    }
}

enum StringEnd {
    /// Behind the closing quote.
    At(usize),
    Cut,
    /// A line ended before.
    Line,
}

/// End of a string, behind its opening quote.
fn end_of_string(text: &[u8]) -> StringEnd {
    let mut at = 0;
    while let Some(found) = text
        .get(at..)
        .and_then(|rest| memchr::memchr3(b'"', b'\\', b'\n', rest))
    {
        at += found;
        match text.get(at) {
            Some(b'"') => return StringEnd::At(at + 1),
            Some(b'\\') => at += 2,
            _ => return StringEnd::Line,
        }
    }
    StringEnd::Cut
}

/// End of a block string, behind its opening quotes: three quotes without a backslash before them.
fn end_of_block_string(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let found = at + memchr::memmem::find(text.get(at..)?, b"\"\"\"")?;
        if found > at && text.get(found - 1) == Some(&b'\\') {
            at = found + 3;
            continue;
        }
        return Some(found + 3);
    }
}
