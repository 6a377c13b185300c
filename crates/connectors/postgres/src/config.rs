//! The options of `source.type: postgres`: Flink CDC's names and defaults, and a few of our own.

use crate::catalog::{Database, IdentityDemand};
use crate::client::{Endpoint, TlsMode};
use crate::selector::TableFilter;
use crate::values::{ValueForm, ValueSettings};
use dujiang_core::connector::PipelineOptions;
use dujiang_core::options::{ByteSize, Problem, RawOption};
use dujiang_core::{Code, Secret};
use dujiang_database::block;
use dujiang_database::foreign::{self, Properties};
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

dujiang_core::choice! {
    /// Where a new pipeline begins.
    pub enum StartupMode {
        /// Everything that is there, then every change.
        Initial = "initial",
        /// Everything that is there, then the end.
        Snapshot = "snapshot",
        /// Every change from now on.
        LatestOffset = "latest-offset",
        /// Every change that the slot, which must be there, still has.
        CommittedOffset = "committed-offset",
    }
}

dujiang_core::choice! {
    /// How the server decodes its log.
    pub enum Plugin {
        /// The plugin that every server has.
        Pgoutput = "pgoutput",
    }
}

dujiang_core::choice! {
    /// Changes of which origin are read.
    pub enum OriginFilter {
        /// All.
        Any = "any",
        /// Those that were first made on this server.
        None = "none",
    }
}

dujiang_core::choice! {
    /// What becomes of a large value that an update does not touch, when the log holds no old row.
    pub enum UnchangedValue {
        /// The record goes to the dead letters.
        DeadLetter = "dead-letter",
        /// It is read from the table.
        Reread = "reread",
    }
}

dujiang_core::choice! {
    /// What is done about changes that the log does not hold, or that the server passed over.
    pub enum Gap {
        /// The pipeline halts.
        Halt = "halt",
        /// It goes on without them.
        PassOver = "pass-over",
    }
}

