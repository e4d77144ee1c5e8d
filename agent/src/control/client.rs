//! The asking end of the control socket.

use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::{Line, Request};
use crate::status::Status;
use crate::tap::TapFilter;

/// Lines of a tail.
pub struct Calls {
    lines: Lines<BufReader<OwnedReadHalf>>,
    /// Keeps the connection open.
    _write: OwnedWriteHalf,
}

impl Calls {
    /// The next one; `None` when the agent has ended.
    ///
    /// # Errors
    /// The agent went away in the middle, or speaks another language.
    pub async fn next(&mut self) -> Result<Option<Line>> {
        let Some(line) = self.lines.next_line().await.context("reading from the agent")? else {
            return Ok(None);
        };
        let line = serde_json::from_str(&line)
            .context("the agent's answer is not understood: its version differs")?;
        Ok(Some(line))
    }
}

async fn ask(
    path: &Path,
    request: &Request,
) -> Result<Option<(Lines<BufReader<OwnedReadHalf>>, OwnedWriteHalf)>> {
    let stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => {
            return Err(error)
                .with_context(|| format!("connecting to the agent's control socket {}", path.display()));
        }
    };
    let (read, mut write) = stream.into_split();
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    match write.write_all(&line).await {
        // Turned away: what the agent answered says why.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.context("asking the agent")?,
    }
    Ok(Some((BufReader::new(read).lines(), write)))
}

/// Status of the running agent; `None` when none answers there.
///
/// # Errors
/// It may not be asked, or its answer is not understood.
pub async fn status(path: &Path) -> Result<Option<Status>> {
    let Some((mut lines, _write)) = ask(path, &Request::Status).await? else {
        return Ok(None);
    };
    let line = lines
        .next_line()
        .await
        .context("reading from the agent")?
        .unwrap_or_default();
    if let Ok(Line::Error(error)) = serde_json::from_str(&line) {
        anyhow::bail!("the agent refused: {error}");
    }
    let status =
        serde_json::from_str(&line).context("the agent's answer is not understood: its version differs")?;
    Ok(Some(status))
}

/// Calls of the running agent; `None` when none answers there.
///
/// # Errors
/// It may not be asked.
pub async fn tail(path: &Path, filter: &TapFilter) -> Result<Option<Calls>> {
    let asked = ask(path, &Request::Tail(filter.clone())).await?;
    Ok(asked.map(|(lines, write)| Calls { lines, _write: write }))
}
