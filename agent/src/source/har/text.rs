//! JSON values of archives, taken as leniently as tools write them.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, SeqAccess, Visitor};

/// A string as bytes: bodies that are no text hold what no `str` can (lone surrogates, raw bytes).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text<'a>(pub(super) Cow<'a, [u8]>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(bytes)))
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(bytes.to_vec())))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// A number, or a string that is one; `None` for `null` and what is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Number(pub(super) Option<f64>);

impl Number {
    /// As a count; `None` below 0, which archives use for "unknown".
    pub(super) fn count(self) -> Option<u64> {
        self.0
            .filter(|number| (0.0..9e15).contains(number))
            .map(|number| number as u64)
    }

    /// Milliseconds as nanoseconds; `None` below 0 and beyond a century.
    pub(super) fn ms_as_ns(self) -> Option<u64> {
        self.0
            .filter(|ms| (0.0..3.2e12).contains(ms))
            .map(|ms| (ms * 1e6).round() as u64)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
                Ok(Number(Some(number as f64)))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
                Ok(Number(Some(number as f64)))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Number, E> {
                Ok(Number(Some(number)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
                Ok(Number(
                    text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
                ))
            }

            fn visit_unit<E: Error>(self) -> Result<Number, E> {
                Ok(Number(None))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// The first `MAX` elements of an array, and how many more there were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bounded<T, const MAX: usize> {
    pub(super) items: Vec<T>,
    pub(super) more: u64,
}

impl<T, const MAX: usize> Default for Bounded<T, MAX> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            more: 0,
        }
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Bounded<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Elements<T, MAX> {
            type Value = Bounded<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                let mut found = Bounded::default();
                while found.items.len() < MAX {
                    match array.next_element()? {
                        Some(item) => found.items.push(item),
                        None => return Ok(found),
                    }
                }
                while array.next_element::<IgnoredAny>()?.is_some() {
                    found.more += 1;
                }
                Ok(found)
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(Bounded::default())
            }
        }
        deserializer.deserialize_any(Elements(PhantomData))
    }
}
