//! Beginning elsewhere than at the end of the log.
//!
//! The columns in force at an earlier place are not recorded anywhere. They are today's if no statement between there and
//! now has changed a captured table, and that is looked up in the log itself; otherwise the start is refused (INV-10).

use crate::catalog::{ServerFlavor, ServerProfile, Version};
use crate::client::{BinlogRequest, BinlogStart, BinlogStream, Connection, Endpoint};
use crate::config::{Config, StartupMode};
use crate::ddl::Reading;
use crate::decode::header::{Header, event_type};
use crate::decode::statement::Query;
use crate::decode::transaction::MariaDbGtidList;
use crate::decode::{Event, EventData, EventFormat};
use crate::gtid::{Executed, MariaGtid, MariaPosition};
use crate::place::{Place, next_offset};
use crate::position::ServerName;
use crate::server::{Resume, binlog_files, executed_at, identify, verify};
use crate::shape::Shape;
use crate::stream::{Control, Names, Statement, Tables, effect};
use crate::torn::{behind_torn_end, committed_before, nothing_is_missing, torn_file};
use dujiang_core::{Code, Error, Result};

pub mod prepared;

/// The tables of these shapes, by names as the server compares them.
///
/// # Errors
/// `UnknownType`; `ConnectionLost`, `SourceQuery`.
pub async fn tables(connection: &mut Connection, shapes: Vec<Shape>) -> Result<Tables> {
    let mut tables = Tables::new(shapes)?;
    let server = ServerProfile::read(connection).await?;
    let setting = server.variable("lower_case_table_names");
    let Version(major, minor, patch) = server.version;
    let reading = Reading {
        mariadb: server.flavor == ServerFlavor::MariaDb,
        version: u32::from(major) * 10_000 + u32::from(minor) * 100 + u32::from(patch),
        sql_mode: 0,
    };
    tables.set_names(Names { folds_case: !matches!(setting, "0" | ""), lowers_case: setting == "1", reading });
    Ok(tables)
}

/// Where the options say to begin; `now` is the end of the log.
///
/// # Errors
/// `StartNotPossible`, `PositionLost`, `OtherServer`.
pub async fn place(config: &Config, connection: &mut Connection, now: &Resume) -> Result<Resume> {
    let options = &config.options;
    match options.startup_mode {
        StartupMode::Initial | StartupMode::Snapshot | StartupMode::LatestOffset => Ok(now.clone()),
        StartupMode::EarliestOffset => {
            let place = earliest(connection).await?;
            at(connection, now, place).await
        }
        StartupMode::SpecificOffset => specific(config, connection, now).await,
        StartupMode::Timestamp => {
            let micros = options.timestamp_millis.unwrap_or(0).saturating_mul(1000);
            let place = first_since(config, connection, micros).await?;
            match place {
                Some(place) => at(connection, now, place).await,
                None => Ok(now.clone()),
            }
        }
    }
}

async fn at(connection: &mut Connection, now: &Resume, place: Place) -> Result<Resume> {
    let executed = match &now.executed {
        Executed::MariaDb(_) => executed_at(connection, &place).await?,
        // A MySQL server does not tell the set at a place; the dump begins at the place itself.
        _ => Executed::None,
    };
    Ok(Resume { place, executed, ..now.clone() })
}

async fn earliest(connection: &mut Connection) -> Result<Place> {
    let files = binlog_files(connection).await?;
    let first = files.first().ok_or_else(|| Error::new(Code::BinlogOff, "the source has no binlog file"))?;
    Ok(first.at(4))
}

async fn specific(config: &Config, connection: &mut Connection, now: &Resume) -> Result<Resume> {
    let options = &config.options;
    let resume = match (&options.offset_gtid_set, &options.offset_file, options.offset_pos) {
        (Some(text), ..) => {
            let bad = |e: String| {
                Error::new(Code::StartNotPossible, format!("`scan.startup.specific-offset.gtid-set`: {e}"))
                    .help("write a GTID set of this server's family")
            };
            let executed = match &now.executed {
                Executed::MariaDb(_) => Executed::MariaDb(text.parse().map_err(bad)?),
                _ => Executed::MySql(text.parse().map_err(bad)?),
            };
            Resume { place: earliest(connection).await?, executed, ..now.clone() }
        }
        (None, Some(file), Some(offset)) => {
            let place = Place::new(file, offset.max(4)).ok_or_else(|| {
                Error::new(Code::StartNotPossible, format!("{file:?} is not the name of a binlog file"))
                    .help("write a name that SHOW BINARY LOGS lists, such as bin.000003")
            })?;
            let at_place = Resume { place: place.clone(), executed: Executed::None, ..now.clone() };
            verify(connection, &at_place).await?;
            check_begins(config, &place).await?;
            at(connection, now, place).await?
        }
        _ => return Err(Error::new(Code::Bug, "a specific offset without file and GTID set passed the checks")),
    };
    verify(connection, &resume).await?;
    Ok(resume)
}

