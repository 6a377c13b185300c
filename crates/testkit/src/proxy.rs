//! A TCP proxy that misbehaves on command.
//!
//! Every direction of every connection is one thread that reads, waits, cuts or bends as its [`Rules`] say at that
//! moment. Rules may be changed at any time and apply to open connections too.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::Duration;

/// Which way bytes flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client: replies.
    ToClient,
}

/// What happens to the bytes of one direction. Offsets count the bytes of that direction within one connection.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Wait this long before a piece is passed on.
    pub delay: Duration,
    /// Pass on at most this many bytes at a time; 0 means no limit. With `delay`: a drip.
    pub piece: usize,
    /// Read and throw away.
    pub swallow: bool,
    /// Read nothing more; the sender meets a full buffer, the receiver silence.
    pub stall: bool,
    /// Cut the connection once this many bytes have been passed on. Cleared by the first connection it hits.
    pub cut_at: Option<u64>,
    /// Cut the connection that passes on the byte of this number, counted from now over all connections. Cleared by it.
    pub cut_after: Option<u64>,
    /// Flip the lowest bit of the byte at this offset. Cleared by the first connection it hits.
    pub flip_at: Option<u64>,
}

/// A proxy on a port of 127.0.0.1; ends with all its connections when dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    port: u16,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    ended: AtomicBool,
    accepted: AtomicU64,
    passed: [AtomicU64; 2],
    swallowed: [AtomicU64; 2],
}

struct State {
    target: SocketAddr,
    rules: [Rules; 2],
    refuse: bool,
    /// Those that are being carried. A connection that has ended is closed: a server that still writes has to notice.
    open: Vec<Weak<TcpStream>>,
}

