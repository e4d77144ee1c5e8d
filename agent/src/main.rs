//! `eastwatch-agent`: maps the command line to the library and errors to exit codes.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use eastwatch_agent::cli::output::Output;
use eastwatch_agent::cli::{doctor, replay, run, tail};
use eastwatch_agent::config::{Config, Log, LogFormat};
use eastwatch_agent::tap::TapFilter;
use tracing_subscriber::EnvFilter;

/// Exit code of a wrong command line or configuration.
const EXIT_USAGE: u8 = 2;

/// Captures the HTTP traffic of every process of this node and tells a collector which APIs there are.
#[derive(Parser)]
#[command(name = "eastwatch-agent", version, arg_required_else_help = true)]
struct Cli {
    /// TOML file; environment variables such as EASTWATCH_AGENT__COLLECTOR__URL override it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Node(NodeCommand),
    /// Read traffic from files: captures (pcap, pcapng) and HTTP archives (HAR 1.2), plain or gzip.
    #[command(
        after_help = "Several files are one sequence: connections of a capture go on in the next. No privileges and no collector are \
        needed.\n\nResults in the directory:\n  \
        calls.jsonl       one call a line\n  \
        inventory.json    endpoints, as the REST API gives them\n  \
        openapi/          one OpenAPI document per host\n  \
        detections.jsonl  sensitive values (empty so far)\n  \
        findings.jsonl    what is wrong (empty so far)\n  \
        summary.json      counts, and what was dropped and why\n\n\
        Values are redacted as before they leave a node. With --reveal they are as they were, bytes that are no UTF-8 percent-encoded.\n\n\
        Examples:\n  eastwatch-agent replay --out-dir results capture.pcap\n  \
        eastwatch-agent replay --reveal --out-dir results browser.har.gz\n  \
        eastwatch-agent replay --out-dir results rotated.pcap0 rotated.pcap1\n\n\
        Exit codes: 0 all was read, 1 results cannot be written, 2 usage or configuration, 3 a file could not be read or not to its \
        end (the results hold the rest), 130 or 143 ended by SIGINT or SIGTERM (the results hold what was read)."
    )]
    Replay {
        /// Write values as they are. The results must not leave this machine then.
        #[arg(long)]
        reveal: bool,
        /// Where results go; made if need be. What an earlier replay left there is replaced when all is done.
        #[arg(long, value_name = "DIR")]
        out_dir: PathBuf,
        /// Captures and archives.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
}

/// What has to do with the traffic of this node.
#[derive(Subcommand)]
enum NodeCommand {
    /// Capture until SIGTERM or SIGINT.
    #[command(
        after_help = "Examples:\n  eastwatch-agent run\n  eastwatch-agent run --config /etc/eastwatch/agent.toml\n  \
        EASTWATCH_AGENT__COLLECTOR__URL=http://collector:4460 eastwatch-agent run\n\n\
        Exit codes: 0 ended as asked, 1 error, 2 usage or configuration."
    )]
    Run,
    /// Show calls as they happen: of the running agent, or captured by this command when none runs.
    #[command(
        after_help = "Examples:\n  eastwatch-agent tail\n  eastwatch-agent tail --status 5xx\n  \
        eastwatch-agent tail --workload nginx --path /api/ --output json -n 10\n  \
        eastwatch-agent tail --application grpc\n  eastwatch-agent tail --scheme https\n\n\
        Exit codes: 0 ended as asked, 1 error, 2 usage or configuration."
    )]
    Tail(TailArgs),
    /// Tell what this kernel and host allow, what is attached, what is dropped and why.
    #[command(
        after_help = "Examples:\n  eastwatch-agent doctor\n  eastwatch-agent doctor --output json\n\n\
        Exit codes: 0 traffic can be captured here, 1 it cannot, 2 usage or configuration."
    )]
    Doctor {
        /// Form of the output.
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
}

#[derive(Args)]
struct TailArgs {
    /// Only calls whose client's or server's workload contains this.
    #[arg(long, default_value = "", hide_default_value = true)]
    workload: String,
    /// Only calls whose host contains this.
    #[arg(long, default_value = "", hide_default_value = true)]
    host: String,
    /// Only calls whose target begins with this.
    #[arg(long, default_value = "", hide_default_value = true)]
    path: String,
    /// Only calls of this method.
    #[arg(long, default_value = "", hide_default_value = true)]
    method: String,
    /// Only calls of this status: a code as 404, a class as 5xx, or none for no response.
    #[arg(long, default_value = "", hide_default_value = true)]
    status: String,
    /// Only calls of this protocol on top of HTTP: grpc, grpc-web, websocket, sse, graphql, json-rpc, soap, xml-rpc, or http.
    #[arg(long, value_name = "PROTOCOL", default_value = "", hide_default_value = true)]
    application: String,
    /// Only calls through TLS (https), or in the clear (http).
    #[arg(long, default_value = "", hide_default_value = true)]
    scheme: String,
    /// End after so many calls.
    #[arg(short = 'n', long, value_name = "CALLS", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

impl TailArgs {
    fn filter(&self) -> TapFilter {
        TapFilter {
            workload: self.workload.clone(),
            host: self.host.clone(),
            path: self.path.clone(),
            method: self.method.clone(),
            status: self.status.clone(),
            application: self.application.clone(),
            scheme: self.scheme.clone(),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Node(NodeCommand::Tail(args)) = &cli.command
        && let Err(error) = args.filter().check()
    {
        eprintln!("eastwatch-agent: {error}");
        return ExitCode::from(EXIT_USAGE);
    }
    let prepared = Config::load(cli.config.as_deref())
        .map_err(anyhow::Error::from)
        .and_then(|config| start_log(&config.log, &cli.command).map(|()| config));
    let config = match prepared {
        Ok(config) => config,
        Err(error) => {
            eprintln!("eastwatch-agent: {error:#}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let done = match cli.command {
        // Files need neither a runtime nor the configuration of a node.
        Command::Replay {
            reveal,
            out_dir,
            files,
        } => replay::run(files, out_dir, reveal),
        Command::Node(command) => execute(command, config).map(|good| {
            if good {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("eastwatch-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn execute(command: NodeCommand, config: Config) -> Result<bool> {
    match command {
        NodeCommand::Run => run::run(config).await.map(|()| true),
        NodeCommand::Tail(args) => {
            let (filter, output, limit) = (args.filter(), args.output, args.limit);
            tail::tail(config, filter, output, limit).await.map(|()| true)
        }
        NodeCommand::Doctor { output } => doctor::doctor(&config, output).await,
    }
}

fn start_log(log: &Log, command: &Command) -> Result<()> {
    // The other commands answer; their log is for trouble only.
    let level = if matches!(command, Command::Node(NodeCommand::Run)) {
        log.level.as_str()
    } else {
        "warn"
    };
    let filter = EnvFilter::try_new(level).with_context(|| {
        format!("log.level = {level:?} is neither a level such as `info` nor directives such as `info,tonic=debug`")
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