/// Refuses a place in the middle of a transaction, whose rest would be lost.
async fn check_begins(config: &Config, place: &Place) -> Result<()> {
    let start = BinlogStart::FilePosition { file: place.file().to_owned(), position: place.offset };
    let mut log = Log::open(config, start, config.server_id).await?;
    while let Some(()) = log.advance().await? {
        let header = Header::parse(&log.event)?;
        if header.is_artificial() || header.next_position == 0 || is_between(header.event_type) {
            continue;
        }
        if BEGINS.contains(&header.event_type) {
            return Ok(());
        }
        return Err(Error::new(Code::StartNotPossible, format!("no transaction begins at {place}"))
            .fact("found", format!("an event of type {}", header.event_type))
            .help("choose a place where SHOW BINLOG EVENTS lists a Gtid or Anonymous_Gtid event"));
    }
    Ok(())
}

/// Events with which transactions begin.
const BEGINS: [u8; 4] =
    [event_type::GTID, event_type::ANONYMOUS_GTID, event_type::MARIADB_GTID, event_type::GTID_TAGGED];

/// Events between transactions: at the head and the end of a file, and signs of life.
fn is_between(kind: u8) -> bool {
    use event_type as t;
    [
        t::FORMAT_DESCRIPTION,
        t::PREVIOUS_GTIDS,
        t::MARIADB_GTID_LIST,
        t::MARIADB_BINLOG_CHECKPOINT,
        t::MARIADB_START_ENCRYPTION,
        t::ROTATE,
        t::STOP,
        t::HEARTBEAT,
        t::HEARTBEAT_V2,
    ]
    .contains(&kind)
}

/// Whether nothing comes after it in its transaction but rows.
fn is_last(query: &Query<'_>) -> bool {
    use Control as c;
    matches!(Statement::of(query).control(), c::None | c::Commit | c::Rollback | c::XaCommit | c::XaRollback)
}

/// Refuses a start from which a statement has changed a captured table up to now.
///
/// # Errors
/// `StartNotPossible`, naming the statement and its place; what reading the log can end in.
pub async fn check_shapes(config: &Config, from: &Resume, now: &Resume, tables: &Tables) -> Result<()> {
    if from.place >= now.place && from.executed == now.executed {
        return Ok(());
    }
    let mut log = Log::open(config, from.start(), config.server_id).await?;
    while let Some(()) = log.advance().await? {
        let place = log.place();
        log.look(|header, data| {
            let statement = match data {
                EventData::Query(query) => Statement::of(query).into_owned(),
                EventData::CompressedQuery(query) => Statement::of(&query.inflate(&mut Vec::new())?).into_owned(),
                _ => return Ok(()),
            };
            let _ = header;
            if statement.control() != Control::None {
                return Ok(());
            }
            match effect(&statement, tables, &from.place)
                .and_then(|ddl| ddl.map_or(Ok(false), |ddl| ddl.reshapes(tables)))
            {
                Ok(false) => Ok(()),
                Ok(true) | Err(_) => Err(refused(&statement.text, &place)),
            }
        })?;
    }
    Ok(())
}

#[cold]
fn refused(statement: &str, place: &str) -> Error {
    let message =
        "a captured table was changed between the start asked for and now, so its columns there are not known";
    Error::new(Code::StartNotPossible, message)
        .fact("statement", statement.chars().take(200).collect::<String>())
        .fact("position", place.to_owned())
        .help("begin after that statement, or with `scan.startup.mode: initial`")
}

/// Where the first transaction begins that was committed at or after a time.
async fn first_since(config: &Config, connection: &mut Connection, micros: i64) -> Result<Option<Place>> {
    for file in binlog_files(connection).await?.into_iter().rev() {
        let start = BinlogStart::FilePosition { file: file.file().to_owned(), position: 4 };
        let mut log = Log::open(config, start, config.server_id).await?;
        // The file's own time is that of its first event: an older file may still hold the first transaction.
        if log.created_micros().await?.is_some_and(|created| created >= micros) {
            continue;
        }
        return log.first_since(micros).await;
    }
    Ok(Some(earliest(connection).await?))
}

