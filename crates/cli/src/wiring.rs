//! From a pipeline's rules to what the engine applies: transforms, routes, schema evolution.

use dujiang_core::clock::Clock;
use dujiang_core::routing::Routing;
use dujiang_core::transform::Transform;
use dujiang_core::{Code, Error, Result};
use dujiang_spec::{Converter, Pipeline, RouteMode, SchemaBehavior};
use dujiang_spec::{SqlChecker, SqlMistake, SqlRule, TransformRule};
use dujiang_transforms::evolve::{Behavior, Policy};
use dujiang_transforms::route::{Mode, Router};
use dujiang_transforms::{Context, Mistake, Rule, SqlError, TableRule, Transformer, Tz};
use std::sync::Arc;

/// The pipeline's transforms; none without rules.
///
/// # Errors
/// `BadValue` for a time zone that nobody knows.
pub fn transforms(pipeline: &Pipeline, clock: Arc<dyn Clock>) -> Result<Vec<Box<dyn Transform>>> {
    Ok(transformer(pipeline, clock)?
        .into_iter()
        .map(|transformer| -> Box<dyn Transform> { Box::new(transformer) })
        .collect())
}

/// The pipeline's `transform` block; `None` without rules.
///
/// # Errors
/// As [`transforms`].
pub fn transformer(pipeline: &Pipeline, clock: Arc<dyn Clock>) -> Result<Option<Transformer>> {
    if pipeline.transforms.is_empty() {
        return Ok(None);
    }
    let time_zone = time_zone(pipeline)?;
    let metadata = pipeline.source.option("metadata.list").map(|option| option.value.as_str()).unwrap_or_default();
    let metadata = metadata.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    let rules = pipeline.transforms.iter().map(table_rule).collect();
    Ok(Some(Transformer::new(rules, Context { time_zone, clock, metadata })))
}

fn table_rule(rule: &TransformRule) -> TableRule {
    let selectors = rule.source_table.clone();
    TableRule { selects: Box::new(move |table| selectors.matches(table)), rule: sql_rule(rule) }
}

fn sql_rule(rule: &TransformRule) -> Rule {
    let names = |keys: &[dujiang_spec::KeyColumn]| keys.iter().map(|key| key.name.clone()).collect();
    let options: Vec<String> = rule.table_options.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Rule {
        projection: rule.projection.as_ref().map(|sql| sql.text().to_owned()),
        filter: rule.filter.as_ref().map(|sql| sql.text().to_owned()),
        primary_keys: names(&rule.primary_keys),
        partition_keys: names(&rule.partition_keys),
        table_options: (!options.is_empty()).then(|| options.join(",")),
        soft_delete: rule.converter == Some(Converter::SoftDelete),
    }
}

/// The pipeline's routes and its way with schema changes.
///
/// # Errors
/// As [`transforms`].
pub fn routing(pipeline: &Pipeline) -> Result<Box<dyn Routing>> {
    let settings = &pipeline.settings;
    let behavior = match settings.schema_change_behavior {
        SchemaBehavior::Ignore => Behavior::Ignore,
        SchemaBehavior::Lenient => Behavior::Lenient,
        SchemaBehavior::TryEvolve => Behavior::TryEvolve,
        SchemaBehavior::Evolve => Behavior::Evolve,
        SchemaBehavior::Exception => Behavior::Exception,
    };
    let mode = match settings.route_mode {
        RouteMode::AllMatch => Mode::AllMatch,
        RouteMode::FirstMatch => Mode::FirstMatch,
    };
    let rules = pipeline.routes.iter().map(|rule| rule.route.clone()).collect();
    let policy = Policy::new(behavior, pipeline.schema_changes.iter().copied());
    Ok(Box::new(Router::new(rules, mode, policy, time_zone(pipeline)?)))
}

/// Checks the SQL of rules as far as that is possible without the tables.
pub struct Sql;

impl SqlChecker for Sql {
    fn check(&self, sql: &SqlRule<'_>) -> Vec<SqlMistake> {
        let rule = Rule {
            projection: sql.projection.map(str::to_owned),
            filter: sql.filter.map(str::to_owned),
            primary_keys: sql.primary_keys.to_vec(),
            partition_keys: sql.partition_keys.to_vec(),
            ..Rule::default()
        };
        rule.check().into_iter().map(sql_mistake).collect()
    }

    fn check_time_zone(&self, name: &str) -> std::result::Result<(), String> {
        let known = name == SYSTEM_DEFAULT || zone_named(name).is_some();
        known
            .then_some(())
            .ok_or_else(|| format!("must be a name of the IANA list, such as `Europe/Berlin`, not `{name}`"))
    }
}

fn sql_mistake(mistake: Mistake) -> SqlMistake {
    let Mistake { clause, error: SqlError { code, message, span, help } } = mistake;
    SqlMistake { clause, span, code, message, label: None, notes: Vec::new(), help }
}

/// The dialect's word for the zone of the machine.
const SYSTEM_DEFAULT: &str = "systemDefault";

/// `pipeline.local-time-zone`, or the system's.
fn time_zone(pipeline: &Pipeline) -> Result<Tz> {
    match pipeline.settings.local_time_zone.as_deref() {
        None | Some(SYSTEM_DEFAULT) => Ok(system_zone()),
        Some(name) => zone_named(name).ok_or_else(|| {
            Error::new(Code::BadValue, format!("there is no time zone `{name}`"))
                .fact("option", "pipeline.local-time-zone")
                .help("use a name of the IANA list, such as `Europe/Berlin` or `UTC`")
        }),
    }
}

/// A zone by its name in the IANA list, or whole hours from UTC: `+08:00`, `UTC+8`, `GMT-03:00`.
pub fn zone_named(name: &str) -> Option<Tz> {
    let offset = name.strip_prefix("UTC").or_else(|| name.strip_prefix("GMT")).unwrap_or(name);
    let hours = offset.strip_suffix(":00").unwrap_or(offset);
    match (hours.as_bytes().first(), hours.get(1..).and_then(|digits| digits.parse::<u8>().ok())) {
        (Some(b'+' | b'-'), Some(0)) => Some(Tz::UTC),
        // The list's own names count westwards.
        (Some(b'+'), Some(hours)) => format!("Etc/GMT-{hours}").parse().ok(),
        (Some(b'-'), Some(hours)) => format!("Etc/GMT+{hours}").parse().ok(),
        _ => name.parse().ok(),
    }
}

/// The zone that `TZ` or `/etc/localtime` name; UTC if they name none.
fn system_zone() -> Tz {
    let variable = std::env::var("TZ").ok().and_then(|name| name.trim_start_matches(':').parse().ok());
    let link = || {
        let target = std::fs::read_link("/etc/localtime").ok()?;
        let (_, name) = target.to_str()?.split_once("zoneinfo/")?;
        name.parse().ok()
    };
    variable.or_else(link).unwrap_or(Tz::UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_have_names_or_whole_hours() {
        assert_eq!(zone_named("Europe/Berlin"), Some(Tz::Europe__Berlin));
        assert_eq!(zone_named("UTC"), Some(Tz::UTC));
        assert_eq!(zone_named("+08:00"), Some(Tz::Etc__GMTMinus8));
        assert_eq!(zone_named("GMT-03:00"), Some(Tz::Etc__GMTPlus3));
        assert_eq!(zone_named("UTC+0"), Some(Tz::UTC));
        for bad in ["", "+99:00", "Mars/Olympus", "+08:30"] {
            assert_eq!(zone_named(bad), None, "{bad}");
        }
    }
}
