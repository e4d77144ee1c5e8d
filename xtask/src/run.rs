//! `run`: collector and agent on this machine, until Ctrl-C. Leaves nothing behind but the store, when one was named.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::children::{Children, Output, Pause};
use crate::daemons::Daemons;
use crate::workspace::{Profile, Workspace};
use crate::{build, preflight};

/// Long enough to be no poll: the wait ends by what happens.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

#[derive(Debug, Args)]
pub struct Arguments {
    /// Keep the collector's database in this directory; without it, it goes when this ends.
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,

    /// Build and run optimised binaries.
    #[arg(long)]
    release: bool,
}

pub fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    preflight::check()?;
    let profile = Profile::of(arguments.release);
    build::run(workspace, profile)?;

    let mut daemons = Daemons::prepare(workspace, profile, arguments.store.as_deref())?;
    let mut children = Children::new()?;
    daemons.start(&mut children, Output::Shown)?;
    println!(
        "API: {}  store: {}  (Ctrl-C ends)",
        daemons.url(),
        daemons.store().display()
    );
    while children.pause(FOREVER)? != Pause::Stopped {}
    children.end();
    Ok(())
}
