//! A connection that remembers how it ended.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How a connection ended, as far as the other end or the network had to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The other end closed it.
    ByPeer,
    /// Reading or writing failed.
    Broken(ErrorKind, String),
}

/// The first end that was seen. Shared between the connection and who asks.
#[derive(Clone, Debug, Default)]
pub(super) struct End(Arc<Mutex<Option<Ended>>>);

impl End {
    /// `None` while open, and when this end closed it.
    pub(super) fn seen(&self) -> Option<Ended> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, ended: Ended) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(ended);
    }

    fn note_error<T>(&self, result: &Poll<io::Result<T>>) {
        if let Poll::Ready(Err(error)) = result {
            self.note(Ended::Broken(error.kind(), error.to_string()));
        }
    }
}

/// See the module's description.
pub(super) struct Watched<T> {
    pub(super) io: T,
    pub(super) end: End,
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        let result = Pin::new(&mut self.io).poll_read(cx, buffer);
        self.end.note_error(&result);
        if matches!(result, Poll::Ready(Ok(()))) && room > 0 && buffer.filled().len() == before {
            self.end.note(Ended::ByPeer);
        }
        result
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.end.note_error(&result);
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.end.note_error(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
