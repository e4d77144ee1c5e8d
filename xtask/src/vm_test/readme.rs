//! The tables in the README, between two comments that nobody sees.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

const BEGIN: &str = "<!-- vm-test: begin, written by `cargo xtask vm-test --write` -->\n";
const END: &str = "<!-- vm-test: end -->\n";

/// Replaces what is there.
pub fn write(workspace: &Workspace, tables: &str) -> Result<()> {
    let file = workspace.root.join("README.md");
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    fs::write(&file, replaced(&text, tables)?).with_context(|| format!("writing {}", file.display()))
}

fn replaced(text: &str, tables: &str) -> Result<String> {
    let parts = text
        .split_once(BEGIN)
        .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = parts else {
        bail!("the README has no place for the tables: it lacks {BEGIN:?} or {END:?}");
    };
    Ok(format!("{before}{BEGIN}\n{}\n\n{END}{after}", tables.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tables_change() {
        let text = format!("a\n{BEGIN}old\n{END}b\n");
        let expected = format!("a\n{BEGIN}\nnew\n\n{END}b\n");
        assert_eq!(replaced(&text, "new\n").unwrap(), expected);
        assert_eq!(replaced(&expected, "new").unwrap(), expected);
        assert!(replaced("a", "new").is_err());
        assert!(replaced(&format!("{BEGIN}old"), "new").is_err());
    }
}
