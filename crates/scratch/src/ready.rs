//! Waiting until a server answers.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Whether the server greets. A server that is still starting either has no socket yet or accepts without a greeting;
/// the first byte after the four of the packet header is the protocol version, 10, or 0xff for an error.
/// (MySQL client/server protocol, "Protocol::HandshakeV10".)
pub(crate) fn greets(socket: &Path, patience: Duration) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else { return false };
    let _ = stream.set_read_timeout(Some(patience));
    let mut first = [0u8; 5];
    stream.read_exact(&mut first).is_ok() && first[4] == 10
}
