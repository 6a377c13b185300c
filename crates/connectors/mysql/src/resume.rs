//! Where to read on, and the errors of a place that cannot be read on from.

use crate::client::BinlogStart;
use crate::gtid::Executed;
use crate::place::Place;
use crate::position::{Mark, ServerName};
use dujiang_core::{Code, Error};

/// Where to read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The server that the place belongs to.
    pub server: ServerName,
    /// A transaction boundary.
    pub place: Place,
    /// All transactions before it.
    pub executed: Executed,
    /// Where the dump has to begin, if that is before the place for the sake of undecided transactions.
    pub first: Option<(Place, Executed)>,
    /// Whether the place itself matters, since hand-off points are compared with it: then no other server will do.
    pub bound_to_server: bool,
    /// The last transaction before the place.
    pub mark: Option<Mark>,
    /// The very server, if it is known and the place is bound to it.
    pub instance: Option<Instance>,
}

impl Resume {
    /// Where the dump is to begin.
    pub fn start(&self) -> BinlogStart {
        let (place, executed) = match &self.first {
            Some((place, executed)) => (place, executed),
            None => (&self.place, &self.executed),
        };
        let at_place = || BinlogStart::FilePosition { file: place.file().to_owned(), position: place.offset };
        match executed {
            Executed::None => at_place(),
            // Nothing is in the log yet, or the ids before the place are not known: the place is all there is.
            Executed::MariaDb(position) if position.is_empty() => at_place(),
            Executed::MariaDb(position) => BinlogStart::MariaDbGtids(position.to_string()),
            Executed::MySql(set) => BinlogStart::MySqlGtidSet(set.encode()),
        }
    }

    /// Whether the dump begins at the place itself, and not where the server finds the ids.
    pub(crate) fn is_by_place(&self) -> bool {
        matches!(self.start(), BinlogStart::FilePosition { .. })
    }
}

/// One server process, told from others that share its address, within one run of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub(crate) name: ServerName,
    /// Where a MariaDB server runs: its id is 1 wherever nobody has set it.
    pub(crate) runs_at: String,
}

#[cold]
pub(crate) fn other_server(name: &ServerName, resume: &Resume, why: &str) -> Error {
    Error::new(Code::OtherServer, format!("this is not the server the pipeline followed: {why}"))
        .fact("server", format!("{} {}", name.family, name.id))
        .fact("followed", format!("{} {}", resume.server.family, resume.server.id))
        .fact("position", format!("{} ({})", resume.place, resume.executed))
        .help("connect to the server that was followed or to a replica of it, or start a new pipeline")
}

#[cold]
pub(crate) fn lost(resume: &Resume, why: &str) -> Error {
    Error::new(Code::PositionLost, format!("the source no longer has the log after {}: {why}", resume.place))
        .fact("position", format!("{} ({})", resume.place, resume.executed))
        .help("keep binlogs longer (binlog_expire_logs_seconds, expire_logs_days); start a new pipeline with a new snapshot")
}
