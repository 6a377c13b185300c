//! A thread of a server that stands still, at a place that no setting holds it at.

#![allow(unsafe_code, reason = "a thread is stopped by `ptrace`")]

use dujiang_scratch::{Family, Server, Session};
use std::ptr::null_mut;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

/// The thread goes on when this is dropped.
pub struct Stopped {
    release: Option<Sender<()>>,
    tracer: Option<JoinHandle<()>>,
}

impl Stopped {
    /// Stops a thread; it stands still when this returns. Only the thread that has stopped it can let it go.
    pub fn thread(id: i32) -> Self {
        let (release, released) = channel::<()>();
        let (stopped, stands_still) = channel();
        let tracer = std::thread::spawn(move || {
            trace(libc::PTRACE_SEIZE, id);
            trace(libc::PTRACE_INTERRUPT, id);
            // SAFETY: no status is asked for.
            let waited = unsafe { libc::waitpid(id, null_mut(), libc::__WALL) };
            assert_eq!(waited, id, "{}", std::io::Error::last_os_error());
            stopped.send(()).unwrap();
            let _ = released.recv();
            trace(libc::PTRACE_DETACH, id);
        });
        stands_still.recv().expect("the thread was not stopped; see the message above");
        Self { release: Some(release), tracer: Some(tracer) }
    }
}

fn trace(request: libc::c_uint, thread: i32) {
    // SAFETY: these requests neither read nor write memory of ours.
    let done = unsafe { libc::ptrace(request, thread, null_mut::<libc::c_void>(), null_mut::<libc::c_void>()) };
    assert_eq!(done, 0, "ptrace({request}, {thread}): {}", std::io::Error::last_os_error());
}

impl Drop for Stopped {
    fn drop(&mut self) {
        drop(self.release.take());
        let tracer = self.tracer.take().expect("invariant: there until now");
        assert!(tracer.join().is_ok() || std::thread::panicking(), "the thread was not let go; see the message above");
    }
}

/// The thread of the server that serves a session.
pub fn thread_of(server: &Server, session: &mut Session) -> i32 {
    let sql = match server.family() {
        Family::MariaDb => "SELECT TID FROM information_schema.PROCESSLIST WHERE ID = CONNECTION_ID()",
        Family::MySql => "SELECT THREAD_OS_ID FROM performance_schema.threads WHERE PROCESSLIST_ID = CONNECTION_ID()",
    };
    i32::try_from(session.number(sql).unwrap()).unwrap()
}
