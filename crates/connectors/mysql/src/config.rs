//! The options of `source.type: mysql` and `mariadb`: Flink CDC's names and defaults, and a few of our own.

use crate::catalog::TableFilter;
use crate::client::{Endpoint, TlsMode};
use crate::decode::ZeroDates;
use crate::oceanbase;
use dujiang_core::connector::PipelineOptions;
use dujiang_core::options::{ByteSize, OptionDef, OptionType, OptionValue, Place, Presence, Problem, RawOption};
use dujiang_core::{Code, Secret, TableId};
use dujiang_database::block;
use dujiang_database::foreign::{self, Properties};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::num::{NonZeroU16, NonZeroU32};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

dujiang_core::choice! {
    /// Where a new pipeline begins.
    pub enum StartupMode {
        /// Everything that is there, then every change.
        Initial = "initial",
        /// Everything that is there, then the end.
        Snapshot = "snapshot",
        /// Every change the server still has.
        EarliestOffset = "earliest-offset",
        /// Every change from now on.
        LatestOffset = "latest-offset",
        /// Every change after a given place.
        SpecificOffset = "specific-offset",
        /// Every change committed at or after a given time.
        Timestamp = "timestamp",
    }
}

/// A server id, or a range of them, under which the reader registers as a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerIds(pub RangeInclusive<u32>);

impl OptionValue for ServerIds {
    const KIND: OptionType = OptionType::Text;
    fn from_text(text: &str) -> Result<Self, String> {
        let wrong = || "must be a number from 1 to 4294967295, or a range such as `5400-5408`".to_owned();
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |t: &str| t.trim().parse::<u32>().ok().filter(|n| *n > 0);
        let (first, last) = (number(first).ok_or_else(wrong)?, number(last).ok_or_else(wrong)?);
        if first > last { Err(wrong()) } else { Ok(Self(first..=last)) }
    }
}

