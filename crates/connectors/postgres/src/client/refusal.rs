//! The server's error messages, turned into errors that say what to do.
//!
//! Codes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>. Messages may be in any language (`lc_messages`), so
//! that nothing is decided by their words: what counts are the code, what was asked, and the name of the server's routine, which
//! is never translated. Names of settings and files stand in messages of every language as they are.

use super::wire::Reader;
use super::{Endpoint, Session, quote};
use dujiang_core::{Code, Error, Result};
use std::net::IpAddr;

/// Longest part of a statement shown in an error.
const SHOWN_STATEMENT: usize = 300;
/// The fact that carries the server's code.
const SQLSTATE: &str = "sqlstate";

/// `object_not_in_prerequisite_state`.
const NOT_IN_STATE: &str = "55000";

/// The SQLSTATE of the server's refusal behind an error, if there is one.
pub fn sqlstate(error: &Error) -> Option<&str> {
    error.facts().iter().find(|(name, _)| *name == SQLSTATE).map(|(_, value)| value.as_str())
}

/// An ErrorResponse.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Refusal {
    pub state: String,
    pub message: String,
    pub detail: String,
    pub hint: String,
    /// The source file that it comes from.
    pub file: String,
    /// The function of the server that refused.
    pub routine: String,
}

impl Refusal {
    /// Reads an ErrorResponse or a NoticeResponse: fields of a type and a text, ended by type 0. Before the encoding is
    /// agreed on, texts may be in any.
    pub fn read(body: &[u8]) -> Result<Self> {
        let mut refusal = Self::default();
        let mut r = Reader::new(body, "an error");
        loop {
            let field = r.u8()?;
            if field == 0 {
                return Ok(refusal);
            }
            let end = r.rest().iter().position(|&b| b == 0).unwrap_or(r.rest().len());
            let text = String::from_utf8_lossy(r.take(end)?).into_owned();
            r.u8()?;
            match field {
                b'C' => refusal.state = text,
                b'M' => refusal.message = text,
                b'D' => refusal.detail = text,
                b'H' => refusal.hint = text,
                b'F' => refusal.file = text,
                b'R' => refusal.routine = text,
                _ => {}
            }
        }
    }

    /// Whether it is the warning of the output plugin, the only one of its code, that a publication is not there at this place in the
    /// log, so that its changes are passed over (since 18). Its text is in the server's language.
    pub fn is_publication_skipped(&self) -> bool {
        self.state == NOT_IN_STATE && self.file == "pgoutput.c"
    }

    fn error(&self, code: Code, message: impl Into<String>) -> Error {
        let mut error = Error::new(code, message).fact("server says", self.message.clone());
        for (name, text) in [("detail", &self.detail), ("hint", &self.hint)] {
            if !text.is_empty() {
                error = error.fact(name, text.clone());
            }
        }
        error.fact(SQLSTATE, self.state.clone())
    }

