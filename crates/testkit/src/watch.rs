//! A reader that lists a sink's folder all the time, and must never see anything that is not committed.
//!
//! A file that was visible once must be there for good, as long as it was when it was first seen: data that is visible
//! before its commit point goes away in a crash, or grows while it is written. The oracle then demands that the files
//! that are there are exactly those that the manifests name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Pause between two looks, so that the watcher leaves the processor to those it watches.
const PAUSE: Duration = Duration::from_millis(3);

/// Watches a folder until it is told to finish.
pub struct Watcher {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Seen>>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Visible files and their length in bytes when they were first seen.
    pub files: BTreeMap<PathBuf, u64>,
    /// How often the folder was listed.
    pub looks: u64,
    /// What a reader must never see.
    pub problems: Vec<String>,
}

impl Watcher {
    /// Begins to watch; the folder need not be there yet.
    pub fn start(folder: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (folder, stopped) = (folder.to_owned(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut seen = Seen::default();
            while !stopped.load(Ordering::Relaxed) {
                seen.look(&folder);
                std::thread::sleep(PAUSE);
            }
            seen.look(&folder);
            seen
        });
        Self { stop, thread: Some(thread) }
    }

    /// Takes a last look and tells what was seen.
    ///
    /// # Panics
    /// When the watching thread did.
    pub fn finish(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("invariant: it is taken only here").join().expect("the watcher failed")
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Seen {
    fn look(&mut self, folder: &Path) {
        self.looks += 1;
        let mut now = BTreeMap::new();
        list(folder, &mut now);
        for (path, length) in &now {
            match self.files.get(path) {
                Some(first) if first != length => {
                    self.problems.push(format!("{} had {first} bytes, then {length}", path.display()));
                }
                _ => {}
            }
        }
        let gone = self.files.keys().filter(|path| !now.contains_key(*path));
        self.problems.extend(gone.map(|path| format!("{} was visible and is gone", path.display())));
        self.files = now;
    }

    /// Fails with everything that a reader must never see.
    ///
    /// # Panics
    /// When something was seen that was not committed.
    pub fn must_be_clean(&self) {
        assert!(self.problems.is_empty(), "a reader saw uncommitted data:\n{}", self.problems.join("\n"));
    }
}

/// Visible are files whose name, and whose folders' names, begin neither with a dot nor with an underscore. A file may
/// vanish between listing and looking only if it was not committed; then the next look says so.
fn list(folder: &Path, found: &mut BTreeMap<PathBuf, u64>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(['.', '_']) {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => list(&entry.path(), found),
            Ok(_) => {
                found.insert(entry.path(), entry.metadata().map_or(u64::MAX, |m| m.len()));
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_and_vanishing_files_are_found() {
        let folder = std::env::temp_dir().join(format!("dujiang-watch-{}", std::process::id()));
        fs::create_dir_all(folder.join("t/.staging")).unwrap();
        let mut seen = Seen::default();
        fs::write(folder.join("t/a"), "1").unwrap();
        fs::write(folder.join("t/b"), "1").unwrap();
        fs::write(folder.join("t/.staging/c"), "1").unwrap();
        seen.look(&folder);
        assert_eq!((seen.files.len(), seen.problems.len()), (2, 0));
        fs::write(folder.join("t/a"), "12").unwrap();
        fs::remove_file(folder.join("t/b")).unwrap();
        seen.look(&folder);
        assert_eq!(seen.problems.len(), 2);
        fs::remove_dir_all(&folder).unwrap();
    }
}
