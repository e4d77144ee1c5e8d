//! Names of query parameters, never their values.

use std::collections::BTreeSet;

use crate::mask::is_generated;

/// Most names of one call.
pub const QUERY_NAMES_MAX: usize = 64;

/// Longest name; a longer one is taken for a value.
pub const NAME_BYTES_MAX: usize = 40;

/// What stands for a name that looks like a value, as in a path.
const TEXT: &str = "{text}";

/// Pairs looked at: a query of a megabyte takes no longer than one of these.
const PAIRS_MAX: usize = 1024;

/// Longest name without a value (`?wsdl`): it may as well be a value without a name.
const BARE_BYTES_MAX: usize = 16;

/// The names in the query of a request target, sorted, each once, at most [`QUERY_NAMES_MAX`]; `{text}` for one that looks like a value.
#[must_use]
pub fn query_names(target: &[u8]) -> Vec<String> {
    names(target).0
}

/// The same; and whether some were left out.
pub(crate) fn names(target: &[u8]) -> (Vec<String>, bool) {
    let target = target.split(|b| *b == b'#').next().unwrap_or_default();
    let Some(at) = target.iter().position(|b| *b == b'?') else {
        return (Vec::new(), false);
    };
    let mut pairs = target
        .get(at + 1..)
        .unwrap_or_default()
        .split(|b| *b == b'&')
        .filter(|pair| !pair.is_empty());
    let mut names = BTreeSet::new();
    let mut left_out = false;
    for pair in pairs.by_ref().take(PAIRS_MAX) {
        let name = name_of(pair);
        if names.len() < QUERY_NAMES_MAX || names.contains(&name) {
            names.insert(name);
        } else {
            left_out = true;
        }
    }
    (names.into_iter().collect(), left_out || pairs.next().is_some())
}

fn name_of(pair: &[u8]) -> String {
    let (name, bare) = match pair.iter().position(|b| *b == b'=') {
        Some(at) => (pair.get(..at).unwrap_or_default(), false),
        None => (pair, true),
    };
    let decoded = decode(name);
    let plain = if bare {
        is_bare_name(&decoded)
    } else {
        is_name(&decoded)
    };
    if plain {
        decoded.iter().map(|b| char::from(*b)).collect()
    } else {
        TEXT.to_owned()
    }
}

/// RFC 3986 section 2.1; a sequence that is none stays as it is and is no name.
fn decode(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len().min(NAME_BYTES_MAX + 1));
    let mut rest = raw;
    // One byte beyond the limit is enough to know that it is none.
    while let (Some((first, tail)), true) = (rest.split_first(), out.len() <= NAME_BYTES_MAX) {
        let hex = |b: u8| char::from(b).to_digit(16);
        match tail {
            [high, low, after @ ..] if *first == b'%' => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                    rest = after;
                    continue;
                }
                _ => out.push(*first),
            },
            _ => out.push(*first),
        }
        rest = tail;
    }
    out
}

/// `user_id`, `filter[status]`, `$top`, `page.size`, `X-Amz-Date`: few digits, not generated.
fn is_name(name: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(name) else {
        return false;
    };
    let first = name
        .first()
        .is_some_and(|b| b.is_ascii_alphabetic() || b"_$[".contains(b));
    let allowed = name
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || b"_-.[]$:".contains(b));
    let digit_runs = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|run| !run.is_empty());
    let digits: Vec<usize> = digit_runs.map(str::len).collect();
    first
        && allowed
        && name.len() <= NAME_BYTES_MAX
        && digits.len() <= 2
        && digits.iter().all(|run| *run <= 4)
        && !is_generated(text)
}

/// Without a value only a short word in lower case is a name: `wsdl`, `acl`, `list-type`.
fn is_bare_name(name: &[u8]) -> bool {
    (1..=BARE_BYTES_MAX).contains(&name.len())
        && name.iter().all(|b| b.is_ascii_lowercase() || b"_-".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: &str, expected: &[&str]) {
        assert_eq!(names(target.as_bytes()).0, expected, "{target}");
    }

    #[test]
    fn names_sorted_and_once() {
        check("/a", &[]);
        check("/a?", &[]);
        check("/a?b=1&a=2&b=3&&", &["a", "b"]);
        check("http://h/p?x=1#y=2", &["x"]);
        check("/a?x=1?y=2", &["x"]);
        check(
            "/a?filter%5Bstatus%5D=x&$top=1&page.size=2&X-Amz-Date=3",
            &["$top", "X-Amz-Date", "filter[status]", "page.size"],
        );
        check("*", &[]);
    }

    #[test]
    fn values_in_the_place_of_names() {
        check("/a?8dbc5577-d0e2-4706-8787-57d52c03ddf2=1", &["{text}"]);
        check("/a?123=1&456=2", &["{text}"]);
        check("/a?alice@example.com=1", &["{text}"]);
        check("/a?wsdl", &["wsdl"]);
        check("/a?Hunter2", &["{text}"]);
        check("/a?hunter2hunter2hunter2", &["{text}"]);
        check("/a?=x", &["{text}"]);
        check("/a?%zz=x", &["{text}"]);
        check("/a?%ff=x", &["{text}"]);
        check("/a?a+b=x", &["{text}"]);
        check("/a?a;b=1", &["{text}"]);
    }

    #[test]
    fn at_the_limits() {
        let longest = "n".repeat(20) + &"-n".repeat(10);
        assert_eq!(longest.len(), NAME_BYTES_MAX);
        check(&format!("/?{longest}=1"), &[&longest]);
        check(&format!("/?{longest}n=1"), &["{text}"]);
        let name = |i: usize| {
            format!(
                "p{}={i}",
                ["a", "b", "c", "d", "e", "f", "g", "h"].map(|l| l.repeat(1 + i / 8 % 9))[i % 8]
            )
        };
        let query = |count| (0..count).map(name).collect::<Vec<_>>().join("&");
        let (all, left_out) = names(format!("/?{}", query(QUERY_NAMES_MAX)).as_bytes());
        assert_eq!((all.len(), left_out), (QUERY_NAMES_MAX, false));
        let (some, left_out) = names(format!("/?{}", query(QUERY_NAMES_MAX + 1)).as_bytes());
        assert_eq!((some.len(), left_out), (QUERY_NAMES_MAX, true));
        let (one, left_out) = names(format!("/?{}", "a=1&".repeat(PAIRS_MAX + 1)).as_bytes());
        assert_eq!((one.len(), left_out), (1, true));
    }
}
