//! The queries. Each answers with one column, a JSON document per row, in the `public`ly readable catalog only.
//!
//! A query sees the catalog as of its snapshot, but the server's functions (privileges, sizes) see it as it is by now, and say NULL of
//! what is gone. It is taken for readable, and empty: whoever reads it is told that it is gone.

use crate::client::quote;
use dujiang_core::TableId;
use std::fmt::Write;

/// All tables of the database that are not the server's own: [`TableEntry`](super::TableEntry). Views, sequences and temporary
/// tables are none.
pub const TABLES: &str = "\
SELECT pg_catalog.json_build_object(
  'oid', c.oid::bigint, 'schema', n.nspname, 'table', c.relname, 'kind', c.relkind, 'logged', c.relpersistence = 'p',
  'root', CASE WHEN c.relispartition THEN pg_catalog.pg_partition_root(c.oid)::oid::bigint END,
  'readable', coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE')
    AND (pg_catalog.has_table_privilege(c.oid, 'SELECT') OR pg_catalog.has_any_column_privilege(c.oid, 'SELECT')), true))
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f', 'm') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, c.relname";

/// Facts about the database: [`Database`](super::Database). Several statements, of which the last but one answers: how many
/// digits `money` has is decided by the database's own `lc_monetary`, whatever the session's is.
pub const DATABASE: &str = "\
BEGIN READ ONLY;
SET LOCAL lc_monetary TO DEFAULT;
SELECT pg_catalog.json_build_object(
  'encoding', pg_catalog.pg_encoding_to_char(d.encoding), 'name', d.datname,
  'money_scale', pg_catalog.scale('1'::pg_catalog.money::pg_catalog.numeric),
  'version', pg_catalog.current_setting('server_version_num')::int)
FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database();
COMMIT";

/// Tables with all that decides how they are read: [`TableDetail`](super::TableDetail). One that is gone gives no row.
pub fn details(oids: &[u32]) -> String {
    let list = list(oids);
    format!(
        "\
SELECT pg_catalog.json_build_object(
  'oid', c.oid::bigint, 'schema', n.nspname, 'table', c.relname, 'kind', c.relkind, 'identity', c.relreplident,
  'root', CASE WHEN c.relispartition THEN pg_catalog.pg_partition_root(c.oid)::oid::bigint END,
  'rows', c.reltuples, 'row_security', c.relrowsecurity,
  'bytes', coalesce(CASE WHEN c.relkind = 'p'
    THEN (SELECT sum(pg_catalog.pg_table_size(p.relid))::bigint FROM pg_catalog.pg_partition_tree(c.oid) p)
    ELSE pg_catalog.pg_table_size(c.oid) END, 0),
  'columns', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
      'number', a.attnum, 'name', a.attname, 'type', a.atttypid::bigint, 'modifier', a.atttypmod, 'not_null', a.attnotnull
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint v
          WHERE v.conrelid = c.oid AND v.contype = 'n' AND NOT v.convalidated AND v.conkey = ARRAY[a.attnum]),
      'generated', a.attgenerated <> '', 'virtual', a.attgenerated = 'v', 'dimensions', a.attndims,
      'deterministic', coalesce(co.collisdeterministic, true),
      'readable', coalesce(pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT'), true)) ORDER BY a.attnum), '[]'::json)
    FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  'indexes', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
      'name', ic.relname, 'primary', i.indisprimary, 'identity', i.indisreplident,
      'fit', i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL,
      'columns', (SELECT pg_catalog.json_agg(k.number ORDER BY k.place)
        FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY k (number, place) WHERE k.place <= i.indnkeyatts))
      ORDER BY NOT i.indisprimary, NOT i.indisreplident, ic.relname), '[]'::json)
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
    WHERE i.indrelid = c.oid AND i.indisunique),
  'leading', (SELECT coalesce(pg_catalog.json_agg(i.indkey[0] ORDER BY i.indexrelid), '[]'::json)
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
      JOIN pg_catalog.pg_am m ON m.oid = ic.relam
    WHERE i.indrelid = c.oid AND m.amname = 'btree' AND i.indisvalid AND i.indpred IS NULL AND i.indkey[0] > 0),
  'leaves', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
      'oid', l.oid::bigint, 'schema', ln.nspname, 'table', l.relname, 'identity', l.relreplident, 'kind', l.relkind)
      ORDER BY ln.nspname, l.relname), '[]'::json)
    FROM pg_catalog.pg_partition_tree(CASE WHEN c.relkind = 'p' THEN c.oid END) p
      JOIN pg_catalog.pg_class l ON l.oid = p.relid JOIN pg_catalog.pg_namespace ln ON ln.oid = l.relnamespace
    WHERE p.isleaf))
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid IN ({list})"
    )
}

