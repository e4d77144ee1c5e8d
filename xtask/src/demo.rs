//! `demo`: `run` with a small shop to look at: nginx in front of a Python and a Node service that call each other, and a client.
//! The inventory is printed as it grows. Ctrl-C leaves nothing behind.

mod shop;

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::children::{Children, Output, Pause};
use crate::daemons::Daemons;
use crate::setup::{self, Group};
use crate::workspace::{Profile, Workspace};
use crate::{build, command, preflight};

/// How often the inventory is read.
const REFRESH: Duration = Duration::from_secs(2);

/// Clears the terminal from the top-left corner on.
const CLEAR: &str = "\x1b[H\x1b[2J";

#[derive(Debug, Args)]
pub struct Arguments {
    /// End after this many seconds.
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,

    /// End as soon as the inventory has this many endpoints; with --for, fail when it has not in that time.
    #[arg(long, value_name = "ENDPOINTS")]
    once: Option<usize>,

    /// Build and run optimised binaries.
    #[arg(long)]
    release: bool,
}

pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    preflight::check()?;
    setup::ensure(workspace, &[Group::Demo])?;
    let profile = Profile::of(arguments.release);
    build::run(workspace, profile)?;

    let mut daemons = Daemons::prepare(workspace, profile, None)?;
    let mut children = Children::new()?;
    daemons.start(&mut children, Output::Kept)?;
    let shop = shop::start(workspace, &mut children, daemons.directory())?;
    let mut view = View::new(format!("API: {}   shop: {shop}   (Ctrl-C ends)", daemons.url()));
    let end = watch(&daemons, &mut children, &mut view, arguments).and_then(|()| view.close(&daemons));
    children.end();
    end
}

/// Shows the inventory until something in `arguments`, or somebody, ends it.
fn watch(daemons: &Daemons, children: &mut Children, view: &mut View, arguments: &Arguments) -> Result<()> {
    let until = arguments
        .seconds
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    loop {
        let left = until.map_or(REFRESH, |until| {
            until.saturating_duration_since(Instant::now()).min(REFRESH)
        });
        let stopped = children.pause(left)? == Pause::Stopped;
        let inventory = Inventory::read(daemons)?;
        view.show(daemons, &inventory)?;
        let known = inventory.names.len();
        match arguments.once {
            Some(wanted) if known >= wanted => return Ok(()),
            Some(wanted) if until.is_some_and(|until| Instant::now() >= until) => {
                bail!("the inventory has {known} endpoints, not {wanted}")
            }
            _ if stopped || until.is_some_and(|until| Instant::now() >= until) => return Ok(()),
            _ => {}
        }
    }
}

/// What the collector knows, by name.
#[derive(Debug, PartialEq, Eq)]
struct Inventory {
    /// Method, host and path template of each endpoint, and the end of the connection it was seen at unless that is the server's.
    names: BTreeSet<String>,
}

impl Inventory {
    fn read(daemons: &Daemons) -> Result<Self> {
        let text = command::output(&mut daemons.client(&["endpoints", "--output", "json"]))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).context("reading the inventory")?;
        let endpoints = value.get("items").unwrap_or(&value);
        let endpoints = endpoints
            .as_array()
            .context("the inventory is not a list of endpoints")?;
        let name = |endpoint: &Value| {
            let field = |name| endpoint.get(name).and_then(Value::as_str);
            let seen_at = if field("side") == Some("client") {
                "  (as its client sees it)"
            } else {
                ""
            };
            Some(format!(
                "{} {}{}{seen_at}",
                field("method")?,
                field("host")?,
                field("path")?
            ))
        };
        let names = endpoints
            .iter()
            .map(|endpoint| name(endpoint).with_context(|| format!("an endpoint without a name: {endpoint}")))
            .collect::<Result<_>>()?;
        Ok(Self { names })
    }
}

/// On a terminal the table as it is now, elsewhere a line for each endpoint when it is first seen.
#[derive(Debug)]
struct View {
    headline: String,
    shown: BTreeSet<String>,
    terminal: bool,
}

impl View {
    fn new(headline: String) -> Self {
        println!("{headline}");
        Self {
            headline,
            shown: BTreeSet::new(),
            terminal: std::io::stdout().is_terminal(),
        }
    }

    fn show(&mut self, daemons: &Daemons, inventory: &Inventory) -> Result<()> {
        let mut out = std::io::stdout().lock();
        let written = if self.terminal {
            let table = command::output(&mut daemons.client(&["endpoints"]))?;
            write!(out, "{CLEAR}{}\n\n{table}", self.headline)
        } else {
            inventory
                .names
                .difference(&self.shown)
                .try_for_each(|name| writeln!(out, "+ {name}"))
        };
        written
            .and_then(|()| out.flush())
            .context("writing the inventory")?;
        self.shown.clone_from(&inventory.names);
        Ok(())
    }

    /// Elsewhere than on a terminal, which shows it already: the whole table, once.
    fn close(&self, daemons: &Daemons) -> Result<()> {
        if !self.terminal {
            print!("{}", command::output(&mut daemons.client(&["endpoints"]))?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_names_of_endpoints() {
        let endpoint = r#"{"method":"GET","host":"shop","path":"/users/{integer}","side":"server"}"#;
        for text in [format!("[{endpoint}]"), format!(r#"{{"items":[{endpoint}]}}"#)] {
            let names = Inventory::parse(&text).unwrap().names;
            assert_eq!(
                names.into_iter().collect::<Vec<_>>(),
                ["GET shop/users/{integer}"]
            );
        }
        let called = Inventory::parse(&format!("[{}]", endpoint.replace("server", "client"))).unwrap();
        assert!(
            called.names.iter().all(|name| name.contains("client")),
            "{called:?}"
        );
        assert!(Inventory::parse("[]").unwrap().names.is_empty());
        assert!(Inventory::parse(r#"[{"host":"shop"}]"#).is_err());
        assert!(Inventory::parse(r#"{"error":"x"}"#).is_err());
    }
}
