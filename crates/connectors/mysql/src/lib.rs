//! The sources `mysql` and `mariadb`: tables of a MySQL or MariaDB server, first everything that is there, then every
//! change, by chunks of a snapshot and by the binlog.

pub mod catalog;
pub mod client;
pub mod config;
pub mod ddl;
pub mod decode;
pub mod gtid;
pub mod position;
pub mod preflight;
pub mod reader;
pub mod server;
pub mod shape;
pub mod snapshot;
pub mod source;
mod startup;
pub mod stream;

use config::{Config, MysqlOptions};
use dujiang_core::connector::{PipelineOptions, SourceSpec};
use dujiang_core::options::{Problem, RawOption};
use dujiang_core::source::Source;

/// The sources of this crate. Both names read either family: the server says what it is.
pub const SPECS: [SourceSpec; 2] = [
    SourceSpec {
        kind: "mysql",
        summary: "tables of a MySQL server: a snapshot, then every change from its binlog",
        options: MysqlOptions::DEFS,
        build,
    },
    SourceSpec {
        kind: "mariadb",
        summary: "tables of a MariaDB server: a snapshot, then every change from its binlog",
        options: MysqlOptions::DEFS,
        build,
    },
];

fn build(options: &[RawOption], pipeline: &PipelineOptions) -> Result<Box<dyn Source>, Vec<Problem>> {
    Ok(Box::new(source::MysqlSource::new(Config::parse(options, pipeline)?)))
}

/// Stand-in until the catalog is there.
async fn source_tables(
    connection: &mut client::Connection,
    config: &config::Config,
) -> dujiang_core::Result<Vec<(dujiang_core::TableId, Vec<String>)>> {
    let rows = connection
        .query(
            "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE CONSTRAINT_NAME = \
             'PRIMARY' ORDER BY 1, 2, ORDINAL_POSITION",
        )
        .await?;
    let mut all: Vec<(dujiang_core::TableId, Vec<String>)> = Vec::new();
    for row in rows.iter() {
        let id = dujiang_core::TableId::new(row.required(0)?, row.required(1)?);
        let text = id.to_string();
        let hit = config.options.tables.split(',').any(|p| {
            let p = p.trim().replace("\\.", ".");
            p == text || p.strip_suffix(".*").is_some_and(|d| text.starts_with(d) && d.len() < text.len())
        });
        if !hit {
            continue;
        }
        let column = row.required(2)?.to_owned();
        match all.last_mut() {
            Some((last, key)) if *last == id => key.push(column),
            _ => all.push((id, vec![column])),
        }
    }
    Ok(all)
}
