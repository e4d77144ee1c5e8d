//! Which words a route is made of, and which text could be such a word.
//!
//! The invariant is privacy: text that could be a person's name, a secret or any other value is not a *route word*. A route
//! word is composed of words of a fixed vocabulary (`words/route.txt`), of their inflections, of words with an ending that names and
//! secrets do not have, and of versions such as `v1beta2`. A *plausible* word merely looks like one; it is kept as
//! text only where it repeats. Everything else is never text.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::OnceLock;

/// How likely text is a part of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WordKind {
    /// Never a literal.
    Opaque,
    /// A literal once it repeats.
    Plausible,
    /// A literal at once.
    Route,
}

/// Most parts (`order-line-items` has three) of a literal.
const PARTS_MAX: usize = 8;

/// Longest plausible part that is not in the vocabulary, in bytes: longer ones are phrases or random.
const PLAUSIBLE_BYTES_MAX: usize = 14;

/// Endings of nouns that routes like and that personal names and random text do not have, with the least length of the whole word.
const ENDINGS: &[(&str, usize)] = &[
    ("tion", 7),
    ("tions", 7),
    ("sion", 8),
    ("sions", 8),
    ("ment", 8),
    ("ments", 8),
    ("ances", 8),
    ("ences", 8),
    ("ities", 7),
    ("ology", 7),
    ("ologies", 9),
    ("ability", 9),
    ("nesses", 9),
    ("ships", 8),
    ("izer", 8),
    ("izers", 8),
];

struct Vocabulary {
    words: HashSet<&'static str, BuildHasherDefault<WordHasher>>,
    /// log2 of the conditional probability of a letter after another (index 0: start of word), from the vocabulary itself.
    letters: [[f32; 27]; 27],
}

/// XXH3 of the word. The set is fixed, so nobody can make its words collide.
#[derive(Default)]
struct WordHasher(u64);

impl Hasher for WordHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64(bytes);
    }

    /// The terminator that `str` adds to its bytes.
    fn write_u8(&mut self, _: u8) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

fn vocabulary() -> &'static Vocabulary {
    static VOCABULARY: OnceLock<Vocabulary> = OnceLock::new();
    VOCABULARY.get_or_init(|| {
        let words: HashSet<&'static str, _> = include_str!("words/route.txt").lines().collect();
        let mut counts: HashMap<(u8, u8), f32> = HashMap::new();
        let mut totals = [0f32; 27];
        for word in &words {
            let mut previous = 0;
            for letter in word.bytes().map(letter_index) {
                *counts.entry((previous, letter)).or_default() += 1.0;
                if let Some(total) = totals.get_mut(usize::from(previous)) {
                    *total += 1.0;
                }
                previous = letter;
            }
        }
        let mut letters = [[0f32; 27]; 27];
        for (first, (row, total)) in letters.iter_mut().zip(totals).enumerate() {
            for (second, cell) in row.iter_mut().enumerate() {
                let count = counts.get(&(first as u8, second as u8)).copied().unwrap_or(0.0);
                *cell = ((count + 0.1) / (total + 2.7)).log2();
            }
        }
        Vocabulary { words, letters }
    })
}

/// 1 to 26 for a letter, 0 for anything else.
fn letter_index(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => byte - b'a' + 1,
        _ => 0,
    }
}

/// Judges text of printable ASCII.
pub(crate) fn judge(text: &str) -> WordKind {
    if text == "*" {
        return WordKind::Route;
    }
    if vocabulary().words.contains(text) {
        return WordKind::Route;
    }
    let mut kind = WordKind::Route;
    let mut count = 0;
    let mut lower = [0u8; crate::segment::LITERAL_BYTES_MAX];
    for part in parts(text) {
        count += 1;
        if count > PARTS_MAX {
            return WordKind::Opaque;
        }
        let Some(buffer) = lower.get_mut(..part.len()) else {
            return WordKind::Opaque;
        };
        buffer.copy_from_slice(part.as_bytes());
        buffer.make_ascii_lowercase();
        let Ok(part) = std::str::from_utf8(buffer) else {
            return WordKind::Opaque;
        };
        kind = kind.min(judge_part(part));
        if kind == WordKind::Opaque {
            return kind;
        }
    }
    if count == 0 { WordKind::Opaque } else { kind }
}

/// Whether text is a route word.
pub(crate) fn is_route_word(text: &str) -> bool {
    judge(text) == WordKind::Route
}

