//! The command line.

use clap::{Parser, Subcommand, ValueEnum};

/// Heading of the options that every command has.
const COMMON: &str = "Options of every command";

/// Narrowest table: below, columns would have a letter or two.
pub const WIDTH_MIN: u16 = 40;

/// Shows the APIs that run, who calls them, and every call that was kept.
#[derive(Debug, Parser)]
#[command(
    name = "eastwatch",
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  eastwatch endpoints --workload shop\n  eastwatch calls --status 5xx --from -15m\n  \
                  eastwatch graph --output json\n\nExit codes: 0 answered, 1 error, 2 usage, 3 the collector cannot be reached."
)]
pub struct Args {
    /// The collector's API.
    #[arg(
        long,
        global = true,
        help_heading = COMMON,
        value_name = "URL",
        env = "EASTWATCH_URL",
        default_value = "http://127.0.0.1:4461"
    )]
    pub url: String,
    /// How to show the answer.
    #[arg(long, short, global = true, help_heading = COMMON, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Width of tables in characters; the terminal's when not given, unlimited when there is none.
    #[arg(
        long,
        global = true,
        help_heading = COMMON,
        value_name = "CHARACTERS",
        value_parser = clap::value_parser!(u16).range(i64::from(WIDTH_MIN)..)
    )]
    pub width: Option<u16>,
    /// What to show.
    #[command(subcommand)]
    pub command: Command,
}

/// How an answer looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs: one JSON document, with exact numbers.
    Json,
}

/// What to show.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Operations of APIs: a method on a path template.
    #[command(
        after_help = "Examples:\n  eastwatch endpoints\n  eastwatch endpoints --host shop.test:8080 --path /orders\n  \
        eastwatch endpoints --from -1h --status 5xx\n  eastwatch endpoints 0123456789abcdef0123456789abcdef --output json"
    )]
    Endpoints(EndpointsArgs),
    /// Individual calls, newest first.
    #[command(
        after_help = "Examples:\n  eastwatch calls --limit 20\n  eastwatch calls --client web --status 404\n  \
        eastwatch calls --path '/users/*/avatar' --from -15m --to -5m\n  \
        eastwatch calls --application grpc --operation shop.v1.Orders/\n  eastwatch calls --scheme http\n  \
        eastwatch calls --follow"
    )]
    Calls(CallsArgs),
    /// Who calls whom.
    #[command(after_help = "Examples:\n  eastwatch graph\n  eastwatch graph --from -15m --workload shop")]
    Graph(GraphArgs),
    /// What runs on the nodes and speaks HTTP.
    #[command(after_help = "Examples:\n  eastwatch workloads\n  eastwatch workloads --node node-a")]
    Workloads(WorkloadsArgs),
    /// How much of what workloads said and heard was read, and why not the rest.
    #[command(
        after_help = "Examples:\n  eastwatch coverage\n  eastwatch coverage --below 1 --from -1h\n  \
        eastwatch coverage --workload shop --output json\n  eastwatch coverage --tls\n\n\
        The capture rate is what was read of all that should have been; what is left out on purpose does not lower it. \
        TLS is the part of the bytes of TLS on the wire of which the plaintext is read; --tls says by library why not the rest."
    )]
    Coverage(CoverageArgs),
    /// Node agents, what they drop, and what they capture less of to do no harm.
    #[command(after_help = "Examples:\n  eastwatch agents\n  eastwatch agents --output json")]
    Agents(AgentsArgs),
}

/// A span of time.
#[derive(clap::Args, Debug)]
pub struct RangeArgs {
    /// Not before this time: RFC 3339 in UTC, or relative such as -15m.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// Before this time.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub to: Option<String>,
}

