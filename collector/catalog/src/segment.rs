//! Path segments and leaves: what a path looks like once its values are gone.

use std::fmt;

use crate::words;

macro_rules! segment_types {
    ($($variant:ident = $name:literal: $doc:literal),+ $(,)?) => {
        /// What a path segment that is not a literal looks like.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum SegmentType { $(#[doc = $doc] $variant),+ }

        impl SegmentType {
            /// Every type, in the order of their codes.
            pub const ALL: &[SegmentType] = &[$(SegmentType::$variant),+];

            /// Name, as in `{integer}`.
            pub const fn name(self) -> &'static str {
                match self { $(SegmentType::$variant => $name),+ }
            }

            /// The type of a name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(SegmentType::$variant),)+ _ => None }
            }
        }
    };
}

// Codes are part of the encoding: only ever append.
segment_types! {
    Text = "text": "Free text: slugs, names, anything without a closer type.",
    Integer = "integer": "Decimal digits, perhaps with a sign.",
    Number = "number": "A decimal fraction.",
    Uuid = "uuid": "RFC 9562, with hyphens.",
    Hex = "hex": "Hexadecimal digits: hashes, object ids.",
    Date = "date": "ISO 8601 calendar date or month.",
    Timestamp = "timestamp": "Epoch seconds or milliseconds, or an ISO 8601 date and time.",
    Ip = "ip": "IPv4 or IPv6 address.",
    Email = "email": "Mail address.",
    Token = "token": "Random-looking: ULID, KSUID, nanoid, base64, JWT, secrets.",
    Encoded = "encoded": "Percent-encoding that does not decode to plain text (RFC 3986 section 2.1).",
    File = "file": "A file name whose stem is not a word.",
}

impl SegmentType {
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// One segment of a leaf.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// Text that is part of the route.
    Literal(Box<str>),
    /// A value.
    Typed(SegmentType),
    /// This and everything below.
    Rest,
}

/// Longest literal, in bytes. Longer segments are values.
pub const LITERAL_BYTES_MAX: usize = 64;

/// Name of [`Segment::Rest`] in a rendering.
pub(crate) const REST_NAME: &str = "rest";

/// How coarse a leaf is; each class has a limit of its own and folds into the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Coarseness {
    /// Has a literal that is not a route word.
    Text,
    /// Route words and types.
    Route,
    /// At most one segment, then [`Segment::Rest`].
    Rest,
    /// [`Segment::Rest`] alone: one for each API, never folded.
    Everything,
}

/// Deterministic identity of a leaf, the same on every node: XXH3-128 of its canonical bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeafId(pub [u8; 16]);

impl fmt::Display for LeafId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The segments of a path, values replaced by their types.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeafPath(pub(crate) Vec<Segment>);

impl LeafPath {
    /// The segments, outermost first. Empty for `/`.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Identity of this path.
    pub fn id(&self) -> LeafId {
        let mut bytes = Vec::with_capacity(64);
        for segment in &self.0 {
            match segment {
                Segment::Literal(text) => push_literal(&mut bytes, text),
                Segment::Typed(kind) => push_typed(&mut bytes, *kind),
                Segment::Rest => bytes.push(TAG_REST),
            }
        }
        id_of(&bytes)
    }

    /// Inverse of the canonical bytes that `push_literal`, `push_typed` and `push_rest` write.
    pub(crate) fn from_canonical(mut bytes: &[u8]) -> Self {
        let mut segments = Vec::new();
        while let Some((tag, rest)) = bytes.split_first() {
            bytes = rest;
            segments.push(match *tag {
                TAG_REST => Segment::Rest,
                TAG_LITERAL => {
                    let Some((length, rest)) = rest.split_first() else {
                        break;
                    };
                    let Some((text, rest)) = rest.split_at_checked(usize::from(*length)) else {
                        break;
                    };
                    bytes = rest;
                    Segment::Literal(String::from_utf8_lossy(text).into())
                }
                code => {
                    Segment::Typed(SegmentType::from_code(code & !TAG_TYPED).unwrap_or(SegmentType::Text))
                }
            });
        }
        Self(segments)
    }

