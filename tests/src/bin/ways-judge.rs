//! Judges every way into a socket with one provider: `ways-judge --agent PROGRAM --ways PROGRAM [--provider NAME] [--kernel NAME] [WAY…]`.
//!
//! Needs root, and nothing but these programs. Prints a line of JSON for each way: kernel, provider, way, `verdict` (`captured`,
//! `counted`, `impossible`, `unknown`), its reason and figures.
//!
//! Exit codes: 0 every cell is known, 1 the agent cannot work here, 2 usage, 3 a cell is unknown.

#![forbid(unsafe_code)]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use tests::ways::{Options, Session, Verdict, list};

const USAGE: &str = "ways-judge --agent PROGRAM --ways PROGRAM [--provider NAME] [--kernel NAME] [WAY…]";

/// What was asked for.
struct Request {
    options: Options,
    kernel: String,
    ways: Vec<String>,
}

fn request(mut arguments: impl Iterator<Item = String>) -> Option<Request> {
    let (mut agent, mut ways, mut provider, mut kernel) = (None, None, "auto".to_owned(), None);
    let mut names = Vec::new();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--agent" => agent = Some(PathBuf::from(arguments.next()?)),
            "--ways" => ways = Some(PathBuf::from(arguments.next()?)),
            "--provider" => provider = arguments.next()?,
            "--kernel" => kernel = Some(arguments.next()?),
            name if name.starts_with('-') => return None,
            name => names.push(name.to_owned()),
        }
    }
    let release = || {
        let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        text.trim().to_owned()
    };
    Some(Request {
        options: Options {
            agent: agent?,
            ways: ways?,
            provider,
        },
        kernel: kernel.unwrap_or_else(release),
        ways: names,
    })
}

fn main() -> ExitCode {
    let Some(request) = request(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // A session that cannot go on says why itself.
    std::panic::catch_unwind(|| judge(&request)).unwrap_or(ExitCode::FAILURE)
}

fn judge(request: &Request) -> ExitCode {
    let mut session = Session::start(&request.options);
    let provider = session.provider();
    let names = if request.ways.is_empty() {
        list(&request.options.ways)
    } else {
        request.ways.clone()
    };
    let mut code = ExitCode::SUCCESS;
    for name in names {
        let cell = session.judge(&name);
        if cell.verdict == Verdict::Unknown {
            code = ExitCode::from(3);
        }
        // Whoever reads no more wants no more.
        let _ = writeln!(std::io::stdout(), "{}", cell.line(&request.kernel, &provider));
    }
    code
}