/// The log from a place to its present end, event by event.
pub struct Log {
    endpoint: Endpoint,
    request: BinlogRequest,
    stream: BinlogStream,
    event: Vec<u8>,
    format: EventFormat,
    file: String,
    begin: u64,
    next: u64,
    /// Where places are numbers of transactions: that of the last one that has begun, and whether no statement of it comes any
    /// more.
    number: Option<u64>,
    is_whole: bool,
    until: Option<Place>,
    /// The server, which must not be another when the dump has to begin anew.
    server: ServerName,
    read: Read,
}

/// The transactions of a MariaDB server that were read, for a proof that a torn end hides no others.
#[derive(Default)]
struct Read {
    /// Those before the start; not known yet where that lies within a file.
    before: Option<MariaPosition>,
    since: MariaPosition,
    current: Option<MariaGtid>,
    /// A file had a torn end: the next one has to say what was committed before it.
    torn_end: bool,
}

impl Read {
    /// All that were read to their end.
    fn whole(&self) -> Executed {
        let mut all = self.before.clone().unwrap_or_default();
        self.since.iter().for_each(|gtid| all.advance(gtid));
        Executed::MariaDb(all)
    }

    fn begins(&mut self, gtid: MariaGtid, is_whole: bool) {
        self.ends(is_whole);
        self.current = Some(gtid);
    }

    fn ends(&mut self, is_whole: bool) {
        if let Some(gtid) = self.current.take_if(|_| is_whole) {
            self.since.advance(gtid);
        }
    }

    fn file_goes_on(&mut self, list: &MariaDbGtidList<'_>) -> Result<()> {
        if std::mem::take(&mut self.torn_end) {
            return nothing_is_missing(&self.whole(), list);
        }
        if self.since.is_empty() {
            self.before.get_or_insert_with(|| committed_before(list));
        }
        Ok(())
    }
}

impl Log {
    /// Begins to read, under an id that no other session of the server has.
    ///
    /// # Errors
    /// As [`Connection::dump`].
    pub async fn open(config: &Config, start: BinlogStart, server_id: u32) -> Result<Self> {
        Self::up_to(config, start, server_id, None).await
    }

    /// As [`Log::open`], to a place that may not be in the log yet, where places are numbers.
    ///
    /// # Errors
    /// As [`Connection::dump`].
    pub async fn up_to(config: &Config, start: BinlogStart, server_id: u32, until: Option<&Place>) -> Result<Self> {
        let mut connection = Connection::connect(&config.endpoint).await?;
        let server = identify(&mut connection).await?;
        let before = match &start {
            BinlogStart::MariaDbGtids(gtids) => gtids.parse().ok(),
            _ => None,
        };
        let request = BinlogRequest {
            server_id,
            start,
            heartbeat: config.options.heartbeat_interval,
            replica_uuid: None,
            wait_at_end: until.is_some(),
        };
        Ok(Self {
            endpoint: config.endpoint.clone(),
            stream: connection.dump(&request).await?,
            request,
            event: Vec::new(),
            format: EventFormat::unknown(),
            file: String::new(),
            begin: 4,
            next: 4,
            number: None,
            is_whole: false,
            until: until.cloned(),
            server,
            read: Read { before, ..Read::default() },
        })
    }

    /// Takes the next event; whether there is one.
    async fn take(&mut self) -> Result<bool> {
        self.event.clear();
        loop {
            match self.stream.next_event().await {
                Ok(event) => {
                    event.into_iter().for_each(|event| self.event.extend_from_slice(event));
                    return Ok(!self.event.is_empty());
                }
                Err(error) if torn_file(&error).is_none() => return Err(error),
                Err(error) => self.pass_torn_end(error).await?,
            }
        }
    }

    async fn pass_torn_end(&mut self, error: Error) -> Result<()> {
        let mut connection = Connection::connect(&self.endpoint).await?;
        if identify(&mut connection).await? != self.server {
            return Err(error);
        }
        if let (None, BinlogStart::FilePosition { file, position }) = (&self.read.before, &self.request.start)
            && let Some(start) = Place::new(file, *position)
            && let Executed::MariaDb(before) = executed_at(&mut connection, &start).await?
        {
            self.read.before = Some(before);
        }
        self.read.ends(self.is_whole);
        (self.read.current, self.read.torn_end) = (None, true);
        self.stream = behind_torn_end(connection, &self.request, error).await?;
        Ok(())
    }

