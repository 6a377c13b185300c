use super::model::{Habits, alter};
use super::plan::{After, Known, plan};
use super::*;
use crate::shape::{Shape, ShapeColumn};
use dujiang_core::{Result, TableId};
use std::collections::HashMap;

const MARIADB: Reading = Reading { mariadb: true, version: 101_106, sql_mode: 0 };
const MYSQL: Reading = Reading { mariadb: false, version: 80_400, sql_mode: 0 };

fn habits(reading: Reading) -> Habits {
    let collations = [("latin1", "latin1_swedish_ci"), ("utf8mb4", "utf8mb4_general_ci"), ("binary", "binary")];
    Habits {
        reading,
        collations: collations.map(|(a, b)| (a.to_owned(), b.to_owned())).into(),
        explicit_timestamps: true,
        database: Some("utf8mb4_general_ci".into()),
        zero_dates: Default::default(),
    }
}

fn column(name: &str, column_type: &str, nullable: bool) -> ShapeColumn {
    ShapeColumn { name: name.into(), column_type: column_type.into(), charset: None, collation: None, nullable }
}

fn shape(table: &str) -> Shape {
    let text = ShapeColumn {
        charset: Some("latin1".into()),
        collation: Some("latin1_swedish_ci".into()),
        ..column("name", "varchar(20)", true)
    };
    Shape {
        database: "shop".into(),
        table: table.into(),
        version: 1,
        columns: vec![column("id", "int(11)", false), text, column("total", "decimal(10,2)", true)],
        key: vec![0],
        key_name: Some("PRIMARY".into()),
        collation: Some("latin1_swedish_ci".into()),
        zero_dates: Default::default(),
    }
}

/// Captured: `shop.orders` and `shop.a`; wanted: everything of `shop` that begins with `n`.
struct World {
    captured: HashMap<TableId, Shape>,
    shadows: HashMap<TableId, Shape>,
    online: bool,
}

fn world() -> World {
    let captured = ["orders", "a"].map(|t| (TableId::new("shop", t), shape(t)));
    World { captured: captured.into(), shadows: HashMap::new(), online: false }
}

impl Known for World {
    fn spelled(&self, written: &TableId) -> TableId {
        written.clone()
    }
    fn captured(&self, table: &TableId) -> Option<&Shape> {
        self.captured.get(table)
    }
    fn riddle(&self, _: &TableId) -> Option<&str> {
        None
    }
    fn shadow(&self, table: &TableId) -> Option<&Shape> {
        self.shadows.get(table)
    }
    fn of_database(&self, database: &str) -> Vec<TableId> {
        let mut all: Vec<_> = self.captured.keys().filter(|t| *t.database == *database).cloned().collect();
        all.sort();
        all
    }
    fn is_wanted(&self, table: &TableId) -> Result<bool> {
        Ok(self.captured.contains_key(table) || (&*table.database == "shop" && table.table.starts_with('n')))
    }
    fn is_ghost_of(&self, ghost: &TableId, table: &TableId) -> bool {
        self.online && *ghost.table == *format!("_{}_gho", table.table)
    }
    fn is_ghost(&self, table: &TableId) -> bool {
        table.table.starts_with('_')
    }
}

fn read_as(sql: &str, reading: Reading) -> Effect {
    effect(sql, "shop", &reading)
}

/// The columns of `shop.orders` after a statement, e.g. `id int(11) not null*` (`*`: key).
fn columns_as(sql: &str, reading: Reading) -> String {
    let Effect::Tables(actions) = read_as(sql, reading) else { return format!("{:?}", read_as(sql, reading)) };
    let Some(Action::Alter { alterations, unclear: None, .. }) = actions.first() else { return format!("{actions:?}") };
    match alter(&shape("orders"), alterations, &habits(reading)) {
        Ok(altered) => show(&altered.shape),
        Err(why) => why,
    }
}