    /// An error in answer to the login.
    pub fn of_login(&self, endpoint: &Endpoint, session: Session, encrypted: bool) -> Error {
        let address = endpoint.address();
        let user = quote::identifier(&endpoint.user);
        if let Some(line) = hba_line(&self.message, endpoint) {
            let message =
                format!("{address} refused the login of `{}`: its pg_hba.conf has no entry for it", endpoint.user);
            // Its lines may ask for encryption.
            let or = if encrypted {
                ""
            } else {
                "; or encrypt the connection (`tls.mode: required`), if it lets in only those"
            };
            let help = format!(
                "add the line `{line}` to pg_hba.conf, above any that rejects it, and run SELECT pg_reload_conf(){or}"
            );
            return self.error(Code::LoginRefused, message).help(help);
        }
        let (code, message, help) = match self.state.as_str() {
            "3D000" => (
                Code::UnknownDatabase,
                format!("{address} has no database `{}`", endpoint.database),
                "check the first part of the patterns in `tables`",
            ),
            "53300" if self.message.contains("max_wal_senders") => (
                Code::NoSlotsLeft,
                format!("{address} has no place left for a replication connection"),
                "raise max_wal_senders on the server and restart it, or end a replication that is not needed",
            ),
            "53300" => (
                Code::SourceUnreachable,
                format!("{address} has no connection left for `{}`", endpoint.user),
                "raise max_connections (or the user's limit), or close other sessions",
            ),
            "57P03" | "57P01" | "57P02" => (
                Code::SourceUnreachable,
                format!("{address} is starting up, shutting down or recovering"),
                "wait for the server to be up",
            ),
            "42501" if self.routine == "CheckMyDatabase" => {
                let statement =
                    format!("GRANT CONNECT ON DATABASE {} TO {user}", quote::identifier(&endpoint.database));
                let message = format!("`{}` may not connect to the database `{}`", endpoint.user, endpoint.database);
                return self.error(Code::MissingPrivilege, message).help(format!("run {statement}")).remedy(statement);
            }
            "42501" if session == Session::Replication => {
                let message = format!("`{}` may not replicate from {address}", endpoint.user);
                return may_not_replicate(self.error(Code::ReplicationRole, message), &endpoint.user);
            }
            "08P01" | "0A000" | "42601" => (
                Code::Pooler,
                format!("{address} does not take the session's settings; it seems to be a connection pooler"),
                "connect to the server itself: replication and snapshots need sessions of their own",
            ),
            _ => (
                Code::LoginRefused,
                format!("{address} refused the login of `{}`", endpoint.user),
                "check user name and password, and the entries of pg_hba.conf",
            ),
        };
        let password = if endpoint.password.reveal().is_empty() { "empty" } else { "given" };
        self.error(code, message).fact("password", password).help(help)
    }

    /// An error in answer to a statement, or in the middle of an answer.
    pub fn of_statement(&self, peer: &str, sql: &str) -> Error {
        let (code, message, help) = match self.state.as_str() {
            "42501" => (Code::MissingPrivilege, format!("{peer} denies a statement"), "grant the privilege named"),
            "3D000" => (Code::UnknownDatabase, format!("{peer} does not know a database"), "check the name"),
            "42P01" => (
                Code::TableGone,
                format!("a table does not exist on {peer}"),
                "check whether it was dropped or renamed",
            ),
            "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => {
                (Code::ConnectionLost, format!("{peer} ended the session"), "see whether the server is up")
            }
            // A standby has to replay what a statement of ours stands in the way of.
            "40001" | "40P01" if self.is_of_replay() => (
                Code::ConnectionLost,
                format!("{peer} is a standby, and its replay ended a statement"),
                "raise max_standby_streaming_delay at the standby if that happens often",
            ),
            "55006" if sql.contains("_REPLICATION") || sql.contains("pg_replication_slot_advance") => (
                Code::SlotActive,
                format!("the replication slot is in use by another session of {peer}"),
                "end the other session (pg_stat_replication names it), or give this pipeline a slot of its own with \
                 `slot.name`",
            ),
            "53400" if sql.contains("CREATE_REPLICATION_SLOT") => (
                Code::NoSlotsLeft,
                format!("{peer} has no replication slot left"),
                "raise max_replication_slots and restart the server, or drop a slot that is not needed",
            ),
            _ => (Code::SourceQuery, format!("{peer} refused a statement"), "see what the server says"),
        };
        let shown: String = sql.chars().take(SHOWN_STATEMENT).collect();
        self.error(code, message).fact("statement", shown).help(help)
    }

    /// Whether the replay of a standby has ended a statement: `ProcessInterrupts`, `ProcessRecoveryConflictInterrupt`,
    /// `CheckRecoveryConflictDeadlock`.
    fn is_of_replay(&self) -> bool {
        self.routine.contains("Interrupt") || self.routine.contains("RecoveryConflict")
    }
}

/// Adds the statement that lets a role replicate.
pub fn may_not_replicate(error: Error, user: &str) -> Error {
    let user = quote::identifier(user);
    let statement = format!("ALTER ROLE {user} WITH REPLICATION");
    error.help(format!("run {statement} (on RDS: GRANT rds_replication TO {user})")).remedy(statement)
}

