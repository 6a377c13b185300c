//! P02: random sequences of DDL and DML, image by image.

use super::harness::*;
use dujiang_core::Kind;
use dujiang_scratch::{Options, Random, Server};

/// A column of the model.
#[derive(Clone)]
struct Column {
    name: String,
    kind: &'static str,
}

const TYPES: &[&str] = &[
    "INT",
    "BIGINT UNSIGNED",
    "VARCHAR(20) CHARACTER SET latin1",
    "VARCHAR(9) CHARACTER SET utf8mb4",
    "DECIMAL(10,2)",
    "ENUM('a','b','c')",
];

/// A table as the statements say it is, independent of what reads the log.
struct Model {
    name: String,
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    /// The images that the log must hold: kind and cells.
    images: Vec<(Kind, Vec<String>)>,
    names: u64,
    serial: u64,
}

impl Model {
    fn new(name: &str) -> (Self, String) {
        let columns = vec![Column { name: "id".into(), kind: "INT" }, Column { name: "v".into(), kind: "INT" }];
        let model = Self { name: name.into(), columns, rows: Vec::new(), images: Vec::new(), names: 0, serial: 0 };
        (model, format!("CREATE TABLE {name} (id INT PRIMARY KEY, v INT) DEFAULT CHARSET latin1"))
    }

    fn value(&mut self, at: usize, random: &mut Random) -> String {
        self.serial += 1;
        let n = self.serial;
        match self.columns[at].kind {
            "INT" | "BIGINT" => format!("-{n}"),
            "BIGINT UNSIGNED" => format!("{}", u64::MAX - n),
            "DECIMAL(10,2)" => format!("{n}.25"),
            kind if kind.starts_with("ENUM") => random.pick(&["a", "b", "c"]).into(),
            kind if kind.ends_with("utf8mb4") => format!("日😀{n}"),
            _ => format!("éß€{n}"),
        }
    }

    fn id(&self) -> usize {
        self.columns.iter().position(|c| c.name == "id").unwrap()
    }

    fn insert(&mut self, random: &mut Random) -> String {
        let mut row: Vec<String> = (0..self.columns.len())
            .map(|at| if random.chance(20) { "NULL".into() } else { self.value(at, random) })
            .collect();
        let id = self.id();
        row[id] = (1000 + self.serial).to_string();
        self.serial += 1;
        self.images.push((Kind::Insert, row.clone()));
        self.rows.push(row.clone());
        let literal = |v: &String| if v == "NULL" { v.clone() } else { format!("'{v}'") };
        format!("INSERT INTO {} VALUES ({})", self.name, row.iter().map(literal).collect::<Vec<_>>().join(", "))
    }

    fn dml(&mut self, random: &mut Random) -> String {
        let id = self.id();
        if self.rows.is_empty() || random.chance(40) {
            return self.insert(random);
        }
        let at = random.below(self.rows.len() as u64) as usize;
        let key = self.rows[at][id].clone();
        if random.chance(25) {
            let row = self.rows.remove(at);
            self.images.push((Kind::Delete, row));
            return format!("DELETE FROM {} WHERE id = {key}", self.name);
        }
        let column = random.below(self.columns.len() as u64) as usize;
        let before = self.rows[at].clone();
        let value = if column == id { (1000 + self.serial).to_string() } else { self.value(column, random) };
        self.serial += 1;
        self.rows[at][column] = value.clone();
        if before != self.rows[at] {
            self.images.push((Kind::UpdateBefore, before));
            self.images.push((Kind::UpdateAfter, self.rows[at].clone()));
        }
        format!("UPDATE {} SET {} = '{value}' WHERE id = {key}", self.name, self.columns[column].name)
    }

    /// The place of a column that is put somewhere, and how a statement says so.
    fn place(&self, without: Option<usize>, random: &mut Random) -> (usize, String) {
        let others: Vec<usize> = (0..self.columns.len()).filter(|at| Some(*at) != without).collect();
        match random.below(3) {
            0 => (0, " FIRST".into()),
            1 => (others.len(), format!(" AFTER {}", self.columns[*others.last().unwrap()].name)),
            _ => {
                let after = random.below(others.len() as u64) as usize;
                (after + 1, format!(" AFTER {}", self.columns[others[after]].name))
            }
        }
    }