impl Proxy {
    /// A proxy in front of `target` that does no harm yet.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let state = State { target, rules: Default::default(), refuse: false, open: Vec::new() };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            ended: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            passed: Default::default(),
            swallowed: Default::default(),
        });
        let for_thread = shared.clone();
        thread::spawn(move || accept_all(&listener, &for_thread));
        Ok(Self { shared, port })
    }

    /// A proxy in front of a port of 127.0.0.1.
    ///
    /// # Errors
    /// As [`Proxy::start`].
    pub fn to_port(port: u16) -> io::Result<Self> {
        Self::start(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// The port to connect to, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the rules of a direction.
    pub fn rules(&self, direction: Direction, change: impl FnOnce(&mut Rules)) {
        change(&mut self.shared.lock().rules[direction as usize]);
        self.shared.changed.notify_all();
    }

    /// Does no harm from now on (connections that were cut stay cut).
    pub fn heal(&self) {
        let mut state = self.shared.lock();
        state.rules = Default::default();
        state.refuse = false;
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Cuts every open connection.
    pub fn cut(&self) {
        self.shared.lock().cut();
        self.shared.changed.notify_all();
    }

    /// Whether new connections are closed at once.
    pub fn refuse(&self, refuse: bool) {
        self.shared.lock().refuse = refuse;
    }

    /// New connections go to another server: a failover behind the same address.
    pub fn retarget(&self, target: SocketAddr) {
        self.shared.lock().target = target;
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Bytes passed on in a direction, over all connections; a piece is counted before it is written.
    pub fn passed(&self, direction: Direction) -> u64 {
        self.shared.passed[direction as usize].load(Ordering::Relaxed)
    }

    /// Bytes thrown away in a direction, over all connections.
    pub fn swallowed(&self, direction: Direction) -> u64 {
        self.shared.swallowed[direction as usize].load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.cut();
        // The thread that accepts waits for a connection; this one tells it that all is over.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// The rules of a direction, once they do not say "stall".
    fn rules_after_stall(&self, direction: Direction) -> Rules {
        let state = self.lock();
        let stalls = |state: &mut State| state.rules[direction as usize].stall && !self.has_ended();
        let state = self.changed.wait_while(state, stalls).unwrap_or_else(std::sync::PoisonError::into_inner);
        state.rules[direction as usize].clone()
    }

    /// Where in a piece the connection is to be cut because the bytes until then are used up.
    fn counts_down(&self, direction: Direction, count: usize) -> Option<usize> {
        let mut state = self.lock();
        let left = &mut state.rules[direction as usize].cut_after;
        let at = usize::try_from((*left)?).ok().filter(|at| *at < count);
        *left = if at.is_some() { None } else { left.map(|left| left - count as u64) };
        at
    }

    /// Takes a one-shot rule, if it still stands.
    fn take(&self, direction: Direction, which: impl Fn(&mut Rules) -> &mut Option<u64>) -> bool {
        which(&mut self.lock().rules[direction as usize]).take().is_some()
    }
}

impl State {
    fn cut(&mut self) {
        for stream in self.open.drain(..).filter_map(|stream| stream.upgrade()) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.has_ended() {
            return;
        }
        let Ok(client) = client else { continue };
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        let (refuse, target) = {
            let state = shared.lock();
            (state.refuse, state.target)
        };
        if refuse {
            continue;
        }
        // A server that cannot be reached looks to the client like one that closes the connection.
        let Ok(server) = TcpStream::connect(target) else { continue };
        let _ = carry(client, server, shared);
    }
}

fn carry(client: TcpStream, server: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    let (client, server) = (Arc::new(client), Arc::new(server));
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    {
        let mut state = shared.lock();
        state.open.retain(|stream| stream.strong_count() > 0);
        state.open.extend([&client, &server].map(Arc::downgrade));
    }
    let pairs = [(client.clone(), server.clone(), Direction::ToServer), (server, client, Direction::ToClient)];
    for (from, to, direction) in pairs {
        let shared = shared.clone();
        thread::spawn(move || {
            let _ = pump(&from, &to, direction, &shared);
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

/// Carries one direction until either end closes or a rule cuts it.
fn pump(mut from: &TcpStream, mut to: &TcpStream, direction: Direction, shared: &Shared) -> io::Result<()> {
    let mut buffer = vec![0u8; 1 << 16];
    let mut offset = 0u64;
    loop {
        let rules = shared.rules_after_stall(direction);
        let limit = if rules.piece == 0 { buffer.len() } else { rules.piece.min(buffer.len()) };
        let count = from.read(&mut buffer[..limit])?;
        if count == 0 {
            return Ok(());
        }
        // What was read before a stall began is held back too.
        let rules = shared.rules_after_stall(direction);
        if !rules.delay.is_zero() {
            thread::sleep(rules.delay);
        }
        if rules.swallow {
            shared.swallowed[direction as usize].fetch_add(count as u64, Ordering::Relaxed);
            continue;
        }
        let piece = &mut buffer[..count];
        if let Some(at) = within(rules.flip_at, offset, count)
            && shared.take(direction, |r| &mut r.flip_at)
        {
            piece[at] ^= 1;
        }
        if let Some(at) = within(rules.cut_at, offset, count)
            && shared.take(direction, |r| &mut r.cut_at)
        {
            return to.write_all(&piece[..at]);
        }
        if let Some(at) = shared.counts_down(direction, count) {
            return to.write_all(&piece[..at]);
        }
        // Counted first: whoever has seen an answer to these bytes finds them counted.
        shared.passed[direction as usize].fetch_add(count as u64, Ordering::Relaxed);
        to.write_all(piece)?;
        offset += count as u64;
    }
}

/// Where in a piece of `count` bytes from `offset` an absolute place lies, if it lies there (or was passed already).
fn within(place: Option<u64>, offset: u64, count: usize) -> Option<usize> {
    let place = place?.saturating_sub(offset);
    usize::try_from(place).ok().filter(|&at| at < count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets, and a client of it through the proxy.
    fn echo() -> (Proxy, impl Fn() -> TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap()).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || io::copy(&mut &stream, &mut &stream));
            }
        });
        let port = proxy.port();
        (proxy, move || {
            let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            client
        })
    }

    fn exchange(mut client: &TcpStream, bytes: &[u8]) -> io::Result<Vec<u8>> {
        client.write_all(bytes)?;
        let mut back = vec![0; bytes.len()];
        client.read_exact(&mut back)?;
        Ok(back)
    }

    #[test]
    fn harmless_until_told() {
        let (proxy, connect) = echo();
        assert_eq!(exchange(&connect(), b"hello").unwrap(), b"hello");
        assert_eq!((proxy.accepted(), proxy.passed(Direction::ToServer)), (1, 5));
    }

    #[test]
    fn flips_one_byte_once() {
        let (proxy, connect) = echo();
        proxy.rules(Direction::ToClient, |r| r.flip_at = Some(3));
        let client = connect();
        assert_eq!(exchange(&client, b"ab").unwrap(), b"ab");
        assert_eq!(exchange(&client, b"cdef").unwrap(), b"ceef");
        assert_eq!(exchange(&client, b"cdef").unwrap(), b"cdef");
    }

    #[test]
    fn cuts_at_a_byte_and_on_command() {
        let (proxy, connect) = echo();
        proxy.rules(Direction::ToClient, |r| r.cut_at = Some(2));
        let mut back = Vec::new();
        let mut client = connect();
        client.write_all(b"four").unwrap();
        client.read_to_end(&mut back).unwrap();
        assert_eq!(back, b"fo");
        let client = connect();
        exchange(&client, b"x").unwrap();
        proxy.cut();
        assert!(exchange(&client, b"y").is_err());
        proxy.refuse(true);
        assert!(exchange(&connect(), b"z").is_err());
        proxy.heal();
        assert!(exchange(&connect(), b"z").is_ok());
    }

    #[test]
    fn cuts_after_so_many_bytes_of_all_connections() {
        let (proxy, connect) = echo();
        let (first, mut second) = (connect(), connect());
        proxy.rules(Direction::ToClient, |r| r.cut_after = Some(6));
        assert_eq!(exchange(&first, b"four").unwrap(), b"four");
        let mut back = Vec::new();
        second.write_all(b"five!").unwrap();
        second.read_to_end(&mut back).unwrap();
        assert_eq!(back, b"fi");
        assert_eq!(exchange(&first, b"goes on").unwrap(), b"goes on");
    }

    #[test]
    fn a_server_that_still_writes_notices_a_cut() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(server.local_addr().unwrap()).unwrap();
        proxy.rules(Direction::ToClient, |r| r.cut_after = Some(100));
        let writing = thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            while stream.write_all(&[0; 1 << 16]).is_ok() {}
        });
        let mut read = Vec::new();
        TcpStream::connect(("127.0.0.1", proxy.port())).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read.len(), 100);
        writing.join().unwrap();
    }

    #[test]
    fn stalls_and_swallows_until_healed() {
        let (proxy, connect) = echo();
        let mut client = connect();
        proxy.rules(Direction::ToClient, |r| r.swallow = true);
        client.write_all(b"lost").unwrap();
        while proxy.swallowed(Direction::ToClient) < 4 {
            thread::yield_now();
        }
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        proxy.heal();
        proxy.rules(Direction::ToServer, |r| r.stall = true);
        client.write_all(b"held").unwrap();
        assert!(client.read(&mut [0]).is_err());
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        proxy.heal();
        let mut back = [0; 4];
        client.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"held");
    }

    #[test]
    fn drips() {
        let (proxy, connect) = echo();
        proxy.rules(Direction::ToServer, |r| (r.piece, r.delay) = (1, Duration::from_millis(1)));
        assert_eq!(exchange(&connect(), b"drop by drop").unwrap(), b"drop by drop");
    }
}