/// Splits at `-`, `_`, `.`, `:`, `~`, `$` and at the humps of camel case (`HTTPServer` is `HTTP`, `Server`). Other
/// punctuation stays in its part, which makes it opaque.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(['-', '_', '.', ':', '~', '$'])
        .filter(|part| !part.is_empty())
        .flat_map(|word| {
            let bytes = word.as_bytes();
            let mut start = 0;
            std::iter::from_fn(move || {
                if start >= bytes.len() {
                    return None;
                }
                let upper = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_uppercase);
                let lower = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_lowercase);
                let mut end = start + 1;
                while end < bytes.len() {
                    if upper(end) && (!upper(end - 1) || lower(end + 1)) {
                        break;
                    }
                    end += 1;
                }
                let part = word.get(start..end);
                start = end;
                part
            })
        })
}

fn judge_part(word: &str) -> WordKind {
    let vocabulary = vocabulary();
    if known(vocabulary, word) || is_version(word) {
        return WordKind::Route;
    }
    if !word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return WordKind::Opaque;
    }
    if joined(vocabulary, word) {
        return WordKind::Route;
    }
    if !pronounceable(vocabulary, word) {
        return WordKind::Opaque;
    }
    if ENDINGS
        .iter()
        .any(|(ending, least)| word.len() >= *least && word.ends_with(ending))
    {
        return WordKind::Route;
    }
    WordKind::Plausible
}

/// In the vocabulary, as it is or inflected.
fn known(vocabulary: &Vocabulary, word: &str) -> bool {
    let has = |word: &str| word.len() > 2 && vocabulary.words.contains(word);
    if vocabulary.words.contains(word) {
        return true;
    }
    if let Some(stem) = word.strip_suffix("ies") {
        return has_with(vocabulary, stem, b'y');
    }
    if let Some(stem) = word.strip_suffix('s') {
        return has(stem) || stem.strip_suffix('e').is_some_and(has);
    }
    // Not "er": it makes names (Peter, Carter, Parker) of words. Agent nouns are in the vocabulary.
    for ending in ["ing", "ed", "able"] {
        if let Some(stem) = word.strip_suffix(ending) {
            return has(stem) || has_with(vocabulary, stem, b'e') || undoubled(stem).is_some_and(has);
        }
    }
    false
}

/// `stop` of `stopp`.
fn undoubled(stem: &str) -> Option<&str> {
    let bytes = stem.as_bytes();
    let last = bytes.len().checked_sub(1)?;
    let double = last > 2 && bytes.get(last) == bytes.get(last - 1);
    if double { stem.get(..last) } else { None }
}

fn has_with(vocabulary: &Vocabulary, stem: &str, letter: u8) -> bool {
    let mut buffer = [0u8; 24];
    let Some(target) = buffer.get_mut(..=stem.len()) else {
        return false;
    };
    let (head, tail) = target.split_at_mut(stem.len());
    head.copy_from_slice(stem.as_bytes());
    tail.fill(letter);
    stem.len() > 1 && std::str::from_utf8(target).is_ok_and(|word| vocabulary.words.contains(word))
}

/// Two words of the vocabulary written as one: `userinfo`, `webhooks`.
fn joined(vocabulary: &Vocabulary, word: &str) -> bool {
    const PART_MIN: usize = 3;
    (PART_MIN..=word.len().saturating_sub(PART_MIN)).any(|at| {
        matches!(word.split_at_checked(at), Some((first, second))
            if vocabulary.words.contains(first) && known(vocabulary, second))
    })
}