dujiang_core::options! {
    /// Options of the `postgres` source.
    pub struct PostgresOptions {
        /// Host name or address of the server; a path is the folder of its Unix socket.
        "hostname" => hostname: String, required;
        /// TCP port of the server.
        "port" => port: NonZeroU16, default "5432";
        /// Role to log in as; it needs the attribute REPLICATION and may read the tables.
        "username" => username: String, required;
        /// Password of the role.
        "password" => password: Secret, required;
        /// Tables to capture: patterns `database.schema.table`, separated by commas, all of one database; schema and table
        /// are regular expressions, a dot in them is written `\.`.
        "tables" => tables: String, required;
        /// Tables to leave out, written like `tables`.
        "tables.exclude" => tables_exclude: String, optional;
        /// Replication slot to read from. Made when it is not there. Default: a name derived from the pipeline's.
        "slot.name" => slot_name: String, optional;
        /// Publication that names the captured tables. One that is there is used as it is, and must publish them; one that
        /// is not is made. Default: a name derived from the pipeline's, made and kept up to date.
        "publication.name" => publication_name: String, optional;
        /// How the server decodes its log.
        "decoding.plugin.name" => plugin: Plugin, default "pgoutput";
        /// Where a new pipeline begins.
        "scan.startup.mode" => startup_mode: StartupMode, default "initial";
        /// Rows of one chunk of the snapshot.
        "scan.incremental.snapshot.chunk.size" => chunk_size: NonZeroU32, default "8096";
        /// Accepted and not needed: rows are read from the socket as they come.
        "scan.snapshot.fetch.size" => fetch_size: NonZeroU32, default "1024";
        /// Connections that read the snapshot.
        "scan.incremental.snapshot.parallelism" => snapshot_parallelism: NonZeroU16, default "2";
        /// Checkpoints that the slot stays behind, so that older ones can still be gone back to.
        "scan.lsn-commit.checkpoints-num-delay" => ack_lag: u32, default "3";
        /// Longest time for one attempt to connect.
        "connect.timeout" => connect_timeout: Duration, default "30s";
        /// Attempts for the first connection; a lost one is re-established for ever.
        "connect.max-retries" => connect_max_retries: u32, default "3";
        /// Most connections at a time; bounds the snapshot's parallelism.
        "connection.pool.size" => connection_pool_size: NonZeroU32, default "20";
        /// How often an idle database is given something to log, so that the slot does not hold back the server's log while
        /// other databases are written to.
        "heartbeat.interval" => heartbeat_interval: Duration, default "30s";
        /// Encryption of the connections.
        "tls.mode" => tls_mode: TlsMode, default "preferred";
        /// PEM file of the authorities that may sign the server's certificate; default: the system's.
        "tls.ca" => tls_ca: String, optional;
        /// PEM file of the certificate to show to the server.
        "tls.cert" => tls_cert: String, optional;
        /// PEM file of the key of `tls.cert`.
        "tls.key" => tls_key: String, optional;
        /// Whether added and dropped columns are carried through; if not, they halt the pipeline.
        "schema-change.enabled" => schema_change: bool, default "true";
        /// What the log must hold of the old row of an update or a delete: `full` needs `REPLICA IDENTITY FULL`; with `key` all
        /// columns but those of the replica identity are NULL in old rows.
        "replica-identity" => replica_identity: IdentityDemand, default "full";
        /// Changes to read: `any`, or with `none` only those that were first made on this server and did not come to it by logical
        /// replication (PostgreSQL 16 and later). The snapshot reads all rows that are there.
        "origin" => origin: OriginFilter, default "any";
        /// Most bytes that transactions in progress, and prepared ones, may take on disk, together.
        "spool.max-bytes" => spool_max_bytes: ByteSize, default "10gb";
        /// Arrays of one dimension: `native` lists, or `text` as the server prints them.
        "values.arrays" => values_arrays: ValueForm, default "native";
        /// Dates and times: `native`, or `text` as the server prints them, which has infinities and the years BC.
        "values.times" => values_times: ValueForm, default "native";
        /// A large (TOAST) value that an update does not touch is not in the log; with `replica-identity: full` it is taken from the
        /// old row. Without, such a record goes to the dead letters (`dead-letter`), or the value that the row has by now is read
        /// from the table (`reread`): it may be newer than the change, which then follows.
        "values.unchanged" => values_unchanged: UnchangedValue, default "dead-letter";
        /// The server passes over what the publication does not publish, and tells nobody when that was so for a while. A publication
        /// that was changed for captured tables, or as a whole, halts the pipeline (`halt`), or that is said once and it goes on
        /// without what may be missing (`pass-over`).
        "publication.changed" => publication_changed: Gap, default "halt";
        /// The log holds neither the rows that a partition has when it is attached to a captured table nor that TRUNCATE empties a
        /// partition: the pipeline halts (`halt`), or says so and goes on (`pass-over`), without the former rows and with the latter.
        "partitions.attached-rows" => attached_rows: Gap, default "halt";
        /// The database as first part of table names. Not supported yet: names are `schema.table`.
        "table-id.include-database" => include_database: bool, default "false";
        /// Accepted and not needed: the hand-off is always exact.
        "scan.incremental.snapshot.backfill.skip" => backfill_skip: bool, default "true";
        /// Accepted and not needed: there are no idle readers.
        "scan.incremental.close-idle-reader.enabled" => close_idle_reader: bool, default "false";
        /// Accepted and not needed: a table is read in one pass in key order.
        "scan.incremental.snapshot.unbounded-chunk-first.enabled" => unbounded_chunk_first: bool, default "false";
        /// Facts about a change that transforms may read as columns, separated by commas: `op_ts` (when it was committed, in
        /// milliseconds since 1970-01-01 UTC; 0 for rows of the snapshot), `table_name`, `schema_name`.
        "metadata.list" => metadata_list: String, optional;
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

/// The options after all checks, in the form the source works with.
#[derive(Debug, Clone)]
pub struct Config {
    /// As written.
    pub options: PostgresOptions,
    /// Where to connect.
    pub endpoint: Endpoint,
    /// Which tables are captured.
    pub filter: TableFilter,
    /// The slot.
    pub slot: String,
    /// The publication.
    pub publication: String,
    /// What is accepted without effect and was set by the user.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Reads and checks the block.
    ///
    /// # Errors
    /// All problems at once.
    pub fn parse(raw: &[RawOption], pipeline: &PipelineOptions) -> Result<Self, Vec<Problem>> {
        let options = PostgresOptions::parse(raw)?;
        let mut problems = unsupported(&options);
        problems.extend(contradictions(&options));
        let mut warnings = foreign::without_effect(raw, WITHOUT_EFFECT);
        let filter = TableFilter::parse(&options.tables, options.tables_exclude.as_deref()).map_err(|(key, why)| {
            problems.push(Problem::new(Code::BadValue, format!("`{key}` {why}"), options.place(key)));
        });
        let database = filter.as_ref().map_or("", TableFilter::database);
        let mut endpoint = endpoint(&options, database);
        let properties = Properties { jdbc: &options.jdbc, debezium: &options.debezium };
        let mapped = foreign::map(raw, properties, &mut endpoint, (jdbc_property, debezium_property));
        warnings.extend(mapped.0);
        problems.extend(mapped.1);
        let (Ok(filter), true) = (filter, problems.is_empty()) else { return Err(problems) };
        let derived = derived_name(&pipeline.name);
        let slot = options.slot_name.clone().unwrap_or_else(|| derived.clone());
        let publication = options.publication_name.clone().unwrap_or(derived);
        Ok(Self { options, endpoint, filter, slot, publication, warnings })
    }

    /// Connections that read the snapshot at a time.
    pub fn snapshot_connections(&self) -> usize {
        let wanted = u32::from(self.options.snapshot_parallelism.get());
        wanted.min(self.options.connection_pool_size.get()) as usize
    }

    /// What options and database say of values.
    pub fn value_settings(&self, database: &Database) -> ValueSettings {
        ValueSettings {
            arrays: self.options.values_arrays,
            times: self.options.values_times,
            money_scale: database.money_scale,
            unchecked_text: database.leaves_text_unchecked(),
        }
    }

    /// Whether old images may hold the key alone.
    pub fn key_images(&self) -> bool {
        self.options.replica_identity == IdentityDemand::Key
    }

    /// Whether the publication is made and kept up to date here.
    pub fn owns_publication(&self) -> bool {
        self.options.publication_name.is_none()
    }
}

fn endpoint(options: &PostgresOptions, database: &str) -> Endpoint {
    let mut endpoint = Endpoint::new(options.hostname.clone(), options.port.get(), database, options.username.clone());
    endpoint.password = options.password.clone();
    endpoint.tls.mode = options.tls_mode;
    endpoint.tls.ca_file = options.tls_ca.as_ref().map(PathBuf::from);
    endpoint.tls.cert_file = options.tls_cert.as_ref().map(PathBuf::from);
    endpoint.tls.key_file = options.tls_key.as_ref().map(PathBuf::from);
    endpoint.connect_timeout = options.connect_timeout;
    endpoint
}

/// Longest name of a slot or a publication, in bytes (`NAMEDATALEN` - 1).
const LONGEST_NAME: usize = 63;

/// `dujiang_orders_lake` of `orders-lake`. Slots take lower-case letters, digits and underscores only; a name that had to be
/// changed gets a hash of the original, so that two pipelines never share a slot (F17).
fn derived_name(pipeline: &str) -> String {
    let keep = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '_' };
    let plain: String = pipeline.chars().map(keep).collect();
    let name = format!("dujiang_{plain}");
    if plain == pipeline && name.len() <= LONGEST_NAME {
        return name;
    }
    let suffix = format!("_{:08x}", fnv(pipeline.as_bytes()) as u32);
    format!("{}{suffix}", &name[..name.len().min(LONGEST_NAME - suffix.len())])
}

/// FNV-1a, which stays the same in every build.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}

fn unsupported(options: &PostgresOptions) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |asked: bool, key: &str, help: &str| {
        if asked {
            let message = format!("`{key}` is not supported yet");
            problems.push(Problem::new(Code::NotSupported, message, options.place(key)).help(help));
        }
    };
    let route = "leave it out; give tables other names with `route`";
    refuse(options.include_database, "table-id.include-database", route);
    problems.extend(metadata(options));
    problems
}