/// The line that would let this login in, when the server says that none does. The name of the file and the address stand in
/// messages of every language.
fn hba_line(message: &str, endpoint: &Endpoint) -> Option<String> {
    if !message.contains("pg_hba.conf") {
        return None;
    }
    let quoted = |text: &str| {
        if text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            text.to_owned()
        } else {
            format!("\"{text}\"")
        }
    };
    let (database, user) = (quoted(&endpoint.database), quoted(&endpoint.user));
    let words = message.split(|c: char| !c.is_ascii_hexdigit() && c != '.' && c != ':');
    Some(match words.filter_map(|word| word.parse::<IpAddr>().ok()).next() {
        Some(address) => {
            let all = if address.is_ipv6() { 128 } else { 32 };
            format!("host {database} {user} {address}/{all} scram-sha-256")
        }
        None => format!("local {database} {user} scram-sha-256"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user \"x\"\0Hask\0Fauth.c\0\0";

    #[test]
    fn a_refusal_is_read_and_its_state_found_again() {
        let refusal = Refusal::read(BODY).unwrap();
        assert_eq!((refusal.state.as_str(), refusal.hint.as_str()), ("28P01", "ask"));
        let error = refusal.of_statement("db:5432", "SELECT 1");
        assert_eq!((error.code(), sqlstate(&error)), (Code::SourceQuery, Some("28P01")));
        assert_eq!(
            refusal.of_login(&Endpoint::new("db", 5432, "d", "x"), Session::Ordinary, false).code(),
            Code::LoginRefused
        );
        for cut in 0..BODY.len() - 1 {
            let error = Refusal::read(&BODY[..cut]).unwrap_err();
            assert_eq!(error.code(), Code::Protocol, "{cut}");
        }
    }

    #[test]
    fn the_line_that_is_missing_is_told() {
        let message = "no pg_hba.conf entry for host \"10.0.0.7\", user \"x\", database \"d\", no encryption";
        assert_eq!(
            hba_line(message, &Endpoint::new("db", 5432, "d", "x")).unwrap(),
            "host d x 10.0.0.7/32 scram-sha-256"
        );
        let rejected = "pg_hba.conf rejects connection for host \"::1\", user \"x\", database \"d\", SSL encryption";
        assert_eq!(
            hba_line(rejected, &Endpoint::new("db", 5432, "my db", "x")).unwrap(),
            "host \"my db\" x ::1/128 scram-sha-256"
        );
        assert_eq!(hba_line("role \"x\" is not permitted to log in", &Endpoint::new("db", 5432, "d", "x")), None);
    }

    /// Code, message and routine as servers send them: 15.18 in German, 18.4 in English (its package has no other language).
    const LOGINS: &[(Session, Code, [&str; 3])] = &[
        (
            Session::Replication,
            Code::ReplicationRole,
            ["42501", "nur Superuser und Replikationsrollen können WAL-Sender starten", "InitPostgres"],
        ),
        (
            Session::Replication,
            Code::ReplicationRole,
            ["42501", "permission denied to start WAL sender", "InitPostgres"],
        ),
        (
            Session::Ordinary,
            Code::MissingPrivilege,
            ["42501", "keine Berechtigung für Datenbank »d«", "CheckMyDatabase"],
        ),
        (
            Session::Replication,
            Code::MissingPrivilege,
            ["42501", "permission denied for database \"d\"", "CheckMyDatabase"],
        ),
        (
            Session::Replication,
            Code::NoSlotsLeft,
            [
                "53300",
                "Anzahl angeforderter Standby-Verbindungen überschreitet max_wal_senders (aktuell 2)",
                "InitProcess",
            ],
        ),
        (
            Session::Replication,
            Code::NoSlotsLeft,
            [
                "53300",
                "number of requested standby connections exceeds \"max_wal_senders\" (currently 2)",
                "InitProcess",
            ],
        ),
        (
            Session::Replication,
            Code::LoginRefused,
            ["28000", "Rolle »x« hat keine Berechtigung zum Einloggen", "InitializeSessionUserId"],
        ),
        (Session::Replication, Code::UnknownDatabase, ["3D000", "Datenbank »d« existiert nicht", "InitPostgres"]),
        (
            Session::Replication,
            Code::LoginRefused,
            [
                "28000",
                "kein pg_hba.conf-Eintrag für Host »10.0.0.7«, Benutzer »x«, Datenbank »d«, keine Verschlüsselung",
                "ClientAuthentication",
            ],
        ),
        (
            Session::Replication,
            Code::LoginRefused,
            [
                "28000",
                "pg_hba.conf lehnt Verbindung ab für Host »10.0.0.7«, Benutzer »x«, Datenbank »d«, keine Verschlüsselung",
                "ClientAuthentication",
            ],
        ),
    ];
    const START: &str = "START_REPLICATION SLOT \"s\" LOGICAL 0/0";
    const CREATE: &str = "CREATE_REPLICATION_SLOT \"s\" LOGICAL pgoutput NOEXPORT_SNAPSHOT";
    const STATEMENTS: &[(&str, Code, [&str; 3])] = &[
        (START, Code::SlotActive, ["55006", "Replikations-Slot »s« ist aktiv für PID 3179", "ReplicationSlotAcquire"]),
        (START, Code::SlotActive, ["55006", "replication slot \"s\" is active for PID 4265", "ReplicationSlotAcquire"]),
        (
            "SELECT pg_replication_slot_advance('s', '0/1')",
            Code::SlotActive,
            ["55006", "Replikations-Slot »s« ist aktiv für PID 3179", "ReplicationSlotAcquire"],
        ),
        (CREATE, Code::NoSlotsLeft, ["53400", "alle Replikations-Slots sind in Benutzung", "ReplicationSlotCreate"]),
        (CREATE, Code::NoSlotsLeft, ["53400", "all replication slots are in use", "ReplicationSlotCreate"]),
        (
            "COPY t TO STDOUT",
            Code::ConnectionLost,
            ["40001", "storniere Anfrage wegen Konflikt mit der Wiederherstellung", "ProcessInterrupts"],
        ),
        (
            "COPY t TO STDOUT",
            Code::ConnectionLost,
            ["40001", "canceling statement due to conflict with recovery", "ProcessRecoveryConflictInterrupt"],
        ),
        ("SELECT 1", Code::SourceQuery, ["40001", "could not serialize access due to concurrent update", "ExecUpdate"]),
        ("ALTER PUBLICATION p ADD TABLE t", Code::SourceQuery, ["40P01", "Verklemmung entdeckt", "DeadLockReport"]),
        (
            "COPY t TO STDOUT",
            Code::SourceQuery,
            ["53400", "temporary file size exceeds \"temp_file_limit\" (1kB)", "FileWriteV"],
        ),
    ];

    #[test]
    fn refusals_are_told_apart_in_every_language() {
        let refusal = |[state, message, routine]: [&str; 3]| {
            Refusal::read(format!("SFATAL\0VFATAL\0C{state}\0M{message}\0R{routine}\0\0").as_bytes()).unwrap()
        };
        let endpoint = Endpoint::new("db", 5432, "d", "x");
        for (session, code, fields) in LOGINS {
            let error = refusal(*fields).of_login(&endpoint, *session, false);
            assert_eq!(error.code(), *code, "{fields:?}");
            let line = error.help_text().unwrap().contains("host d x 10.0.0.7/32 scram-sha-256");
            assert_eq!(line, fields[1].contains("pg_hba"), "{error:?}");
        }
        for (sql, code, fields) in STATEMENTS {
            assert_eq!(refusal(*fields).of_statement("db:5432", sql).code(), *code, "{fields:?}");
        }
    }

    #[test]
    fn refusals_read_as_written() {
        let refusal = |state: &str, message: &str| {
            Refusal::read(format!("SFATAL\0C{state}\0M{message}\0\0").as_bytes()).expect("a refusal")
        };
        let written = |error| dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[]);
        // PgBouncer's words.
        let pooler = refusal("08P01", "unsupported startup parameter: replication");
        let endpoint = Endpoint::new("db.example", 6432, "shop", "capture");
        written(pooler.of_login(&endpoint, Session::Replication, true));
        let active = refusal("55006", "replication slot \"dujiang_shop\" is active for PID 4711");
        written(active.of_statement("db.example:5432", "START_REPLICATION SLOT \"dujiang_shop\" LOGICAL 0/15A2B38"));
    }
}
