//! Settings of the server.

use crate::catalog::{ServerFlavor, ServerProfile, Version};
use dujiang_core::{Code, Error, Result};

/// Settings that decide whether rows come through the log, each with the name of its check.
pub(super) fn checks(server: &ServerProfile, address: &str) -> [(&'static str, Result<()>); 3] {
    [
        ("binlog", binlog(server, address)),
        ("binlog format", format(server, address)),
        ("row images", row_images(server, address)),
    ]
}

fn refuse(server: &ServerProfile, code: Code, message: String, variable: &str) -> Error {
    let found = format!("{variable}={}", server.variable(variable));
    Error::new(code, message).fact("server", server.name()).fact("found", found)
}

/// Section of the configuration file and name of the server.
fn file(server: &ServerProfile) -> (&'static str, &'static str) {
    match server.flavor {
        ServerFlavor::MariaDb => ("[mariadb]", "MariaDB"),
        ServerFlavor::MySql | ServerFlavor::OceanBase => ("[mysqld]", "MySQL"),
    }
}

/// What sets a global variable for good, as far as a statement can: MySQL remembers it from version 8 on.
pub(crate) fn set(server: &ServerProfile, setting: &str) -> String {
    let how = if server.mysql_since(Version(8, 0, 0)) { "PERSIST" } else { "GLOBAL" };
    format!("SET {how} {setting}")
}

/// In words, with what the statement does not do.
pub(crate) fn lasting(server: &ServerProfile, setting: &str) -> String {
    let (statement, (section, name)) = (set(server, setting), file(server));
    match server.mysql_since(Version(8, 0, 0)) {
        true => format!("run {statement}"),
        false => format!("run {statement}; add {setting} to section {section} of {name}'s configuration file"),
    }
}

/// An error that a global variable mends. Sessions that are open when it changes keep the old one.
fn mended_by(error: Error, server: &ServerProfile, setting: &str) -> Error {
    let help = format!("{}, and let open sessions reconnect", lasting(server, setting));
    error.help(help).remedy(set(server, setting))
}

fn binlog(server: &ServerProfile, address: &str) -> Result<()> {
    if !server.is_on("log_bin") {
        let (section, name) = file(server);
        let help = format!(
            "add log_bin=binlog, server_id=1 and binlog_format=ROW to section {section} of {name}'s configuration file and restart it"
        );
        return Err(refuse(server, Code::BinlogOff, format!("{address} writes no binlog"), "log_bin").help(help));
    }
    if server.variable("server_id") == "0" {
        let message = format!("{address} sends its binlog to nobody, since it has no server id");
        return Err(mended_by(refuse(server, Code::BinlogOff, message, "server_id"), server, "server_id=1"));
    }
    Ok(())
}

fn format(server: &ServerProfile, address: &str) -> Result<()> {
    let format = server.variable("binlog_format");
    if format.is_empty() || format.eq_ignore_ascii_case("ROW") {
        return Ok(());
    }
    let message =
        format!("the binlog of {address} is in {format} format, which does not carry the rows of every change");
    Err(mended_by(refuse(server, Code::BinlogFormat, message, "binlog_format"), server, "binlog_format=ROW"))
}

fn row_images(server: &ServerProfile, address: &str) -> Result<()> {
    let image = server.variable("binlog_row_image");
    // With FULL_NODUP (MariaDB) an after image lacks what is as in the before image.
    if !["", "FULL", "FULL_NODUP"].iter().any(|full| image.eq_ignore_ascii_case(full)) {
        let message = format!("the binlog of {address} leaves columns out of its rows");
        let error = refuse(server, Code::BinlogRowImage, message, "binlog_row_image");
        return Err(mended_by(error, server, "binlog_row_image=FULL"));
    }
    Ok(())
}

/// What weakens the capture but does not prevent it.
pub(super) fn warnings(server: &ServerProfile) -> Vec<Error> {
    [checksums(server), gtids(server)].into_iter().flatten().collect()
}

/// Damage of the log that nobody would notice. What a tenant of OceanBase says of its binlog is not about that of the service.
pub(crate) fn checksums(server: &ServerProfile) -> Option<Error> {
    let none = server.variable("binlog_checksum").eq_ignore_ascii_case("NONE");
    if !none || server.flavor == ServerFlavor::OceanBase {
        return None;
    }
    let message = "the server writes no checksums into its binlog (binlog_checksum=NONE): damage may pass unnoticed";
    Some(mended_by(Error::new(Code::NoChecksums, message), server, "binlog_checksum=CRC32"))
}

/// MariaDB always has identifiers. MySQL's are switched on step by step, so that replicas can follow.
pub(crate) fn gtids(server: &ServerProfile) -> Option<Error> {
    if server.flavor != ServerFlavor::MySql || server.is_on("gtid_mode") {
        return None;
    }
    let message = "the server has no GTIDs (gtid_mode): the pipeline cannot follow it to another server";
    let found = server.variable("gtid_mode");
    let mut error = Error::new(Code::NoGtid, message)
        .fact("found", format!("gtid_mode={}", if found.is_empty() { "unknown" } else { found }))
        .help("switch GTIDs on in the steps that the server's manual gives, on every server of the group");
    let steps = ["OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"];
    let at = steps.iter().position(|step| step.eq_ignore_ascii_case(found)).unwrap_or(0);
    if !server.is_on("enforce_gtid_consistency") {
        error = error.remedy_with_care(set(server, "enforce_gtid_consistency=ON"), GTID_CAUTION);
    }
    for step in &steps[at + 1..] {
        error = error.remedy_with_care(set(server, &format!("gtid_mode={step}")), GTID_CAUTION);
    }
    Some(error)
}

const GTID_CAUTION: &str = "it concerns every replica of the server; before each step, let all of them catch up";
