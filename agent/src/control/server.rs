//! The agent's end of the control socket.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;

use super::{Line, REQUEST_BYTES_MAX, Request};
use crate::status::Published;
use crate::tap::{TapFilter, Taps};

/// Wait after a client could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time for a client to say what it wants: it holds one of the places.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Clients served at a time; more are turned away.
pub const CLIENTS_MAX: usize = 16;

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another agent answers there.
    #[error("another agent already answers on {}: stop it, or set control.socket to another path", .0.display())]
    InUse(PathBuf),
    /// The path cannot be used.
    #[error("cannot listen on {}: {source}. Set control.socket to a path whose directory this user may write", path.display())]
    Path {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A bound socket; its file goes with it.
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Gone already, or the directory went read-only: nothing is left to do about it.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl ControlSocket {
    /// Binds the socket. A file that a crashed agent left is replaced, one that answers is not.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn bind(path: &Path) -> Result<Self, ControlError> {
        let failed = |source| ControlError::Path {
            path: path.to_owned(),
            source,
        };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(ControlError::InUse(path.to_owned()));
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        // Calls with their targets are shown here: for root alone.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// Serves clients for as long as it is polled.
    pub async fn serve(self, published: Published, taps: Taps) {
        let places = Arc::new(Semaphore::new(CLIENTS_MAX));
        loop {
            let Ok((mut stream, _)) = self.listener.accept().await else {
                // Out of descriptors, most likely: at once it would fail again, and keep a core busy with it.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!("a control client was turned away: {CLIENTS_MAX} are served already");
                let busy = Line::Error(format!(
                    "{CLIENTS_MAX} clients are served already: end one, a tail perhaps"
                ));
                // Does not wait for the client: nothing was written to this stream yet, so its buffer has room.
                let _ = send(&mut stream, &busy).await;
                continue;
            };
            let (published, taps) = (published.clone(), taps.clone());
            tokio::spawn(async move {
                // A client that went away is the normal end of a tail.
                let _ = answer(stream, &published, &taps).await;
                drop(place);
            });
        }
    }
}

async fn answer(stream: UnixStream, published: &Published, taps: &Taps) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(read).take(REQUEST_BYTES_MAX as u64);
    tokio::time::timeout(REQUEST_TIMEOUT, reader.read_line(&mut line)).await??;
    let request = match serde_json::from_str(&line) {
        Ok(Request::Tail(filter)) => filter.check().map(|()| Request::Tail(filter)),
        Ok(request) => Ok(request),
        Err(error) => Err(format!("request not understood: {error}")),
    };
    match request {
        Ok(Request::Status) => send(&mut write, &published.fresh().await).await,
        Ok(Request::Tail(filter)) => {
            let mut gone = [0];
            let mut rest = reader.into_inner();
            tokio::select! {
                done = tail(&mut write, taps, &filter) => done,
                // The client says nothing more; its end of file means that it went.
                _ = rest.read(&mut gone) => Ok(()),
            }
        }
        Err(error) => send(&mut write, &Line::Error(error)).await,
    }
}

async fn tail(write: &mut (impl AsyncWriteExt + Unpin), taps: &Taps, filter: &TapFilter) -> io::Result<()> {
    let mut calls = taps.subscribe();
    loop {
        let line = match calls.recv().await {
            Ok(call) if filter.matches(&call) => Line::Call(Box::new((*call).clone())),
            Ok(_) => continue,
            Err(RecvError::Lagged(missed)) => Line::Missed(missed),
            Err(RecvError::Closed) => return Ok(()),
        };
        send(write, &line).await?;
    }
}

async fn send(write: &mut (impl AsyncWriteExt + Unpin), line: &impl serde::Serialize) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    write.write_all(&bytes).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::client;

    #[tokio::test]
    async fn a_stale_file_is_replaced_and_a_living_agent_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/agent.sock");
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "left behind");
        let first = ControlSocket::bind(&path).unwrap();
        assert!(matches!(ControlSocket::bind(&path), Err(ControlError::InUse(_))));
        drop(first);
        assert!(!path.exists(), "cleaned up");
        let error = ControlSocket::bind(Path::new("/proc/no/agent.sock"))
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("control.socket"), "{error}");
    }

    #[tokio::test]
    async fn status_and_nonsense() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        let socket = ControlSocket::bind(&path).unwrap();
        let published = Published::default();
        published.set(crate::status::Status {
            node: "n1".into(),
            ..Default::default()
        });
        let server = tokio::spawn(socket.serve(published, Taps::default()));
        assert_eq!(client::status(&path).await.unwrap().unwrap().node, "n1");
        let bad = TapFilter {
            status: "ok".into(),
            ..TapFilter::default()
        };
        let mut lines = client::tail(&path, &bad).await.unwrap().unwrap();
        assert!(matches!(lines.next().await.unwrap(), Some(Line::Error(text)) if text.contains("status")));
        server.abort();
    }

    #[tokio::test]
    async fn a_status_is_of_the_moment_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        let published = Published::default();
        let server = tokio::spawn(
            ControlSocket::bind(&path)
                .unwrap()
                .serve(published.clone(), Taps::default()),
        );
        for exchanges in [7, 8] {
            let (path, published) = (path.clone(), published.clone());
            let asked = tokio::spawn(async move { client::status(&path).await.unwrap().unwrap() });
            while !published.is_wanted() {
                tokio::task::yield_now().await;
            }
            published.set(crate::status::Status {
                exchanges,
                ..Default::default()
            });
            assert_eq!(asked.await.unwrap().exchanges, exchanges);
        }
        server.abort();
    }

    #[tokio::test]
    async fn more_clients_than_places_are_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        let server = tokio::spawn(
            ControlSocket::bind(&path)
                .unwrap()
                .serve(Published::default(), Taps::default()),
        );
        let mut tails = Vec::new();
        for _ in 0..CLIENTS_MAX {
            tails.push(client::tail(&path, &TapFilter::default()).await.unwrap().unwrap());
        }
        let refused = client::status(&path).await.unwrap_err().to_string();
        assert!(refused.contains("served already"), "{refused}");
        let mut one_more = client::tail(&path, &TapFilter::default()).await.unwrap().unwrap();
        assert!(
            matches!(one_more.next().await.unwrap(), Some(Line::Error(text)) if text.contains("served already"))
        );
        server.abort();
    }
}
