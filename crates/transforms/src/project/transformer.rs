//! The `transform` block as one of core's transforms.

use super::{Compiled, Context, Mistake, Rule};
use dujiang_core::transform::{RowError, Transform, Transformed};
use dujiang_core::{ChangeBatch, Code, Error, Result, TableId, TableSchema};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Versions of a table whose compiled rule is kept.
const KEPT_VERSIONS: usize = 4;

/// Whether a rule is for a table.
pub type Selects = Box<dyn Fn(&TableId) -> Result<bool> + Send + Sync>;

/// A rule and the tables it is for.
pub struct TableRule {
    /// Whether the rule is for a table (`source-table`).
    pub selects: Selects,
    /// The rule.
    pub rule: Rule,
}

/// Applies to each table the first rule that is for it; other tables pass untouched.
pub struct Transformer {
    rules: Vec<TableRule>,
    context: Context,
    compiled: Mutex<HashMap<TableId, Vec<Known>>>,
}

type Known = (Arc<TableSchema>, Option<Arc<Compiled>>);

impl Transformer {
    /// A transform of these rules, in the order of the pipeline file.
    pub fn new(rules: Vec<TableRule>, context: Context) -> Self {
        Self { rules, context, compiled: Mutex::new(HashMap::new()) }
    }

    /// The index of the rule for a table.
    ///
    /// # Errors
    /// When its pattern cannot be matched.
    pub fn rule_for(&self, table: &TableId) -> Result<Option<usize>> {
        for (index, rule) in self.rules.iter().enumerate() {
            if (rule.selects)(table)? {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// All mistakes of the rule for a table, for `plan` and `check`; with them the rule's index.
    ///
    /// # Errors
    /// As [`Transformer::rule_for`].
    pub fn check(&self, table: &Arc<TableSchema>) -> Result<Option<(usize, Vec<Mistake>)>> {
        let Some(index) = self.rule_for(&table.id)? else { return Ok(None) };
        Ok(Some((index, Compiled::new(&self.rules[index].rule, table, &self.context).err().unwrap_or_default())))
    }

    fn compiled(&self, table: &Arc<TableSchema>) -> Result<Option<Arc<Compiled>>> {
        let mut all = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &&Known| Arc::ptr_eq(&known.0, table) || known.0 == *table;
        if let Some(known) = all.get(&table.id).and_then(|versions| versions.iter().find(same)) {
            return Ok(known.1.clone());
        }
        let compiled = self.compile(table)?;
        let versions = all.entry(table.id.clone()).or_default();
        if versions.len() == KEPT_VERSIONS {
            versions.remove(0);
        }
        versions.push((table.clone(), compiled.clone()));
        Ok(compiled)
    }

    /// All mistakes of the rule for a table, as errors.
    ///
    /// # Errors
    /// As [`Transformer::rule_for`].
    pub fn mistakes(&self, table: &Arc<TableSchema>) -> Result<Vec<Error>> {
        let Some((index, mistakes)) = self.check(table)? else { return Ok(Vec::new()) };
        Ok(mistakes.into_iter().map(|mistake| self.error(index, mistake, table)).collect())
    }

    fn error(&self, index: usize, mistake: Mistake, table: &TableSchema) -> Error {
        let error = mistake.into_error(&self.rules[index].rule);
        error.fact("table", table.id.to_string()).fact("rule", (index + 1).to_string())
    }

    /// What has come out, with the rule in the errors of rows.
    fn with_rule(&self, mut done: Transformed, table: &TableId) -> Result<Transformed> {
        if !done.failed.is_empty()
            && let Some(index) = self.rule_for(table)?
        {
            let with_rule =
                |failed: RowError| RowError { error: failed.error.fact("rule", (index + 1).to_string()), ..failed };
            done.failed = done.failed.into_iter().map(with_rule).collect();
        }
        Ok(done)
    }

    fn compile(&self, table: &Arc<TableSchema>) -> Result<Option<Arc<Compiled>>> {
        let Some(index) = self.rule_for(&table.id)? else { return Ok(None) };
        match Compiled::new(&self.rules[index].rule, table, &self.context) {
            Ok(compiled) => Ok(Some(Arc::new(compiled))),
            Err(mut mistakes) => {
                let more = mistakes.len() - 1;
                let error = self.error(index, mistakes.swap_remove(0), table);
                Err(if more > 0 {
                    error.fact("more mistakes", format!("{more}; `dujiang plan` tells them all"))
                } else {
                    error
                })
            }
        }
    }
}

impl Transform for Transformer {
    fn output_schema(&self, input: &Arc<TableSchema>) -> Result<Option<Arc<TableSchema>>> {
        Ok(Some(self.compiled(input)?.map_or_else(|| input.clone(), |compiled| compiled.output().clone())))
    }

    fn apply(&self, batch: ChangeBatch) -> Result<Transformed> {
        let compiled = self.compiled(&batch.schema).map_err(|e| {
            Error::new(Code::SchemaChange, format!("the rows of {} do not fit their transform rule", batch.schema.id))
                .with_source(e)
        })?;
        match compiled {
            Some(compiled) => self.with_rule(compiled.apply(&batch)?, &batch.schema.id),
            None => Ok(Transformed { batches: vec![batch], ..Transformed::default() }),
        }
    }

    fn changes_keys(&self) -> bool {
        self.rules.iter().any(|table| !table.rule.primary_keys.is_empty())
    }
}
