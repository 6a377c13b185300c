//! A disk in memory whose power fails: what was not made durable is lost, or not, or torn, as chance has it.

use dujiang_log::{Disk, DiskFile};
use dujiang_testkit::memory::Rng;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A change of a file that is not durable yet.
#[derive(Clone)]
enum Pending {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Default, Clone)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Clone)]
enum NameChange {
    Put(String, usize),
    Remove(String),
}

#[derive(Default)]
struct State {
    contents: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
    /// Every call that changes something fails from the so-manieth on.
    dies_in: Option<u64>,
    /// The so-manieth write finds the disk full, once, after a part of it.
    full_in: Option<u64>,
    /// So many writes fail from now on.
    failing: u64,
}

impl State {
    fn change(&mut self) -> io::Result<()> {
        match &mut self.dies_in {
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn rename_now(&mut self, change: NameChange) {
        apply_name(&mut self.names, &change);
        self.name_changes.push(change);
    }
}

fn apply_name(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    match change {
        NameChange::Put(name, content) => names.insert(name.clone(), *content),
        NameChange::Remove(name) => names.remove(name),
    };
}

fn apply(data: &mut Vec<u8>, pending: &Pending) {
    match pending {
        Pending::Write(at, bytes) => {
            let (at, end) = (*at as usize, *at as usize + bytes.len());
            if data.len() < end {
                data.resize(end, 0);
            }
            data[at..end].copy_from_slice(bytes);
        }
        Pending::Length(length) => data.resize(*length as usize, 0),
    }
}

/// The disk; clones are the same one.
#[derive(Clone, Default)]
pub struct VirtualDisk(Arc<Mutex<State>>);

impl fmt::Debug for VirtualDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VirtualDisk")
    }
}

impl VirtualDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power fails during the so-manieth change from now on.
    pub fn die_in(&self, changes: u64) {
        self.state().dies_in = Some(changes);
    }

    /// The so-manieth write from now on finds no space, once.
    pub fn full_in(&self, writes: u64) {
        self.state().full_in = Some(writes);
    }

    /// So many writes fail from now on.
    pub fn fail_writes(&self, writes: u64) {
        self.state().failing = writes;
    }

    /// Whether the power has failed.
    pub fn is_dead(&self) -> bool {
        self.state().dies_in == Some(0)
    }

    /// The power comes back, and shows what has survived.
    pub fn crash(&self, rng: &mut Rng) {
        let state = &mut *self.state();
        for content in &mut state.contents {
            // Each change has reached the disk, or not, or in part: nobody ordered them.
            for pending in std::mem::take(&mut content.pending) {
                match (rng.below(3), pending) {
                    (0, _) => {}
                    (1, Pending::Write(at, bytes)) => {
                        let torn = rng.below(bytes.len() as u64 + 1) as usize;
                        apply(&mut content.durable, &Pending::Write(at, bytes[..torn].to_vec()));
                    }
                    (_, pending) => apply(&mut content.durable, &pending),
                }
            }
            content.now = content.durable.clone();
        }
        // Names are journaled: a beginning of their changes survives.
        let changes = std::mem::take(&mut state.name_changes);
        let survive = rng.below(changes.len() as u64 + 1) as usize;
        changes[..survive].iter().for_each(|change| apply_name(&mut state.durable_names, change));
        state.names = state.durable_names.clone();
        (state.dies_in, state.full_in) = (None, None);
    }

    /// A copy that shares nothing.
    pub fn copy(&self) -> Self {
        let state = self.state();
        let copy = State {
            contents: state.contents.clone(),
            names: state.names.clone(),
            durable_names: state.names.clone(),
            ..State::default()
        };
        Self(Arc::new(Mutex::new(copy)))
    }

    /// Every byte of every file, as (name, length).
    pub fn files(&self) -> Vec<(String, usize)> {
        let state = self.state();
        state.names.iter().map(|(name, content)| (name.clone(), state.contents[*content].now.len())).collect()
    }

    /// Turns one bit.
    pub fn flip(&self, name: &str, at: usize, bit: u8) {
        let state = &mut *self.state();
        let content = state.names[name];
        state.contents[content].now[at] ^= 1 << bit;
    }

    /// Removes a file, or cuts it.
    pub fn cut(&self, name: &str, length: Option<usize>) {
        let state = &mut *self.state();
        match length {
            None => {
                state.names.remove(name);
            }
            Some(length) => {
                let content = state.names[name];
                state.contents[content].now.truncate(length);
            }
        }
    }

    /// Puts the bytes of one file into another one.
    pub fn swap(&self, one: &str, other: &str) {
        let state = &mut *self.state();
        let (a, b) = (state.names[one], state.names[other]);
        state.contents.swap(a, b);
    }
}

struct VirtualFile {
    disk: VirtualDisk,
    content: usize,
}

impl Disk for VirtualDisk {
    fn make(&self) -> io::Result<()> {
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let state = &mut *self.state();
        let content = match state.names.get(name) {
            Some(content) => *content,
            None if create => {
                state.change()?;
                state.contents.push(Content::default());
                let content = state.contents.len() - 1;
                state.rename_now(NameChange::Put(name.to_owned(), content));
                content
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(VirtualFile { disk: self.clone(), content }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let state = &mut *self.state();
        state.change()?;
        let content = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.rename_now(NameChange::Put(to.to_owned(), content));
        state.rename_now(NameChange::Remove(from.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let state = &mut *self.state();
        if state.names.contains_key(name) {
            state.change()?;
            state.rename_now(NameChange::Remove(name.to_owned()));
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let state = &mut *self.state();
        state.change()?;
        state.name_changes.clear();
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn lock(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        Ok(Some(Box::new(())))
    }

    fn describe(&self, name: &str) -> String {
        format!("/virtual/{name}")
    }
}

impl DiskFile for VirtualFile {
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let state = self.disk.state();
        let data = &state.contents[self.content].now;
        let from = (at as usize).min(data.len());
        let length = into.len().min(data.len() - from);
        into[..length].copy_from_slice(&data[from..from + length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let state = &mut *self.disk.state();
        let dead = state.change();
        let full = match &mut state.full_in {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        // What fails may have written a part.
        let part = if dead.is_err() || full { bytes.len() / 2 } else { bytes.len() };
        let pending = Pending::Write(at, bytes[..part].to_vec());
        let content = &mut state.contents[self.content];
        apply(&mut content.now, &pending);
        content.pending.push(pending);
        if full {
            state.full_in = None;
            return Err(io::ErrorKind::StorageFull.into());
        }
        if state.failing > 0 {
            state.failing -= 1;
            return Err(io::Error::other("the disk has failed"));
        }
        dead
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.state().contents[self.content].now.len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let state = &mut *self.disk.state();
        state.change()?;
        let content = &mut state.contents[self.content];
        apply(&mut content.now, &Pending::Length(length));
        content.pending.push(Pending::Length(length));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let state = &mut *self.disk.state();
        state.change()?;
        let content = &mut state.contents[self.content];
        content.pending.clear();
        content.durable = content.now.clone();
        Ok(())
    }
}
