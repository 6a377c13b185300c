//! The binlog as a stream of raw events.

use super::connection::is_eof;
use super::packet::Taken;
use super::quote;
use super::refusal::Refusal;
use super::{Connection, ServerFamily, ServerInfo};
use dujiang_core::{Code, Error, Result};
use std::time::Duration;

const COM_BINLOG_DUMP: u8 = 0x12;
const COM_REGISTER_SLAVE: u8 = 0x15;
const COM_BINLOG_DUMP_GTID: u8 = 0x1e;
/// The server ends the stream at the end of its log instead of waiting.
const NON_BLOCK: u16 = 1;
/// The start is a GTID set.
const THROUGH_GTID: u16 = 4;
/// Offset of a file's first event.
const FIRST_EVENT: u32 = 4;

/// Where a dump begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BinlogStart {
    /// A place in a file of this server; the first event begins exactly there. An empty file name is the server's first.
    FilePosition {
        /// `bin.000003`.
        file: String,
        /// Byte offset of an event; 4 is the first.
        position: u64,
    },
    /// After every transaction of a MySQL GTID set, given in its binary encoding (`Gtid_set::encode`).
    MySqlGtidSet(Vec<u8>),
    /// After these MariaDB GTIDs, one per domain: `0-1-42,1-7-3`; empty is the beginning.
    MariaDbGtids(String),
}

/// What to ask of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinlogRequest {
    /// Our id among the server's replicas; unique, not 0.
    pub server_id: u32,
    /// Where to begin.
    pub start: BinlogStart,
    /// The server sends a heartbeat event after this much silence.
    pub heartbeat: Duration,
    /// A UUID that tells our sessions from those of other replicas with the same `server_id` (MySQL). Default: one made of
    /// `server_id`, so that a session of ours takes the place of the one before.
    pub replica_uuid: Option<String>,
    /// Whether to wait for new events at the end of the log; otherwise the stream ends there.
    pub wait_at_end: bool,
}

impl BinlogRequest {
    /// User variables by which a replica tells the server what it can read; each family ignores the other's. The
    /// checksum is asked for as the server writes it. Sources: `rpl_slave.cc`, `rpl_binlog_sender.cc` (MySQL),
    /// `sql_repl.cc` (MariaDB).
    fn session(&self, family: ServerFamily) -> Vec<String> {
        // OceanBase's Binlog Service counts microseconds; one that counts as MySQL does sends more signs of life, no fewer.
        let heartbeat = match family {
            ServerFamily::OceanBase => self.heartbeat.as_micros(),
            ServerFamily::MySql | ServerFamily::MariaDb => self.heartbeat.as_nanos(),
        };
        let checksum = "@@global.binlog_checksum".to_owned();
        let uuid = quote::text(&self.replica_uuid.clone().unwrap_or_else(|| uuid_of(self.server_id)));
        let mut variables = vec![
            ("master_binlog_checksum", checksum.clone()),
            ("source_binlog_checksum", checksum),
            ("master_heartbeat_period", heartbeat.to_string()),
            ("source_heartbeat_period", heartbeat.to_string()),
            ("slave_uuid", uuid.clone()),
            ("replica_uuid", uuid),
        ];
        if family == ServerFamily::OceanBase {
            // Its parser is not MySQL's, and what it does not understand it answers with OK: one variable at a time.
            variables.retain(|(name, _)| !name.starts_with("source_") && *name != "replica_uuid");
            return variables.into_iter().map(|(name, value)| format!("SET @{name} = {value}")).collect();
        }
        variables.push(("mariadb_slave_capability", "4".into()));
        if let BinlogStart::MariaDbGtids(gtids) = &self.start {
            variables.push(("slave_connect_state", quote::text(gtids)));
            variables.push(("slave_gtid_strict_mode", "1".into()));
            variables.push(("slave_gtid_ignore_duplicates", "0".into()));
        }
        let all: Vec<String> = variables.into_iter().map(|(name, value)| format!("@{name}={value}")).collect();
        vec![format!("SET {}", all.join(", "))]
    }