/// Types and all below them, domains' bases and arrays' elements: [`PgType`](crate::values::PgType).
pub fn types(oids: &[u32]) -> String {
    let list = list(oids);
    format!(
        "\
WITH RECURSIVE used (oid) AS (
  SELECT t.oid FROM pg_catalog.pg_type t WHERE t.oid IN ({list})
  UNION SELECT below.oid FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.oid,
    LATERAL (VALUES (t.typelem), (t.typbasetype)) below (oid) WHERE below.oid <> 0)
SELECT pg_catalog.json_build_object(
  'oid', t.oid::bigint, 'name', t.typname, 'shown', pg_catalog.format_type(t.oid, NULL), 'class', t.typtype,
  'element', CASE WHEN e.typarray = t.oid THEN t.typelem::bigint END, 'delimiter', t.typdelim,
  'base', CASE WHEN t.typbasetype <> 0 THEN pg_catalog.json_build_array(t.typbasetype::bigint, t.typtypmod) END,
  'dimensions', t.typndims,
  'output', pg_catalog.quote_ident(fn.nspname) || '.' || pg_catalog.quote_ident(f.proname),
  'extension', (SELECT x.extname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension x ON x.oid = d.refobjid
    WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid AND d.deptype = 'e'
      AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass LIMIT 1))
FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.oid JOIN pg_catalog.pg_proc f ON f.oid = t.typoutput
  JOIN pg_catalog.pg_namespace fn ON fn.oid = f.pronamespace LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem"
    )
}

/// Those of the listed columns that are not generated.
const STORED_COLUMNS: &str = "\
(SELECT coalesce(pg_catalog.json_agg(a.attname ORDER BY a.attnum), '[]'::json)
 FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = p.schemaname AND c.relname = p.tablename AND a.attname = ANY (p.attnames) AND a.attgenerated = '')";

/// What a publication publishes: [`Published`](super::Published), one row per table; a partitioned table stands for its
/// partitions if it publishes them so. `version` is `server_version_num`.
pub fn published(publication: &str, version: i32) -> String {
    // Lists of columns and conditions came with 15, which lists generated columns, too; before 18 they are in no message.
    let (columns, filter) = match version {
        180_000.. => ("pg_catalog.array_to_json(p.attnames)", "p.rowfilter"),
        150_000.. => (STORED_COLUMNS, "p.rowfilter"),
        _ => ("NULL::json", "NULL::text"),
    };
    let name = publication.replace('\'', "''");
    format!(
        "\
SELECT pg_catalog.json_build_object('schema', p.schemaname, 'table', p.tablename, 'columns', {columns}, 'filter', {filter})
FROM pg_catalog.pg_publication_tables p WHERE p.pubname = '{name}' ORDER BY 1::text"
    )
}

/// How a publication publishes tables, by the entries of the catalog and the transactions that wrote them:
/// [`Publishing`](super::Publishing), one row per table that is there. `version` is `server_version_num`.
pub fn publishing(publication: &str, version: i32, tables: &[TableId]) -> String {
    // Conditions and whole schemas came with 15.
    let (narrow, schemas) = if version >= 150_000 {
        (
            "r.prqual IS NOT NULL",
            "UNION ALL SELECT s.oid, s.xmin, false FROM pg_catalog.pg_publication_namespace s
      WHERE s.pnpubid = p.oid AND s.pnnspid = c.relnamespace",
        )
    } else {
        ("false", "")
    };
    let name = |id: &TableId| format!("({}, {})", quote::literal(&id.database), quote::literal(&id.table));
    let names = tables.iter().map(name).collect::<Vec<_>>().join(", ");
    let publication = quote::literal(publication);
    format!(
        "\
SELECT pg_catalog.json_build_object(
  'publication', pg_catalog.json_build_object('o', p.oid::bigint, 'x', p.xmin::text::bigint),
  'oid', c.oid::bigint, 'schema', n.nspname, 'table', c.relname, 'entries', (SELECT coalesce(pg_catalog.json_agg(
      pg_catalog.json_build_object('o', e.id::bigint, 'x', e.since::text::bigint, 'n', e.narrow)), '[]'::json)
    FROM (SELECT r.oid, r.xmin, {narrow} FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = c.oid
      {schemas}) e (id, since, narrow)))
FROM pg_catalog.pg_publication p CROSS JOIN pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname = {publication} AND (n.nspname, c.relname) IN ({names})"
    )
}

fn list(oids: &[u32]) -> String {
    let mut list = String::with_capacity(oids.len() * 8 + 1);
    for (at, oid) in oids.iter().enumerate() {
        let _ = write!(list, "{}{oid}", if at == 0 { "" } else { "," });
    }
    // No table and no type has the id 0.
    if list.is_empty() { "0".into() } else { list }
}