const METADATA: [&str; 3] = ["op_ts", "table_name", "schema_name"];

fn metadata(options: &PostgresOptions) -> Vec<Problem> {
    let listed = options.metadata_list.iter().flat_map(|list| list.split(',')).map(str::trim);
    let unknown = |name: &str| {
        let place = options.place("metadata.list");
        match name {
            "database_name" => {
                let message = "`database_name` in `metadata.list` is not supported yet";
                let help =
                    "leave it out: a pipeline reads one database; write its name as a text, `'shop' AS database_name`";
                Problem::new(Code::NotSupported, message, place).help(help)
            }
            _ => Problem::new(Code::BadValue, format!("`metadata.list` has no `{name}`"), place)
                .help(format!("it may hold {}", METADATA.join(", "))),
        }
    };
    listed.filter(|name| !name.is_empty() && !METADATA.contains(name)).map(unknown).collect()
}

fn contradictions(options: &PostgresOptions) -> Vec<Problem> {
    let mut problems = Vec::new();
    let slot_char = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let fits = |name: &str| !name.is_empty() && name.len() <= LONGEST_NAME;
    if options.slot_name.as_deref().is_some_and(|name| !fits(name) || !name.chars().all(slot_char)) {
        let message = "`slot.name` must be 1 to 63 lower-case letters, digits and underscores";
        problems.push(Problem::new(Code::BadValue, message, options.place("slot.name")));
    }
    if options.publication_name.as_deref().is_some_and(|name| !fits(name) || name.contains('\0')) {
        let message = "`publication.name` must be a name of 1 to 63 bytes";
        problems.push(Problem::new(Code::BadValue, message, options.place("publication.name")));
    }
    let place = |key: &str| options.place(key);
    problems.extend(block::heartbeat(options.heartbeat_interval, place));
    problems.extend(block::key_pair(options.tls_cert.as_deref(), options.tls_key.as_deref(), place));
    problems
}

