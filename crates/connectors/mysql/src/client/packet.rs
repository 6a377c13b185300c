//! Framing: bytes of the socket -> packets.
//!
//! A packet is 3 bytes of length, 1 byte of sequence number and the payload; a payload of 2^24-1 bytes is continued by
//! the next packet, so that the joined payload has any length
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html>).

use dujiang_core::{Code, Error, Result};
use std::ops::Range;

const HEADER: usize = 4;
/// A payload of this length is continued by the next packet.
const FULL: usize = 0xff_ffff;
const FIRST_BUFFER: usize = 16 << 10;
const LARGEST_BUFFER: usize = 512 << 10;
/// A joined payload's buffer is given back afterwards if it is larger than this.
pub(super) const KEPT_LARGE: usize = 4 << 20;

/// Where a packet lies.
#[derive(Debug, Clone)]
pub(super) enum Taken {
    /// In the read buffer.
    Buffered(Range<usize>),
    /// In the buffer for payloads larger than the read buffer.
    Joined,
}

/// A payload that is larger than the read buffer, while it is collected.
#[derive(Debug, Clone, Copy)]
struct Joining {
    remaining: usize,
    continued: bool,
}

/// The read buffer and what lies in it; no I/O of its own, so that every way of cutting the bytes can be tested.
#[derive(Debug, Default)]
pub(super) struct Framing {
    /// Always initialised to its full length; the bytes of `start..end` are not yet taken.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    large: Vec<u8>,
    joining: Option<Joining>,
    /// The packet just taken is in `large`.
    joined: bool,
    sequence: u8,
}

impl Framing {
    /// The number the next packet must have, or that the next packet sent gets.
    pub fn sequence(&self) -> u8 {
        self.sequence
    }

    pub fn set_sequence(&mut self, next: u8) {
        self.sequence = next;
    }

