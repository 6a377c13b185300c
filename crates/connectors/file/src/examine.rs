//! What `doctor` looks at: whether the folder can be written to, is free for this pipeline, and has room.

use crate::config::{CompressionOption, FileConfig, Format};
use crate::manifests::read_owner;
use crate::records::Folders;
use dujiang_core::examine::{Examination, Visit};
use dujiang_core::{Code, Error, Lineage, Result};
use rustix::fs::{Access, access, statvfs};
use std::path::{Path, PathBuf};

/// With less free space the next files soon find no room, whatever they hold.
const LITTLE: u64 = 16_000_000;

/// Looks at the folder; makes nothing, not even the folder.
pub(crate) fn examine(config: &FileConfig, visit: &Visit) -> Examination {
    let mut examination = Examination::of(format!("files in {}", config.path.display()));
    examination.record("folder", writable(&config.path), |found| match found == &config.path {
        true => format!("{} can be written to", found.display()),
        false => format!("it will be made in {}, where this user may write", found.display()),
    });
    examination.record("owner", owner(config, visit), |text| (*text).to_owned());
    match room(config, visit) {
        Err(error) if error.code() == Code::SinkFull => examination.finding("disk space", error),
        other => {
            examination.record("disk space", other, |text| text.clone());
        }
    }
    examination
}

/// The folder, or the nearest one above it that is there: whether this user may write to it.
fn writable(path: &Path) -> Result<PathBuf> {
    let there = nearest(path);
    let refuse = |message: String| Error::new(Code::SinkNotWritable, message).fact("option", "sink.path");
    if !there.is_dir() {
        return Err(refuse(format!("{} is not a folder", there.display())).help("name a folder for the files"));
    }
    access(&there, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        refuse(format!("{} cannot be written to", there.display()))
            .with_source(std::io::Error::from(error))
            .help("let this user write to it, or name another folder")
    })?;
    Ok(there)
}

fn nearest(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut above = absolute.ancestors();
    above.find(|folder| folder.exists()).unwrap_or(Path::new("/")).to_owned()
}

/// Whose output the folder holds.
fn owner(config: &FileConfig, visit: &Visit) -> Result<&'static str> {
    let folders = Folders::new(&config.path);
    let Some(found) = read_owner(&folders)? else { return Ok("the folder is nobody's yet") };
    // Without a manifest nothing has become visible: a pipeline that begins anew takes the folder over.
    let lineage = match std::fs::read_dir(folders.manifests()).is_ok_and(|mut entries| entries.next().is_some()) {
        true => visit.lineage.clone(),
        false => Some(Lineage(found.lineage.clone().into())),
    };
    found.must_be(&folders.root, &visit.pipeline, lineage.as_ref())?;
    Ok("the folder is this pipeline's")
}

fn room(config: &FileConfig, visit: &Visit) -> Result<String> {
    let there = nearest(&config.path);
    let volume = statvfs(&there).map_err(|error| {
        Error::new(Code::SinkWrite, format!("the free space of {} is not known", there.display()))
            .with_source(std::io::Error::from(error))
    })?;
    let free = volume.f_bavail.saturating_mul(volume.f_frsize);
    let free_text = in_words(free);
    if free < LITTLE {
        let message = format!("{} has only {free_text} free", there.display());
        return Err(no_room(message));
    }
    // What has been read is there already, and nobody knows how much of it.
    let Some(expected) = visit.expected_bytes.filter(|_| visit.position.is_none()) else {
        return Ok(format!("{free_text} free"));
    };
    let needed = match config.format {
        // Names of columns in every row.
        Format::Json if config.compression == CompressionOption::None => expected.saturating_mul(2),
        _ => expected,
    };
    if free < needed {
        let message =
            format!("{} has {free_text} free, and the first snapshot may need {}", there.display(), in_words(needed));
        return Err(no_room(message));
    }
    Ok(format!("{free_text} free; the first snapshot may need {}", in_words(needed)))
}

fn no_room(message: String) -> Error {
    Error::new(Code::SinkFull, message).fact("option", "sink.path").help("make room, or name a folder on a larger disk")
}

fn in_words(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}
