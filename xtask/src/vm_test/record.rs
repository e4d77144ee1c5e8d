//! Results of earlier runs, so that a run of some providers or ways completes the tables of an earlier run of all: one file of lines for
//! each kernel, as its VM said them.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};

use crate::vm_test::kernels::Kernel;
use crate::vm_test::results::Run;

/// What is recorded of a kernel; nothing when it was never run.
pub fn load(directory: &Path, kernel: &Kernel) -> Result<Run> {
    let mut run = Run::default();
    for line in read(directory, kernel)?.lines() {
        run.heed(line);
    }
    Ok(run)
}

/// Records lines of results: instead of what was recorded, or in addition where a run was not of everything.
pub fn store(directory: &Path, kernel: &Kernel, lines: &[String], of_everything: bool) -> Result<()> {
    let mut text = if of_everything {
        String::new()
    } else {
        read(directory, kernel)?
    };
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    let file = directory.join(name(kernel));
    fs::write(&file, text).with_context(|| format!("writing {}", file.display()))
}

fn read(directory: &Path, kernel: &Kernel) -> Result<String> {
    let file = directory.join(name(kernel));
    match fs::read_to_string(&file) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("reading {}", file.display())),
    }
}

fn name(kernel: &Kernel) -> String {
    format!("{}.jsonl", kernel.series)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm_test::kernels;

    #[test]
    fn a_run_of_some_adds_to_what_is_recorded_and_a_run_of_everything_replaces_it() {
        let directory = tempfile::tempdir().unwrap();
        let kernel = kernels::choose(&["6.1".to_owned()]).unwrap().remove(0);
        let checks = || load(directory.path(), &kernel).unwrap().checks.len();
        let line = |check: &str| {
            format!(
                r#"{{"step":"providers","line":{{"provider":"a","check":"{check}","ok":true,"seconds":1,"detail":""}}}}"#
            )
        };
        assert_eq!(checks(), 0);
        store(directory.path(), &kernel, &[line("load"), line("wget")], true).unwrap();
        assert_eq!(checks(), 2);
        store(directory.path(), &kernel, &[line("wget"), line("curl")], false).unwrap();
        assert_eq!(checks(), 3);
        store(directory.path(), &kernel, &[line("load")], true).unwrap();
        assert_eq!(checks(), 1);
    }
}
