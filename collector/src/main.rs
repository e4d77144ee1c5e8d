//! `eastwatch-collector`: maps the command line to the library and errors to exit codes.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use eastwatch_collector::config::{Config, Log, LogFormat};
use eastwatch_collector::serve::{self, Drained};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Collects what Eastwatch's node agents know about APIs, keeps it, and answers questions about it.
#[derive(Parser)]
#[command(name = "eastwatch-collector", version, arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run until SIGTERM or SIGINT; SIGHUP reads the policy file again.
    #[command(
        after_help = "Examples:\n  eastwatch-collector serve\n  eastwatch-collector serve --config eastwatch-collector.toml\n  \
        EASTWATCH_COLLECTOR__STORE__PATH=/var/lib/eastwatch/eastwatch.db eastwatch-collector serve\n\n\
        Exit codes: 0 ended as asked, 1 error, 2 usage or configuration."
    )]
    Serve {
        /// TOML file; environment variables such as EASTWATCH_COLLECTOR__LISTEN__GRPC override it.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// Exit code of a configuration that cannot be used, as of a wrong command line.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let Args {
        command: Command::Serve { config },
    } = Args::parse();
    let config = match Config::load(config.as_deref()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("eastwatch-collector: {error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if let Err(error) = start_log(&config.log) {
        eprintln!("eastwatch-collector: {error:#}");
        return ExitCode::from(EXIT_USAGE);
    }
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("eastwatch-collector: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.level).with_context(|| {
        format!(
            "log.level = {:?} is neither a level such as `info` nor directives such as `info,tonic=debug`",
            log.level
        )
    })?;
    let events = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => events.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => events.json().init(),
    }
    Ok(())
}

#[tokio::main]
async fn run(config: &Config) -> anyhow::Result<()> {
    // Before anything is open: a signal from now on drains.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let running = serve::start(config).await?;
    // For whoever started it with port 0.
    writeln!(
        std::io::stdout(),
        "listening grpc=http://{} http=http://{}",
        running.grpc,
        running.http
    )?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => running.reload_policy().await,
        }
    }
    tracing::info!("draining");
    match running.drain().await? {
        Drained::Complete => tracing::info!("ended"),
        Drained::Cut => {
            tracing::warn!("ended at shutdown.deadline; agents send again what was not acknowledged")
        }
    }
    Ok(())
}
