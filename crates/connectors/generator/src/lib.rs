//! Source `generator`: a small shop that lives in this process, for demos and tests without a database.
//!
//! It is the shop of `dujiang demo`: the tables `customers`, `products`, `orders`, `order_items` and `payments` of the
//! database `shop`; first what is there, as a snapshot, then transactions over up to five tables with inserts, updates
//! and deletes, and one `ALTER TABLE`. Everything follows from the seed: the same options give the same rows, and a
//! reader goes on at any position as if it had never stopped, because every row is computed from its step alone.
//!
//! ```yaml
//! source:
//!   type: generator
//!   seed: 1
//!   rate: 1000
//! ```

mod columns;
mod place;
mod reader;
mod shop;
mod tables;

use async_trait::async_trait;
use dujiang_core::connector::{PipelineOptions, SourceSpec};
use dujiang_core::options::{Problem, RawOption};
use dujiang_core::source::{Acker, Reader, Source, SourceContext};
use dujiang_core::{Code, Position, Result, TableSchema};
use place::Place;
use shop::Shop;
use std::sync::Arc;
use tables::Table;

dujiang_core::options! {
    /// Options of the `generator` source.
    pub struct GeneratorOptions {
        /// Equal seeds give equal rows.
        "seed" => seed: u64, default "1";
        /// Changes a second, about; `0` makes them as fast as they can be taken. They go on while no pipeline runs, as
        /// they would in a database: a pipeline that comes back finds them waiting.
        "rate" => rate: u32, default "1000";
        /// Ends after this many changes, at the end of a transaction; the snapshot's rows count. Endless if unset.
        "rows" => rows: u64, optional;
        /// Customers, and as many orders, that are there before the first transaction.
        "initial-rows" => initial_rows: std::num::NonZeroU32, default "2000";
        /// The transaction before which `customers` gets another column; `0` never.
        "alter-after" => alter_after: u64, default "2000";
        /// The tables to read, separated by commas: `customers`, `products`, `orders`, `order_items`, `payments`.
        "tables" => tables: String, default "customers,products,orders,order_items,payments";
    }
}

/// How the command line knows this source.
pub const SPEC: SourceSpec = SourceSpec {
    kind: "generator",
    summary: "a small shop that lives in this process, for demos and tests",
    options: GeneratorOptions::DEFS,
    build,
};

fn build(raw: &[RawOption], _pipeline: &PipelineOptions) -> dujiang_core::connector::Built<dyn Source> {
    let options = GeneratorOptions::parse(raw)?;
    Ok(Box::new(Generator::new(&options)?))
}

/// The source.
pub struct Generator {
    shop: Shop,
    tables: Vec<Table>,
    rows: Option<u64>,
}

impl Generator {
    /// A shop with these options.
    ///
    /// # Errors
    /// A problem for every word of `tables` that names no table, or for none at all.
    pub fn new(options: &GeneratorOptions) -> Result<Self, Vec<Problem>> {
        let tables = chosen_tables(options)?;
        let opening = u64::from(options.initial_rows.get());
        let shop = Shop { seed: options.seed, opening, alter_after: options.alter_after, rate: options.rate };
        Ok(Self { shop, tables, rows: options.rows })
    }

    fn schemas(&self, altered: bool) -> Vec<Arc<TableSchema>> {
        self.tables.iter().map(|table| table.schema(altered)).collect()
    }
}

fn chosen_tables(options: &GeneratorOptions) -> Result<Vec<Table>, Vec<Problem>> {
    let names = || Table::ALL.iter().map(|table| table.name());
    let words: Vec<&str> = options.tables.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    let unknown = words.iter().filter(|word| !names().any(|name| name == **word));
    let mut problems: Vec<Problem> = unknown
        .map(|word| {
            let message = format!("the shop has no table `{word}`");
            let nearest = dujiang_core::options::nearest(word, names());
            let help = nearest.map_or_else(
                || format!("choose from {}", names().collect::<Vec<_>>().join(", ")),
                |name| format!("did you mean `{name}`?"),
            );
            Problem::new(Code::NoTable, message, options.place("tables")).help(help)
        })
        .collect();
    if words.is_empty() {
        let problem = Problem::new(Code::NoTable, "`tables` names no table", options.place("tables"));
        problems.push(problem.help("leave the option out to read all of them"));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Table::ALL.into_iter().filter(|table| words.contains(&table.name())).collect())
}

#[async_trait]
impl Source for Generator {
    async fn discover(&self) -> Result<Vec<Arc<TableSchema>>> {
        Ok(self.schemas(false))
    }

    async fn open(&self, from: Option<Position>, context: SourceContext) -> Result<(Box<dyn Reader>, Box<dyn Acker>)> {
        let place = match from {
            Some(position) => Place::read(&position, &self.shop)?,
            None => Place::beginning(context.clock.now_micros()),
        };
        let reader = reader::ShopReader::new(self.shop, self.tables.clone(), self.rows, place, context);
        Ok((Box::new(reader), Box::new(NothingToAck)))
    }

    fn describe(&self, position: &Position) -> String {
        Place::read(position, &self.shop).map_or_else(|error| error.message().to_owned(), |place| place.describe())
    }

    async fn schemas_at(&self, position: &Position) -> Result<Vec<Arc<TableSchema>>> {
        Ok(Place::read(position, &self.shop).map_or_else(|_| Vec::new(), |place| self.schemas(place.altered)))
    }
}

/// A shop that computes its rows keeps no log that could be cut.
struct NothingToAck;

#[async_trait]
impl Acker for NothingToAck {
    async fn ack(&mut self, _position: &Position) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
