//! Settings of the server.

use crate::catalog::{ServerFlavor, ServerProfile};
use dujiang_core::{Code, Error, Result};

/// # Errors
/// `BinlogOff`, `BinlogFormat`, `BinlogRowImage`.
pub(super) fn check(server: &ServerProfile, address: &str) -> Result<()> {
    let (section, name) = match server.flavor {
        ServerFlavor::MariaDb => ("[mariadb]", "MariaDB"),
        ServerFlavor::MySql => ("[mysqld]", "MySQL"),
    };
    let refuse = |code, message: String, variable: &str| {
        let found = format!("{variable}={}", server.variable(variable));
        Error::new(code, message).fact("server", server.name()).fact("found", found)
    };
    if !server.is_on("log_bin") {
        let help = format!(
            "add log_bin=binlog, server_id=1 and binlog_format=ROW to section {section} of {name}'s configuration file and restart it"
        );
        return Err(refuse(Code::BinlogOff, format!("{address} writes no binlog"), "log_bin").help(help));
    }
    // Sessions that are open when a global setting changes keep the old one.
    let lasting = |setting: &str| {
        format!(
            "run SET GLOBAL {setting}; add {setting} to section {section} of {name}'s configuration file, and let open sessions reconnect"
        )
    };
    let format = server.variable("binlog_format");
    if !format.is_empty() && !format.eq_ignore_ascii_case("ROW") {
        let message =
            format!("the binlog of {address} is in {format} format, which does not carry the rows of every change");
        return Err(refuse(Code::BinlogFormat, message, "binlog_format").help(lasting("binlog_format=ROW")));
    }
    let image = server.variable("binlog_row_image");
    if !image.is_empty() && !image.eq_ignore_ascii_case("FULL") {
        let message = format!("the binlog of {address} leaves columns out of its rows");
        return Err(refuse(Code::BinlogRowImage, message, "binlog_row_image").help(lasting("binlog_row_image=FULL")));
    }
    if !server.variable("binlog_row_value_options").is_empty() {
        let message = format!("the binlog of {address} carries parts of JSON documents only");
        let help = lasting("binlog_row_value_options=''");
        return Err(refuse(Code::BinlogRowImage, message, "binlog_row_value_options").help(help));
    }
    Ok(())
}

/// What weakens checks but does not prevent the capture.
pub(super) fn warnings(server: &ServerProfile) -> Vec<String> {
    let mut out = Vec::new();
    if server.variable("binlog_checksum").eq_ignore_ascii_case("NONE") {
        out.push(
            "the server writes no checksums into its binlog (binlog_checksum=NONE): damage may pass unnoticed".into(),
        );
    }
    if server.flavor == ServerFlavor::MySql && !server.is_on("gtid_mode") {
        out.push("the server has no GTIDs (gtid_mode): the pipeline cannot follow it to another server".into());
    }
    out
}