/// `v1`, `v2beta1`, `v1.2` (its parts come one by one, so `2` alone is a version's minor only after a `v` part: not here).
fn is_version(word: &str) -> bool {
    let Some(rest) = word.strip_prefix('v') else {
        return false;
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || digits > 3 {
        return false;
    }
    let stage = rest.get(digits..).unwrap_or_default();
    if stage.is_empty() {
        return true;
    }
    ["alpha", "beta", "rc", "p"].iter().any(|name| {
        stage
            .strip_prefix(name)
            .is_some_and(|tail| tail.len() <= 2 && tail.bytes().all(|b| b.is_ascii_digit()))
    })
}

/// Could be a word of a language in Latin letters: vowels and consonants in turn, letters that follow each other elsewhere.
fn pronounceable(vocabulary: &Vocabulary, word: &str) -> bool {
    if word.len() < 2 || word.len() > PLAUSIBLE_BYTES_MAX {
        // A single letter tells nobody anything.
        return word.len() == 1;
    }
    let (mut vowels, mut consonants, mut same, mut any) = (0, 0, 1, false);
    let (mut likelihood, mut previous, mut last) = (0f32, 0u8, 0u8);
    for byte in word.bytes() {
        if matches!(byte, b'a' | b'e' | b'i' | b'o' | b'u' | b'y') {
            (vowels, consonants, any) = (vowels + 1, 0, true);
        } else {
            (vowels, consonants) = (0, consonants + 1);
        }
        same = if byte == last { same + 1 } else { 1 };
        if vowels > 3 || consonants > 4 || same > 2 {
            return false;
        }
        last = byte;
        let letter = letter_index(byte);
        let row = vocabulary.letters.get(usize::from(previous));
        likelihood += row
            .and_then(|row| row.get(usize::from(letter)))
            .copied()
            .unwrap_or(-10.0);
        previous = letter;
    }
    // Words average about -4 bits a letter, uniformly random letters about -6. The shorter, the more the two overlap, and the
    // less there is to give away: 8 % of random strings of 6 letters pass, 4 % of 8, under 1 % from 10 on.
    let least = match word.len() {
        ..=8 => -5.0,
        _ => -4.6,
    };
    any && likelihood / word.len() as f32 > least
}

/// Name for one of what `collection` names, in lower snake case: `order_item` for `orderItems`. `None` when it says nothing
/// about its members: versions, and text that is no word.
pub(crate) fn singular_name(collection: &str) -> Option<String> {
    let mut parts: Vec<String> = parts(collection).map(str::to_ascii_lowercase).collect();
    let last = parts.pop()?;
    let wordlike = |part: &String| {
        part.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    if (parts.is_empty() && (is_version(&last) || last == "api"))
        || !parts.iter().chain([&last]).all(wordlike)
    {
        return None;
    }
    parts.push(singular(&last));
    Some(parts.join("_"))
}

fn singular(word: &str) -> String {
    const IRREGULAR: &[(&str, &str)] = &[
        ("addresses", "address"),
        ("analyses", "analysis"),
        ("analytics", "analytics"),
        ("caches", "cache"),
        ("children", "child"),
        ("criteria", "criterion"),
        ("indices", "index"),
        ("matrices", "matrix"),
        ("movies", "movie"),
        ("news", "news"),
        ("people", "person"),
        ("series", "series"),
        ("statuses", "status"),
        ("vertices", "vertex"),
    ];
    if let Ok(at) = IRREGULAR.binary_search_by_key(&word, |(plural, _)| plural) {
        return IRREGULAR
            .get(at)
            .map_or(word, |(_, singular)| singular)
            .to_owned();
    }
    let stem = |cut: usize| word.get(..word.len().saturating_sub(cut)).unwrap_or(word);
    match word {
        _ if word.len() < 4 || ["ss", "us", "is"].iter().any(|ending| word.ends_with(ending)) => {
            word.to_owned()
        }
        _ if word.ends_with("ies") => format!("{}y", stem(3)),
        _ if ["sses", "shes", "ches", "xes", "zes"]
            .iter()
            .any(|ending| word.ends_with(ending)) =>
        {
            stem(2).to_owned()
        }
        _ if word.ends_with('s') => stem(1).to_owned(),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vocabulary_is_sorted_lower_case_and_unique() {
        let words: Vec<&str> = include_str!("words/route.txt").lines().collect();
        assert!(words.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(
            words
                .iter()
                .all(|w| w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
        );
    }

    #[test]
    fn parts_of_names() {
        for (text, expect) in [
            ("order-line_items", "order line items"),
            ("getHTTPServer", "get HTTP Server"),
            ("HTTPServer", "HTTP Server"),
            ("API", "API"),
            ("helloworld.Greeter", "helloworld Greeter"),
            ("--", ""),
            ("aB", "a B"),
        ] {
            assert_eq!(parts(text).collect::<Vec<_>>().join(" "), expect, "{text}");
        }
    }

    #[test]
    fn singulars() {
        for (collection, name) in [
            ("users", Some("user")),
            ("categories", Some("category")),
            ("addresses", Some("address")),
            ("boxes", Some("box")),
            ("orderItems", Some("order_item")),
            ("line-items", Some("line_item")),
            ("status", Some("status")),
            ("people", Some("person")),
            ("user", Some("user")),
            ("v1", None),
            ("api", None),
            ("(x)", None),
            ("--", None),
        ] {
            assert_eq!(singular_name(collection).as_deref(), name, "{collection}");
        }
    }

    #[test]
    fn kinds() {
        use WordKind::*;
        for (text, kind) in [
            ("users", Route),
            ("Users", Route),
            ("categories", Route),
            ("addresses", Route),
            ("order-items", Route),
            ("line_items", Route),
            ("getUserById", Route),
            ("userinfo", Route),
            ("webhooks", Route),
            ("v1", Route),
            ("v2beta1", Route),
            ("oauth2", Route),
            ("entitlements", Route),
            ("publishing", Route),
            ("stopped", Route),
            ("index.html", Route),
            ("jquery.min.js", Route),
            (".well-known", Route),
            ("flurbs", Plausible),
            ("alice", Plausible),
            ("smith", Plausible),
            ("alice-orders", Plausible),
            ("hunter", Plausible),
            ("v1234", Opaque),
            ("user123", Opaque),
            ("qwxjzkvbpt", Opaque),
            ("xkcdqzjw", Opaque),
            ("a", Plausible),
            ("aBcDeFgH", Opaque),
            ("correcthorsebatterystaple", Opaque),
            ("sk_live_4eC39HqLyjWDarjtT1zdp7dc", Opaque),
            ("AKIAIOSFODNN", Opaque),
            ("rst", Opaque),
            ("aaaa", Opaque),
            ("a+b", Opaque),
            ("-", Opaque),
            ("", Opaque),
        ] {
            assert_eq!(judge(text), kind, "{text}");
        }
    }

    #[test]
    fn first_names_are_not_route_words() {
        const NAMES: &str = "james mary robert patricia john jennifer michael linda david elizabeth william barbara richard susan \
            joseph jessica thomas sarah charles karen christopher lisa daniel nancy matthew betty anthony sandra \
            margaret donald ashley steven kimberly andrew emily paul donna joshua michelle kenneth carol kevin \
            amanda brian melissa timothy deborah ronald stephanie george rebecca jason sharon edward laura jeffrey \
            cynthia ryan jacob amy nicholas kathleen gary angela eric shirley jonathan brenda stephen emma larry \
            anna justin pamela scott nicole brandon samantha benjamin katherine samuel christine gregory helen \
            alexander debra patrick rachel frank carolyn raymond janet jack maria dennis catherine jerry heather \
            tyler diane olivia peter walter carter hunter parker turner archer cooper porter wei li fatima mohammed \
            ahmed yuki hiroshi olga ivan jose juan ana pierre jean hans giuseppe priya raj chen wang zhang nguyen \
            kim park smith johnson williams brown jones garcia miller davis rodriguez martinez hernandez lopez \
            gonzalez wilson anderson taylor moore jackson martin lee perez thompson white harris sanchez clark \
            ramirez lewis robinson walker young allen wright torres hill flores nelson baker hall rivera campbell \
            mitchell roberts gomez phillips evans diaz edwards collins reyes stewart morris morales murphy cook \
            rogers gutierrez ortiz morgan peterson bailey reed kelly howard ramos cox ward richardson watson brooks \
            chavez bennett mendoza ruiz hughes alvarez castillo sanders patel myers constance florence clarence \
            prudence clement felicity trinity mueller schmidt schneider fischer weber wagner becker hoffmann ivanov \
            petrov kowalski nowak rossi russo ferrari silva santos oliveira souza dubois moreau laurent";
        for name in NAMES.split_whitespace() {
            assert_ne!(judge(name), WordKind::Route, "{name}");
        }
    }

    #[test]
    fn random_letters_are_mostly_opaque() {
        let mut state = 7u64;
        let mut plausible = 0;
        for _ in 0..10_000 {
            let word: String = (0..10)
                .map(|_| {
                    state = state
                        .wrapping_mul(6364136223846793005)
                        .wrapping_add(1442695040888963407);
                    char::from(b'a' + ((state >> 33) % 26) as u8)
                })
                .collect();
            assert_ne!(judge(&word), WordKind::Route, "{word}");
            plausible += usize::from(judge(&word) == WordKind::Plausible);
        }
        assert!(plausible < 100, "{plausible}");
    }
}