    fn command(&self) -> Result<(u8, Vec<u8>)> {
        let flags = if self.wait_at_end { 0 } else { NON_BLOCK };
        match &self.start {
            BinlogStart::FilePosition { file, position } => Ok((COM_BINLOG_DUMP, self.dump(file, *position, flags)?)),
            BinlogStart::MariaDbGtids(_) => Ok((COM_BINLOG_DUMP, self.dump("", u64::from(FIRST_EVENT), flags)?)),
            BinlogStart::MySqlGtidSet(set) => Ok((COM_BINLOG_DUMP_GTID, self.dump_gtid(set, flags | THROUGH_GTID))),
        }
    }

    fn dump(&self, file: &str, position: u64, flags: u16) -> Result<Vec<u8>> {
        let position = u32::try_from(position).map_err(|_| {
            Error::new(
                Code::StartNotPossible,
                format!("{file}:{position} lies behind the 4 GiB a start position can name"),
            )
            .help("start from a GTID, or from the next file")
        })?;
        let mut out = position.to_le_bytes().to_vec();
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&self.server_id.to_le_bytes());
        out.extend_from_slice(file.as_bytes());
        Ok(out)
    }

    fn dump_gtid(&self, set: &[u8], flags: u16) -> Vec<u8> {
        let mut out = flags.to_le_bytes().to_vec();
        out.extend_from_slice(&self.server_id.to_le_bytes());
        out.extend_from_slice(&0u32.to_le_bytes());
        out.extend_from_slice(&u64::from(FIRST_EVENT).to_le_bytes());
        out.extend_from_slice(&(set.len() as u32).to_le_bytes());
        out.extend_from_slice(set);
        out
    }
}

impl Connection {
    /// Turns the session into a binlog stream: sets what the request needs, registers as a replica, sends the dump.
    ///
    /// # Errors
    /// `MissingPrivilege`, `StartNotPossible`, `ConnectionLost`. The server's opinion on the start position
    /// (`PositionLost`, `OtherServer`) arrives with the first events.
    pub async fn dump(mut self, request: &BinlogRequest) -> Result<BinlogStream> {
        let (command, payload) = request.command()?;
        for statement in request.session(self.server().family) {
            self.execute(&statement).await?;
        }
        self.register(request.server_id).await?;
        self.command(command, &payload).await?;
        Ok(BinlogStream { connection: self, ended: false })
    }

    /// Puts the session into the server's list of replicas, until it ends. Needs the privilege that reading the binlog
    /// needs, and changes nothing else.
    ///
    /// # Errors
    /// `MissingPrivilege`, `ConnectionLost`.
    pub async fn register_replica(&mut self, server_id: u32) -> Result<()> {
        let uuid = quote::text(&uuid_of(server_id));
        self.execute(&format!("SET @slave_uuid={uuid}, @replica_uuid={uuid}")).await?;
        self.register(server_id).await
    }

    async fn register(&mut self, server_id: u32) -> Result<()> {
        let mut registration = server_id.to_le_bytes().to_vec();
        // Host, user and password to report: none; port, rank and the source's id: 0.
        registration.extend_from_slice(&[0; 3 + 2 + 4 + 4]);
        self.command(COM_REGISTER_SLAVE, &registration).await?;
        self.done("COM_REGISTER_SLAVE").await
    }
}

/// A dump that waits has ended.
#[cold]
pub(crate) fn stream_ended() -> Error {
    Error::new(Code::ConnectionLost, "the source ended the binlog stream")
}

/// A UUID for a replica of that id. MySQL's list of replicas (`SHOW REPLICAS`) is malformed while one without is in it.
fn uuid_of(server_id: u32) -> String {
    // "dujiang" in ASCII, and the id.
    format!("64756a69-616e-6700-0000-0000{server_id:08x}")
}

/// Raw events in the server's order.
pub struct BinlogStream {
    connection: Connection,
    ended: bool,
}

impl BinlogStream {
    /// The server's greeting.
    pub fn server(&self) -> &ServerInfo {
        self.connection.server()
    }