dujiang_core::options! {
    /// Options of the `mysql` and `mariadb` sources.
    pub struct MysqlOptions {
        /// Host name or address of the server.
        "hostname" => hostname: String, required;
        /// TCP port of the server.
        "port" => port: NonZeroU16, default "3306";
        /// User to log in as.
        "username" => username: String, required;
        /// Password of the user.
        "password" => password: Secret, required;
        /// Tables to capture: patterns `database.table`, separated by commas; each part is a regular expression, a dot
        /// in it is written `\.`.
        "tables" => tables: String, required;
        /// Tables to leave out, written like `tables`.
        "tables.exclude" => tables_exclude: String, optional;
        /// Server id under which to register as a replica, or a range of which one is used. Must be unique among the
        /// server's replicas. Default: a number derived from the pipeline's name and the server's address.
        "server-id" => server_id: ServerIds, optional;
        /// Time zone of the server. Accepted and not needed: instants travel as UTC.
        "server-time-zone" => server_time_zone: String, optional;
        /// Where a new pipeline begins.
        "scan.startup.mode" => startup_mode: StartupMode, default "initial";
        /// Binlog file to begin in, with `specific-offset`.
        "scan.startup.specific-offset.file" => offset_file: String, optional;
        /// Byte in the binlog file to begin at, with `specific-offset`.
        "scan.startup.specific-offset.pos" => offset_pos: u64, optional;
        /// GTIDs already seen, with `specific-offset`: a MySQL set or a MariaDB position.
        "scan.startup.specific-offset.gtid-set" => offset_gtid_set: String, optional;
        /// Events to skip after the place.
        "scan.startup.specific-offset.skip-events" => offset_skip_events: u64, default "0";
        /// Rows to skip in the first event after the place.
        "scan.startup.specific-offset.skip-rows" => offset_skip_rows: u64, default "0";
        /// First commit time to read, milliseconds since 1970-01-01 UTC, with `timestamp`.
        "scan.startup.timestamp-millis" => timestamp_millis: i64, optional;
        /// Rows of one chunk of the snapshot.
        "scan.incremental.snapshot.chunk.size" => chunk_size: NonZeroU32, default "8096";
        /// Accepted and not needed: rows are read from the socket as they come.
        "scan.snapshot.fetch.size" => fetch_size: NonZeroU32, default "1024";
        /// Columns to cut tables by. Accepted and not needed: tables are cut by their whole key.
        "scan.incremental.snapshot.chunk.key-column" => chunk_key_column: String, optional;
        /// Connections that read the snapshot.
        "scan.incremental.snapshot.parallelism" => snapshot_parallelism: NonZeroU16, default "2";
        /// Longest time for one attempt to connect.
        "connect.timeout" => connect_timeout: Duration, default "30s";
        /// Attempts for the first connection; a lost one is re-established for ever.
        "connect.max-retries" => connect_max_retries: u32, default "3";
        /// Most connections at a time; bounds the snapshot's parallelism.
        "connection.pool.size" => connection_pool_size: NonZeroU32, default "20";
        /// How often the server tells that it is alive when nothing changes.
        "heartbeat.interval" => heartbeat_interval: Duration, default "30s";
        /// Encryption of the connections.
        "tls.mode" => tls_mode: TlsMode, default "preferred";
        /// PEM file of the authorities that may sign the server's certificate; default: the system's.
        "tls.ca" => tls_ca: String, optional;
        /// PEM file of the certificate to show to the server.
        "tls.cert" => tls_cert: String, optional;
        /// PEM file of the key of `tls.cert`.
        "tls.key" => tls_key: String, optional;
        /// Whether changes of captured tables are carried through; if not, they halt the pipeline, and no table joins it.
        "schema-change.enabled" => schema_change: bool, default "true";
        /// TINYINT(1) as BOOLEAN. Refused when true: 2 would become true.
        "treat-tinyint1-as-boolean.enabled" => tinyint1_as_boolean: bool, default "false";
        /// What becomes of dates that are none (`0000-00-00`, `2020-00-15`): `error` makes their records bad ones (`error.policy`), `null`
        /// makes them NULL (not in keys), `text` carries all dates and times with a date as text, as the server prints it.
        "zero-dates" => zero_dates: ZeroDates, default "error";
        /// Most bytes that distributed (XA) transactions without an outcome may take on disk, together.
        "spool.max-bytes" => spool_max_bytes: ByteSize, default "10gb";
        /// Accept tables whose rows are changed by cascading foreign keys, although the log does not show it.
        "foreign-keys.cascade.accept" => accept_cascades: bool, default "false";
        /// Accepted and not needed: the hand-off is always exact.
        "scan.incremental.snapshot.backfill.skip" => backfill_skip: bool, default "false";
        /// Accepted and not needed: there are no idle readers.
        "scan.incremental.close-idle-reader.enabled" => close_idle_reader: bool, default "false";
        /// Accepted and not needed: a table is read in one pass in key order.
        "scan.incremental.snapshot.unbounded-chunk-first.enabled" => unbounded_chunk_first: bool, default "false";
        /// Whether tables that `tables` has come to name are captured from the next start on, with the rows that they hold.
        "scan.newly-added-table.enabled" => newly_added_table: bool, default "true";
        /// Whether tables that `tables` names are captured that appear while the pipeline runs: created, or renamed.
        "scan.binlog.newly-added-table.enabled" => binlog_newly_added_table: bool, default "true";
        /// Whether what gh-ost and pt-online-schema-change do is taken for what it means: their copies are not captured, and
        /// a copy that takes its table's place changes the table's columns and none of its rows.
        "scan.parse.online.schema.changes.enabled" => online_schema_changes: bool, default "false";
        /// Accept that rows are removed from captured tables, or added to them, without being logged: by dropping, truncating
        /// or exchanging partitions. Such rows stay in the sink, or are missing there.
        "partitions.unlogged.accept" => accept_unlogged: bool, default "false";
        /// Facts about a change that transforms may read as columns, separated by commas: `op_ts` (when it was committed, in
        /// milliseconds since 1970-01-01 UTC; 0 for rows of the snapshot), `table_name`, `database_name`, `row_kind` (`+I`,
        /// `-U`, `+U`, `-D`).
        "metadata.list" => metadata_list: String, optional;
        /// Column comments in the schema. Accepted, without effect.
        "include-comments.enabled" => include_comments: bool, default "false";
        /// Accepted and not needed: JSON is the server's own text.
        "use.legacy.json.format" => legacy_json: bool, default "true";
        /// Accepted and not needed.
        "chunk-meta.group.size" => chunk_meta_group_size: NonZeroU32, default "1000";
        /// Accepted and not needed.
        "chunk-key.even-distribution.factor.upper-bound" => even_upper: f64, default "1000.0";
        /// Accepted and not needed.
        "chunk-key.even-distribution.factor.lower-bound" => even_lower: f64, default "0.05";
        /// Properties of a JDBC driver; those with a meaning here are mapped, others are warned about.
        "jdbc.properties." => jdbc: String, prefix;
        /// Properties of Debezium; those with a meaning here are mapped, others are warned about.
        "debezium." => debezium: String, prefix;
    }
}