/// Options of the dialect that change nothing here.
const WITHOUT_EFFECT: &[&str] = &[
    "scan.snapshot.fetch.size",
    "scan.incremental.snapshot.backfill.skip",
    "scan.incremental.close-idle-reader.enabled",
    "scan.incremental.snapshot.unbounded-chunk-first.enabled",
    "chunk-meta.group.size",
    "chunk-key.even-distribution.factor.upper-bound",
    "chunk-key.even-distribution.factor.lower-bound",
];

fn tls_mode(word: &str) -> Option<TlsMode> {
    Some(match word {
        "disable" => TlsMode::Disabled,
        "allow" | "prefer" => TlsMode::Preferred,
        "require" => TlsMode::Required,
        "verify-ca" => TlsMode::VerifyCa,
        "verify-full" => TlsMode::VerifyIdentity,
        _ => return None,
    })
}

/// Whether a property of PostgreSQL's JDBC driver has been mapped, or says what holds anyway.
fn jdbc_property(key: &str, value: &str, endpoint: &mut Endpoint) -> bool {
    match key {
        "sslmode" => tls_mode(value).map(|mode| endpoint.tls.mode = mode).is_some(),
        "ssl" if value == "true" => {
            endpoint.tls.mode = TlsMode::VerifyIdentity;
            true
        }
        "sslrootcert" => {
            endpoint.tls.ca_file = Some(PathBuf::from(value));
            true
        }
        "ApplicationName" => {
            value.clone_into(&mut endpoint.application_name);
            true
        }
        "connectTimeout" => set_timeout(value, 1000, endpoint),
        "tcpKeepAlive" => value == "true",
        _ => false,
    }
}

