//! What can be wrong with a log, as errors with codes.

use dujiang_core::{Code, Error};
use rustix::io::Errno;
use std::io;
use std::ops::Range;

/// A part of the log that cannot be what was written; nobody reads past it.
pub(crate) fn damaged(file: &str, bytes: Range<u64>, why: &str) -> Error {
    Error::new(Code::LogRangeDamaged, format!("a part of the log is damaged: {why}"))
        .fact("file", file.to_owned())
        .fact("bytes", format!("{} to {}", bytes.start, bytes.end))
        .help(
            "bring the file back from a backup; or skip the range by starting the delivery after it \
             (`dujiang log verify` lists what can be read) and repair the sink from the source",
        )
}

const FULL: &str = "free space there; capture waits and loses nothing";

/// A call of the file system that failed.
pub(crate) fn io_error(action: &str, file: &str, error: io::Error) -> Error {
    let full = error.kind() == io::ErrorKind::StorageFull;
    let (code, help) = match Errno::from_io_error(&error) {
        Some(Errno::NOSPC | Errno::DQUOT) => (Code::SinkFull, FULL),
        _ if full => (Code::SinkFull, FULL),
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::NOTDIR) => (
            Code::SinkNotWritable,
            "give the user that runs the pipeline the right to write there, or change `log.path`",
        ),
        Some(Errno::NOENT) => (Code::LogMissing, "check `path`; the log is made by the pipeline that captures into it"),
        _ => (Code::SinkUnwritten, "check the disk; nothing is lost, the next start goes on after the last commit"),
    };
    Error::new(code, format!("cannot {action}")).fact("file", file.to_owned()).help(help).with_source(error)
}

/// INV-9: what the disk holds after a failed fsync is unknown; it is never tried again on that descriptor.
pub(crate) fn sync_error(file: &str, error: io::Error) -> Error {
    Error::new(Code::SyncFailed, "fsync of the log failed")
        .fact("file", file.to_owned())
        .help("check the disk; after the restart everything since the last commit is captured again")
        .with_source(error)
}

/// A file of a format that this program does not know.
pub(crate) fn other_version(file: &str, found: u32, ours: u32) -> Error {
    Error::new(Code::LogVersion, "the log is of another version")
        .fact("file", file.to_owned())
        .fact("found", found.to_string())
        .fact("this program reads", ours.to_string())
        .help("run the version of the program that wrote it, or begin a new log in another `log.path`")
}

/// The process that holds the log is another one.
pub(crate) fn in_use(folder: &str) -> Error {
    Error::new(Code::LogInUse, "another process captures into this log")
        .fact("folder", folder.to_owned())
        .help("stop the other process, or give each pipeline a log of its own")
}

/// A later instance has opened the log.
pub(crate) fn fenced(ours: u64, theirs: u64) -> Error {
    Error::new(Code::Fenced, "a newer instance captures into the log")
        .fact("its generation", theirs.to_string())
        .fact("ours", ours.to_string())
}

/// All that an error says but its code, for one who can keep no more than a line of it.
pub(crate) fn in_one_line(error: &Error) -> String {
    let text = format!("{error:?}");
    let code = format!("{}: ", error.code().number());
    text.strip_prefix(&code).map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_as_written() {
        let written = |error| dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[]);
        written(sync_error("/data/log/00000000000000000000.seg", io::Error::from_raw_os_error(5)));
        written(in_use("/data/log"));
        written(other_version("/data/log/log.json", 2, 1));
    }

    #[test]
    fn a_line_of_it_holds_all_but_the_code() {
        let error = Error::new(Code::LogFull, "it is full").fact("folder", "/x").with_source(io::Error::other("why"));
        assert_eq!(in_one_line(&error), "it is full: why; folder: /x");
    }
}