/// The port of OceanBase's proxy.
const OCEANBASE_PORT: &str = "2883";
const PORT: usize = 1;

dujiang_core::options! {
    /// Options that only the `oceanbase` source has.
    pub struct OceanBaseOptions {
        /// Table `database.table` into which the pipeline writes a row now and then, to know when Binlog Service has come to
        /// what the database shows. Needed by `initial` and `snapshot`; `dujiang doctor` prints the statement that makes it.
        "scan.marker.table" => marker_table: String, optional;
    }
}

const OCEANBASE_OPTIONS: usize = MysqlOptions::DEFS.len() + OceanBaseOptions::DEFS.len();

/// The options of the `oceanbase` source: the same with the proxy's port, and its own.
pub const OCEANBASE_DEFS: [OptionDef; OCEANBASE_OPTIONS] = {
    let mut defs = [OceanBaseOptions::DEFS[0]; OCEANBASE_OPTIONS];
    let mut at = 0;
    while at < MysqlOptions::DEFS.len() {
        defs[at] = MysqlOptions::DEFS[at];
        at += 1;
    }
    defs[PORT].presence = Presence::Default(OCEANBASE_PORT);
    defs
};

/// The options after all checks, in the form the source works with.
#[derive(Debug, Clone)]
pub struct Config {
    /// As written.
    pub options: MysqlOptions,
    /// Where to connect.
    pub endpoint: Endpoint,
    /// Which tables are captured.
    pub filter: TableFilter,
    /// Server id to register under.
    pub server_id: u32,
    /// What is accepted without effect and was set by the user.
    pub warnings: Vec<Problem>,
    /// The pipeline's name.
    pub pipeline: String,
    /// Where markers are written (OceanBase).
    pub marker_table: Option<TableId>,
}

impl Config {
    /// Reads and checks the block.
    ///
    /// # Errors
    /// All problems at once.
    pub fn parse(raw: &[RawOption], pipeline: &PipelineOptions) -> Result<Self, Vec<Problem>> {
        let options = MysqlOptions::parse(raw)?;
        let mut problems = unsupported(&options);
        problems.extend(contradictions(&options));
        let mut endpoint = endpoint(&options);
        let mut warnings = foreign::without_effect(raw, WITHOUT_EFFECT);
        let properties = Properties { jdbc: &options.jdbc, debezium: &options.debezium };
        let mapped = foreign::map(raw, properties, &mut endpoint, (jdbc_property, debezium_property));
        warnings.extend(mapped.0);
        problems.extend(mapped.1);
        let filter = TableFilter::parse(&options.tables, options.tables_exclude.as_deref()).map_err(|(key, why)| {
            problems.push(Problem::new(Code::BadValue, format!("`{key}` {why}"), options.place(key)));
        });
        let (Ok(filter), true) = (filter, problems.is_empty()) else { return Err(problems) };
        let server_id = server_id(&options, pipeline);
        let pipeline = pipeline.name.clone();
        Ok(Self { options, endpoint, filter, server_id, warnings, pipeline, marker_table: None })
    }

    /// As [`Config::parse`], for OceanBase.
    ///
    /// # Errors
    /// All problems at once.
    pub fn parse_oceanbase(raw: &[RawOption], pipeline: &PipelineOptions) -> Result<Self, Vec<Problem>> {
        let is_own = |option: &RawOption| OceanBaseOptions::DEFS.iter().any(|def| def.name == option.key);
        let (own, mut raw): (Vec<_>, Vec<_>) = raw.iter().cloned().partition(is_own);
        let own = OceanBaseOptions::parse(&own)?;
        let marker_table = own.marker_table.as_deref().map(|name| marker_table(name, &own)).transpose()?;
        if let Some(table) = &marker_table {
            exclude(table, &mut raw);
        }
        if !raw.iter().any(|option| option.key == "port") {
            raw.push(RawOption::new("port", OCEANBASE_PORT, Place::Block(None)));
        }
        let mut config = Self::parse(&raw, pipeline)?;
        config.endpoint.oceanbase = true;
        let place = config.options.place("scan.startup.mode");
        let given = raw.iter().find(|option| option.key == "scan.startup.mode");
        let mode = given.map_or("initial", |option| option.value.as_str());
        config.marker_table = marker_table;
        match config.options.startup_mode {
            StartupMode::LatestOffset => {}
            StartupMode::Initial | StartupMode::Snapshot if config.marker_table.is_some() => {}
            StartupMode::Initial | StartupMode::Snapshot => return Err(vec![oceanbase::no_marker(mode, place)]),
            _ => return Err(vec![oceanbase::unsupported_start(mode, place)]),
        }
        Ok(config)
    }