    /// The next event: 19-byte header, body and, if the server uses them, its 4-byte checksum, which is **not** verified
    /// here. Events larger than one packet are joined. `None` only at the end of a dump that does not wait.
    /// **Cancel-safe.** The slice is valid until the next call.
    ///
    /// # Errors
    /// `PositionLost`, `OtherServer`, `LogDamaged`, `ServerIdTaken`, `MissingPrivilege`, `ConnectionLost`, `Protocol`.
    pub async fn next_event(&mut self) -> Result<Option<&[u8]>> {
        if self.ended {
            return Ok(None);
        }
        let taken = self.connection.channel.receive_place().await?;
        self.event(&taken)
    }

    /// The next event if it is already in the buffer: `Ok(None)` says to call [`BinlogStream::next_event`].
    ///
    /// # Errors
    /// As [`BinlogStream::next_event`].
    pub fn try_next_buffered(&mut self) -> Result<Option<&[u8]>> {
        if self.ended {
            return Ok(None);
        }
        match self.connection.channel.take()? {
            Some(taken) => self.event(&taken),
            None => Ok(None),
        }
    }

    /// The packet of the event just returned, if it is so large that its buffer is not kept: no copy is needed then. The event
    /// begins at its second byte.
    pub fn take_large(&mut self) -> Option<Vec<u8>> {
        self.connection.channel.take_large()
    }

    fn event(&mut self, taken: &Taken) -> Result<Option<&[u8]>> {
        let channel = &self.connection.channel;
        let packet = channel.payload(taken);
        match packet.split_first() {
            Some((0x00, event)) => Ok(Some(event)),
            Some((0xfe, _)) if is_eof(packet) => {
                self.ended = true;
                Ok(None)
            }
            Some((0xff, _)) => {
                let error = Refusal::read(packet)?.of_binlog(&channel.peer);
                self.ended = true;
                Err(error)
            }
            _ => Err(Error::new(Code::Protocol, format!("{} sent something that is no event", channel.peer))
                .fact("expected", "a packet that begins with 0x00, 0xfe or 0xff")
                .fact("found", format!("\"{}\"", packet[..packet.len().min(24)].escape_ascii()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(start: BinlogStart) -> BinlogRequest {
        let heartbeat = Duration::from_millis(1500);
        BinlogRequest { server_id: 0x0102, start, heartbeat, replica_uuid: Some("it's".into()), wait_at_end: false }
    }

    // The layouts of COM_BINLOG_DUMP and COM_BINLOG_DUMP_GTID as the protocol's documentation gives them.
    #[test]
    fn dump_commands_are_laid_out_as_documented() {
        let (command, bytes) = request(BinlogStart::MySqlGtidSet(b"SET".to_vec())).command().unwrap();
        let expected = b"\x05\x00\x02\x01\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00SET";
        assert_eq!((command, &bytes[..]), (0x1e, &expected[..]));
        let start = BinlogStart::FilePosition { file: "b.1".into(), position: 0xa0b0 };
        let (command, bytes) = request(start).command().unwrap();
        assert_eq!((command, &bytes[..]), (0x12, &b"\xb0\xa0\x00\x00\x01\x00\x02\x01\x00\x00b.1"[..]));
    }

    #[test]
    fn only_a_mariadb_gtid_start_sets_a_connect_state() {
        let sql = request(BinlogStart::MariaDbGtids("0-1-2".into())).session(ServerFamily::MySql).concat();
        assert!(sql.contains("@slave_connect_state='0-1-2'") && sql.contains("@master_heartbeat_period=1500000000"));
        assert!(sql.contains("@slave_uuid='it''s'"));
        let statements = request(BinlogStart::MySqlGtidSet(Vec::new())).session(ServerFamily::OceanBase);
        assert!(statements.contains(&"SET @master_heartbeat_period = 1500000".to_owned()), "{statements:?}");
        assert!(
            !request(BinlogStart::MySqlGtidSet(Vec::new()))
                .session(ServerFamily::MySql)
                .concat()
                .contains("@slave_connect_state")
        );
    }
}