fn show(shape: &Shape) -> String {
    let one = |(at, c): (usize, &ShapeColumn)| {
        let collation = c.collation.as_ref().map_or(String::new(), |c| format!(" {c}"));
        let null = if c.nullable { "" } else { " not null" };
        let key = if shape.key.contains(&at) { "*" } else { "" };
        format!("{} {}{collation}{null}{key}", c.name, c.column_type)
    };
    shape.columns.iter().enumerate().map(one).collect::<Vec<_>>().join(", ")
}

fn columns(sql: &str) -> String {
    columns_as(sql, MARIADB)
}

const ID: &str = "id int(11) not null*";
const NAME: &str = "name varchar(20) latin1_swedish_ci";
const TOTAL: &str = "total decimal(10,2)";

#[test]
fn added_and_dropped_columns_are_carried_out() {
    for (sql, expected) in [
        ("ALTER TABLE orders ADD note text", format!("{ID}, {NAME}, {TOTAL}, note text latin1_swedish_ci")),
        (
            "alter table `shop`.`orders` add column (a int unsigned not null default 0, b enum('x,y','it''s'))",
            format!("{ID}, {NAME}, {TOTAL}, a int(10) unsigned not null, b enum('x,y','it''s') latin1_swedish_ci"),
        ),
        (
            "ALTER TABLE orders ADD COLUMN IF NOT EXISTS d decimal(12) default -1.5 FIRST, DROP COLUMN name",
            format!("d decimal(12,0), {ID}, {TOTAL}"),
        ),
        (
            "ALTER ONLINE TABLE orders DROP IF EXISTS y, ADD c character varying(9) charset utf8mb4 AFTER `id`, LOCK=NONE",
            format!("{ID}, c varchar(9) utf8mb4_general_ci, {NAME}, {TOTAL}"),
        ),
        (
            "ALTER TABLE orders ADD t timestamp(6) not null default current_timestamp(6) on update current_timestamp(6)",
            format!("{ID}, {NAME}, {TOTAL}, t timestamp(6) not null"),
        ),
        (
            "ALTER TABLE orders ADD flag bool DEFAULT b'1' COMMENT 'a, b', ALGORITHM=INSTANT;",
            format!("{ID}, {NAME}, {TOTAL}, flag tinyint(1)"),
        ),
        (
            "SET STATEMENT lock_wait_timeout=5 FOR ALTER TABLE orders ADD vector int",
            format!("{ID}, {NAME}, {TOTAL}, vector int(11)"),
        ),
        (
            "/* app */ ALTER TABLE orders ADD v int CHECK (v > (1+2)), ENGINE=InnoDB DEFAULT CHARSET=utf8mb4, ADD w char",
            format!("{ID}, {NAME}, {TOTAL}, v int(11), w char(1) utf8mb4_general_ci"),
        ),
        (
            "ALTER TABLE orders ADD g int GENERATED ALWAYS AS (id * 2) VIRTUAL INVISIBLE, ADD j json, ADD b text(300) binary",
            format!("{ID}, {NAME}, {TOTAL}, g int(11), j longtext utf8mb4_bin, b text latin1_bin"),
        ),
        (
            "ALTER TABLE orders ADD a char(3) BYTE, ADD b text BYTE",
            format!("{ID}, {NAME}, {TOTAL}, a binary(3), b blob"),
        ),
        (
            "ALTER TABLE orders ADD c varchar(9) COMPRESSED=zlib NOT NULL, ADD d blob COMPRESSED",
            format!(
                "{ID}, {NAME}, {TOTAL}, c varchar(9) /*M!100301 COMPRESSED*/ latin1_swedish_ci not null, d blob /*M!100301 COMPRESSED*/"
            ),
        ),
        (
            "ALTER TABLE orders ADD x float(30), ADD y char(3) character set binary, ADD z nchar(2), ADD s serial",
            format!(
                "{ID}, {NAME}, {TOTAL}, x double, y binary(3), z char(2) utf8mb3_general_ci, s bigint(20) unsigned not null"
            ),
        ),
    ] {
        let mut expected = expected;
        if sql.contains("nchar") {
            expected = "the type of column z cannot be told: its character set is not known".into();
        }
        assert_eq!(columns(sql), expected, "{sql}");
    }
}