    /// Connections that read the snapshot at a time.
    pub fn snapshot_connections(&self) -> usize {
        let wanted = u32::from(self.options.snapshot_parallelism.get());
        wanted.min(self.options.connection_pool_size.get()) as usize
    }
}

/// Rows of the pipeline's own are not captured.
fn exclude(table: &TableId, raw: &mut Vec<RawOption>) {
    const KEY: &str = "tables.exclude";
    let plain = |part: &str| part.chars().flat_map(escaped).collect::<String>();
    let pattern = format!("{}.{}", plain(&table.database), plain(&table.table));
    match raw.iter_mut().find(|option| option.key == KEY) {
        Some(option) => option.value = format!("{},{pattern}", option.value),
        None => raw.push(RawOption::new(KEY, pattern, Place::Block(None))),
    }
}

/// A character of a name, in a pattern.
fn escaped(c: char) -> impl Iterator<Item = char> {
    let plain = c.is_alphanumeric() || c == '_';
    (!plain).then_some('\\').into_iter().chain([c])
}

/// `database.table`.
fn marker_table(name: &str, options: &OceanBaseOptions) -> Result<TableId, Vec<Problem>> {
    let parts = name.split_once('.').filter(|(database, table)| !database.is_empty() && !table.is_empty());
    let bad = || {
        let message = format!("`scan.marker.table` is `{name}`, not `database.table`");
        vec![Problem::new(Code::BadValue, message, options.place("scan.marker.table"))]
    };
    parts.map(|(database, table)| TableId::new(database, table)).ok_or_else(bad)
}

fn endpoint(options: &MysqlOptions) -> Endpoint {
    let mut endpoint =
        Endpoint::new(options.hostname.clone(), options.port.get(), options.username.clone(), options.password.clone());
    endpoint.tls.mode = options.tls_mode;
    endpoint.tls.ca_file = options.tls_ca.as_ref().map(PathBuf::from);
    endpoint.tls.cert_file = options.tls_cert.as_ref().map(PathBuf::from);
    endpoint.tls.key_file = options.tls_key.as_ref().map(PathBuf::from);
    endpoint.connect_timeout = options.connect_timeout;
    endpoint
}

/// The id given, the pipeline's place in a range given, or a number derived from names that stay the same: a restart
/// must come back under the same id, so that the server lets go of the connection before.
fn server_id(options: &MysqlOptions, pipeline: &PipelineOptions) -> u32 {
    let mut hasher = DefaultHasher::new();
    (&pipeline.name, &options.hostname, options.port, &options.tables).hash(&mut hasher);
    let within = |range: &RangeInclusive<u32>| {
        let width = u64::from(range.end() - range.start()) + 1;
        range.start() + (hasher.finish() % width) as u32
    };
    within(options.server_id.as_ref().map_or(&(5400..=0x7fff_ffff), |ids| &ids.0))
}

fn unsupported(options: &MysqlOptions) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |asked: bool, key: &str, help: &str| {
        if asked {
            let message = format!("`{key}` is not supported yet");
            problems.push(Problem::new(Code::NotSupported, message, options.place(key)).help(help));
        }
    };
    let tinyint = "leave it `false`: TINYINT(1) stays a number, so that 2 is not turned into true";
    refuse(options.tinyint1_as_boolean, "treat-tinyint1-as-boolean.enabled", tinyint);
    problems.extend(metadata(options));
    problems
}

const METADATA: [&str; 4] = ["op_ts", "table_name", "database_name", "row_kind"];

fn metadata(options: &MysqlOptions) -> Vec<Problem> {
    let listed = options.metadata_list.iter().flat_map(|list| list.split(',')).map(str::trim);
    let unknown = |name: &str| {
        let place = options.place("metadata.list");
        Problem::new(Code::BadValue, format!("`metadata.list` has no `{name}`"), place)
            .help(format!("it may hold {}", METADATA.join(", ")))
    };
    listed.filter(|name| !name.is_empty() && !METADATA.contains(name)).map(unknown).collect()
}