    /// Bytes in the buffer that no packet has claimed.
    pub fn unread(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Takes the next packet, `None` when more bytes are needed. The packet before it is gone.
    ///
    /// # Errors
    /// `Protocol` when the sequence number is wrong.
    pub fn take(&mut self) -> Result<Option<Taken>> {
        let taken = self.take_next()?;
        self.joined = matches!(taken, Some(Taken::Joined));
        Ok(taken)
    }

    fn take_next(&mut self) -> Result<Option<Taken>> {
        loop {
            if let Some(joining) = self.joining
                && joining.remaining > 0
            {
                self.collect(joining);
                match self.joining {
                    Some(Joining { remaining: 0, continued: true }) => {}
                    Some(Joining { remaining: 0, continued: false }) => {
                        self.joining = None;
                        return Ok(Some(Taken::Joined));
                    }
                    _ => return Ok(None),
                }
            }
            let Some(length) = self.length_of_next() else { return Ok(None) };
            let fits = length < FULL && HEADER + length <= self.buffer.len().max(LARGEST_BUFFER);
            if self.joining.is_none() && fits {
                return self.take_buffered(length);
            }
            self.check_sequence(length)?;
            self.begin_joining(length);
            if length == 0 {
                self.joining = None;
                return Ok(Some(Taken::Joined));
            }
        }
    }

    fn length_of_next(&self) -> Option<usize> {
        let header = self.buffer[self.start..self.end].first_chunk::<HEADER>()?;
        Some(u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize)
    }

    fn take_buffered(&mut self, length: usize) -> Result<Option<Taken>> {
        if self.end - self.start < HEADER + length {
            return Ok(None);
        }
        self.check_sequence(length)?;
        let payload = self.start + HEADER..self.start + HEADER + length;
        self.start = payload.end;
        if self.large.capacity() > KEPT_LARGE {
            self.large = Vec::new();
        }
        Ok(Some(Taken::Buffered(payload)))
    }

    /// An error packet may come unasked (a server that shuts down or gives up an idle session), with number 0.
    fn check_sequence(&mut self, length: usize) -> Result<()> {
        let found = self.buffer[self.start + 3];
        let is_error = length > 0 && self.buffer[..self.end].get(self.start + HEADER) == Some(&0xff);
        if found != self.sequence && !is_error {
            return Err(Error::new(Code::Protocol, "packets of the server are out of order")
                .fact("expected", format!("packet number {}", self.sequence))
                .fact("found", format!("packet number {found} of {length} bytes"))
                .help("see whether a proxy between here and the server mixes sessions up"));
        }
        self.sequence = found.wrapping_add(1);
        Ok(())
    }

    fn begin_joining(&mut self, length: usize) {
        if self.joining.is_none() {
            self.large.clear();
            if self.large.capacity() > length.max(KEPT_LARGE) {
                self.large = Vec::new();
            }
        }
        self.start += HEADER;
        // Exact at first, since most are not longer; then by a quarter, so that a gigabyte is not copied too often.
        let missing = length.saturating_sub(self.large.capacity() - self.large.len());
        if missing > 0 {
            self.large.reserve_exact(length.max(self.large.len() / 4));
        }
        self.joining = Some(Joining { remaining: length, continued: length == FULL });
    }

    fn collect(&mut self, joining: Joining) {
        let piece = joining.remaining.min(self.end - self.start);
        self.large.extend_from_slice(&self.buffer[self.start..self.start + piece]);
        self.start += piece;
        self.joining = Some(Joining { remaining: joining.remaining - piece, ..joining });
    }

    /// The payload of a packet just taken.
    pub fn payload(&self, taken: &Taken) -> &[u8] {
        match taken {
            Taken::Buffered(range) => &self.buffer[range.clone()],
            Taken::Joined => &self.large,
        }
    }

    /// The payload of the packet just taken, if it is so large that its buffer is not kept anyway: whoever takes it needs no
    /// copy. It must not be looked at here any more.
    pub fn take_large(&mut self) -> Option<Vec<u8>> {
        let given = std::mem::take(&mut self.joined) && self.large.len() > KEPT_LARGE;
        given.then(|| std::mem::take(&mut self.large))
    }

    /// Where the next bytes of the socket go; never empty. Packets taken before are gone.
    pub fn space(&mut self) -> &mut [u8] {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end == self.buffer.len() {
            self.grow();
        }
        &mut self.buffer[self.end..]
    }

    fn grow(&mut self) {
        let longer = (self.buffer.len() * 2).clamp(FIRST_BUFFER, LARGEST_BUFFER);
        debug_assert!(longer > self.buffer.len(), "invariant: what does not fit is joined elsewhere");
        self.buffer.resize(longer, 0);
    }

    /// `n` bytes have been read into [`Framing::space`]. A read that filled the space makes the buffer grow, so that a
    /// backlog is read in large pieces while an idle session stays small.
    pub fn filled(&mut self, n: usize) {
        self.end += n;
        if self.end == self.buffer.len() && self.buffer.len() < LARGEST_BUFFER {
            self.grow();
        }
    }
}

/// Appends `payload` as packets numbered from `sequence`; returns the next number.
pub(super) fn put_packets(out: &mut Vec<u8>, mut sequence: u8, payload: &[u8]) -> u8 {
    let mut rest = payload;
    loop {
        let (piece, after) = rest.split_at(rest.len().min(FULL));
        out.extend_from_slice(&(piece.len() as u32).to_le_bytes()[..3]);
        out.push(sequence);
        out.extend_from_slice(piece);
        sequence = sequence.wrapping_add(1);
        rest = after;
        if piece.len() < FULL {
            return sequence;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds `wire` in pieces of the given sizes (repeated) and collects all payloads.
    fn read_all(wire: &[u8], pieces: &[usize]) -> Result<Vec<Vec<u8>>> {
        let (mut framing, mut out, mut rest) = (Framing::default(), Vec::new(), wire);
        let mut sizes = pieces.iter().copied().cycle();
        loop {
            while let Some(taken) = framing.take()? {
                out.push(framing.payload(&taken).to_vec());
            }
            if rest.is_empty() {
                assert!(framing.unread().is_empty() && framing.joining.is_none());
                return Ok(out);
            }
            let space = framing.space();
            let n = sizes.next().unwrap().clamp(1, rest.len().min(space.len()));
            space[..n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            framing.filled(n);
        }
    }

    fn wire_of(payloads: &[Vec<u8>]) -> Vec<u8> {
        let (mut wire, mut sequence) = (Vec::new(), 0);
        for payload in payloads {
            sequence = put_packets(&mut wire, sequence, payload);
        }
        wire
    }

    fn payload(length: usize, seed: u8) -> Vec<u8> {
        // Not 0xff first: that would be an error packet, whose number is not checked.
        (0..length).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed) & 0x7f).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
        #[test]
        fn packets_come_back_however_the_bytes_are_cut(
            lengths in prop::collection::vec(prop_oneof![0usize..40, 0usize..70_000, 500_000usize..600_000], 0..40),
            pieces in prop::collection::vec(prop_oneof![1usize..20, 1usize..100_000, Just(usize::MAX)], 1..8),
        ) {
            let payloads: Vec<_> = lengths.iter().enumerate().map(|(i, &n)| payload(n, i as u8)).collect();
            // Pieces of one byte would make half a million reads; keep the sum sensible.
            let factor = if lengths.iter().sum::<usize>() > 200_000 { 997 } else { 1 };
            let pieces: Vec<_> = pieces.iter().map(|p: &usize| p.saturating_mul(factor)).collect();
            prop_assert_eq!(read_all(&wire_of(&payloads), &pieces).unwrap(), payloads);
        }
    }

    #[test]
    fn payloads_of_sixteen_mebibytes_are_joined() {
        for length in [FULL - 1, FULL, FULL + 1, 2 * FULL, 2 * FULL + 5] {
            let payloads = vec![payload(3, 1), payload(length, 2), payload(7, 3)];
            let got = read_all(&wire_of(&payloads), &[usize::MAX, 5, 70_000]).unwrap();
            assert!(got == payloads, "{length}");
        }
    }

    #[test]
    fn a_wrong_number_is_refused() {
        let mut wire = wire_of(&[payload(3, 1), payload(3, 2)]);
        wire[7 + 3] = 5;
        let error = read_all(&wire, &[usize::MAX]).unwrap_err();
        assert_eq!(error.code(), Code::Protocol);
        assert_eq!(error.facts()[0].1, "packet number 1");
        dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[]);
    }

    #[test]
    fn an_unasked_error_packet_is_let_through() {
        let mut wire = Vec::new();
        put_packets(&mut wire, 9, b"\xff\x01\x02#08S01bye");
        assert_eq!(read_all(&wire, &[3]).unwrap().len(), 1);
    }
}