    fn clause(&mut self, random: &mut Random) -> String {
        let id = self.id();
        let plain: Vec<usize> = (0..self.columns.len()).filter(|at| *at != id).collect();
        let chosen = plain.get(random.below(plain.len().max(1) as u64) as usize).copied();
        match (random.below(6), chosen) {
            (0..=1, _) | (_, None) => {
                self.names += 1;
                let column = Column {
                    name: format!("`c {}`", self.names),
                    kind: TYPES[random.below(TYPES.len() as u64) as usize],
                };
                let (at, place) = self.place(None, random);
                self.columns.insert(at, column.clone());
                self.rows.iter_mut().for_each(|row| row.insert(at, "NULL".into()));
                format!("ADD COLUMN {} {}{place}", column.name, column.kind)
            }
            (2, Some(at)) => {
                let gone = self.columns.remove(at);
                self.rows.iter_mut().for_each(|row| drop(row.remove(at)));
                format!("DROP COLUMN {}", gone.name)
            }
            (3, Some(at)) => {
                self.names += 1;
                let old = std::mem::replace(&mut self.columns[at].name, format!("r{}", self.names));
                format!("CHANGE {old} {} {}", self.columns[at].name, self.columns[at].kind)
            }
            (4, Some(at)) => {
                // Types that show every value of the old one as the same text.
                let wider = match self.columns[at].kind {
                    "VARCHAR(20) CHARACTER SET latin1" => "VARCHAR(40) CHARACTER SET utf8mb4",
                    "ENUM('a','b','c')" => "ENUM('c','b','a','d')",
                    "INT" => "BIGINT",
                    other => other,
                };
                self.columns[at].kind = wider;
                format!("MODIFY {} {wider}", self.columns[at].name)
            }
            (_, Some(at)) => {
                let (to, place) = self.place(Some(at), random);
                let column = self.columns.remove(at);
                let sql = format!("MODIFY COLUMN {} {}{place}", column.name, column.kind);
                self.columns.insert(to, column);
                for row in &mut self.rows {
                    let cell = row.remove(at);
                    row.insert(to, cell);
                }
                sql
            }
        }
    }

    fn ddl(&mut self, random: &mut Random) -> String {
        if random.chance(6) {
            self.rows.clear();
            return format!("TRUNCATE TABLE {}", self.name);
        }
        let first = self.clause(random);
        // A second clause of the same statement sees the columns as they were: only one that names none of them is sure.
        self.names += 1;
        let second = if random.chance(30) {
            self.columns.push(Column { name: format!("x{}", self.names), kind: "INT" });
            self.rows.iter_mut().for_each(|row| row.push("NULL".into()));
            format!(", ADD x{} INT", self.names)
        } else {
            String::new()
        };
        format!("ALTER TABLE {} {first}{second}", self.name)
    }
}

const CASES: usize = 102;
const CASES_AT_A_TIME: usize = 6;

/// P02, P06, INV-10: the stream's images are those of the model, column by column, in order, whatever the DDL between
/// them, with restarts at random; and the rows at the end are the server's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_random_ddl_and_dml_image_by_image() {
    let seed = std::env::var("DUJIANG_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20261127);
    println!("seed {seed} (DUJIANG_SEED)");
    // Table maps that tell no names: nothing but the statements and the catalog explains rows.
    let server = Server::start(&Options { row_metadata: "NO_LOG", ..Options::default() }).unwrap();
    server.sql("CREATE DATABASE d").unwrap();
    let mut pipeline = Pipeline::new(source(&server, r"d.p\.*", &[]));
    server.sql("CREATE TABLE d.p (id INT PRIMARY KEY)").unwrap();
    pipeline.until("caught-up").await.unwrap();
    let mut random = Random::new(seed);
    let mut session = server.session().unwrap();
    session.run("USE d; SET NAMES utf8mb4").unwrap();
    for round in 0..CASES / CASES_AT_A_TIME {
        let mut models = Vec::new();
        for case in 0..CASES_AT_A_TIME {
            let (model, sql) = Model::new(&format!("p{round}_{case}"));
            session.run(&sql).unwrap();
            models.push(model);
        }
        for _ in 0..CASES_AT_A_TIME * 16 {
            let model = &mut models[random.below(CASES_AT_A_TIME as u64) as usize];
            let sql = if random.chance(30) { model.ddl(&mut random) } else { model.dml(&mut random) };
            session.run(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        let wanted = sequence(&last_gtid(&server));
        let crashes = pipeline.crashes;
        while sequence(&pipeline.status().position) < wanted {
            pipeline.step().await.unwrap();
            if random.chance(10) {
                pipeline.barrier().unwrap();
            }
            if random.chance(4) && pipeline.crashes < crashes + 4 {
                pipeline.crash();
                pipeline.open().await.unwrap();
            }
        }
        pipeline.barrier().unwrap();
        for model in models {
            let table = format!("d.{}", model.name);
            let images = pipeline.sink.images.iter().filter(|i| i.table == table);
            let images: Vec<_> = images.map(|i| (i.kind, i.cells.clone())).collect();
            for (n, (actual, expected)) in images.iter().zip(&model.images).enumerate() {
                assert_eq!(actual, expected, "image {n} of {table}, round {round}");
            }
            assert_eq!(images.len(), model.images.len(), "{table}");
            let key = model.id();
            let mut expected = session.run(&format!("SELECT * FROM {table}")).unwrap();
            expected.sort();
            let mut rows: Vec<Vec<String>> = model.rows.clone();
            rows.sort();
            let text = |row: Vec<Option<String>>| {
                row.into_iter().map(|c| c.unwrap_or_else(|| "NULL".into())).collect::<Vec<_>>()
            };
            let mut expected: Vec<_> = expected.into_iter().map(text).collect();
            expected.sort();
            assert_eq!(rows, expected, "the model itself: {table}");
            for row in expected {
                let found = pipeline.sink.rows[&table].get(&row[key..=key]);
                assert!(found.is_some_and(|found| same_row(found, &row)), "{table}: {row:?}, sink {found:?}");
            }
        }
    }
    println!("{CASES} cases, {} crashes, {} changes told", pipeline.crashes, pipeline.changes.len());
}
