//! Counters by name: a struct of them, and a way to list each with its value and meaning.

/// Makes a struct `Counters` of fields with their descriptions.
macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Counts since the start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Name and value of every counter.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }

            /// Name, value and meaning of every counter.
            pub fn explained(&self) -> impl Iterator<Item = (&'static str, u64, &'static str)> {
                [$((stringify!($name), self.$name, concat!($($doc),*).trim_ascii()),)*].into_iter()
            }
        }
    };
}

pub(crate) use counters;
