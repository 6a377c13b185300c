//! What the blocks of such sources are checked for alike. `place` tells where an option stands.

use dujiang_core::Code;
use dujiang_core::options::{Place, Problem};
use std::time::Duration;

/// Heartbeats need a pause between them.
pub fn heartbeat(interval: Duration, place: impl Fn(&str) -> Place) -> Option<Problem> {
    let key = "heartbeat.interval";
    let problem = || Problem::new(Code::BadValue, format!("`{key}` must be at least 100ms"), place(key));
    (interval < Duration::from_millis(100)).then(problem)
}

/// A certificate to show needs its key, and the other way round.
pub fn key_pair(cert: Option<&str>, key: Option<&str>, place: impl Fn(&str) -> Place) -> Option<Problem> {
    let given = if cert.is_some() { "tls.cert" } else { "tls.key" };
    let problem = || Problem::new(Code::Conflict, "`tls.cert` and `tls.key` need each other", place(given));
    (cert.is_some() != key.is_some()).then(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(key: &str) -> Place {
        Place::Environment(key.into())
    }

    #[test]
    fn a_heartbeat_needs_a_pause() {
        let at = |millis| heartbeat(Duration::from_millis(millis), place).map(|problem| problem.place);
        assert_eq!(at(100), None);
        assert_eq!(at(99), Some(place("heartbeat.interval")));
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let (some, at) = (Some("x.pem"), |cert, key| key_pair(cert, key, place).map(|problem| problem.place));
        assert_eq!((at(None, None), at(some, some)), (None, None));
        assert_eq!((at(some, None), at(None, some)), (Some(place("tls.cert")), Some(place("tls.key"))));
    }
}
