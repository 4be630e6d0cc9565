//! Lines as datagrams to a socket of this machine, each made into what its receiver understands.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use super::rotate::Output;

/// A receiver, connected when there is something to say, and again when it was started anew.
pub(super) struct Datagrams<F> {
    path: PathBuf,
    socket: Option<UnixDatagram>,
    /// Makes the datagram for a line.
    make: F,
}

impl<F: FnMut(&[u8]) -> Vec<u8> + Send> Datagrams<F> {
    pub(super) fn new(path: PathBuf, make: F) -> Self {
        Self { path, socket: None, make }
    }

    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => {
                let socket = UnixDatagram::unbound()?;
                // The writer's loop waits, so that it can be told to end.
                socket.set_nonblocking(true)?;
                socket.connect(&self.path)?;
                socket
            }
        };
        match socket.send(datagram) {
            // Its reader has gone; another one may have come to the same place.
            Err(cause) if !matches!(cause.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Err(
                    // What a broken pipe means to the writer's loop, it does not mean here.
                    io::Error::other(cause),
                )
            }
            done => {
                self.socket = Some(socket);
                done.map(drop)
            }
        }
    }
}

impl<F: FnMut(&[u8]) -> Vec<u8> + Send> Write for Datagrams<F> {
    /// Takes one line.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let datagram = (self.make)(bytes.get(..end).unwrap_or_default());
        self.send(&datagram)?;
        Ok((end + 1).min(bytes.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<F: FnMut(&[u8]) -> Vec<u8> + Send> Output for Datagrams<F> {}
