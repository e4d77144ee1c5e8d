//! Licences and sources of everything that is linked, judged by the lists in `deny.toml`. `cargo deny` reads the same file and
//! checks more; this check needs nothing installed.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::metadata::{Metadata, Package};
use crate::workspace::Workspace;

/// The part of `deny.toml` that is read here; the rest is for `cargo deny`.
#[derive(Debug, Deserialize)]
struct Deny {
    licenses: Licences,
}

#[derive(Debug, Deserialize)]
struct Licences {
    allow: BTreeSet<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

/// A licence allowed for one crate only.
#[derive(Debug, Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: BTreeSet<String>,
}

/// What the identifier of the one public registry ends with; `cargo deny` allows the same one by default.
const REGISTRY_SUFFIX: &str = "/crates.io-index";

/// Fails with every crate whose licence or source is not allowed.
pub fn check(workspace: &Workspace, metadata: &Metadata) -> Result<()> {
    let file = workspace.root.join("deny.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let deny: Deny = toml::from_str(&text).with_context(|| format!("reading {}", file.display()))?;
    let violations: Vec<String> = metadata
        .packages
        .iter()
        .filter_map(|package| violation(&deny, package))
        .collect();
    if violations.is_empty() {
        return Ok(());
    }
    bail!("deny.toml does not allow:\n  {}", violations.join("\n  "))
}

fn violation(deny: &Deny, package: &Package) -> Option<String> {
    let who = format!("{} {}", package.name, package.version);
    let is_public = |source: &&str| source.starts_with("registry+") && source.ends_with(REGISTRY_SUFFIX);
    if let Some(source) = package.source.as_deref().filter(|source| !is_public(source)) {
        return Some(format!("{who} from {source}"));
    }
    let Some(licence) = &package.license else {
        return Some(format!("{who}: it names no licence"));
    };
    let allowed = |name: &str| {
        let exceptions = deny
            .licenses
            .exceptions
            .iter()
            .filter(|exception| exception.name == package.name);
        deny.licenses.allow.contains(name) || exceptions.into_iter().any(|one| one.allow.contains(name))
    };
    match Expression::parse(licence) {
        Ok(expression) => (!expression.is_met_by(&allowed)).then(|| format!("{who}: {licence}")),
        Err(error) => Some(format!("{who}: {licence:?} is no SPDX expression: {error}")),
    }
}

/// An SPDX licence expression (SPDX specification, annex on licence expressions): AND binds stronger than OR; the old
/// separator `/` of crates means OR.
#[derive(Debug, PartialEq, Eq)]
enum Expression {
    Licence(String),
    All(Vec<Expression>),
    Any(Vec<Expression>),
}

impl Expression {
    fn parse(text: &str) -> Result<Self> {
        let spaced = text.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        let mut words = spaced.split_whitespace().peekable();
        let expression = Self::any(&mut words)?;
        match words.next() {
            None => Ok(expression),
            Some(word) => bail!("unexpected `{word}`"),
        }
    }

    fn any<'a>(words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> Result<Self> {
        let mut parts = vec![Self::all(words)?];
        while words.next_if_eq(&"OR").is_some() {
            parts.push(Self::all(words)?);
        }
        Ok(Self::Any(parts))
    }

    fn all<'a>(words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> Result<Self> {
        let mut parts = vec![Self::one(words)?];
        while words.next_if_eq(&"AND").is_some() {
            parts.push(Self::one(words)?);
        }
        Ok(Self::All(parts))
    }

    fn one<'a>(words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> Result<Self> {
        match words.next() {
            Some("(") => {
                let inner = Self::any(words)?;
                words.next_if_eq(&")").context("`(` without `)`")?;
                Ok(inner)
            }
            Some(word) if !["AND", "OR", "WITH", ")"].contains(&word) => {
                let Some(_) = words.next_if_eq(&"WITH") else {
                    return Ok(Self::Licence(word.to_owned()));
                };
                let exception = words.next().context("WITH without an exception")?;
                Ok(Self::Licence(format!("{word} WITH {exception}")))
            }
            Some(word) => bail!("unexpected `{word}`"),
            None => bail!("it ends too early"),
        }
    }

    fn is_met_by(&self, allowed: &impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Licence(name) => allowed(name),
            Self::All(parts) => parts.iter().all(|part| part.is_met_by(allowed)),
            Self::Any(parts) => parts.iter().any(|part| part.is_met_by(allowed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deny() -> Deny {
        toml::from_str(
            "[licenses]\nallow = ['MIT', 'Apache-2.0', 'Apache-2.0 WITH LLVM-exception', 'Unicode-3.0']\n\
             exceptions = [{ crate = 'special', allow = ['Zlib'] }]\n",
        )
        .unwrap()
    }

    fn package(name: &str, licence: Option<&str>, source: Option<&str>) -> Package {
        Package {
            license: licence.map(str::to_owned),
            source: source.map(str::to_owned),
            ..Package::named(name)
        }
    }

    #[test]
    fn judges_licence_expressions() {
        for (licence, allowed) in [
            ("MIT", true),
            ("GPL-2.0-only", false),
            ("MIT OR GPL-2.0-only", true),
            ("MIT/Apache-2.0", true),
            ("MIT AND GPL-3.0", false),
            ("(MIT OR GPL-2.0) AND Unicode-3.0", true),
            ("GPL-2.0 OR MIT AND GPL-3.0", false),
            ("Apache-2.0 WITH LLVM-exception OR GPL-2.0", true),
            ("MIT WITH LLVM-exception", false),
            ("MIT OR", false),
            ("(MIT", false),
            ("", false),
        ] {
            let found = violation(&deny(), &package("some", Some(licence), None));
            assert_eq!(found.is_none(), allowed, "{licence}: {found:?}");
        }
    }

    #[test]
    fn exceptions_hold_for_their_crate_only() {
        assert_eq!(violation(&deny(), &package("special", Some("Zlib"), None)), None);
        assert_eq!(
            violation(&deny(), &package("other", Some("Zlib"), None)),
            Some("other 1.0.0: Zlib".into())
        );
        assert!(violation(&deny(), &package("other", None, None)).is_some());
    }

    #[test]
    fn sources_must_be_allowed() {
        let from = |source| violation(&deny(), &package("some", Some("MIT"), Some(source)));
        assert_eq!(from("registry+https://host/crates.io-index"), None);
        for other in [
            "git+https://host/crates.io-index",
            "registry+https://host/other-index",
        ] {
            assert_eq!(from(other), Some(format!("some 1.0.0 from {other}")));
        }
    }
}