    /// Goes to the next event; `None` at the end.
    ///
    /// # Errors
    /// `LogDamaged`, `ConnectionLost`, `PositionLost`.
    pub async fn advance(&mut self) -> Result<Option<()>> {
        if self.has_ended() || !self.take().await? {
            return Ok(None);
        }
        let event = Event::parse(&self.event, &self.format)?;
        self.begin = self.next;
        if event.header.next_position != 0 && !event.header.is_artificial() {
            self.next = next_offset(self.next, event.header.size, event.header.next_position);
            self.begin = self.next - u64::from(event.header.size);
        }
        match event.data(&self.format)? {
            EventData::FormatDescription(format) => self.format = format,
            EventData::Gtid(gtid) if self.until.as_ref().is_some_and(|until| gtid.number >= until.offset) => {
                return Ok(None);
            }
            EventData::Gtid(gtid) => (self.number, self.is_whole) = (Some(gtid.number), false),
            EventData::MariaDbGtid(gtid) => {
                let server = event.header.server_id;
                let gtid = MariaGtid { domain: gtid.domain, server, sequence: gtid.sequence };
                self.read.begins(gtid, std::mem::take(&mut self.is_whole));
            }
            EventData::MariaDbGtidList(list) => self.read.file_goes_on(&list)?,
            EventData::Query(query) => self.is_whole |= is_last(&query),
            EventData::Xid(_) | EventData::XaPrepare(_) => self.is_whole = true,
            EventData::Rotate { file, position } => (self.file, self.next) = (file.to_owned(), position),
            _ => {}
        }
        Ok(Some(()))
    }

    /// Whether the place has come to which the log is read. On an idle server no event behind it tells.
    fn has_ended(&self) -> bool {
        self.is_whole && self.until.is_some() && self.end() >= self.until
    }

    /// Shows the event.
    ///
    /// # Errors
    /// `LogDamaged`, and those of `take`.
    pub fn look(&self, mut take: impl FnMut(&Header, &EventData<'_>) -> Result<()>) -> Result<()> {
        let event = Event::parse(&self.event, &self.format)?;
        take(&event.header, &event.data(&self.format)?)
    }

    /// Where the event begins; none before the server has named the file.
    fn begin(&self) -> Option<Place> {
        Place::new(&self.file, self.begin)
    }

    /// The server that wrote the event first.
    fn server_id(&self) -> Result<u32> {
        Ok(Header::parse(&self.event)?.server_id)
    }

    /// Where the event ends; none before the server has named the file.
    pub fn end(&self) -> Option<Place> {
        if self.endpoint.oceanbase {
            return self.number.map(|number| Place::of_number(number + 1));
        }
        Place::new(&self.file, self.next)
    }

    fn place(&self) -> String {
        format!("{}:{}", self.file, self.next)
    }

    async fn created_micros(&mut self) -> Result<Option<i64>> {
        while let Some(()) = self.advance().await? {
            let header = Header::parse(&self.event)?;
            if header.event_type == event_type::FORMAT_DESCRIPTION && header.timestamp > 0 {
                return Ok(Some(i64::from(header.timestamp) * 1_000_000));
            }
        }
        Ok(None)
    }

    /// When the transaction that begins here was committed, as far as its first event tells: MySQL's does; MariaDB's has
    /// the second in which its first statement began.
    fn committed_by(&self, header: &Header) -> Result<i64> {
        let mut micros = i64::from(header.timestamp) * 1_000_000 + 999_999;
        self.look(|_, data| {
            if let EventData::Gtid(gtid) | EventData::AnonymousGtid(gtid) = data
                && let Some(exact) = gtid.immediate_commit_micros
            {
                micros = exact as i64;
            }
            Ok(())
        })?;
        Ok(micros)
    }

    async fn first_since(&mut self, micros: i64) -> Result<Option<Place>> {
        while let Some(()) = self.advance().await? {
            let header = Header::parse(&self.event)?;
            if BEGINS.contains(&header.event_type) && self.committed_by(&header)? >= micros {
                return Ok(Place::new(&self.file, self.next - u64::from(header.size)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_statements_are_in_the_middle_of_a_transaction() {
        for kind in [event_type::QUERY, event_type::TABLE_MAP, event_type::XID] {
            assert!(!is_between(kind) && !BEGINS.contains(&kind), "{kind}");
        }
    }
}
