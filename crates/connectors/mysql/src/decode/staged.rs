//! Result rows that wait to be decoded together, which takes half the time.

/// Rows after which the group is decoded.
const GROUP_ROWS: usize = super::walk::CHUNK;
/// Bytes after which it is; a longer row is not copied.
pub(super) const GROUP_BYTES: usize = 128 << 10;

/// Copies of packets.
#[derive(Debug, Default)]
pub(super) struct Staged {
    pub bytes: Vec<u8>,
    /// (start, end) in `bytes`.
    pub packets: Vec<(usize, usize)>,
}

impl Staged {
    /// Takes a packet; whether the group is complete.
    #[inline]
    pub fn push(&mut self, packet: &[u8]) -> bool {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(packet);
        self.packets.push((start, self.bytes.len()));
        self.packets.len() >= GROUP_ROWS || self.bytes.len() >= GROUP_BYTES
    }

    /// Empties the group.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.packets.clear();
    }

    pub fn memory(&self) -> usize {
        self.bytes.capacity() + self.packets.capacity() * size_of::<(usize, usize)>()
    }
}
