//! A server, a session, and the tables of a test in both of their forms: copied out and told by the stream.

pub mod literal;

use arrow_array::RecordBatch;
use dujiang_core::batch::TimePrecision;
use dujiang_core::{ChangeBatch, Kind, Origin};
use dujiang_postgres::catalog::{TableDetail, read};
use dujiang_postgres::client::{Connection, Endpoint, Session};
use dujiang_postgres::pgoutput::{Message, Relation};
use dujiang_postgres::shape::{Decodable, Shape};
use dujiang_postgres::values::{Keep, RowChange, TableBuilder, Types, ValueSettings};
use dujiang_scratch::{Postgres, PostgresKind, PostgresOptions};
use std::collections::HashMap;

pub struct Db {
    pub server: Postgres,
    pub connection: Connection,
    pub settings: ValueSettings,
    pub version: i32,
}

/// Starts every server, tells its version, and runs the test on it.
pub fn on_every_server(test: impl AsyncFn(&mut Db)) {
    for kind in PostgresKind::ALL {
        on(&PostgresOptions::default().on(kind), &test);
    }
}

pub fn on(options: &PostgresOptions, test: &impl AsyncFn(&mut Db)) {
    let server = Postgres::start_with(options).unwrap();
    println!("PostgreSQL {} ({})", server.version(), options.encoding);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut endpoint = Endpoint::new("127.0.0.1", server.port(), "postgres", "postgres");
        endpoint.tls.mode = dujiang_postgres::client::TlsMode::Disabled;
        let mut connection = Connection::connect(&endpoint, Session::Ordinary).await.unwrap();
        let database = read::database(&mut connection).await.unwrap();
        let settings = ValueSettings {
            money_scale: database.money_scale,
            unchecked_text: database.leaves_text_unchecked(),
            ..ValueSettings::default()
        };
        let mut db = Db { server, connection, settings, version: database.version };
        test(&mut db).await;
    });
}

pub fn origin() -> Origin<'static> {
    Origin { transaction: "t", position: "p", commit_micros: 0, precision: TimePrecision::Micros, first_ordinal: 0 }
}

/// A table as the catalog has it.
pub struct Known {
    pub detail: TableDetail,
    pub types: Types,
    pub shape: Shape,
    pub decodable: Decodable,
}

