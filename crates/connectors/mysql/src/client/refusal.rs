//! The server's error packets, turned into errors that say what to do.
//!
//! Numbers: <https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html> and
//! <https://mariadb.com/kb/en/mariadb-error-code-reference/>.

use super::Endpoint;
use super::wire::Reader;
use dujiang_core::{Code, Error, Result};

/// Longest part of a statement shown in an error.
const SHOWN_STATEMENT: usize = 300;

/// An ERR packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub number: u16,
    pub state: String,
    pub message: String,
}

impl Refusal {
    /// Reads an ERR packet, 0xff included. Before the login is under way there is no SQL state in it.
    pub fn read(packet: &[u8]) -> Result<Self> {
        let mut r = Reader::new(packet, "an error packet");
        let _header = r.u8()?;
        let number = r.u16()?;
        let (state, message) = match r.rest().strip_prefix(b"#") {
            Some(rest) if rest.len() >= 5 => rest.split_at(5),
            _ => (&b"HY000"[..], r.rest()),
        };
        let text = |bytes| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
        Ok(Self { number, state: text(state), message: text(message) })
    }

    fn says(&self) -> String {
        format!("{} ({}): {}", self.number, self.state, self.message)
    }

    fn error(&self, code: Code, message: impl Into<String>) -> Error {
        Error::new(code, message).fact("server says", self.says())
    }

    /// An error in answer to the login, or instead of a greeting.
    pub fn of_login(&self, endpoint: &Endpoint, encrypted: bool) -> Error {
        let address = endpoint.address();
        let help = match self.number {
            1040 | 1203 | 1226 => {
                return self
                    .error(Code::SourceUnreachable, format!("{address} has no connection left for `{}`", endpoint.user))
                    .help("raise max_connections (or the user's limit), or close other sessions");
            }
            1053 | 1079 | 3032 => {
                return self
                    .error(Code::SourceUnreachable, format!("{address} is shutting down or not ready yet"))
                    .help("wait for the server to be up");
            }
            // The server has waited in vain for what we sent, or could not send its answer.
            1152 | 1158 | 1159 | 1160 | 1161 => {
                return self
                    .error(Code::ConnectionLost, format!("the connection to {address} was lost during the login"))
                    .help("see what is between here and the server");
            }
            3159 => {
                return self
                    .error(Code::TlsFailed, format!("{address} accepts encrypted connections only"))
                    .help("switch encryption on: `required`, or better `verify-identity`");
            }
            1698 => {
                "the server does not check a password for this user (unix_socket or similar): use a user that has one"
            }
            1130 => "create the user for the host shown, or for '%'",
            1129 => "run FLUSH HOSTS on the server, and mend what made so many connections fail",
            1251 => "give the user the plugin mysql_native_password or caching_sha2_password",
            1820 | 1862 => "set a new password for the user",
            3118 | 4151 => "unlock the account: ALTER USER ... ACCOUNT UNLOCK",
            // MariaDB answers so, too, where REQUIRE SSL or require_secure_transport asks for encryption.
            1045 if !encrypted => {
                "check user name and password, that the user exists for the host shown, and whether it needs encryption"
            }
            _ => "check user name and password, and that the user exists for the host shown",
        };
        let who = quoted_account(&self.message).unwrap_or_else(|| format!("'{}'", endpoint.user));
        let password = if endpoint.password.reveal().is_empty() { "empty" } else { "given" };
        Error::new(Code::LoginRefused, format!("{address} refused the login of {who}"))
            .fact("password", password)
            .fact("server says", self.says())
            .help(help)
    }

    /// An error in answer to a statement.
    pub fn of_statement(&self, peer: &str, sql: &str) -> Error {
        // The numbers of a tenant in Oracle mode are those of Oracle.
        if self.message.starts_with("ORA-") {
            return oracle_mode(peer).fact("server says", self.says());
        }
        if let Some(rule) = of_snapshot(self.number).filter(|_| sql.contains(AS_OF)) {
            return self.error(rule.0, format!("{peer} {}", rule.1)).help(rule.2);
        }
        let (code, message, help) = match self.number {
            1044 | 1045 | 1142 | 1143 | 1227 | 1370 => {
                (Code::MissingPrivilege, format!("{peer} denies a statement"), "grant the privilege named")
            }
            1049 => (Code::UnknownDatabase, format!("{peer} does not know a database"), "check the name"),
            1146 => (
                Code::TableGone,
                format!("a table does not exist on {peer}"),
                "check whether it was dropped or renamed",
            ),
            1053 | 1077 | 1079 | 1152 | 1158 | 1159 | 1160 | 1161 | 1184 | 1927 | 3169 | 4031 => {
                (Code::ConnectionLost, format!("{peer} ended the session"), "see whether the server is up")
            }
            _ => (Code::SourceQuery, format!("{peer} refused a statement"), "see what the server says"),
        };
        let shown: String = sql.chars().take(SHOWN_STATEMENT).collect();
        self.error(code, message).fact("statement", shown).help(help)
    }

