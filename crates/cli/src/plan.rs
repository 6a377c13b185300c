//! What a run would do: the source's tables, through transforms and routes, to places at the sink.

use crate::clock::SystemClock;
use crate::wiring;
use dujiang_core::options::nearest;
use dujiang_core::pattern::Selector;
use dujiang_core::schema::{LOGICAL_ENUM, LOGICAL_JSON, LOGICAL_NUMBER, LOGICAL_SET, META_SOURCE_TYPE, logical};
use dujiang_core::source::{Survey, SurveyedTable};
use dujiang_core::transform::Transform;
use dujiang_core::{Code, Error, Result, TableId, TableSchema, dialect};
use dujiang_spec::{Diagnostic, Loaded, RouteMode};
use dujiang_transforms::Transformer;
use std::sync::Arc;

/// What a run of one pipeline would do.
pub struct Planned {
    /// The pipeline's name.
    pub name: String,
    /// The tables that would be captured.
    pub tables: Vec<PlannedTable>,
    /// Tables that stand beside captured ones and are not captured.
    pub near_misses: Vec<TableId>,
    /// What is no obstacle and should be known.
    pub warnings: Vec<String>,
    /// What stands in the way of a run.
    pub refusals: Vec<Diagnostic>,
}

/// One table.
pub struct PlannedTable {
    /// Its name at the source.
    pub source: TableId,
    /// Columns of its key, after transforms.
    pub key: Vec<String>,
    /// Rows, as the source estimates them.
    pub rows: Option<u64>,
    /// Bytes at the source, as it estimates them.
    pub bytes: Option<u64>,
    /// Where its rows go; none when a transform drops the table.
    pub targets: Vec<Target>,
    /// Columns of the output.
    pub columns: Vec<Column>,
}

/// A table of the sink.
pub struct Target {
    /// Its name.
    pub table: TableId,
    /// Where it is.
    pub place: Option<String>,
}

/// A column of the output.
pub struct Column {
    /// Its name.
    pub name: String,
    /// The type the source declares; empty for a computed one.
    pub source_type: String,
    /// The type that comes out, in the dialect's words.
    pub output_type: String,
    /// What the output type does not tell any more.
    pub loss: Option<&'static str>,
}

/// Asks the source and follows its tables through the pipeline.
///
/// # Errors
/// `Bug` when the system gives no threads.
pub fn plan(loaded: &Loaded) -> Result<Planned> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::new(Code::Bug, "the runtime could not be started").with_source(e))?;
    let Survey { tables, near_misses, warnings, refusals } = runtime.block_on(loaded.source.survey());
    let told = |error: &Error| Diagnostic::from_error(error, &loaded.pipeline);
    let mut planned = Planned {
        name: loaded.pipeline.name.clone(),
        tables: Vec::new(),
        near_misses,
        warnings,
        refusals: refusals.iter().map(told).collect(),
    };
    let transformer = wiring::transformer(&loaded.pipeline, Arc::new(SystemClock))?;
    for table in &tables {
        let mistakes = transformer.as_ref().map_or_else(|| Ok(Vec::new()), |rules| rules.mistakes(&table.schema))?;
        if !mistakes.is_empty() {
            planned.refusals.extend(mistakes.iter().map(told));
            continue;
        }
        match follow(table, transformer.as_ref(), loaded) {
            Ok(table) => planned.tables.push(table),
            Err(error) => planned.refusals.push(told(&error)),
        }
    }
    planned.warnings.extend(idle_rules(&tables, loaded)?);
    Ok(planned)
}

/// Rules that are for no table: most often a name is misspelt.
fn idle_rules(tables: &[SurveyedTable], loaded: &Loaded) -> Result<Vec<String>> {
    let pipeline = &loaded.pipeline;
    let mut idle = Vec::new();
    let ids: Vec<&TableId> = tables.iter().map(|table| &table.schema.id).collect();
    let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let mut note = |block: &str, number: usize, pattern: &str| {
        let near = nearest(pattern, names.iter().map(String::as_str));
        let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        idle.push(format!("rule {} of `{block}` is for no table: `{pattern}`{near}", number + 1));
    };
    for (number, rule) in pipeline.transforms.iter().enumerate() {
        let found: Result<Vec<bool>> = ids.iter().map(|id| rule.source_table.matches(id)).collect();
        if !found?.contains(&true) {
            let written: Vec<&str> = rule.source_table.entries().iter().map(Selector::written).collect();
            note("transform", number, &written.join(", "));
        }
    }
    for (number, rule) in pipeline.routes.iter().enumerate() {
        let found: Result<Vec<bool>> = ids.iter().map(|id| rule.route.matches(id)).collect();
        if !found?.contains(&true) {
            note("route", number, rule.route.written());
        }
    }
    Ok(idle)
}

fn follow(table: &SurveyedTable, transformer: Option<&Transformer>, loaded: &Loaded) -> Result<PlannedTable> {
    let schema = match transformer {
        Some(transformer) => transformer.output_schema(&table.schema)?,
        None => Some(table.schema.clone()),
    };
    let (key, columns) = schema.as_ref().map(shape).unwrap_or_default();
    let targets = match &schema {
        Some(schema) => targets(&schema.id, loaded)?,
        None => Vec::new(),
    };
    let place_of = |table: &TableId| loaded.sink.place_of(table).map(|place| loaded.pipeline.without_secrets(&place));
    let place = |table: TableId| Target { place: place_of(&table), table };
    Ok(PlannedTable {
        source: table.schema.id.clone(),
        key,
        rows: table.rows,
        bytes: table.bytes,
        targets: targets.into_iter().map(place).collect(),
        columns,
    })
}

/// The names a table gets; its own when no route is about it.
fn targets(table: &TableId, loaded: &Loaded) -> Result<Vec<TableId>> {
    let mut targets = Vec::new();
    for rule in &loaded.pipeline.routes {
        targets.extend(rule.route.target(table)?);
        if !targets.is_empty() && loaded.pipeline.settings.route_mode == RouteMode::FirstMatch {
            break;
        }
    }
    if targets.is_empty() {
        targets.push(table.clone());
    }
    Ok(targets)
}

fn shape(schema: &Arc<TableSchema>) -> (Vec<String>, Vec<Column>) {
    let columns = schema.arrow.fields().iter().map(|field| Column {
        name: field.name().clone(),
        source_type: field.metadata().get(META_SOURCE_TYPE).cloned().unwrap_or_default(),
        output_type: dialect::type_name(field),
        loss: match logical(field) {
            Some(LOGICAL_NUMBER) => Some("a number wider than any decimal type: text"),
            Some(LOGICAL_JSON) => Some("JSON is text"),
            Some(LOGICAL_ENUM | LOGICAL_SET) => Some("labels are text, without their list"),
            _ => None,
        },
    });
    (schema.key_names().map(str::to_owned).collect(), columns.collect())
}
