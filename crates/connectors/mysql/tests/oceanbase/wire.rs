//! Packets of the protocol, as far as the stand-in writes some itself.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// The payload of a packet.
pub type Packet = Vec<u8>;

/// CLIENT_SSL and CLIENT_CONNECT_WITH_DB; CLIENT_DEPRECATE_EOF is in the upper half.
const LOWER: u16 = 0x800 | 0x8;
const UPPER: u16 = 0x100;
/// Behind capabilities, packet size, character set and a filler.
const USER_AT: usize = 32;

pub async fn packet(from: &mut OwnedReadHalf) -> Option<(u8, Packet)> {
    let mut header = [0; 4];
    from.read_exact(&mut header).await.ok()?;
    let mut payload = vec![0; u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize];
    from.read_exact(&mut payload).await.ok()?;
    Some((header[3], payload))
}

pub async fn send(to: &mut OwnedWriteHalf, sequence: u8, payload: &[u8]) -> Option<()> {
    let mut bytes = (payload.len() as u32).to_le_bytes();
    bytes[3] = sequence;
    to.write_all(&[&bytes[..], payload].concat()).await.ok()
}

/// An answer to a command.
pub async fn send_all(to: &mut OwnedWriteHalf, packets: &[Packet]) -> Option<()> {
    for (sequence, payload) in packets.iter().enumerate() {
        send(to, sequence as u8 + 1, payload).await?;
    }
    Some(())
}

pub fn ok() -> Vec<Packet> {
    vec![vec![0, 0, 0, 2, 0, 0, 0]]
}

pub fn refusal(number: u16, message: &str) -> Vec<Packet> {
    vec![[&[0xff], &number.to_le_bytes()[..], b"#HY000", message.as_bytes()].concat()]
}

/// One row of texts.
pub fn result(names: &[&str], row: &[&str]) -> Vec<Packet> {
    let text = |out: &mut Vec<u8>, text: &str| {
        match text.len() {
            short @ ..251 => out.push(short as u8),
            long => out.extend([&[0xfc], &(long as u16).to_le_bytes()[..]].concat()),
        }
        out.extend(text.as_bytes());
    };
    let eof = vec![0xfe, 0, 0, 2, 0];
    let mut packets = vec![vec![names.len() as u8]];
    for name in names {
        let mut column = Vec::new();
        ["def", "", "", "", name, name].iter().for_each(|part| text(&mut column, part));
        // utf8mb4, the longest VARCHAR, no flags.
        column.extend([0x0c, 45, 0, 0xff, 0xff, 0, 0, 0xfd, 0, 0, 0, 0, 0]);
        packets.push(column);
    }
    packets.push(eof.clone());
    let mut cells = Vec::new();
    row.iter().for_each(|cell| text(&mut cells, cell));
    packets.extend([cells, eof]);
    packets
}

/// The greeting of the service.
pub fn disguised(greeting: &[u8]) -> Packet {
    let end = greeting.iter().position(|&byte| byte == 0).unwrap();
    let mut rest = greeting[end + 1..].to_vec();
    // Behind the session's id, the first part of the nonce and a filler.
    let clear = |rest: &mut [u8], at: usize, bits: u16| {
        let kept = u16::from_le_bytes([rest[at], rest[at + 1]]) & !bits;
        rest[at..at + 2].copy_from_slice(&kept.to_le_bytes());
    };
    clear(&mut rest, 13, LOWER);
    clear(&mut rest, 18, UPPER);
    [&greeting[..1], b"5.7.35-obs\0", &rest].concat()
}

/// The user's name in an answer to the greeting, and that answer with `user` for `user@tenant#cluster`.
pub fn without_tenant(response: &[u8]) -> (String, Packet) {
    let end = USER_AT + response[USER_AT..].iter().position(|&byte| byte == 0).unwrap();
    let name = String::from_utf8_lossy(&response[USER_AT..end]).into_owned();
    let user = name.split('@').next().unwrap_or_default();
    let short = [&response[..USER_AT], user.as_bytes(), &response[end..]].concat();
    (name, short)
}