    /// An error in answer to a binlog dump, or in the middle of one.
    pub fn of_binlog(&self, peer: &str) -> Error {
        let text = self.message.to_ascii_lowercase();
        if matches!(self.number, 1044 | 1045 | 1227) {
            return self
                .error(Code::MissingPrivilege, format!("{peer} denies reading its binlog"))
                .help("GRANT REPLICATION SLAVE ON *.* TO the user");
        }
        if matches!(self.number, 1053 | 1077 | 1079 | 1158 | 1159 | 1160 | 1161 | 1927 | 3169 | 4031) {
            return self
                .error(Code::ConnectionLost, format!("{peer} ended the session"))
                .help("see whether the server is up");
        }
        if let Some(rule) = BINLOG_RULES.iter().find(|rule| rule.texts.iter().any(|part| text.contains(part))) {
            return self.error(rule.code, rule.sentence.replace("{peer}", peer)).help(rule.help);
        }
        self.error(Code::SourceQuery, format!("{peer} refused to send its binlog")).help("see what the server says")
    }
}

/// A tenant whose changes are in no binlog.
#[cold]
pub(crate) fn oracle_mode(peer: &str) -> Error {
    Error::new(Code::OracleMode, format!("{peer} is a tenant in Oracle mode"))
        .help("name a tenant in MySQL mode: OceanBase writes no binlog for others")
}

/// Words of a statement that reads a snapshot of OceanBase.
pub(crate) const AS_OF: &str = " AS OF SNAPSHOT ";

/// Errors of OceanBase when a snapshot is read. A new snapshot mends them; the chunk is then brought to another place in the log.
fn of_snapshot(number: u16) -> Option<(Code, &'static str, &'static str)> {
    Some(match number {
        // OB_ERR_... as of 4.3: the table was altered, or made, after the snapshot.
        1412 => (
            Code::SnapshotGone,
            "cannot read a table as it was before it was altered",
            "nothing, if it happens once: the chunk is read again as of a new snapshot; else alter tables when no snapshot is under way",
        ),
        4138 => (
            Code::SnapshotGone,
            "has discarded the snapshot",
            "nothing, if it happens once: the chunk is read again as of a new snapshot; else ALTER SYSTEM SET undo_retention = 1800 or more (seconds)",
        ),
        4344 => (
            Code::SnapshotGone,
            "has not come to the snapshot that another of its servers has named",
            "nothing, if it happens once: the chunk is read again as of a new snapshot; else see whether all servers of the tenant are up",
        ),
        4012 => (
            Code::QueryTimeout,
            "has ended a read of the snapshot, which took too long",
            "a smaller `scan.incremental.snapshot.chunk.size`; or see whether a proxy or a user's setting lowers ob_query_timeout, which the pipeline sets to a day",
        ),
        _ => return None,
    })
}

/// What the text of an error in a binlog dump means.
struct Rule {
    /// Parts of the text, any of which will do; lower case.
    texts: &'static [&'static str],
    code: Code,
    sentence: &'static str,
    help: &'static str,
}

/// Texts of errors 1236 and 1373, whose number says nothing, in the sources of MySQL 5.7–9 (`rpl_binlog_sender.cc`,
/// `messages_to_clients.txt`) and MariaDB 10–11 (`sql_repl.cc`, `log_event.cc`). The first rule that fits holds.
const BINLOG_RULES: &[Rule] = &[
    Rule {
        texts: &["same server_uuid/server_id", "same server_id"],
        code: Code::ServerIdTaken,
        sentence: "another client reads the binlog of {peer} under our server id",
        help: "give every client, and every pipeline, a server id of its own",
    },
    Rule {
        texts: &[
            "did not pass crc",
            "checksum verification fail",
            "binlog truncated in the middle of event",
            "bogus data in log event",
            "corrupt",
            "read error",
            "i/o error reading log event",
            "exceeded max_allowed_packet",
            "memory allocation failed reading log event",
            "decryption",
        ],
        code: Code::LogDamaged,
        sentence: "{peer} cannot read its own binlog",
        help: "see the server's error log; if the file is damaged, the pipeline needs a new snapshot",
    },
    Rule {
        texts: &[
            "which is not in the master's binlog",
            "slave has more gtids than the master",
            "replica has more gtids than the source",
            "slave has probably diverged",
            "requested slave gtid state not found in binlog",
        ],
        code: Code::OtherServer,
        sentence: "{peer} does not know the transactions the pipeline has read",
        help: "connect to the server the pipeline followed, or to one of its replicas that has caught up",
    },
    Rule {
        texts: &["is missing the gtid"],
        code: Code::OtherServer,
        sentence: "the log of {peer} has transactions before and after one that the pipeline has read, and not that one",
        help: "the server has lost a part of its log (a crash without sync_binlog=1), or was put back to an older state: take a new \
               snapshot",
    },
    Rule {
        texts: &[
            "purged",
            "could not find gtid state",
            "could not find first log file name",
            "could not find target log",
            "could not open log file",
            "could not find next log",
            "impossible position",
            "not found in binary log index",
            // OceanBase Binlog Service.
            "requested gtid transaction no longer exists",
            "offset of the current subscription is illegal",
        ],
        code: Code::PositionLost,
        sentence: "{peer} no longer has the binlog at the pipeline's position",
        help: "take a new snapshot, and let the server keep its binlog longer than the pipeline may be away",
    },
    Rule {
        texts: &["binary log is not open", "not configured as master", "binlogging on server not active"],
        code: Code::BinlogOff,
        sentence: "{peer} writes no binlog",
        help: "set log_bin and server_id in the server's configuration and restart it",
    },
];