#[test]
fn changed_columns_are_carried_out() {
    for (sql, expected) in [
        (
            "ALTER TABLE orders MODIFY total BIGINT UNSIGNED NOT NULL FIRST",
            format!("total bigint(20) unsigned not null, {ID}, {NAME}"),
        ),
        (
            "ALTER TABLE orders CHANGE COLUMN name `first name` varchar(9) AFTER total",
            format!("{ID}, {TOTAL}, first name varchar(9) latin1_swedish_ci"),
        ),
        ("ALTER TABLE orders MODIFY id bigint", format!("id bigint(20) not null*, {NAME}, {TOTAL}")),
        (
            "ALTER TABLE orders RENAME COLUMN id TO pk, RENAME COLUMN name TO n",
            format!("pk int(11) not null*, n varchar(20) latin1_swedish_ci, {TOTAL}"),
        ),
        (
            "ALTER TABLE orders CONVERT TO CHARACTER SET utf8mb4",
            format!("{ID}, name varchar(20) utf8mb4_general_ci, {TOTAL}"),
        ),
        (
            "ALTER TABLE orders CONVERT TO CHARSET latin1 COLLATE latin1_bin",
            format!("{ID}, name varchar(20) latin1_bin, {TOTAL}"),
        ),
        (
            "ALTER TABLE orders DROP PRIMARY KEY, ADD PRIMARY KEY (total, id)",
            format!("{ID}, {NAME}, total decimal(10,2) not null*"),
        ),
        ("ALTER TABLE orders DROP PRIMARY KEY", format!("id int(11) not null, {NAME}, {TOTAL}")),
        (
            "ALTER TABLE orders DROP id, ADD nr int NOT NULL AUTO_INCREMENT PRIMARY KEY FIRST",
            format!("nr int(11) not null*, {NAME}, {TOTAL}"),
        ),
        (
            "ALTER TABLE orders ALTER COLUMN total SET DEFAULT 5, COMMENT='x', ADD INDEX (name), ADD q int",
            format!("{ID}, {NAME}, {TOTAL}, q int(11)"),
        ),
        ("ALTER TABLE orders DROP nope", "there is no column nope".to_owned()),
        ("ALTER TABLE orders ADD x uuid(", "Unreadable".to_owned()),
    ] {
        let actual = columns(sql);
        if expected == "Unreadable" {
            assert!(actual.contains("unclear: Some") || actual == expected, "{sql}: {actual}");
        } else {
            assert_eq!(actual, expected, "{sql}");
        }
    }
}

