//! A Python program that does what its standard input says, line by line, and says when it has.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running script. It is ended when this is dropped.
#[derive(Debug)]
pub struct Script {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    port: u16,
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Script {
    /// Starts the program, whose first line is the port that it listens on.
    #[must_use]
    pub fn start(program: &str) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", program])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let input = child.stdin.take().expect("piped");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut port = String::new();
        output.read_line(&mut port).expect("the port");
        Self {
            child,
            input,
            output,
            port: port.trim().parse().expect("a port"),
        }
    }

    /// Hands it a line, and returns when it has done what that says.
    pub fn ask(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("the script runs");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("the script runs");
        assert_eq!(answer, "done\n");
    }

    /// Port that it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}