/// `'user'@'host'` out of a message.
fn quoted_account(message: &str) -> Option<String> {
    let at = message.find("'@'")?;
    let start = message[..at].rfind('\'')?;
    let end = message[at + 3..].find('\'')? + at + 3;
    Some(message[start..=end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dujiang_core::Secret;

    fn refusal(number: u16, message: &str) -> Refusal {
        Refusal { number, state: "HY000".into(), message: message.into() }
    }

    #[test]
    fn error_packets_are_read_with_and_without_a_state() {
        let read = Refusal::read(b"\xff\x15\x04#28000Access denied").unwrap();
        assert_eq!(read, Refusal { number: 1045, state: "28000".into(), message: "Access denied".into() });
        assert_eq!(Refusal::read(b"\xff\x10\x04Too many connections").unwrap().number, 1040);
        assert_eq!(Refusal::read(b"\xff\x10").unwrap_err().code(), Code::Protocol);
    }

    #[test]
    fn a_refused_login_names_the_account_as_the_server_sees_it_and_never_the_password() {
        let endpoint = Endpoint::new("db1", 3306, "app", Secret::new("hunter2"));
        let error =
            refusal(1045, "Access denied for user 'app'@'10.0.0.7' (using password: YES)").of_login(&endpoint, true);
        assert_eq!(error.code(), Code::LoginRefused);
        assert_eq!(error.message(), "db1:3306 refused the login of 'app'@'10.0.0.7'");
        assert_eq!(error.facts()[0], ("password", "given".to_owned()));
        assert!(!format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn a_login_that_the_network_has_broken_off_is_not_a_refused_one() {
        let endpoint = Endpoint::new("db1", 3306, "app", Secret::new("hunter2"));
        for number in [1152, 1158, 1159, 1160, 1161] {
            let error = refusal(number, "Got timeout reading communication packets").of_login(&endpoint, true);
            assert_eq!(error.code(), Code::ConnectionLost, "{number}");
        }
    }

    #[test]
    fn binlog_errors_have_codes_of_their_own() {
        let cases = [
            ("Could not find first log file name in binary log index file", Code::PositionLost),
            (
                "Error: connecting slave requested to start from GTID 0-1-99, which is not in the master's binlog",
                Code::OtherServer,
            ),
            (
                "Could not find GTID state requested by slave in any binlog files. Probably the slave state is too old and required binlog files have been purged.",
                Code::PositionLost,
            ),
            (
                "Client requested master to start replication from impossible position; the first event 'bin.000001' at 9999",
                Code::PositionLost,
            ),
            (
                "The binlog on the master is missing the GTID 0-1-15903 requested by the slave (even though both a prior and a subsequent sequence number does exist), and GTID strict mode is enabled",
                Code::OtherServer,
            ),
            ("Cannot replicate because the source purged required binary logs.", Code::PositionLost),
            ("Slave has more GTIDs than the master has, using the master's SERVER_UUID.", Code::OtherServer),
            (
                "A slave with the same server_uuid/server_id as this slave has connected to the master",
                Code::ServerIdTaken,
            ),
            ("event read from binlog did not pass crc check; the first event", Code::LogDamaged),
            ("binlog truncated in the middle of event; consider out of disk space on master", Code::LogDamaged),
            ("bogus data in log event; the first event", Code::LogDamaged),
            ("Binary log is not open", Code::BinlogOff),
            ("Something new", Code::SourceQuery),
        ];
        for (message, code) in cases {
            assert_eq!(refusal(1236, message).of_binlog("db").code(), code, "{message}");
        }
        assert_eq!(refusal(1227, "Access denied; you need ...").of_binlog("db").code(), Code::MissingPrivilege);
    }
}
