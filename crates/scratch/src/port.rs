//! Free ports of the loopback address.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Servers listen below the range from which Linux takes the local ports of outgoing connections (32768 by default):
/// otherwise a client's port could be in the way when a killed server comes back on its own.
const RANGE: std::ops::Range<u32> = 15_000..32_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port of 127.0.0.1 on which nobody listens right now. Another process may take it before it is used, so a caller
/// retries with another one when its server cannot bind.
pub fn free_port() -> u16 {
    let start = start_of_search();
    (0..RANGE.end - RANGE.start)
        .map(|step| RANGE.start + (start + step * 7) % (RANGE.end - RANGE.start))
        .filter_map(|port| u16::try_from(port).ok())
        .find(|&port| is_free(port))
        .unwrap_or_else(any_port)
}

/// Processes and calls begin at different places, so that two of them rarely want the same port.
fn start_of_search() -> u32 {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
    let call = NEXT.fetch_add(1, Ordering::Relaxed);
    std::process::id().wrapping_mul(2_654_435_761).wrapping_add(nanos).wrapping_add(call.wrapping_mul(97)) % 1_000_003
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn any_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).map_or(0, |address| address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_not_offered() {
        let first = free_port();
        let _held = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        assert!((0..50).all(|_| free_port() != first));
    }
}
