//! The registry of error codes: one list feeds messages, exit codes, `docs/errors` and, later, the API.
//!
//! Ranges: E01 file and SQL, E02 source, E03 schema and keys, E04 server and API, E05 sink, E06 state and disk,
//! E07 records at run time, E08 the log and verify, E09 internal. A number is never used again for something else.

/// Whose fault an error is; decides who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The user can mend it: pipeline file, privileges, server settings.
    User,
    /// Something outside: network, server, disk.
    External,
    /// Ours.
    Bug,
}

/// What the engine may do about an error without asking anyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same will fail again.
    Never,
    /// A bounded number of times, then the error policy.
    Bounded,
    /// For ever, with growing pauses (a lost connection, a commit after its publish).
    Endless,
}

macro_rules! codes {
    ($( $(#[doc = $doc:literal])+ $name:ident = $number:literal, $fault:ident, $retry:ident, exit $exit:literal, $title:literal; )+) => {
        /// One kind of error, with a number that never changes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $( $(#[doc = $doc])+ $name, )+ }

        impl Code {
            /// Every code, in order of its number.
            pub const ALL: &'static [Code] = &[$(Code::$name,)+];

            /// The number users see, e.g. `E0103`.
            pub fn number(self) -> &'static str { match self { $(Code::$name => $number,)+ } }
            /// A few words, the same for every occurrence.
            pub fn title(self) -> &'static str { match self { $(Code::$name => $title,)+ } }
            /// Why it happens and what to do; the body of its page.
            pub fn page(self) -> &'static str { match self { $(Code::$name => concat!($($doc, "\n"),+),)+ } }
            /// Whose fault it is.
            pub fn fault(self) -> Fault { match self { $(Code::$name => Fault::$fault,)+ } }
            /// Whether trying again can help.
            pub fn retry(self) -> Retry { match self { $(Code::$name => Retry::$retry,)+ } }
            /// The exit code of a command that ends with it (sysexits).
            pub fn exit_code(self) -> u8 { match self { $(Code::$name => $exit,)+ } }
        }
    };
}

codes! {
    // E01: the pipeline file
    /// The pipeline file cannot be read: it is missing, unreadable, empty, not UTF-8 or larger than 16 MiB.
    FileUnreadable = "E0100", User, Never, exit 78, "the pipeline file cannot be read";
    /// The text is not valid YAML, nests too deeply, or uses anchors without measure.
    YamlSyntax = "E0101", User, Never, exit 78, "not valid YAML";
    /// A key that must be there is missing.
    MissingKey = "E0102", User, Never, exit 78, "a required key is missing";
    /// A key that this block does not know. The message names the nearest known one.
    UnknownKey = "E0103", User, Never, exit 78, "unknown key";
    /// The same key stands twice in one block.
    DuplicateKey = "E0104", User, Never, exit 78, "duplicate key";
    /// A value that its option cannot take.
    BadValue = "E0105", User, Never, exit 78, "a value is not acceptable";
    /// A list where a map is expected, or the other way round.
    WrongShape = "E0106", User, Never, exit 78, "a block has the wrong shape";
    /// `${env:X}` names a variable that is not set, or `${file:X}` a file that cannot be read.
    BadReference = "E0107", User, Never, exit 78, "a reference cannot be resolved";
    /// A `DUJIANG__*` environment variable that names no option.
    UnknownVariable = "E0108", User, Never, exit 78, "unknown environment variable";
    /// A connector type that this build does not have.
    UnknownConnector = "E0109", User, Never, exit 78, "unknown connector type";
    /// Something the dialect knows and this version does not do yet.
    NotSupported = "E0110", User, Never, exit 78, "not supported yet";
    /// Two options contradict each other, or a sink cannot keep what is asked of it.
    Conflict = "E0111", User, Never, exit 78, "options contradict each other";
    /// A table pattern takes too many steps to match a name: repetitions inside repetitions together with look-around
    /// or back-references. Write the pattern more plainly.
    PatternTooCostly = "E0112", User, Never, exit 78, "a table pattern takes too many steps";
    /// The SQL of a projection or filter cannot be read: a word, an operator or a bracket is missing or too many.
    SqlSyntax = "E0120", User, Never, exit 78, "the SQL cannot be read";
    /// A column that the table does not have. Column names are case-sensitive; the message names the nearest known one.
    SqlUnknownColumn = "E0121", User, Never, exit 78, "unknown column";
    /// A function that the dialect does not have. The message names the nearest known one.
    SqlUnknownFunction = "E0122", User, Never, exit 78, "unknown function";
    /// An operator or function that cannot take values of these types, or takes another number of arguments.
    SqlType = "E0123", User, Never, exit 78, "an expression has the wrong type";
    /// A transform sees one row at a time: aggregates, window functions and subqueries are not possible in it.
    SqlNotRowWise = "E0124", User, Never, exit 78, "an expression that needs more than one row";
    /// The SQL is longer, or nests more deeply, than any sensible expression.
    SqlTooLarge = "E0125", User, Never, exit 78, "the SQL is too large";
    /// An output column without a name, with a reserved name, or a key that is no output column.
    SqlOutput = "E0126", User, Never, exit 78, "an output column is not acceptable";

    // E02: the source
    /// The server cannot be reached: wrong host or port, firewall, or the server is down.
    SourceUnreachable = "E0200", External, Endless, exit 69, "the source cannot be reached";
    /// The server refused the login. Where MySQL or MariaDB has an anonymous user (`''@'localhost'`), whoever comes from that
    /// host is taken for it before `'capture'@'%'`: drop it, or make `'capture'@'localhost'`, too.
    LoginRefused = "E0201", User, Never, exit 77, "the source refused the login";
    /// What answers on that port does not speak the expected protocol.
    NotADatabase = "E0202", User, Never, exit 69, "the server does not speak the expected protocol";
    /// The database named does not exist or is not visible to the user.
    UnknownDatabase = "E0203", User, Never, exit 78, "unknown database";
    /// TLS could not be set up as asked.
    TlsFailed = "E0204", User, Never, exit 69, "TLS could not be set up";
    /// The connection was lost while running; it is re-established for ever with growing pauses.
    ConnectionLost = "E0205", External, Endless, exit 69, "the connection to the source was lost";
    /// The server answered a query with an error that has no code of its own.
    SourceQuery = "E0206", External, Bounded, exit 69, "the source refused a query";
    /// The server's bytes cannot be read: a bug there, here, or damage on the way.
    Protocol = "E0207", External, Endless, exit 69, "unreadable bytes from the source";
    /// The server keeps its log for a shorter time than a pipeline needs: for the first snapshot, and for the time it may be
    /// away. What is purged before it is read ends the pipeline with E0231. Let the server keep its log longer.
    LogRetention = "E0208", User, Never, exit 78, "the source keeps its log too short";
    /// The clocks of the source and of this machine differ. Nothing is lost by it, but lag and the times in file names are
    /// wrong by as much. Let both follow a time server.
    ClockSkew = "E0209", User, Never, exit 78, "the clocks of source and this machine differ";
    /// The server has no global transaction identifiers. The pipeline works, but it can only go on at the very server it has
    /// begun at, never at a replica that takes over.
    NoGtid = "E0210", User, Never, exit 78, "the source has no GTIDs";
    /// Binary logging is off, so there are no changes to read.
    BinlogOff = "E0211", User, Never, exit 78, "binary logging is off";
    /// The binlog is not in ROW format.
    BinlogFormat = "E0212", User, Never, exit 78, "the binlog is not in ROW format";
    /// The binlog does not carry full row images.
    BinlogRowImage = "E0213", User, Never, exit 78, "the binlog does not carry full rows";
    /// The user lacks a privilege.
    MissingPrivilege = "E0221", User, Never, exit 77, "a privilege is missing";
    /// Another client uses the same server id.
    ServerIdTaken = "E0222", User, Bounded, exit 78, "another client uses this server id";
    /// The source no longer has the log at our position: it was purged.
    PositionLost = "E0231", User, Never, exit 65, "the source no longer has the log we need";
    /// The position belongs to another server.
    OtherServer = "E0232", User, Never, exit 65, "this is not the server the pipeline followed";
    /// An event of the log is damaged: checksum or structure.
    LogDamaged = "E0233", External, Bounded, exit 65, "the source's log is damaged";
    /// An event or a statement this version cannot read and must not skip.
    UnknownEvent = "E0234", External, Never, exit 65, "an event that cannot be read";
    /// A start position whose schema cannot be known.
    StartNotPossible = "E0235", User, Never, exit 78, "the pipeline cannot start at this position";
    /// The source reported that events were lost on its side.
    SourceIncident = "E0236", User, Never, exit 65, "the source reports lost events";
    /// Transactions whose outcome is not known yet (prepared distributed transactions, transactions in progress) wait on
    /// disk, and together they need more room than `spool.max-bytes` allows. End them at the source, or raise the limit.
    SpoolFull = "E0237", User, Never, exit 73, "undecided transactions need too much room";
    /// The folder where transactions wait for their outcome cannot be written or read, or does not hold what was written.
    SpoolUnusable = "E0238", External, Never, exit 74, "the folder of undecided transactions cannot be used";
    /// A distributed transaction (XA, PREPARE TRANSACTION) is committed whose rows were logged, or sent, before the place where the
    /// pipeline began to read.
    /// A pipeline that begins with a snapshot looks for prepared transactions first (`XA RECOVER`, for which MySQL 8 asks the
    /// privilege XA_RECOVER_ADMIN) and reads their rows; one that begins elsewhere cannot know them. With PostgreSQL this happens
    /// only with a slot that was made with `two_phase`.
    PreparedBefore = "E0239", User, Never, exit 65, "a distributed transaction was prepared before the start";
    /// The server writes no checksums into its log, so that damage on its disk may pass unnoticed.
    NoChecksums = "E0250", User, Never, exit 78, "the source's log has no checksums";
    /// The server's log does not carry the names and signs of columns. They are taken from the catalog, and a change of
    /// columns that is not in the log itself (`SQL_LOG_BIN=0`) is noticed later, or only by the number of columns.
    LogMetadata = "E0251", User, Never, exit 78, "the source's log names no columns";
    /// OceanBase keeps a binlog only for tenants whose Binlog Service is enabled, and only the proxy (ODP) leads to it. The
    /// settings that the database itself shows (`log_bin=ON`) mean nothing.
    BinlogServiceOff = "E0252", User, Never, exit 78, "Binlog Service is not enabled for this tenant";
    /// The tenant is in Oracle mode. OceanBase writes a binlog for tenants in MySQL mode only.
    OracleMode = "E0253", User, Never, exit 78, "the tenant is in Oracle mode";
    // E026, E027: PostgreSQL's log and its readers
    /// The server does not write what logical replication needs. `wal_level = logical` takes a restart of the server.
    WalLevel = "E0260", User, Never, exit 78, "wal_level is not logical";
    /// The role may not replicate: it lacks the attribute REPLICATION, or pg_hba.conf does not let it.
    ReplicationRole = "E0261", User, Never, exit 77, "the role may not replicate";
    /// The replication slot is gone: it was dropped, or did not follow a failover. The log after the checkpoint may be
    /// gone with it, and a new slot would begin later: the pipeline halts instead of leaving a gap.
    SlotLost = "E0262", User, Never, exit 65, "the replication slot is gone";
    /// The server has given the slot up, because it held more of the log than `max_slot_wal_keep_size` allows, or for
    /// another reason that it names. What came after the checkpoint can no longer be read.
    SlotInvalid = "E0263", User, Never, exit 65, "the server has invalidated the replication slot";
    /// Another session reads from the slot: an older instance of this pipeline, or another program. It is tried again
    /// until that session ends; a session that is dead is ended by the server after `wal_sender_timeout`.
    SlotActive = "E0264", External, Endless, exit 75, "the replication slot is in use";
    /// The slot of this name is not the one that this pipeline has read from: it stands after the checkpoint, belongs to
    /// another database or plugin, or was made anew. Or a new pipeline was given the slot of somebody else, who would miss
    /// what it passes over.
    SlotForeign = "E0265", User, Never, exit 65, "the replication slot is not this pipeline's";
    /// The publication is missing, or does not publish what has to be read.
    Publication = "E0266", User, Never, exit 78, "the publication does not fit";
    /// The server has no replication slot or no replication connection left.
    NoSlotsLeft = "E0267", User, Bounded, exit 78, "no replication slot or connection is left";
    /// What answers is a connection pooler, through which neither replication nor a snapshot can be read.
    Pooler = "E0268", User, Never, exit 78, "a connection pooler is in between";
    /// The snapshot of a table without a comparable key was interrupted. Such a table is read as a whole, so that what is
    /// missing cannot be told from what has been handed out.
    SnapshotInterrupted = "E0269", User, Never, exit 65, "a snapshot cannot be resumed";
    /// Updates and deletes of the table do not tell the old row, because its replica identity does not.
    ReplicaIdentity = "E0270", User, Never, exit 78, "the replica identity does not tell old rows";
    /// The server or its version cannot do what is asked.
    ServerVersion = "E0271", User, Never, exit 78, "the server's version is not supported";

    // E028: PostgreSQL's values
    /// A column has a type that the database's catalog no longer has: it was dropped after rows with it were written, so
    /// that what the type was cannot be known. Take a new snapshot of the table.
    TypeGone = "E0280", User, Never, exit 65, "a column's type is gone";

    // E03: schema and keys
    /// No table matches the patterns.
    NoTable = "E0300", User, Never, exit 78, "no table matches";
    /// A captured table has no primary or unique key.
    NoKey = "E0301", User, Never, exit 78, "a table has no key";
    /// A captured table is changed by foreign keys that the log does not show.
    CascadingKey = "E0302", User, Never, exit 78, "a cascading foreign key changes a captured table";
    /// A column type that cannot be carried.
    UnknownType = "E0303", User, Never, exit 78, "a column type is not supported";
    /// A schema change that cannot be carried through.
    SchemaChange = "E0304", User, Never, exit 65, "a schema change cannot be carried through";
    /// Rows in the log do not fit the schema known for their position.
    SchemaMismatch = "E0305", External, Never, exit 65, "rows do not fit the table's schema";
    /// A captured table vanished while the pipeline needs it.
    TableGone = "E0306", User, Never, exit 65, "a captured table is gone";
    /// A statement changed a captured table in a way that cannot be read, and by the time it was met the table had been
    /// changed again: neither the catalog nor the log tells the columns in between. With `binlog_row_metadata=FULL` the log
    /// does.
    ShapeUnknown = "E0307", User, Never, exit 65, "the columns of a captured table are not known";
    /// Rows of a captured table came or went without being logged: a partition was dropped, truncated or exchanged, or attached
    /// with rows in it, or a tablespace imported.
    UnloggedRows = "E0308", User, Never, exit 65, "rows of a captured table came or went without being logged";
    /// An option that decides how values are carried differs from what the pipeline began with: columns would change their
    /// type in the middle.
    ValuesChanged = "E0320", User, Never, exit 78, "an option would change the type of values";

    // E033: snapshots of OceanBase
    /// A snapshot of OceanBase cannot be read any more: the table was altered after it, it is older than `undo_retention`
    /// lets it be, or a server of the tenant has not come to it. The chunk is read again as of a new one.
    SnapshotGone = "E0330", External, Bounded, exit 69, "the database cannot read the snapshot";
    /// OceanBase has ended a read that took longer than `ob_query_timeout` or `ob_trx_timeout`.
    QueryTimeout = "E0331", External, Bounded, exit 69, "the database has ended a read that took too long";
    /// A row that the pipeline has written has not come through Binlog Service for a long time. Until it does, it is not
    /// known which changes a snapshot holds.
    MarkerUnseen = "E0332", External, Bounded, exit 69, "Binlog Service does not show a marker";
    /// The table for markers is not named, does not exist or may not be written to. Binlog Service lags behind the database;
    /// only a row that the pipeline itself writes tells when a snapshot is in the log.
    MarkerTable = "E0333", User, Never, exit 78, "there is no table for markers";
    /// Between a snapshot and its marker more changes of one table have come than are kept in memory.
    WindowTooLarge = "E0334", External, Bounded, exit 69, "a table changes too fast for its snapshot";

    // E036: what a PostgreSQL server does to its log
    /// A transaction that writes is open for long, or is prepared and neither committed nor rolled back. Until it ends the server
    /// makes no replication slot, and keeps all of its log since the transaction began.
    LongTransaction = "E0360", User, Never, exit 78, "a transaction is open for long";
    /// `synchronous_standby_names` takes in every client that replicates, this pipeline too: the server's commits would wait
    /// until the pipeline's checkpoints are durable.
    SynchronousStandby = "E0361", User, Never, exit 78, "the pipeline would be a synchronous standby";

    // E05: the sink
    /// The sink's place cannot be written to.
    SinkNotWritable = "E0500", User, Never, exit 73, "the sink's place cannot be written to";
    /// A write to the sink failed.
    SinkWrite = "E0501", External, Bounded, exit 74, "a write to the sink failed";
    /// No space left where the sink writes.
    SinkFull = "E0502", External, Endless, exit 74, "no space left for the sink";
    /// Rows that the sink has taken already cannot be written: a failing disk, a folder that is gone. No record is at
    /// fault, so none goes to the dead letters, whatever `error.policy` says: the write is tried again, and after the last
    /// try the pipeline stops. Nothing is lost: the next start reads everything since the last checkpoint again.
    SinkUnwritten = "E0503", External, Bounded, exit 74, "rows taken by the sink cannot be written";
    /// The sink's place belongs to another pipeline.
    SinkTaken = "E0510", User, Never, exit 78, "the sink's place belongs to another pipeline";
    /// The sink holds data of this pipeline, but the pipeline's state is gone.
    StateLost = "E0511", User, Never, exit 65, "the pipeline's state is gone but its output is there";
    /// The sink holds something that no checkpoint explains.
    SinkMismatch = "E0512", User, Never, exit 65, "the sink does not agree with the checkpoint";
    /// A table or column name the sink cannot carry.
    SinkName = "E0513", User, Never, exit 78, "a name the sink cannot carry";

    // E06: state and disk
    /// Another process runs this pipeline.
    StateLocked = "E0600", User, Never, exit 75, "another process runs this pipeline";
    /// A newer instance took over.
    Fenced = "E0601", External, Never, exit 75, "a newer instance took over";
    /// A published checkpoint cannot be read.
    CheckpointDamaged = "E0602", External, Never, exit 65, "a published checkpoint is damaged";
    /// A checkpoint could not be written.
    CheckpointWrite = "E0603", External, Bounded, exit 74, "a checkpoint could not be written";
    /// fsync failed: what the disk holds is unknown, so the process ends (INV-9).
    SyncFailed = "E0604", External, Never, exit 74, "the disk failed to make data durable";
    /// The state directory cannot be used.
    StateUnusable = "E0605", User, Never, exit 73, "the state directory cannot be used";
    /// There is no checkpoint to go back to under that number.
    NoCheckpoint = "E0606", User, Never, exit 78, "no such checkpoint";
    /// No space left in the state directory.
    StateFull = "E0611", External, Bounded, exit 74, "no space left in the state directory";
    /// A file of the state directory has a format of another version.
    StateVersion = "E0612", User, Never, exit 78, "the state is of another version";
    /// A checkpoint was handed over and no answer came back; whether it stands has to be read back.
    CheckpointUnknown = "E0613", External, Bounded, exit 74, "it is unknown whether a checkpoint was written";

    // E07: records
    /// A value that its column cannot hold.
    BadRecord = "E0700", User, Never, exit 65, "a record cannot be carried";
    /// The dead-letter store could not be written.
    DeadLetterWrite = "E0701", External, Bounded, exit 74, "a dead letter could not be stored";
    /// An expression divides by zero in this row.
    DivisionByZero = "E0710", User, Never, exit 65, "division by zero";
    /// The result of an expression lies outside the range of its type, in this row.
    ValueOutOfRange = "E0711", User, Never, exit 65, "a value is out of range";
    /// A value cannot be converted to the type that is asked for, in this row. `TRY_CAST` gives NULL instead.
    BadCast = "E0712", User, Never, exit 65, "a value cannot be converted";
    /// A function cannot take this argument, in this row.
    BadArgument = "E0713", User, Never, exit 65, "a function cannot take its argument";

    // E08: the log in the middle
    /// A part of the log does not match its checksum, or is missing. Nothing beyond it is delivered. The message names
    /// the file and the bytes; `dujiang log verify` reads everything and lists every such range.
    LogRangeDamaged = "E0800", External, Never, exit 65, "a part of the log is damaged";
    /// The log no longer holds the position: it was removed because it was old, or the log was full and every consumer
    /// known at that time had passed it.
    LogTrimmed = "E0801", User, Never, exit 65, "the log no longer holds this position";
    /// The log has reached `log.max-bytes`, and what it holds has not been delivered yet. Capture waits until a delivery
    /// has made progress; nothing is lost. See why the delivery does not go on, or raise `log.max-bytes`.
    LogFull = "E0802", External, Endless, exit 74, "the log is full";
    /// There is no log in that folder.
    LogMissing = "E0803", User, Never, exit 78, "there is no log there";
    /// The log was written by another version of the program.
    LogVersion = "E0804", User, Never, exit 78, "the log is of another version";
    /// Another process captures into the log.
    LogInUse = "E0805", User, Never, exit 75, "another process captures into the log";
    /// The position of a delivery belongs to another log, or to a part of this one that was taken back.
    LogOther = "E0806", User, Never, exit 65, "the position is not one of this log";

    // E083: messages of queues
    /// A change that the format of the messages has no message for. `json` and `csv` tell a delete by a message that has a
    /// key and no value, and the table has no key. The formats with an envelope (`debezium-json`, `canal-json`,
    /// `maxwell-json`) carry whole rows of deletes.
    NoMessage = "E0830", User, Never, exit 65, "the format has no message for a change";

    /// A message breaks the rules of its format: it is not UTF-8, no JSON, or no CSV record. The error names the byte. Only
    /// this record is at fault; `error.policy` decides what becomes of it.
    MessageSyntax = "E0831", External, Never, exit 65, "a message cannot be read";
    /// A message that is well-formed and tells of no row that can be read: a change of a table's shape, an emptied table, an
    /// operation that the format does not have, a delete or an update without the old row.
    MessageKind = "E0832", External, Never, exit 65, "a message is of a kind that cannot be read";
    /// A field of a message is unknown to its table, is missing, is NULL where it must not be, or does not fit the type of
    /// its column. Nothing is guessed: the record is an error, with the column and the byte.
    MessageField = "E0833", External, Never, exit 65, "a message does not fit its table";

    // E084: DataHub
    /// DataHub refuses a request for a reason that does not pass: the access key, its rights, the project, the topic.
    DatahubRefused = "E0840", User, Never, exit 77, "DataHub refused a request";
    /// The subscription that a DataHub source keeps up to date is not its own any more: another reader has opened it, somebody has
    /// reset its offsets, or it is offline. The pipeline goes on from its checkpoints, never from the subscription; it stops because
    /// whoever watches the subscription would be misled.
    DatahubSubscription = "E0841", User, Never, exit 75, "a subscription of DataHub is not the pipeline's any more";
    /// The topic of a log in DataHub has to hold BLOB records in exactly one shard, which stays open: only so all records have
    /// one order. A shard that was split or merged ends the log.
    DatahubTopic = "E0842", User, Never, exit 78, "a topic of DataHub cannot be a log";

    // E085: Kafka
    /// No broker answers, or they do not answer in time. Check `properties.bootstrap.servers`, the network, and whether the
    /// listener speaks what `properties.security.protocol` says: a client without TLS at a listener with it meets silence.
    KafkaUnreachable = "E0850", External, Bounded, exit 69, "Kafka cannot be reached";
    /// A setting of the Kafka client that is unknown, that another one contradicts, or that the brokers do not allow.
    KafkaSetting = "E0851", User, Never, exit 78, "a setting of the Kafka client is not accepted";
    /// The brokers refuse the user: wrong name, password or certificate, or a right that is missing. The message names the
    /// right.
    KafkaDenied = "E0852", User, Never, exit 77, "Kafka refuses the user";
    /// A topic is missing and may not be made, has vanished while it was written or read, or has settings that do not fit.
    KafkaTopic = "E0853", User, Never, exit 78, "a topic does not fit";
    /// The transaction of an epoch was aborted before it was committed: the brokers gave it up because it took longer than
    /// `properties.transaction.timeout.ms`, or lost the connection for as long. Nothing of it is visible and nothing is lost:
    /// the next start reads everything since the last epoch that was committed again.
    KafkaAborted = "E0854", External, Never, exit 75, "the transaction was aborted";
    /// The brokers refuse a record that the client took for good, for example one without a key in a compacted topic.
    KafkaRefused = "E0855", External, Never, exit 65, "Kafka refuses a record";
    /// A record is larger than the topic or the client takes. It goes to the dead letters, or the pipeline halts, as
    /// `pipeline.error.policy` says. Raise `properties.max.request.size` and the topic's `max.message.bytes`.
    KafkaTooLarge = "E0856", User, Never, exit 65, "a record is too large for Kafka";

    // E09: ours
    /// A contradiction inside the program. Please report it.
    Bug = "E0900", Bug, Never, exit 70, "internal error";
    /// A command was used wrongly.
    Usage = "E0901", User, Never, exit 2, "wrong usage";
}

impl Code {
    /// What to do, where that is the same whatever has led to the code; an error's own help goes before it.
    pub fn usual_help(self) -> Option<&'static str> {
        Some(match self {
            Code::NotADatabase => "check host and port: another kind of server answers there",
            Code::ConnectionLost => {
                "see whether the server is up and reachable; the connection is made again, for ever"
            }
            Code::SourceQuery => "see what the server says",
            Code::Protocol => {
                "see whether a proxy stands in between and changes what the server sends; if not, please report this with \
                 the server's version"
            }
            Code::LogDamaged => "check the server's disk and log; a transfer error goes away with the next connection",
            Code::UnknownEvent => {
                "nothing is passed over that may be a change: please report this with the server's version; a new pipeline \
                 with a new snapshot begins behind it"
            }
            Code::SchemaMismatch => "the table was changed in a way the log does not show; take a new snapshot of it",
            Code::SinkMismatch => {
                "bring the sink and the state directory back to the same moment, or start a new pipeline in an empty place"
            }
            Code::Fenced => "let the newer instance run; it goes on from the last checkpoint, and nothing is lost",
            Code::CheckpointDamaged => {
                "bring the state directory back from a backup, or go back to an earlier checkpoint with --restore-from"
            }
            Code::StateVersion => "run the version of the program that wrote it",
            Code::Bug => "please report this with the log; nothing committed is lost, and a new run goes on from there",
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_ascending() {
        let numbers: Vec<_> = Code::ALL.iter().map(|c| c.number()).collect();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(numbers, sorted);
    }
}