/// `eastwatch endpoints`
#[derive(clap::Args, Debug)]
pub struct EndpointsArgs {
    /// Show only this one, with its minutes and histograms.
    pub id: Option<String>,
    #[command(flatten)]
    pub range: RangeArgs,
    /// Workload that serves it; `*` stands for any characters.
    #[arg(long)]
    pub workload: Option<String>,
    /// Host that it is called by; `*` stands for any characters.
    #[arg(long)]
    pub host: Option<String>,
    /// Start of its path template, or a pattern with `*`.
    #[arg(long)]
    pub path: Option<String>,
    /// Its method.
    #[arg(long)]
    pub method: Option<String>,
    /// Answered at least once with this class: 5xx, or none for no response.
    #[arg(long)]
    pub status: Option<String>,
    /// Which end it was seen at: server or client.
    #[arg(long)]
    pub side: Option<String>,
    /// true for those that ever answered other than 4xx, false for the others.
    #[arg(long)]
    pub confirmed: Option<String>,
    /// Most rows.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// `eastwatch calls`
#[derive(clap::Args, Debug)]
pub struct CallsArgs {
    /// Show only this one.
    pub id: Option<String>,
    #[command(flatten)]
    pub range: RangeArgs,
    /// Workload at either end; `*` stands for any characters.
    #[arg(long)]
    pub workload: Option<String>,
    /// Workload that called.
    #[arg(long)]
    pub client: Option<String>,
    /// Workload that was called.
    #[arg(long)]
    pub server: Option<String>,
    /// Host that was asked for; `*` stands for any characters.
    #[arg(long)]
    pub host: Option<String>,
    /// Start of its path, or a pattern with `*`.
    #[arg(long)]
    pub path: Option<String>,
    /// Its method.
    #[arg(long)]
    pub method: Option<String>,
    /// A code (404), a class (5xx), or none for no response.
    #[arg(long)]
    pub status: Option<String>,
    /// What speaks on top of HTTP: grpc, grpc-web, websocket, sse, graphql, json-rpc, soap, xml-rpc, or http.
    #[arg(long, value_name = "PROTOCOL")]
    pub application: Option<String>,
    /// Start of what is called in terms of the application, or a pattern with `*`.
    #[arg(long)]
    pub operation: Option<String>,
    /// https for those that went through TLS, http for those in the clear.
    #[arg(long)]
    pub scheme: Option<String>,
    /// Endpoint that it belongs to.
    #[arg(long, value_name = "ID")]
    pub endpoint: Option<String>,
    /// Which end it was seen at: server or client.
    #[arg(long)]
    pub side: Option<String>,
    /// Most rows.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Go on showing calls as they arrive, until interrupted.
    #[arg(long, short, conflicts_with_all = ["id", "to"])]
    pub follow: bool,
}

/// `eastwatch graph`
#[derive(clap::Args, Debug)]
pub struct GraphArgs {
    #[command(flatten)]
    pub range: RangeArgs,
    /// Workload at either end; `*` stands for any characters.
    #[arg(long)]
    pub workload: Option<String>,
    /// Host that was asked for; `*` stands for any characters.
    #[arg(long)]
    pub host: Option<String>,
    /// Which end it was seen at: server or client.
    #[arg(long)]
    pub side: Option<String>,
    /// Most rows.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// `eastwatch workloads`
#[derive(clap::Args, Debug)]
pub struct WorkloadsArgs {
    #[command(flatten)]
    pub range: RangeArgs,
    /// Its name; `*` stands for any characters.
    #[arg(long)]
    pub workload: Option<String>,
    /// Node that it runs on; `*` stands for any characters.
    #[arg(long)]
    pub node: Option<String>,
    /// Most rows.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// `eastwatch coverage`
#[derive(clap::Args, Debug)]
pub struct CoverageArgs {
    #[command(flatten)]
    pub range: RangeArgs,
    /// Workload; `*` stands for any characters.
    #[arg(long)]
    pub workload: Option<String>,
    /// Node that it runs on; `*` stands for any characters.
    #[arg(long)]
    pub node: Option<String>,
    /// Only where the capture rate is below this, 0 to 1.
    #[arg(long, value_name = "RATE")]
    pub below: Option<String>,
    /// TLS by library: how much of it is decrypted, and why not the rest.
    #[arg(long)]
    pub tls: bool,
    /// Most rows.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// `eastwatch agents`
#[derive(clap::Args, Debug)]
pub struct AgentsArgs {
    /// Most rows.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}
