//! What the server has to allow.

use super::Check;
use crate::client::{Connection, may_not_replicate, quote};
use dujiang_core::{Code, Error, Result};

/// How a setting that was changed for good begins to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// When the server reads its files again.
    Reload,
    /// When the server is started.
    Restart,
}

/// Adds the statements that change a setting for good.
pub fn lasting(error: Error, setting: &str, value: &str, holds: Holds) -> Error {
    const RELOAD: &str = "SELECT pg_reload_conf()";
    let statement = format!("ALTER SYSTEM SET {setting} = {}", quote::literal(value));
    match holds {
        Holds::Reload => error.help(format!("run {statement}; {RELOAD}")).remedy(statement).remedy(RELOAD),
        Holds::Restart => error.help(format!("run {statement}, and restart the server")).remedy(statement),
    }
}

/// # Errors
/// What keeps from looking.
pub(super) async fn checks(connection: &mut Connection) -> Result<Vec<Check>> {
    let sql = "SELECT pg_catalog.current_setting('wal_level'), pg_catalog.pg_is_in_recovery(),
        (SELECT r.rolsuper OR r.rolreplication FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)
          OR EXISTS (SELECT 1 FROM pg_catalog.pg_roles m WHERE m.rolname IN ('rds_replication', 'rds_superuser')
            AND pg_catalog.pg_has_role(current_user, m.oid, 'MEMBER')), current_user,
        pg_catalog.current_setting('max_replication_slots')::int, pg_catalog.current_setting('max_wal_senders')::int,
        pg_catalog.current_setting('hot_standby_feedback') = 'on', pg_catalog.current_setting('server_version_num')::int";
    let rows = connection.simple(sql).await?;
    let row = rows.first().ok_or_else(|| Error::new(Code::Protocol, "the server does not tell its settings"))?;
    let address = connection.address();
    let role = if row.flag(1)? {
        ("standby", check_standby(address, row.parse(7)?, row.flag(6)?))
    } else {
        ("primary", Ok(()))
    };
    let may_replicate = row.opt(2)? == Some("t");
    let mut checks = vec![
        role,
        ("log level", check_level(address, row.text(0)?)),
        ("replication role", if may_replicate { Ok(()) } else { Err(no_role(address, row.text(3)?)) }),
    ];
    for (at, name) in [(4, "max_replication_slots"), (5, "max_wal_senders")] {
        checks.push((name, check_limit(address, name, row.parse(at)?)));
    }
    Ok(checks)
}

fn check_level(address: &str, level: &str) -> Result<()> {
    if level == "logical" {
        return Ok(());
    }
    let error = Error::new(Code::WalLevel, format!("{address} does not log what logical replication needs"))
        .fact("found", format!("wal_level = {level}"));
    Err(lasting(error, "wal_level", "logical", Holds::Restart))
}

/// A standby decodes its log from 16 on. Without feedback the primary server removes rows that its slots need, and gives them up.
fn check_standby(address: &str, version: i32, feedback: bool) -> Result<()> {
    if version < 160_000 {
        return Err(Error::new(
            Code::ServerVersion,
            format!("{address} is a standby of PostgreSQL {}, which cannot decode its log", version / 10_000),
        )
        .help("point the source at the primary server; standbys serve as source from PostgreSQL 16 on"));
    }
    if !feedback {
        let error = Error::new(
            Code::ServerVersion,
            format!("{address} is a standby that does not tell its primary server which rows are still needed"),
        )
        .fact("found", "hot_standby_feedback = off");
        return Err(lasting(error, "hot_standby_feedback", "on", Holds::Reload));
    }
    Ok(())
}

fn no_role(address: &str, user: &str) -> Error {
    let error = Error::new(Code::ReplicationRole, format!("`{user}` may not replicate from {address}"));
    may_not_replicate(error, user)
}

fn check_limit(address: &str, name: &str, limit: i32) -> Result<()> {
    if limit > 0 {
        return Ok(());
    }
    let error = Error::new(Code::NoSlotsLeft, format!("{address} allows no replication"))
        .fact("found", format!("{name} = {limit}"));
    Err(lasting(error, name, "10", Holds::Restart))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_has_to_allow_reads_as_written() {
        let address = "db.example:5432";
        for error in [
            check_level(address, "replica").unwrap_err(),
            no_role(address, "capture"),
            check_limit(address, "max_wal_senders", 0).unwrap_err(),
        ] {
            dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[]);
        }
        check_level(address, "logical").unwrap();
        let old = check_standby(address, 150_004, true).unwrap_err();
        assert!(old.help_text().unwrap().contains("primary server"), "{old:?}");
        let silent = check_standby(address, 180_000, false).unwrap_err();
        assert_eq!(silent.remedies()[0].statement, "ALTER SYSTEM SET hot_standby_feedback = 'on'");
        check_standby(address, 160_000, true).unwrap();
        check_limit(address, "max_wal_senders", 10).unwrap();
    }
}
