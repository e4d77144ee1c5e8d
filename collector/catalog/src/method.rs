//! Request methods as a closed set, so that a scanner's inventions cannot multiply records.

use std::fmt;

macro_rules! methods {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// A registered request method (IANA HTTP Method Registry), or [`Method::Other`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum Method { $($variant),+ }

        impl Method {
            /// Every method, in the order of their codes.
            pub const ALL: &[Method] = &[$(Method::$variant),+];

            /// The token as on the wire; `OTHER` for what is not registered.
            pub const fn as_str(self) -> &'static str {
                match self { $(Method::$variant => $name),+ }
            }

            /// From a token, case-sensitive (RFC 9110 section 9.1).
            pub fn from_token(token: &str) -> Self {
                match token { $($name => Method::$variant,)+ _ => Method::Other }
            }
        }
    };
}

// Codes are part of the encoding: only ever append.
methods! {
    Other = "OTHER",
    Get = "GET",
    Head = "HEAD",
    Post = "POST",
    Put = "PUT",
    Patch = "PATCH",
    Delete = "DELETE",
    Options = "OPTIONS",
    Connect = "CONNECT",
    Trace = "TRACE",
    Query = "QUERY",
    Copy = "COPY",
    Lock = "LOCK",
    Mkcol = "MKCOL",
    Move = "MOVE",
    Propfind = "PROPFIND",
    Proppatch = "PROPPATCH",
    Unlock = "UNLOCK",
    Report = "REPORT",
    Search = "SEARCH",
    Purge = "PURGE",
}

impl Method {
    /// Code in the encoding.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    /// The method of a code; a code that a newer version added is [`Method::Other`].
    pub(crate) fn from_code(code: u8) -> Self {
        Self::ALL.get(usize::from(code)).copied().unwrap_or(Method::Other)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_codes_round_trip() {
        for method in Method::ALL {
            assert_eq!(Method::from_token(method.as_str()), *method);
            assert_eq!(Method::from_code(method.code()), *method);
        }
        assert_eq!(Method::from_token("get"), Method::Other);
        assert_eq!(Method::from_token(""), Method::Other);
        assert_eq!(Method::from_code(255), Method::Other);
    }
}