    /// Rendering with values as their types: `/users/{integer}`, `*` for OPTIONS of the whole server.
    pub fn render(&self) -> String {
        if let [Segment::Literal(star)] = self.0.as_slice()
            && &**star == "*"
        {
            return "*".to_owned();
        }
        let mut path = String::with_capacity(32);
        for segment in &self.0 {
            path.push('/');
            match segment {
                Segment::Literal(text) => path.push_str(text),
                Segment::Typed(kind) => {
                    path.push('{');
                    path.push_str(kind.name());
                    path.push('}');
                }
                Segment::Rest => path.push_str("{rest}"),
            }
        }
        if path.is_empty() {
            path.push('/');
        }
        path
    }

    /// Inverse of [`Self::render`]; `None` when the text is no rendering.
    pub fn parse(rendering: &str) -> Option<Self> {
        if rendering == "*" {
            return Some(Self(vec![Segment::Literal("*".into())]));
        }
        let path = rendering.strip_prefix('/')?;
        if path.is_empty() {
            return Some(Self::default());
        }
        let mut segments = Vec::new();
        for part in path.split('/') {
            let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
            segments.push(match name {
                Some(REST_NAME) => Segment::Rest,
                Some(name) => Segment::Typed(SegmentType::from_name(name)?),
                None if literal_allowed(part) => Segment::Literal(part.into()),
                None => return None,
            });
        }
        Self::checked(segments)
    }

    /// A path from segments of unknown origin: bounded, `Rest` only at the end.
    pub(crate) fn checked(segments: Vec<Segment>) -> Option<Self> {
        let inner = segments
            .get(..segments.len().saturating_sub(1))
            .unwrap_or_default();
        let fits = segments.len() <= crate::limits::DEPTH_MAX + 1 && !inner.contains(&Segment::Rest);
        fits.then_some(Self(segments))
    }

    pub(crate) fn coarseness(&self) -> Coarseness {
        let text = self.0.iter().any(|segment| match segment {
            Segment::Literal(text) => !words::is_route_word(text),
            Segment::Typed(_) | Segment::Rest => false,
        });
        match self.0.as_slice() {
            [Segment::Rest] => Coarseness::Everything,
            _ if text => Coarseness::Text,
            [_, Segment::Rest] => Coarseness::Rest,
            _ => Coarseness::Route,
        }
    }

    /// The coarser leaf that takes the counts of this one when its class is over its limit. A function of the path alone.
    pub(crate) fn folded(&self, coarseness: Coarseness) -> LeafPath {
        match coarseness {
            Coarseness::Text => Self(self.0.iter().map(generalised).collect()),
            Coarseness::Route => Self(
                self.0
                    .first()
                    .cloned()
                    .into_iter()
                    .chain(std::iter::once(Segment::Rest))
                    .collect(),
            ),
            Coarseness::Rest | Coarseness::Everything => Self(vec![Segment::Rest]),
        }
    }
}

fn generalised(segment: &Segment) -> Segment {
    match segment {
        Segment::Literal(text) if !words::is_route_word(text) => Segment::Typed(SegmentType::Text),
        other => other.clone(),
    }
}

/// Whether text may be a literal at all: short, printable ASCII, and no byte that a rendering uses itself.
pub(crate) fn literal_allowed(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= LITERAL_BYTES_MAX
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'{' | b'}' | b'?' | b'#'))
}

const TAG_REST: u8 = 1;
const TAG_LITERAL: u8 = 2;
const TAG_TYPED: u8 = 0x80;

pub(crate) fn push_literal(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(TAG_LITERAL);
    bytes.push(text.len().min(LITERAL_BYTES_MAX) as u8);
    bytes.extend_from_slice(text.as_bytes());
}

pub(crate) fn push_typed(bytes: &mut Vec<u8>, kind: SegmentType) {
    bytes.push(TAG_TYPED | kind.code());
}

pub(crate) fn push_rest(bytes: &mut Vec<u8>) {
    bytes.push(TAG_REST);
}

pub(crate) fn id_of(canonical: &[u8]) -> LeafId {
    LeafId(xxhash_rust::xxh3::xxh3_128(canonical).to_be_bytes())
}
