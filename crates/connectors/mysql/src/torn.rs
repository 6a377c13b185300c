//! The end of a log file that the server was writing when it crashed.
//!
//! A MariaDB server that comes back leaves what was half written where it is, begins another file, and then refuses to send the
//! rest of the one before ("binlog truncated in the middle of event"). The transaction at the torn end was never committed: the
//! log goes on in the next file. MySQL cuts the torn end off by itself when it recovers.

use crate::client::{BinlogRequest, BinlogStart, BinlogStream, Connection, ServerFamily};
use crate::decode::transaction::MariaDbGtidList;
use crate::gtid::{Executed, MariaGtid, MariaPosition};
use crate::server::binlog_files;
use dujiang_core::{Code, Error, Result};

/// What a MariaDB server says, and what stands before the name of the file.
const TORN: &str = "binlog truncated in the middle of event";
const BEFORE_FILE: &str = "the last event read from '";
/// Where the events of a file begin.
const FIRST_EVENT: u64 = 4;

/// The file whose end is torn, if that is what an error says.
pub fn torn_file(error: &Error) -> Option<&str> {
    if error.code() != Code::LogDamaged {
        return None;
    }
    let said = error.facts().iter().find(|(name, said)| *name == "server says" && said.contains(TORN));
    let (_, rest) = said?.1.split_once(BEFORE_FILE)?;
    Some(rest.split_once('\'')?.0)
}

/// The dump that goes on in the file after the one whose end is torn; the error itself when there is none.
///
/// # Errors
/// `error`, and those of a dump.
pub async fn behind_torn_end(
    mut connection: Connection,
    request: &BinlogRequest,
    error: Error,
) -> Result<BinlogStream> {
    let Some(torn) = torn_file(&error).filter(|_| connection.server().family == ServerFamily::MariaDb) else {
        return Err(error);
    };
    let files = binlog_files(&mut connection).await?;
    let Some(next) = files.iter().skip_while(|file| file.file() != torn).nth(1) else { return Err(error) };
    tracing::warn!(
        file = torn,
        next = next.file(),
        "the server crashed while it wrote the end of this log file; reading goes on in the next one"
    );
    let start = BinlogStart::FilePosition { file: next.file().to_owned(), position: FIRST_EVENT };
    connection.dump(&BinlogRequest { start, ..request.clone() }).await
}

/// The transactions that a file says were committed before it.
pub fn committed_before(list: &MariaDbGtidList<'_>) -> MariaPosition {
    let mut before = MariaPosition::default();
    list.iter().for_each(|(domain, server, sequence)| before.advance(MariaGtid { domain, server, sequence }));
    before
}

/// The first file behind a torn end says what was committed before it: that proves that nothing but the transaction at the torn end
/// was lost there (INV-6).
///
/// # Errors
/// `LogDamaged`.
pub fn nothing_is_missing(read: &Executed, list: &MariaDbGtidList<'_>) -> Result<()> {
    let before = committed_before(list);
    match read {
        Executed::MariaDb(read) if read.covers(&before) => Ok(()),
        read => Err(missing(read, &before)),
    }
}

#[cold]
fn missing(read: &Executed, before: &MariaPosition) -> Error {
    Error::new(
        Code::LogDamaged,
        "transactions are missing between the torn end of a log file and the beginning of the next one",
    )
    .fact("read", read.to_string())
    .fact("committed before the next file", before.to_string())
    .help("see the server's error log; the pipeline needs a new snapshot")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_torn_file_is_what_the_server_names() {
        let says = "1236 (HY000): binlog truncated in the middle of event; consider out of disk space on master; the first event \
                    '.' at 4, the last event read from 'bin.000004' at 1879303, the last byte read from 'bin.000004' at 1880064.";
        let error = |code, says: &str| Error::new(code, "m").fact("server says", says.to_owned());
        assert_eq!(torn_file(&error(Code::LogDamaged, says)), Some("bin.000004"));
        assert_eq!(torn_file(&error(Code::ConnectionLost, says)), None);
        assert_eq!(
            torn_file(&error(Code::LogDamaged, "1236 (HY000): event read from binlog did not pass crc check")),
            None
        );
    }
}