impl Db {
    pub async fn run(&mut self, sql: &str) {
        self.connection.execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    /// Rows as text.
    pub async fn rows(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        let rows = self.connection.simple(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let cells = rows.columns.len();
        rows.iter().map(|row| (0..cells).map(|at| row.opt(at).unwrap().map(str::to_owned)).collect()).collect()
    }

    pub async fn one(&mut self, sql: &str) -> String {
        self.rows(sql).await[0][0].clone().unwrap()
    }

    /// A publication of everything, and a slot.
    pub async fn publish(&mut self) {
        self.run("CREATE PUBLICATION p FOR ALL TABLES").await;
        self.slot().await;
    }

    pub async fn slot(&mut self) {
        self.rows("SELECT pg_catalog.pg_create_logical_replication_slot('s', 'pgoutput')").await;
    }

    pub async fn detail(&mut self, table: &str) -> Option<TableDetail> {
        let oid = self.one(&format!("SELECT '{table}'::pg_catalog.regclass::pg_catalog.oid")).await;
        read::details(&mut self.connection, &[oid.parse().unwrap()]).await.unwrap().pop()
    }

    pub async fn types_of(&mut self, detail: &TableDetail) -> Types {
        read::types(&mut self.connection, detail.columns.iter().map(|c| c.type_oid)).await.unwrap()
    }

    pub async fn know(&mut self, table: &str) -> Known {
        self.know_published(table, None, false).await
    }

    pub async fn know_published(&mut self, table: &str, columns: Option<&[String]>, key_images: bool) -> Known {
        let detail = self.detail(table).await.unwrap();
        let types = self.types_of(&detail).await;
        let shape = Shape::of_catalog(&detail, columns, &types, &self.settings, key_images).unwrap();
        let decodable = shape.decodable();
        Known { detail, types, shape, decodable }
    }

    pub fn builder(&self, decodable: &Decodable) -> TableBuilder {
        let (schema, columns) = (decodable.schema.clone(), decodable.columns.clone());
        let mut builder = TableBuilder::new(schema, columns, decodable.key_images, &self.settings).unwrap();
        builder.begin_span(origin());
        builder
    }

    /// The table, copied out in binary; rows in order of the first column. What was refused, and what could not be
    /// carried, is handed out beside.
    pub async fn copied(&mut self, table: &str, decodable: &Decodable) -> (Option<ChangeBatch>, Vec<String>) {
        let items: Vec<String> = decodable.columns.iter().map(|c| c.select_item()).collect();
        let list = items.join(", ");
        let sql = format!("COPY (SELECT {list} FROM {table} ORDER BY 1) TO STDOUT (FORMAT binary)");
        let mut builder = self.builder(decodable);
        let mut refused = Vec::new();
        let mut copy = self.connection.copy_out(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        while let Some(row) = copy.next().await.unwrap() {
            if let Err(refusal) = builder.append_copy(row) {
                refused.push(format!("{refusal:?}"));
            }
        }
        let batch = builder.finish().unwrap();
        refused.extend(batch.iter().flat_map(unfit));
        (batch, refused)
    }

    /// What the slot holds, message by message; it is taken out unless `peek`.
    pub async fn messages(&mut self, peek: bool, binary: bool) -> Vec<Vec<u8>> {
        let how = if peek { "peek" } else { "get" };
        let options = format!("'proto_version', '1', 'publication_names', 'p', 'binary', '{binary}'");
        let sql =
            format!("SELECT data FROM pg_catalog.pg_logical_slot_{how}_binary_changes('s', NULL, NULL, {options})");
        let rows = self.connection.query(&sql, &[]).await.unwrap_or_else(|e| panic!("{e:?}"));
        rows.iter().map(|row| row.bytes(0).unwrap().to_vec()).collect()
    }
}

/// What a stream told of some tables, by name.
#[derive(Default)]
pub struct Told {
    pub relations: Vec<Relation>,
    pub batches: HashMap<String, ChangeBatch>,
    pub refused: Vec<String>,
}

/// Decodes messages whose tables do not change.
pub fn decoded(db: &Db, messages: &[Vec<u8>], tables: &HashMap<String, Decodable>) -> Told {
    let mut told = Told::default();
    let mut builders: HashMap<u32, (String, TableBuilder)> = HashMap::new();
    for message in messages {
        let (relation, change) = match Message::read(message, false).unwrap().0 {
            Message::Relation(relation) => {
                if let Some(decodable) = tables.get(&relation.table) {
                    builders.entry(relation.oid).or_insert_with(|| (relation.table.clone(), db.builder(decodable)));
                }
                told.relations.push(relation);
                continue;
            }
            Message::Insert { relation, new } => (relation, RowChange::Insert(new)),
            Message::Update { relation, old, new } => (relation, RowChange::Update { old, new }),
            Message::Delete { relation, old } => (relation, RowChange::Delete(old)),
            _ => continue,
        };
        let Some((_, builder)) = builders.get_mut(&relation) else { continue };
        if let Err(refused) = builder.append(change, Keep::Whole, &[]) {
            told.refused.push(format!("{refused:?}"));
        }
    }
    for (name, mut builder) in builders.into_values() {
        if let Some(batch) = builder.finish().unwrap() {
            told.refused.extend(unfit(&batch));
            told.batches.insert(name, batch);
        }
    }
    told
}

/// What the records with values that could not be carried say.
pub fn unfit(batch: &ChangeBatch) -> Vec<String> {
    batch.unfit_records().iter().map(|(_, error)| error.to_string()).collect()
}

/// The images of some kind, each as literals of its cells.
pub fn images(batch: &ChangeBatch, kinds: &[Kind]) -> Vec<Vec<Option<String>>> {
    let rows = (0..batch.images()).filter(|row| kinds.contains(&batch.kinds[*row]));
    rows.map(|row| literals(&batch.rows, row)).collect()
}

pub fn literals(rows: &RecordBatch, row: usize) -> Vec<Option<String>> {
    let fields = rows.schema();
    fields.fields().iter().zip(rows.columns()).map(|(f, column)| literal::of(f, column.as_ref(), row)).collect()
}