fn contradictions(options: &MysqlOptions) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mode = options.startup_mode;
    let place = |key: &str| options.place(key);
    if mode == StartupMode::Timestamp && options.timestamp_millis.is_none() {
        let message = "`scan.startup.mode: timestamp` needs `scan.startup.timestamp-millis`";
        problems.push(Problem::new(Code::MissingKey, message, place("scan.startup.mode")));
    }
    let has_file = options.offset_file.is_some() && options.offset_pos.is_some();
    if mode == StartupMode::SpecificOffset && !has_file && options.offset_gtid_set.is_none() {
        let message = "`scan.startup.mode: specific-offset` needs `scan.startup.specific-offset.file` and `.pos`, or \
                       `.gtid-set`";
        problems.push(Problem::new(Code::MissingKey, message, place("scan.startup.mode")));
    }
    for (key, skip) in [("skip-events", options.offset_skip_events), ("skip-rows", options.offset_skip_rows)] {
        if skip > 0 {
            let key = format!("scan.startup.specific-offset.{key}");
            let help = "give the place of a transaction's begin; a place inside a transaction is not accepted";
            let message = format!("`{key}` is not supported yet");
            problems.push(Problem::new(Code::NotSupported, message, place(&key)).help(help));
        }
    }
    problems.extend(block::heartbeat(options.heartbeat_interval, place));
    problems.extend(block::key_pair(options.tls_cert.as_deref(), options.tls_key.as_deref(), place));
    problems
}

/// Options of the dialect that change nothing here.
const WITHOUT_EFFECT: &[&str] = &[
    "server-time-zone",
    "scan.snapshot.fetch.size",
    "scan.incremental.snapshot.chunk.key-column",
    "scan.incremental.snapshot.backfill.skip",
    "scan.incremental.close-idle-reader.enabled",
    "scan.incremental.snapshot.unbounded-chunk-first.enabled",
    "include-comments.enabled",
    "use.legacy.json.format",
    "chunk-meta.group.size",
    "chunk-key.even-distribution.factor.upper-bound",
    "chunk-key.even-distribution.factor.lower-bound",
];

/// Whether a property of MySQL's JDBC driver has been mapped, or says what holds anyway.
fn jdbc_property(key: &str, value: &str, endpoint: &mut Endpoint) -> bool {
    match (key, value.to_ascii_lowercase().replace('_', "-").as_str()) {
        ("useSSL" | "useSsl", "false") | ("sslMode", "disabled") => endpoint.tls.mode = TlsMode::Disabled,
        ("useSSL" | "useSsl", "true") | ("sslMode", "preferred") => endpoint.tls.mode = TlsMode::Preferred,
        ("requireSSL", "true") | ("sslMode", "required") => endpoint.tls.mode = TlsMode::Required,
        ("verifyServerCertificate", "true") | ("sslMode", "verify-ca") => endpoint.tls.mode = TlsMode::VerifyCa,
        ("sslMode", "verify-identity") => endpoint.tls.mode = TlsMode::VerifyIdentity,
        ("connectTimeout", millis) => return set_timeout(millis, endpoint),
        ("useUnicode" | "tcpKeepAlive" | "allowPublicKeyRetrieval", "true") => {}
        ("characterEncoding", "utf8" | "utf-8" | "utf8mb4") => {}
        _ => return false,
    }
    true
}

/// Whether a property of Debezium has been mapped, or says what holds anyway.
fn debezium_property(key: &str, value: &str, endpoint: &mut Endpoint) -> bool {
    match (key, value.to_ascii_lowercase().replace('-', "_").as_str()) {
        ("database.ssl.mode", "disabled") => endpoint.tls.mode = TlsMode::Disabled,
        ("database.ssl.mode", "preferred") => endpoint.tls.mode = TlsMode::Preferred,
        ("database.ssl.mode", "required") => endpoint.tls.mode = TlsMode::Required,
        ("database.ssl.mode", "verify_ca") => endpoint.tls.mode = TlsMode::VerifyCa,
        ("database.ssl.mode", "verify_identity") => endpoint.tls.mode = TlsMode::VerifyIdentity,
        ("connect.timeout.ms", millis) => return set_timeout(millis, endpoint),
        ("connect.keep.alive", "true") => {}
        ("event.deserialization.failure.handling.mode" | "event.processing.failure.handling.mode", "fail") => {}
        ("inconsistent.schema.handling.mode", "fail") => {}
        ("decimal.handling.mode" | "bigint.unsigned.handling.mode", "precise") => {}
        ("binary.handling.mode", "bytes") => {}
        ("skipped.operations", "none") => {}
        _ => return false,
    }
    true
}

