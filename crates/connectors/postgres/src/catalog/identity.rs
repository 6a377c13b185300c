//! Keys, and what of old rows the log holds.

use super::tables::{CatalogColumn, CatalogIndex, IdentityKind, TableDetail};
use dujiang_core::{Code, Error, Result, TableId};

dujiang_core::choice! {
    /// What the log must hold of the old row of an update or a delete.
    #[derive(Default)]
    pub enum IdentityDemand {
        /// All of it.
        #[default]
        Full = "full",
        /// At least a key; all other columns are NULL in old rows.
        Key = "key",
    }
}

/// What of old rows the log holds of a table with all its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OldRows {
    /// All of them.
    Whole,
    /// These columns (`attnum`, in the table's order).
    Key(Vec<i16>),
    /// Nothing: the server itself refuses updates and deletes once the table is published.
    None,
}

/// The columns (`attnum`, in the index's order) by which rows are told apart, best first: the primary key, then the index
/// that identifies rows, then other unique indexes over NOT NULL columns. `None` when there is no such index.
pub fn key_of(table: &TableDetail) -> Option<&CatalogIndex> {
    key_among(table, |_| true)
}

/// As [`key_of`], of columns that `may` be part of it.
pub fn key_among(table: &TableDetail, may: impl Fn(&CatalogColumn) -> bool) -> Option<&CatalogIndex> {
    let fit = |number: &i16| table.column(*number).is_some_and(|column| column.not_null && may(column));
    table.indexes.iter().find(|index| index.fit && index.columns.iter().all(fit))
}

/// What of old rows the log holds.
pub fn old_rows(table: &TableDetail) -> OldRows {
    let own = old_rows_of(table, table.identity);
    // Rows are in the partitions, and what is logged of them is decided there.
    let leaves = table.leaves.iter().map(|leaf| old_rows_of(table, leaf.identity));
    if table.kind == 'p' { leaves.fold(own, least) } else { own }
}

fn old_rows_of(table: &TableDetail, identity: IdentityKind) -> OldRows {
    let index = |wanted: fn(&CatalogIndex) -> bool| {
        let found = table.indexes.iter().find(|index| wanted(index));
        found.map_or(OldRows::None, |index| {
            let mut columns = index.columns.clone();
            columns.sort_unstable();
            OldRows::Key(columns)
        })
    };
    match identity {
        IdentityKind::Full => OldRows::Whole,
        IdentityKind::Default => index(|index| index.primary && index.fit),
        IdentityKind::Index => index(|index| index.identity),
        IdentityKind::Nothing => OldRows::None,
    }
}

fn least(a: OldRows, b: OldRows) -> OldRows {
    match (a, b) {
        (OldRows::None, _) | (_, OldRows::None) => OldRows::None,
        (OldRows::Whole, other) | (other, OldRows::Whole) => other,
        (key, _) => key,
    }
}

/// What whole old rows cost.
const WRITES_MORE: &str = "updates and deletes of the table then write the whole old row to the log";
/// Tables named in a message.
const NAMED: usize = 20;

/// Whether the log holds what is demanded of every table.
///
/// # Errors
/// `ReplicaIdentity`, with the statements to run.
pub fn check_identity(tables: &[TableDetail], demand: IdentityDemand) -> Result<()> {
    let lacking = |table: &&TableDetail| match (old_rows(table), demand) {
        (OldRows::Whole, _) | (OldRows::Key(_), IdentityDemand::Key) => false,
        (OldRows::Key(_), IdentityDemand::Full) | (OldRows::None, _) => true,
    };
    // What they may need is said by `check_virtual`.
    let others = tables.iter().filter(|table| !table.has_virtual());
    let lacking: Vec<&TableDetail> = others.filter(lacking).collect();
    let Some(first) = lacking.first() else { return Ok(()) };
    let message = match lacking.len() {
        1 => format!("the log does not hold old rows of {}", first.id()),
        n => format!("the log does not hold old rows of {n} captured tables"),
    };
    let mut error = Error::new(Code::ReplicaIdentity, message);
    for table in lacking.iter().take(NAMED) {
        error = error.fact("found", format!("{}: {}", table.id(), found(table)));
    }
    let statements: Vec<String> = lacking.iter().take(NAMED).flat_map(|table| statements(table)).collect();
    let more = if lacking.len() > NAMED { " -- and so on for the other tables" } else { "" };
    for statement in &statements {
        error = error.remedy_with_care(statement.trim_end_matches(';'), WRITES_MORE);
    }
    let keyed = lacking.iter().all(|table| matches!(old_rows(table), OldRows::Key(_)));
    let or = if keyed { " or accept old rows that hold the key alone with `replica-identity: key`" } else { "" };
    Err(error.help(format!("run {}{more}{or}", statements.join(" "))))
}

