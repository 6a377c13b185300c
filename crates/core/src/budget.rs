//! One bound on the bytes a pipeline holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes held by queues, builders, snapshot chunks and open writers of one pipeline, against one limit.
///
/// It only counts; the engine decides who waits and who closes a file when [`Budget::is_over`].
#[derive(Debug, Clone)]
pub struct Budget {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limit: usize,
    used: AtomicUsize,
    peak: AtomicUsize,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { inner: Arc::new(Inner { limit, used: AtomicUsize::new(0), peak: AtomicUsize::new(0) }) }
    }

    /// Counts `bytes` in until the returned guard is dropped.
    pub fn hold(&self, bytes: usize) -> Held {
        let mut held = Held { budget: self.clone(), bytes: 0 };
        held.resize(bytes);
        held
    }

    /// The limit in bytes.
    pub fn limit(&self) -> usize {
        self.inner.limit
    }

    /// Bytes held now.
    pub fn used(&self) -> usize {
        self.inner.used.load(Ordering::Relaxed)
    }

    /// Most bytes ever held.
    pub fn peak(&self) -> usize {
        self.inner.peak.load(Ordering::Relaxed)
    }

    /// Whether more is held than allowed.
    pub fn is_over(&self) -> bool {
        self.used() > self.limit()
    }
}

/// Bytes counted against a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub struct Held {
    budget: Budget,
    bytes: usize,
}

impl Held {
    /// Changes how many bytes this guard stands for.
    pub fn resize(&mut self, bytes: usize) {
        let inner = &self.budget.inner;
        if bytes >= self.bytes {
            let used = inner.used.fetch_add(bytes - self.bytes, Ordering::Relaxed) + (bytes - self.bytes);
            inner.peak.fetch_max(used, Ordering::Relaxed);
        } else {
            inner.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.resize(0);
    }
}
