//! `eastwatch`: asks the collector's API and shows the answer.
//!
//! Invariant: what is printed as a table holds no control characters: paths and names come from anyone.

mod agents;
mod args;
mod calls;
mod client;
mod coverage;
mod endpoints;
mod graph;
mod human;
mod table;
#[cfg(test)]
mod tests;
mod workloads;

use std::io::Write;

pub use args::{Args, Command, Output};
pub use client::CliError;

/// Exit code: the question was answered.
pub const EXIT_OK: u8 = 0;
/// Exit code: something went wrong.
pub const EXIT_ERROR: u8 = 1;
/// Exit code: the command line or one of its filters is wrong.
pub const EXIT_USAGE: u8 = 2;
/// Exit code: the collector cannot be reached.
pub const EXIT_UNREACHABLE: u8 = 3;

/// Answers one command.
///
/// # Errors
/// See [`CliError`]; [`CliError::exit_code`] maps them.
pub async fn run(args: Args, out: &mut (dyn Write + Send)) -> Result<(), CliError> {
    let client = client::Client::new(&args.url)?;
    let view = table::View {
        output: args.output,
        width: args.width,
    };
    match args.command {
        Command::Endpoints(args) => endpoints::run(&client, &args, view, out).await,
        Command::Calls(args) => calls::run(&client, &args, view, out).await,
        Command::Graph(args) => graph::run(&client, &args, view, out).await,
        Command::Workloads(args) => workloads::run(&client, &args, view, out).await,
        Command::Coverage(args) => coverage::run(&client, &args, view, out).await,
        Command::Agents(args) => agents::run(&client, &args, view, out).await,
    }
}
