//! A file, or standard input, as a source of objects.

use super::split::{Found, Splitter};
use std::{fmt, io, path::Path, sync::Arc};
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt},
};

const PIECE: usize = 64 << 10;

/// A place in a file, for a person to go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: Arc<str>,
    pub(super) line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A file under way.
pub(super) struct Input {
    name: Arc<str>,
    reader: Box<dyn AsyncRead + Send + Unpin>,
    piece: Vec<u8>,
    splitter: Splitter,
    read: u64,
    ended: bool,
}

impl Input {
    /// Opens a file; `-` is standard input.
    pub(super) async fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::new("standard input", tokio::io::stdin()));
        }
        Ok(Self::new(&path.display().to_string(), File::open(path).await?))
    }

    /// Reads objects from bytes.
    pub(super) fn new(name: &str, reader: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let (reader, piece) = (Box::new(reader), Vec::with_capacity(PIECE));
        Self { name: name.into(), reader, piece, splitter: Splitter::new(), read: 0, ended: false }
    }

    /// What to call it.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How many bytes have been read since the last call.
    pub(super) fn take_read(&mut self) -> u64 {
        std::mem::take(&mut self.read)
    }

    /// The next thing found, or none at the end. Safe to drop and call again.
    pub(super) async fn next(&mut self) -> io::Result<Option<Found>> {
        loop {
            if let Some(found) = self.splitter.next() {
                return Ok(Some(found));
            }
            if self.ended {
                return Ok(None);
            }
            self.piece.clear();
            let count = self.reader.read_buf(&mut self.piece).await?;
            self.read += count as u64;
            if count == 0 {
                self.ended = true;
                self.splitter.end();
            } else {
                self.splitter.feed(&self.piece);
            }
        }
    }
}