fn set_timeout(millis: &str, endpoint: &mut Endpoint) -> bool {
    let parsed = millis.parse().ok().filter(|millis| *millis > 0);
    if let Some(millis) = parsed {
        endpoint.connect_timeout = Duration::from_millis(millis);
    }
    parsed.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dujiang_core::options::Place;

    fn parse(pairs: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
        let must = [("hostname", "db"), ("username", "u"), ("password", "012"), ("tables", "shop.\\.*")];
        let raw: Vec<_> = must.iter().chain(pairs).map(|(k, v)| RawOption::new(*k, *v, Place::CommandLine)).collect();
        let pipeline = PipelineOptions { name: "p".into(), parallelism: 1, memory_limit: 1 << 27 };
        Config::parse(&raw, &pipeline)
    }

    #[test]
    fn defaults_are_those_of_the_dialect() {
        let config = parse(&[]).unwrap();
        assert_eq!((config.endpoint.port, config.options.chunk_size.get()), (3306, 8096));
        assert_eq!(config.options.heartbeat_interval, Duration::from_secs(30));
        assert!(config.server_id >= 5400 && config.server_id == parse(&[]).unwrap().server_id);
        assert!(config.warnings.is_empty());
    }

    #[test]
    fn server_ids_may_be_ranges() {
        assert_eq!(parse(&[("server-id", "7")]).unwrap().server_id, 7);
        assert!((5400..=5408).contains(&parse(&[("server-id", "5400-5408")]).unwrap().server_id));
        assert_eq!(parse(&[("server-id", "9-8")]).unwrap_err()[0].code, Code::BadValue);
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let problems = parse(&[
            ("treat-tinyint1-as-boolean.enabled", "true"),
            ("scan.startup.mode", "timestamp"),
            ("scan.startup.specific-offset.skip-rows", "3"),
        ]);
        let codes: Vec<_> = problems.unwrap_err().iter().map(|p| p.code).collect();
        assert_eq!(codes, [Code::NotSupported, Code::MissingKey, Code::NotSupported]);
    }

    #[test]
    fn metadata_is_listed_by_names_that_are_known() {
        assert!(parse(&[("metadata.list", "op_ts, table_name,database_name , row_kind")]).is_ok());
        let problems = parse(&[("metadata.list", "op_ts,opts,schema_name")]).unwrap_err();
        let messages: Vec<_> = problems.iter().map(|p| p.message.as_str()).collect();
        assert_eq!(messages, ["`metadata.list` has no `opts`", "`metadata.list` has no `schema_name`"]);
    }

    #[test]
    fn foreign_properties_are_mapped_or_warned_about() {
        let config = parse(&[("jdbc.properties.useSSL", "false"), ("debezium.snapshot.mode", "x")]).unwrap();
        assert_eq!(config.endpoint.tls.mode, TlsMode::Disabled);
        assert_eq!(config.warnings.len(), 1);
        assert!(config.warnings[0].message.contains("`debezium.snapshot.mode` has no meaning"));
        assert!(config.warnings[0].help.as_ref().is_some_and(|help| help.contains("scan.startup.mode")));
        let config = parse(&[
            ("debezium.database.ssl.mode", "verify_ca"),
            ("debezium.connect.timeout.ms", "700"),
            ("jdbc.properties.useUnicode", "true"),
            ("debezium.skipped.operations", "none"),
        ]);
        let config = config.unwrap();
        assert_eq!((config.endpoint.tls.mode, config.warnings.len()), (TlsMode::VerifyCa, 0));
        assert_eq!(config.endpoint.connect_timeout, Duration::from_millis(700));
        for key in ["column.exclude.list", "column.mask.with.3.chars", "skipped.operations"] {
            let problems = parse(&[(&format!("debezium.{key}"), "d")]).unwrap_err();
            assert!(problems[0].message.contains("decides which data"), "{key}");
        }
    }
}
