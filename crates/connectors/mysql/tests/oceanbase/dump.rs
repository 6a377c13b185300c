//! What the server sends, as Binlog Service would: later, and with its peculiarities in the events of a dump.

use super::wire::{packet, send};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

const HEADER: usize = 19;
const CHECKSUM: usize = 4;
const FORMAT_DESCRIPTION: u8 = 15;
const TABLE_MAP: u8 = 19;
const HEARTBEAT: u8 = 27;
const ROWS: [u8; 3] = [30, 31, 32];
const GTID: u8 = 33;

/// Passes on what the server says; the events of a dump when their time has come.
pub async fn pass_on(
    mut from: OwnedReadHalf,
    to: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    dumps: Arc<AtomicBool>,
    lag: Duration,
) {
    let (sender, mut later) = tokio::sync::mpsc::channel(4096);
    let client = to.clone();
    let late = tokio::spawn(async move {
        let mut dump = Dump::default();
        while let Some((at, payload)) = later.recv().await {
            let due: Instant = at;
            tokio::time::sleep_until((due + lag).into()).await;
            for payload in dump.events(payload) {
                let sequence = dump.next_sequence();
                if send(&mut *client.lock().await, sequence, &payload).await.is_none() {
                    return;
                }
            }
        }
        let _ = client.lock().await.shutdown().await;
    });
    while let Some((sequence, payload)) = packet(&mut from).await {
        let sent = if dumps.load(Ordering::SeqCst) {
            sender.send((Instant::now(), payload)).await.is_ok()
        } else {
            send(&mut *to.lock().await, sequence, &payload).await.is_some()
        };
        if !sent {
            break;
        }
    }
    drop(sender);
    let _ = late.await;
    let _ = to.lock().await.shutdown().await;
}

/// The service counts microseconds where MySQL counts nanoseconds.
pub fn in_nanoseconds(statement: &str) -> String {
    const PERIOD: &str = "SET @master_heartbeat_period = ";
    match statement.strip_prefix(PERIOD).and_then(|micros| micros.parse::<u64>().ok()) {
        Some(micros) => format!("{PERIOD}{}", micros * 1000),
        None => statement.to_owned(),
    }
}

/// The state of one dump.
#[derive(Default)]
struct Dump {
    sequence: u8,
    /// The last table maps, one per table.
    maps: Vec<Vec<u8>>,
    after_map: bool,
}

impl Dump {
    fn next_sequence(&mut self) -> u8 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// The event as the service would send it.
    fn events(&mut self, payload: Vec<u8>) -> Vec<Vec<u8>> {
        // OK, EOF and errors are no events of this dump.
        if payload[0] != 0 || payload.len() < HEADER + 1 {
            return vec![payload];
        }
        let kind = payload[5];
        let before_rows = std::mem::replace(&mut self.after_map, kind == TABLE_MAP);
        let event = &payload[1..];
        match kind {
            HEARTBEAT => vec![heartbeat(event)],
            GTID => {
                // The time of the commit where MySQL has its logical clock: flags, uuid, number and a type lie before.
                let clock = HEADER + 1 + 16 + 8 + 1;
                let mut event = event.to_vec();
                let seconds = u64::from(u32::from_le_bytes(event[..4].try_into().unwrap()));
                event[clock..clock + 8].copy_from_slice(&seconds.to_le_bytes());
                event[clock + 8..clock + 16].copy_from_slice(&123_456u64.to_le_bytes());
                vec![whole(event)]
            }
            FORMAT_DESCRIPTION => {
                let mut event = event.to_vec();
                event[HEADER + 2..HEADER + 52].fill(0);
                event[HEADER + 2..HEADER + 8].copy_from_slice(b"5.7.38");
                vec![whole(event)]
            }
            TABLE_MAP => {
                self.maps.retain(|map| map[1 + HEADER..1 + HEADER + 6] != event[HEADER..HEADER + 6]);
                self.maps.push(payload.clone());
                vec![payload]
            }
            kind if ROWS.contains(&kind) => {
                let mut last = event.to_vec();
                // Every event is the last of its statement.
                last[HEADER + 6] |= 1;
                let map = self.maps.iter().find(|map| map[1 + HEADER..1 + HEADER + 6] == event[HEADER..HEADER + 6]);
                let map = map.filter(|_| !before_rows).cloned();
                map.into_iter().chain([whole(last)]).collect()
            }
            _ => vec![payload],
        }
    }
}

/// A sign of life that names its file by a path, and a place that is not reached yet.
fn heartbeat(event: &[u8]) -> Vec<u8> {
    let mut header = event[..HEADER].to_vec();
    header[13..17].copy_from_slice(&900_000_000u32.to_le_bytes());
    whole([&header, &b"/data/binlog/tenant/mysql-bin.000999"[..], &[0; CHECKSUM]].concat())
}

/// Gives a changed event its size and its checksum, behind the byte that tells it from an error.
fn whole(mut event: Vec<u8>) -> Vec<u8> {
    let size = event.len() as u32;
    event[9..13].copy_from_slice(&size.to_le_bytes());
    // The mark of a file that is still written does not count.
    event[17] &= !1;
    let end = event.len() - CHECKSUM;
    let sum = crc32fast::hash(&event[..end]).to_le_bytes();
    event[end..].copy_from_slice(&sum);
    [&[0], &event[..]].concat()
}