/// Whether a property of Debezium has been mapped, or says what holds anyway.
fn debezium_property(key: &str, value: &str, endpoint: &mut Endpoint) -> bool {
    match (key, value) {
        ("database.sslmode", word) => tls_mode(word).map(|mode| endpoint.tls.mode = mode).is_some(),
        ("connect.timeout.ms", millis) => set_timeout(millis, 1, endpoint),
        ("plugin.name", "pgoutput") | ("event.processing.failure.handling.mode", "fail") => true,
        ("decimal.handling.mode", "precise") | ("binary.handling.mode", "bytes") => true,
        ("skipped.operations", "none") | ("slot.drop.on.stop", "false") => true,
        _ => false,
    }
}

fn set_timeout(text: &str, unit_millis: u64, endpoint: &mut Endpoint) -> bool {
    let parsed = text.parse::<u64>().ok().filter(|n| *n > 0).and_then(|n| n.checked_mul(unit_millis));
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
        let must = [("hostname", "db"), ("username", "u"), ("password", "012"), ("tables", "shop.public.\\.*")];
        let raw: Vec<_> = must.iter().chain(pairs).map(|(k, v)| RawOption::new(*k, *v, Place::CommandLine)).collect();
        let pipeline = PipelineOptions { name: "orders-lake".into(), parallelism: 1, memory_limit: 1 << 27 };
        Config::parse(&raw, &pipeline)
    }

    #[test]
    fn defaults_are_those_of_the_dialect_or_better() {
        let config = parse(&[]).unwrap();
        assert_eq!((config.endpoint.port, config.options.chunk_size.get()), (5432, 8096));
        assert_eq!((config.endpoint.database.as_str(), config.options.ack_lag), ("shop", 3));
        assert!(config.options.schema_change && config.warnings.is_empty() && config.owns_publication());
        let named = parse(&[("slot.name", "s_1"), ("publication.name", "P")]).unwrap();
        assert_eq!((named.slot.as_str(), named.publication.as_str()), ("s_1", "P"));
        assert!(!named.owns_publication());
    }

    #[test]
    fn metadata_is_listed_by_names_that_are_known() {
        assert!(parse(&[("metadata.list", "op_ts, table_name,schema_name")]).is_ok());
        let problems = parse(&[("metadata.list", "row_kind,database_name")]).unwrap_err();
        assert_eq!(problems.iter().map(|p| p.code).collect::<Vec<_>>(), [Code::BadValue, Code::NotSupported]);
    }

    #[test]
    fn f17_two_pipelines_never_share_a_slot() {
        assert_eq!(derived_name("orders"), "dujiang_orders");
        let names = ["orders-lake", "orders_lake", "orders.lake", "Orders_lake", &"x".repeat(80), &"x".repeat(81)];
        let mut derived: Vec<_> = names.iter().map(|name| derived_name(name)).collect();
        assert!(derived.iter().all(|name| name.len() <= LONGEST_NAME));
        derived.sort();
        derived.dedup();
        assert_eq!(derived.len(), names.len());
        assert_eq!(derived_name("orders-lake"), parse(&[]).unwrap().slot);
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let problems = parse(&[
            ("slot.name", "No"),
            ("table-id.include-database", "true"),
            ("tables.exclude", "x.public.t"),
            ("tls.cert", "c.pem"),
        ]);
        let codes: Vec<_> = problems.unwrap_err().iter().map(|p| p.code).collect();
        assert_eq!(codes, [Code::NotSupported, Code::BadValue, Code::Conflict, Code::BadValue]);
    }

    #[test]
    fn foreign_properties_are_mapped_or_warned_about() {
        let config = parse(&[("jdbc.properties.sslmode", "verify-full"), ("debezium.snapshot.mode", "x")]).unwrap();
        assert_eq!((config.endpoint.tls.mode, config.warnings.len()), (TlsMode::VerifyIdentity, 1));
        let config = parse(&[("debezium.connect.timeout.ms", "700"), ("debezium.plugin.name", "pgoutput")]).unwrap();
        assert_eq!((config.endpoint.connect_timeout, config.warnings.len()), (Duration::from_millis(700), 0));
        let problems = parse(&[("debezium.column.exclude.list", "d")]).unwrap_err();
        assert!(problems[0].message.contains("decides which data"));
    }
}
