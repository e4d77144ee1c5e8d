//! Running other programs: what runs is shown first, failures name the command.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Variables that steer cargo or rustc. A build for another compiler must not inherit them: `cargo xtask` itself runs
/// below cargo and rustup's proxy, which set several of them for the *host* toolchain.
const TOOLCHAIN_VARIABLES: &[&str] = &[
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CLIPPY_ARGS",
    "LD_LIBRARY_PATH",
    "RUSTC",
    "RUSTC_BOOTSTRAP",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

/// The cargo that runs this program: the toolchain's own binary, not rustup's proxy.
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Removes every variable that would leak the host toolchain's choices into `command`.
pub fn without_toolchain_variables(command: &mut Command) -> &mut Command {
    for name in TOOLCHAIN_VARIABLES {
        command.env_remove(name);
    }
    // `CARGO_PROFILE_*` and per-target flags of the user are meant for the host as well.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PROFILE_") || text.starts_with("CARGO_TARGET_BPF") {
            command.env_remove(&name);
        }
    }
    command
}

/// Shows the command, runs it with this program's terminal, and fails when it fails.
pub fn run(command: &mut Command) -> Result<()> {
    eprintln!("     $ {}", display(command));
    let status = command
        .status()
        .with_context(|| format!("starting `{}`", display(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", display(command));
    }
    Ok(())
}

/// Runs the command quietly and returns what it wrote to its standard output; the error carries its standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting `{}`", display(command)))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{}` failed: {}\n{}",
            display(command),
            output.status,
            stderr.trim()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` did not write UTF-8", display(command)))
}

/// The command as one would type it: its own variables, program and arguments.
pub fn display(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        let value = value?;
        // PATH is only ever extended here; repeating it in full hides the command.
        (name != "PATH").then(|| format!("{}={}", name.to_string_lossy(), quote(value)))
    });
    let words = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(quote);
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

fn quote(word: &OsStr) -> String {
    let text = word.to_string_lossy().replace('\u{1f}', " ");
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The first executable file called `name` on `PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    // Daemons live in sbin, which is not on every user's PATH.
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok() && file.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_a_command_as_one_would_type_it() {
        let mut command = Command::new("cargo");
        command
            .args(["build", "--features", "a b", ""])
            .env("RUSTC", "/usr/bin/rustc")
            .env("PATH", "/x");
        command.env_remove("RUSTFLAGS");
        assert_eq!(
            display(&command),
            "RUSTC=/usr/bin/rustc cargo build --features 'a b' ''"
        );
    }

    #[test]
    fn finds_programs_on_the_path_only_when_executable() {
        assert!(find_program("sh").is_some());
        assert_eq!(find_program("no-such-program-here"), None);
    }

    #[test]
    fn failures_name_the_command_and_carry_its_words() {
        let error = output(Command::new("sh").args(["-c", "echo why >&2; exit 3"]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("exit 3") && error.contains("why"), "{error}");
    }
}