/// What is there is named as it was before the statement, wherever a part stands in it.
#[test]
fn f43_parts_of_a_statement_do_not_see_each_other() {
    for (sql, expected) in [
        (
            "ALTER TABLE orders CHANGE id total int not null, CHANGE total id int",
            "total int(11) not null*, name varchar(20) latin1_swedish_ci, id int(11)".to_owned(),
        ),
        (
            "ALTER TABLE orders RENAME COLUMN total TO id, RENAME COLUMN id TO total",
            "total int(11) not null*, name varchar(20) latin1_swedish_ci, id decimal(10,2)".to_owned(),
        ),
        (
            "ALTER TABLE orders ADD total int FIRST, DROP total, ADD x int AFTER n2, CHANGE name n2 int",
            format!("total int(11), {ID}, n2 int(11), x int(11)"),
        ),
        (
            "ALTER TABLE orders ADD PRIMARY KEY (nr), ADD nr int, DROP PRIMARY KEY, DROP id",
            format!("{NAME}, {TOTAL}, nr int(11) not null*"),
        ),
        (
            "ALTER TABLE orders MODIFY id int AFTER total, MODIFY name int FIRST, ADD y int AFTER id",
            format!("name int(11), {TOTAL}, id int(11) not null*, y int(11)"),
        ),
        (
            "ALTER TABLE orders ADD w char, DEFAULT CHARSET=utf8mb4",
            format!("{ID}, {NAME}, {TOTAL}, w char(1) utf8mb4_general_ci"),
        ),
        ("ALTER TABLE orders CHANGE id a int, CHANGE a b int", "there is no column a".to_owned()),
    ] {
        assert_eq!(columns(sql), expected, "{sql}");
    }
    let Effect::Tables(actions) = read_as("ALTER TABLE orders CHANGE id total int, CHANGE total id int", MYSQL) else {
        panic!()
    };
    let Some(Action::Alter { alterations, .. }) = actions.first() else { panic!() };
    let renamed = alter(&shape("orders"), alterations, &habits(MYSQL)).unwrap().renamed;
    assert_eq!(renamed, [("id", "total"), ("total", "id")].map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[test]
fn newer_servers_show_no_display_widths() {
    let sql = "ALTER TABLE orders ADD a int unsigned, ADD b tinyint(1), ADD c year, ADD d int(5) zerofill, ADD e json";
    let expected = "a int unsigned, b tinyint(1), c year, d int(5) unsigned zerofill, e json";
    assert_eq!(columns_as(sql, MYSQL), format!("{ID}, {NAME}, {TOTAL}, {expected}"));
}

#[test]
fn what_changes_neither_rows_nor_columns_passes() {
    for sql in [
        "ALTER TABLE orders ADD INDEX i (a), ADD FULLTEXT KEY u (b)",
        "ALTER TABLE orders COMMENT='x', ENGINE=InnoDB",
        "ALTER TABLE orders ALTER COLUMN a SET DEFAULT 5",
        "ALTER TABLE orders ADD PARTITION (PARTITION p VALUES LESS THAN (5))",
        "ALTER TABLE orders REORGANIZE PARTITION p1, p2 INTO (PARTITION p VALUES LESS THAN (5))",
        "ALTER TABLE orders /*!50100 PARTITION BY HASH (a) PARTITIONS 4 */",
        "ALTER TABLE orders ANALYZE PARTITION p1, p2",
        "CREATE INDEX i ON orders (a)",
        "SET STATEMENT max_statement_time=0 FOR ANALYZE TABLE orders",
        "ALTER TABLE orders ADD VECTOR INDEX v (a)",
        "CREATE TEMPORARY TABLE orders (a int)",
        "DROP TEMPORARY TABLE IF EXISTS `orders` /* generated by server */",
        "DROP /*!40005 TEMPORARY */ TABLE IF EXISTS orders",
        "CREATE DEFINER=`root`@`%` TRIGGER tr BEFORE INSERT ON orders FOR EACH ROW SET NEW.a = 1",
        "CREATE DATABASE shop2",
        "GRANT SELECT ON shop.* TO x",
        "CREATE OR REPLACE VIEW v AS SELECT * FROM orders",
        "ANALYZE TABLE orders",
        "/*!999999 DROP TABLE orders */",
        "",
    ] {
        assert_eq!(read_as(sql, MARIADB), Effect::None, "{sql}");
    }
}

#[test]
fn a_table_that_the_server_has_emptied_is_empty() {
    let note = "/* generated by server, implicitly emptying in-memory table */";
    let emptied = Effect::Tables(vec![Action::Truncate { table: TableId::new("d`b", "t") }]);
    for verb in ["DELETE FROM", "TRUNCATE TABLE"] {
        assert_eq!(read_as(&format!("{verb} `d``b`.`t` {note}"), MYSQL), emptied);
    }
    let by_session = Effect::Statement { verb: "DELETE".into() };
    for sql in ["DELETE FROM t".to_owned(), format!("DELETE FROM t WHERE s = '{note}'")] {
        assert_eq!(read_as(&sql, MYSQL), by_session, "{sql}");
    }
    assert_eq!(read_as(&format!("DELETE FROM t WHERE a = 1 {note}"), MYSQL), Effect::Unreadable);
}

#[test]
fn rows_logged_as_text_and_riddles_are_never_skipped() {
    assert_eq!(read_as("insert into orders values (1)", MYSQL), Effect::Statement { verb: "INSERT".into() });
    for sql in ["SET STATEMENT a=1", "ALTER TABLE `orders", "FROBNICATE TABLE orders", "ALTER", "(select 1)"] {
        assert_eq!(read_as(sql, MARIADB), Effect::Unreadable, "{sql}");
    }
    for sql in [
        "ALTER TABLE orders ADD SYSTEM VERSIONING",
        "ALTER TABLE orders FROBNICATE",
        "ALTER TABLE orders ADD x int FOO",
    ] {
        let Effect::Tables(actions) = read_as(sql, MARIADB) else { panic!("{sql}") };
        assert!(matches!(&actions[..], [Action::Alter { unclear: Some(_), .. }]), "{sql}: {actions:?}");
    }
}

/// What becomes of captured names, in a few words.
fn fates(sql: &str, world: &World) -> String {
    let actions = match read_as(sql, MARIADB) {
        Effect::Tables(actions) => actions,
        Effect::None => return String::new(),
        other => return format!("{other:?}"),
    };
    let plan = plan(&actions, world, &habits(MARIADB)).unwrap();
    let told = |told: &super::plan::Told| told.as_ref().map_or("?".to_owned(), |t| t.shape.columns.len().to_string());
    let one = |fate: &super::plan::Fate| {
        let after = match &fate.after {
            After::Gone => "gone".to_owned(),
            After::Kept { shape, truncated } => {
                format!("kept {}{}", told(shape), if *truncated { " empty" } else { "" })
            }
            After::Replaced { shape, empty, same_rows } => {
                format!(
                    "replaced {}{}{}",
                    told(shape),
                    if *empty { " empty" } else { "" },
                    if *same_rows { " same" } else { "" }
                )
            }
            After::New { shape, empty } => format!("new {}{}", told(shape), if *empty { " empty" } else { "" }),
        };
        format!("{} {after}", fate.table.table)
    };
    let shadows = plan.shadows.iter().map(|(id, shape)| format!("({} {})", id.table, shape.is_some()));
    let unlogged = plan.unlogged.iter().map(|(id, what)| format!("{}: {what}", id.table));
    plan.fates.iter().map(one).chain(shadows).chain(unlogged).collect::<Vec<_>>().join(", ")
}

#[test]
fn tables_come_go_and_change_places() {
    let world = world();
    for (sql, expected) in [
        ("TRUNCATE orders", "orders kept 3 empty"),
        ("TRUNCATE TABLE other.orders", ""),
        ("DROP TABLE x, `orders`, a /* generated by server */", "a gone, orders gone"),
        ("DROP DATABASE shop", "a gone, orders gone"),
        ("DROP SCHEMA other", ""),
        ("RENAME TABLE orders TO o2", "orders gone"),
        ("ALTER TABLE orders RENAME TO new1", "new1 new 3, orders gone"),
        ("ALTER TABLE orders ADD x int, RENAME AS new1", "new1 new 4, orders gone"),
        ("RENAME TABLE x TO new1", "new1 new ?"),
        ("RENAME TABLE a TO tmp, orders TO a, tmp TO orders", "a replaced 3, orders replaced 3"),
        ("RENAME TABLE orders TO o_old, o_new TO orders", "orders replaced ?"),
        ("RENAME TABLE orders TO tmp, tmp TO orders", ""),
        ("CREATE TABLE new1 (id int primary key, v text)", "new1 new 2 empty"),
        ("CREATE TABLE IF NOT EXISTS new1 (id int primary key)", "new1 new 1"),
        ("CREATE TABLE new1 LIKE orders", "new1 new 3 empty"),
        ("CREATE TABLE new1 (LIKE other.orders)", "new1 new ? empty"),
        ("CREATE TABLE new1 SELECT * FROM orders", "new1 new ? empty"),
        ("CREATE TABLE new1 (id int, key(id)) START TRANSACTION", "new1 new 1 empty"),
        ("CREATE TABLE other (id int)", ""),
        ("CREATE TABLE IF NOT EXISTS orders (id int)", ""),
        ("CREATE OR REPLACE TABLE orders (id int primary key)", "orders replaced 1 empty"),
        ("ALTER TABLE orders DROP PARTITION p1, p2", "orders: ALTER TABLE ... DROP PARTITION p1 "),
        ("ALTER TABLE orders TRUNCATE PARTITION ALL", "orders: ALTER TABLE ... TRUNCATE PARTITION ALL"),
        ("ALTER TABLE x EXCHANGE PARTITION p WITH TABLE orders", "orders: ALTER TABLE shop.x ... EXCHANGE PARTITION"),
        ("ALTER TABLE x CONVERT PARTITION p TO TABLE new1", "new1 new ?"),
        ("ALTER TABLE orders ADD UNIQUE (total)", ""),
        ("ALTER TABLE orders DROP PRIMARY KEY", "orders kept 3"),
        ("CREATE TABLE copy LIKE orders", ""),
        ("CREATE TABLE _orders_gho (id int primary key, x int)", "(_orders_gho true)"),
    ] {
        assert_eq!(fates(sql, &world), expected.trim_end(), "{sql}");
    }
}

#[test]
fn f44_a_copy_takes_its_tables_place() {
    let mut world = world();
    let mut copy = shape("_orders_gho");
    copy.columns.push(column("x", "int(11)", true));
    world.shadows.insert(copy.id(), copy);
    let swap =
        "RENAME /* gh-ost */ TABLE `shop`.`orders` TO `shop`.`_orders_del`, `shop`.`_orders_gho` TO `shop`.`orders`";
    assert_eq!(fates(swap, &world), "orders replaced 4, (_orders_del true), (_orders_gho false)");
    world.online = true;
    assert_eq!(fates(swap, &world), "orders replaced 4 same, (_orders_del true), (_orders_gho false)");
    assert_eq!(fates("DROP TABLE _orders_gho", &world), "(_orders_gho false)");
}

#[test]
fn hostile_names_are_read() {
    let ansi = Reading { sql_mode: 4, ..MARIADB };
    let Effect::Tables(actions) = read_as("ALTER TABLE \"sh\"\"op\".\"tab;le\" DROP \"select\"", ansi) else {
        panic!()
    };
    assert_eq!(*actions[0].table(), TableId::new("sh\"op", "tab;le"));
    let Effect::Tables(actions) = read_as("DROP TABLE `a``b`.`表 /* x */`, `--`", MYSQL) else { panic!() };
    let names: Vec<_> = actions.iter().map(|a| a.table().clone()).collect();
    assert_eq!(names, [TableId::new("a`b", "表 /* x */"), TableId::new("shop", "--")]);
    let Effect::Tables(actions) = read_as("ALTER TABLE orders ADD `add` int, ADD `index` int, DROP `primary`", MYSQL)
    else {
        panic!()
    };
    assert!(matches!(&actions[0], Action::Alter { alterations, unclear: None, .. } if alterations.len() == 3));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 256, ..Default::default() })]
    /// Whatever the text, reading it ends, and never without a name for what is not understood.
    #[test]
    fn any_text_is_read(words in proptest::collection::vec("[A-Za-z_`'\"(),;.*/! 0-9-]{0,8}|ALTER|TABLE|orders|ADD|RENAME|TO|DROP|/\\*!|\\*/", 0..20)) {
        let sql = words.join(" ");
        let _ = read_as(&sql, MARIADB);
        let _ = read_as(&sql, MYSQL);
        if let Effect::Tables(actions) = read_as(&sql, MYSQL) {
            let _ = plan(&actions, &world(), &habits(MYSQL)).unwrap();
        }
    }
}