fn found(table: &TableDetail) -> String {
    match old_rows(table) {
        OldRows::Whole => "whole rows".into(),
        OldRows::Key(columns) => {
            let name = |number: &i16| table.column(*number).map_or("?", |column| column.name.as_str());
            format!("only {}", columns.iter().map(name).collect::<Vec<_>>().join(", "))
        }
        OldRows::None if table.identity == IdentityKind::Default => "nothing, since it has no primary key".into(),
        OldRows::None => "nothing".into(),
    }
}

/// What makes the log hold whole old rows of a table; a partitioned table passes nothing on to partitions that are there.
fn statements(table: &TableDetail) -> Vec<String> {
    let statement = |id: TableId| {
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        format!("ALTER TABLE {}.{} REPLICA IDENTITY FULL;", quoted(&id.database), quoted(&id.table))
    };
    let leaves = table.leaves.iter().filter(|leaf| leaf.identity != IdentityKind::Full);
    let leaves = leaves.map(|leaf| TableId::new(leaf.schema.as_str(), leaf.table.as_str()));
    let own = (table.identity != IdentityKind::Full).then(|| table.id());
    own.into_iter().chain(leaves).map(statement).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tables::Leaf;
    use super::*;

    fn table(identity: IdentityKind, indexes: Vec<CatalogIndex>) -> TableDetail {
        let column = |(number, name, not_null): (i16, &str, bool)| CatalogColumn {
            number,
            name: name.into(),
            type_oid: 23,
            modifier: -1,
            not_null,
            generated: false,
            is_virtual: false,
            dimensions: 0,
            deterministic: true,
            readable: true,
        };
        TableDetail {
            oid: 1,
            schema: "public".into(),
            table: "t".into(),
            kind: 'r',
            identity,
            root: None,
            rows: 0.0,
            bytes: 0,
            row_security: false,
            columns: [(1, "a", true), (2, "b", true), (4, "c", false)].map(column).into(),
            indexes,
            leading: vec![],
            leaves: vec![],
        }
    }

    fn index(name: &str, columns: &[i16]) -> CatalogIndex {
        CatalogIndex {
            name: name.into(),
            primary: name == "pk",
            identity: name == "ri",
            fit: true,
            columns: columns.into(),
        }
    }

    #[test]
    fn f58_every_identity_is_decided() {
        let cases = [
            (IdentityKind::Full, vec![], OldRows::Whole),
            (IdentityKind::Default, vec![], OldRows::None),
            (IdentityKind::Default, vec![index("pk", &[2, 1])], OldRows::Key(vec![1, 2])),
            (IdentityKind::Index, vec![index("pk", &[1]), index("ri", &[2])], OldRows::Key(vec![2])),
            (IdentityKind::Nothing, vec![index("pk", &[1])], OldRows::None),
        ];
        for (identity, indexes, expected) in cases {
            assert_eq!(old_rows(&table(identity, indexes)), expected, "{identity:?}");
        }
    }

    #[test]
    fn f58_the_statement_to_run_is_told() {
        let keyed = table(IdentityKind::Default, vec![index("pk", &[1])]);
        let error = check_identity(std::slice::from_ref(&keyed), IdentityDemand::Full).unwrap_err();
        assert_eq!(error.code(), Code::ReplicaIdentity);
        let help = error.help_text().unwrap();
        assert!(help.contains("ALTER TABLE \"public\".\"t\" REPLICA IDENTITY FULL;"), "{help}");
        assert!(help.contains("replica-identity: key"), "{help}");
        dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[]);
        let remedy = &error.remedies()[0];
        assert_eq!(remedy.statement, "ALTER TABLE \"public\".\"t\" REPLICA IDENTITY FULL");
        check_identity(&[keyed], IdentityDemand::Key).unwrap();
        let none = table(IdentityKind::Nothing, vec![]);
        let error = check_identity(&[none], IdentityDemand::Key).unwrap_err();
        assert!(!error.help_text().unwrap().contains("accept"));
    }

    #[test]
    fn f57_a_partition_decides_for_itself() {
        let mut parent = TableDetail { kind: 'p', ..table(IdentityKind::Full, vec![index("pk", &[1])]) };
        let leaf = |name: &str, identity| Leaf { oid: 2, schema: "s".into(), table: name.into(), identity, kind: 'r' };
        parent.leaves = vec![leaf("x", IdentityKind::Full), leaf("y", IdentityKind::Default)];
        assert_eq!(old_rows(&parent), OldRows::Key(vec![1]));
        let error = check_identity(&[parent], IdentityDemand::Full).unwrap_err();
        assert_eq!(error.help_text().unwrap().matches("ALTER TABLE").count(), 1);
        assert!(error.help_text().unwrap().contains("\"s\".\"y\""));
    }

    #[test]
    fn the_best_key_is_chosen_and_one_with_nulls_never() {
        let mut partial = index("a", &[1]);
        partial.fit = false;
        let with = |indexes| table(IdentityKind::Full, indexes);
        assert_eq!(key_of(&with(vec![partial, index("nulls", &[4]), index("u", &[2, 1])])).unwrap().columns, [2, 1]);
        assert_eq!(key_of(&with(vec![index("nulls", &[1, 4])])), None);
    }
}
