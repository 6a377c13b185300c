//! The server that the stream follows, as every other session has to meet it.
//!
//! Behind one address there may be several servers: a primary server and its standbys, behind a balancer of load. What one of them
//! shows, another may not have yet, and nothing that the stream has passed comes again.

use crate::client::{Connection, Endpoint, Session, quote};
use crate::lineage::ServerName;
use dujiang_core::{Code, Error, Result, fault};

/// The server that the stream follows.
#[derive(Debug, Clone)]
pub struct Followed {
    /// Its address.
    pub endpoint: Endpoint,
    /// Its name when it was opened; a promotion raises the timeline.
    pub name: ServerName,
    /// The slot, which no other server has.
    pub slot: String,
    /// Whether it was a standby when it was opened.
    pub standby: bool,
}

impl Followed {
    /// A session with it.
    ///
    /// # Errors
    /// As [`Followed::is_met_by`], and those of [`Connection::connect`].
    pub async fn connect(&self) -> Result<Connection> {
        let mut connection = Connection::connect(&self.endpoint, Session::Ordinary).await?;
        self.is_met_by(&mut connection).await?;
        Ok(connection)
    }

    /// Whether a session is with it, or with one that was promoted and is followed, too.
    ///
    /// # Errors
    /// `OtherServer`, and those of [`Connection::execute`].
    pub async fn is_met_by(&self, connection: &mut Connection) -> Result<()> {
        // What a version does not have is missing in the document. A slot that a standby copies is not its own.
        let sql = format!(
            "SELECT c.system_identifier::text, pg_catalog.pg_is_in_recovery(),
               (SELECT coalesce(pg_catalog.to_json(s) ->> 'synced', 'false') FROM pg_catalog.pg_replication_slots s
                WHERE s.slot_name = {})
             FROM pg_catalog.pg_control_system() c",
            quote::literal(&self.slot)
        );
        let rows = connection.simple(&sql).await?;
        let row = rows.first().ok_or_else(|| Error::new(Code::Protocol, "the server does not name itself"))?;
        if row.text(0)? != self.name.system {
            return Err(several(&format!("system {}", self.name.system), &format!("system {}", row.text(0)?)));
        }
        if fault::removed("one-server-behind-the-address") {
            return Ok(());
        }
        match (self.standby, row.flag(1)?, row.opt(2)?) {
            // A slot that is gone from it, the stream tells of.
            (false, false, _) | (true, false, Some(_)) | (true, true, Some("false")) => Ok(()),
            (false, true, _) => Err(several("the primary server, which the stream follows", "a standby of it")),
            (true, ..) => Err(several(
                &format!("the standby that has the replication slot `{}`", self.slot),
                "another server of the same system",
            )),
        }
    }

    /// Whether a server on this timeline is one that was left behind by the promotion of the one that is followed.
    ///
    /// # Errors
    /// `OtherServer`.
    pub fn is_followed_on(&self, timeline: u32) -> Result<()> {
        if timeline >= self.name.timeline {
            return Ok(());
        }
        Err(several(&format!("timeline {}", self.name.timeline), &format!("timeline {timeline}")))
    }
}

#[cold]
fn several(expected: &str, found: &str) -> Error {
    Error::new(Code::OtherServer, "behind the source's address there are several servers")
        .fact("expected", expected.to_owned())
        .fact("found", found.to_owned())
        .help("point the source at one server, not at an address that leads to the one or the other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv5_a_server_that_was_left_behind_is_not_followed() {
        let name = ServerName { system: "7".into(), timeline: 2 };
        let endpoint = Endpoint::new("db.example", 5432, "d", "u");
        let followed = Followed { endpoint, name, slot: "s".into(), standby: false };
        assert!(followed.is_followed_on(2).is_ok() && followed.is_followed_on(3).is_ok());
        assert_eq!(followed.is_followed_on(1).unwrap_err().code(), Code::OtherServer);
    }
}
