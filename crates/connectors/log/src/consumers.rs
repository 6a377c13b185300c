//! How far each delivery has come, durably: what it has not passed is never removed.

use crate::disk::Disk;
use crate::errors::{io_error, sync_error};
use crate::files::{seal, unseal};
use dujiang_core::{Code, Error, Result, ResultExt};
use serde::{Deserialize, Serialize};

const PREFIX: &str = "consumer-";
const SUFFIX: &str = ".json";

/// One consumer group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumer {
    /// Its name.
    pub name: String,
    /// First offset that it has not made durable elsewhere.
    pub offset: u64,
    /// When it said so last, microseconds since 1970-01-01 UTC.
    pub written_micros: i64,
}

/// All consumers, by name.
///
/// # Errors
/// `LogRangeDamaged` for a record that cannot be read: who knows what it has not passed.
pub fn read_all(disk: &dyn Disk) -> Result<Vec<Consumer>> {
    let names = disk.names().map_err(|e| io_error("list the log's folder", &disk.describe(""), e))?;
    let mut names: Vec<String> =
        names.into_iter().filter(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX)).collect();
    names.sort_unstable();
    names.iter().filter_map(|name| read(disk, name).transpose()).collect()
}

/// The consumer of that name.
///
/// # Errors
/// As [`read_all`].
pub fn find(disk: &dyn Disk, name: &str) -> Result<Option<Consumer>> {
    read(disk, &file_name(name))
}

fn read(disk: &dyn Disk, file: &str) -> Result<Option<Consumer>> {
    let described = disk.describe(file);
    let Some(bytes) = read_whole(disk, file)? else { return Ok(None) };
    let consumer = unseal(&bytes).and_then(|json| serde_json::from_slice(json).ok());
    let damaged = || crate::errors::damaged(&described, 0..bytes.len() as u64, "the record of a consumer");
    consumer.map(Some).ok_or_else(damaged)
}

/// A whole small file; `None` when there is none.
pub(crate) fn read_whole(disk: &dyn Disk, file: &str) -> Result<Option<Vec<u8>>> {
    let described = disk.describe(file);
    let failed = |e| io_error("read the log", &described, e);
    let opened = match disk.open(file, false) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let length = usize::try_from(opened.length().map_err(failed)?).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    let read = opened.read_at(&mut bytes, 0).map_err(failed)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Notes durably how far a consumer has come.
///
/// # Errors
/// `SinkFull` and the like; `SyncFailed`.
pub fn write(disk: &dyn Disk, consumer: &Consumer) -> Result<()> {
    let json = serde_json::to_vec(consumer).or_code(Code::Bug, || "write a consumer".to_owned())?;
    replace(disk, &file_name(&consumer.name), &json)
}

/// Forgets a consumer; what only it had not passed may then be removed.
///
/// # Errors
/// As [`write`].
pub fn forget(disk: &dyn Disk, name: &str) -> Result<()> {
    let file = file_name(name);
    disk.remove(&file).map_err(|e| io_error("remove a consumer", &disk.describe(&file), e))?;
    disk.sync().map_err(|e| sync_error(&disk.describe(""), e))
}

/// Temporary file, write, fsync, rename, fsync the folder.
pub(crate) fn replace(disk: &dyn Disk, name: &str, json: &[u8]) -> Result<()> {
    let temporary = format!("{name}.tmp");
    let described = disk.describe(&temporary);
    let failed = |e| io_error("write a record of the log", &described, e);
    let bytes = seal(json);
    // What a crash has left may be the finished file under its other name: writing into it would tear that.
    disk.remove(&temporary).map_err(failed)?;
    let file = disk.open(&temporary, true).map_err(failed)?;
    file.set_length(0).and_then(|()| file.write_at(&bytes, 0)).map_err(failed)?;
    file.sync().map_err(|e| sync_error(&described, e))?;
    disk.rename(&temporary, name).map_err(failed)?;
    disk.sync().map_err(|e| sync_error(&disk.describe(""), e))
}

/// Whether a file, finished or not, is a consumer's.
pub(crate) fn owns(file: &str) -> bool {
    file.starts_with(PREFIX)
}

/// A consumer's name as a file's name: what could lead elsewhere is escaped as `%XX`.
fn file_name(consumer: &str) -> String {
    let mut name = PREFIX.to_owned();
    for byte in consumer.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name + SUFFIX
}

/// The refusal of a name that a log cannot keep.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if !name.is_empty() && file_name(name).len() <= 200 {
        return Ok(());
    }
    Err(Error::new(Code::BadValue, "the name of a consumer is empty or too long").fact("name", name.to_owned()))
}
