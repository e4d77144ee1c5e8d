//! `eastwatch`: maps the command line to the library and errors to exit codes.

use std::process::ExitCode;

use clap::Parser;
use eastwatch_collector::cli::{self, Args};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match cli::run(Args::parse(), &mut std::io::stdout()).await {
        Ok(()) => ExitCode::from(cli::EXIT_OK),
        Err(error) => {
            let code = error.exit_code();
            if code != cli::EXIT_OK {
                eprintln!("eastwatch: {error}");
            }
            ExitCode::from(code)
        }
    }
}
