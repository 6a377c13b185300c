//! A rule compiled for one version of one table.

use super::{Clause, Context, META_PARTITION_KEYS, META_TABLE_OPTIONS, Mistake, Rule, Source, keys};
use crate::error::{SqlError, with_place};
use crate::expr::ast::{Item, Kind, Span};
use crate::expr::bind::{self, Binder, Typed};
use crate::expr::input::{Input, InputKind, Meta};
use crate::expr::{self};
use crate::types::Type;
use arrow_schema::{DataType, Field, FieldRef, Schema};
use datafusion_physical_expr::PhysicalExpr;
use dujiang_core::{Code, Error, TableSchema};
use std::collections::HashMap;
use std::sync::Arc;

/// A rule compiled for one version of one table: its output and how to compute it.
pub struct Compiled {
    pub(super) output: Arc<TableSchema>,
    pub(super) filter: Option<Expressions>,
    pub(super) columns: Vec<Source>,
    pub(super) computed: Expressions,
    /// For each column of the table whether the output or an expression needs it.
    pub(super) reads: Vec<bool>,
    /// The table's shape with nothing but what is read.
    pub(super) picked_schema: Arc<Schema>,
    pub(super) soft_delete: bool,
    pub(super) new_key: bool,
    pub(super) context: Context,
}

/// Expressions over one set of inputs.
pub(super) struct Expressions {
    pub inputs: Vec<Input>,
    pub schema: Arc<Schema>,
    pub exprs: Vec<Arc<dyn PhysicalExpr>>,
    /// The text they stand in, and what it is.
    pub text: String,
    pub clause: &'static str,
    /// Where each of them begins in the text, and the output column it is for, if it is for one.
    pub places: Vec<(usize, Option<String>)>,
}

/// An output column before it is compiled.
struct Output<'i> {
    name: String,
    span: Span,
    definition: Definition<'i>,
}

enum Definition<'i> {
    Column(usize),
    Item(&'i expr::ast::Node),
}

impl Expressions {
    fn new(
        inputs: Vec<Input>,
        exprs: Vec<Arc<dyn PhysicalExpr>>,
        places: Vec<(usize, Option<String>)>,
        text: &str,
        clause: &'static str,
    ) -> Self {
        let field = |(i, input): (usize, &Input)| input.ty.field(&format!("c{i}"), true);
        let schema = Arc::new(Schema::new(inputs.iter().enumerate().map(field).collect::<Vec<_>>()));
        Self { inputs, schema, exprs, text: text.to_owned(), clause, places }
    }

    /// The error of a row with the place of the expression that fails.
    #[cold]
    pub(super) fn placed(&self, at: usize, error: Error) -> Error {
        let Some((start, column)) = self.places.get(at) else { return error };
        let error = with_place(error, &self.text, *start).fact("in", self.clause);
        match column {
            Some(name) => error.fact("output column", name.clone()),
            None => error,
        }
    }
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled").field("output", &self.output).field("columns", &self.columns).finish_non_exhaustive()
    }
}

/// Items that no table makes right: expressions without a name, reserved names.
pub(super) fn check_items(items: &[Item]) -> Vec<SqlError> {
    items.iter().filter_map(|item| name_of(item).err()).collect()
}

/// The name of an item's column; `None` for stars.
fn name_of(item: &Item) -> Result<Option<(&str, Span)>, SqlError> {
    let Item::Expression { node, alias } = item else { return Ok(None) };
    match (alias, &node.kind) {
        (Some((name, span)), _) if Meta::NAMES.contains(&name.as_str()) => {
            Err(SqlError::new(Code::SqlOutput, span.clone(), format!("`{name}` is the name of a metadata column"))
                .help("choose another name"))
        }
        (Some((name, span)), _) => Ok(Some((name, span.clone()))),
        (None, Kind::Name(parts)) => Ok(parts.last().map(|(name, _)| (name.as_str(), node.span.clone()))),
        (None, _) => Err(SqlError::new(Code::SqlOutput, node.span.clone(), "an expression needs a name")
            .help("write `AS name` behind it")),
    }
}

impl Compiled {
    /// Compiles a rule for a table.
    ///
    /// # Errors
    /// Every mistake found, in the order of the texts.
    pub fn new(rule: &Rule, input: &Arc<TableSchema>, context: &Context) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let projection = |error| Mistake { clause: Clause::Projection, error };
        let items = match expr::projection(rule.projection_text()) {
            Ok(items) => items,
            Err(errors) => {
                mistakes.extend(errors.into_iter().map(projection));
                Vec::new()
            }
        };
        let (outputs, errors) = outputs(&items, input);
        mistakes.extend(errors.into_iter().map(projection));
        let mut binder = Binder::new(input, context.time_zone, &context.metadata);
        let BoundOutputs { columns, mut fields, exprs, places } = bind_outputs(&mut binder, input, &outputs);
        mistakes.extend(std::mem::take(&mut binder.errors).into_iter().map(projection));
        let computed = Expressions::new(binder.inputs, exprs, places, rule.projection_text(), "projection");
        let filter = bind_filter(rule, &items, input, context, &mut mistakes);
        let key = keys::choose(rule, input, &columns, &mut fields, &mut mistakes);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let output = Arc::new(TableSchema {
            id: input.id.clone(),
            version: input.version,
            arrow: Arc::new(Schema::new_with_metadata(fields, metadata(rule, input))),
            key: key.columns,
            key_equality: key.equality,
        });
        let reads = reads(input, &columns, &computed.inputs);
        let picked_schema = picked_schema(input, &reads);
        Ok(Self {
            reads,
            picked_schema,
            output,
            filter,
            columns,
            computed,
            soft_delete: rule.soft_delete,
            new_key: !rule.primary_keys.is_empty(),
            context: context.clone(),
        })
    }

    /// The shape of the output.
    pub fn output(&self) -> &Arc<TableSchema> {
        &self.output
    }
}

fn metadata(rule: &Rule, input: &TableSchema) -> HashMap<String, String> {
    let mut metadata = input.arrow.metadata().clone();
    if !rule.partition_keys.is_empty() {
        metadata.insert(META_PARTITION_KEYS.to_owned(), rule.partition_keys.join(","));
    }
    if let Some(options) = &rule.table_options {
        metadata.insert(META_TABLE_OPTIONS.to_owned(), options.clone());
    }
    metadata
}

/// The output columns in order; a later one takes the place of an earlier one of its name.
fn outputs<'i>(items: &'i [Item], input: &TableSchema) -> (Vec<Output<'i>>, Vec<SqlError>) {
    let mut outputs: Vec<Output<'i>> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut errors = Vec::new();
    let mut put = |output: Output<'i>| match places.get(&output.name) {
        Some(&at) => outputs[at] = output,
        None => {
            places.insert(output.name.clone(), outputs.len());
            outputs.push(output);
        }
    };
    for item in items {
        match item {
            Item::Star(Some((table, span))) if **table != *input.id.table => {
                let error = SqlError::new(Code::SqlUnknownColumn, span.clone(), format!("this is not table `{table}`"));
                errors.push(error.help(format!("write `*` or `{}.*`", input.id.table)));
            }
            Item::Star(_) => {
                for (index, field) in input.arrow.fields().iter().enumerate() {
                    put(Output { name: field.name().clone(), span: 0..0, definition: Definition::Column(index) });
                }
            }
            Item::Expression { node, .. } => match name_of(item) {
                Ok(Some((name, span))) => {
                    put(Output { name: name.to_owned(), span, definition: definition(node, input) })
                }
                Ok(None) => {}
                Err(error) => errors.push(error),
            },
        }
    }
    (outputs, errors)
}

fn definition<'i>(node: &'i expr::ast::Node, input: &TableSchema) -> Definition<'i> {
    let plain = match &node.kind {
        Kind::Name(parts) if parts.len() == 1 => Some(&parts[0].0),
        Kind::Name(parts) if parts.len() == 2 && *parts[0].0 == *input.id.table => Some(&parts[1].0),
        _ => None,
    };
    let column = plain.and_then(|name| input.arrow.fields().iter().position(|f| f.name() == name));
    column.map_or(Definition::Item(node), Definition::Column)
}

/// Output columns, and the expressions that some of them are.
#[derive(Default)]
struct BoundOutputs {
    columns: Vec<Source>,
    fields: Vec<FieldRef>,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    /// Where each expression begins in the projection, and its column.
    places: Vec<(usize, Option<String>)>,
}

fn bind_outputs(binder: &mut Binder<'_>, input: &TableSchema, outputs: &[Output<'_>]) -> BoundOutputs {
    let mut bound = BoundOutputs::default();
    for output in outputs {
        match output.definition {
            Definition::Column(index) => {
                let field = input.arrow.field(index).clone().with_name(&output.name);
                bound.columns.push(Source::Column(index));
                bound.fields.push(Arc::new(field));
            }
            Definition::Item(node) => {
                let Some(typed) = binder.bind(node).and_then(|typed| finished(binder, typed, &output.span)) else {
                    continue;
                };
                bound.columns.push(Source::Computed(bound.exprs.len()));
                bound.fields.push(Arc::new(typed.ty.field(&output.name, typed.nullable)));
                bound.exprs.push(typed.expr);
                bound.places.push((node.span.start, Some(output.name.clone())));
            }
        }
    }
    bound
}

/// A value that can leave an expression.
fn finished(binder: &mut Binder<'_>, typed: Typed, span: &Span) -> Option<Typed> {
    match typed.ty {
        Type::Interval => {
            let message = "an INTERVAL can only be added or subtracted, not be a column";
            binder.errors.push(SqlError::new(Code::SqlType, span.clone(), message));
            None
        }
        Type::Null => Some(binder.null_as_text(typed)),
        _ => Some(typed),
    }
}

fn bind_filter(
    rule: &Rule,
    items: &[Item],
    input: &TableSchema,
    context: &Context,
    mistakes: &mut Vec<Mistake>,
) -> Option<Expressions> {
    let text = rule.filter.as_deref()?;
    let mistake = |error| Mistake { clause: Clause::Filter, error };
    let node = match expr::expression(text) {
        Ok(node) => node,
        Err(error) => {
            mistakes.push(mistake(error));
            return None;
        }
    };
    let mut binder = Binder::new(input, context.time_zone, &context.metadata);
    binder.aliases = bind::aliases(items);
    let condition = binder.condition(&node);
    mistakes.extend(std::mem::take(&mut binder.errors).into_iter().map(mistake));
    Some(Expressions::new(binder.inputs, vec![condition?.expr], vec![(node.span.start, None)], text, "filter"))
}

fn reads(input: &TableSchema, columns: &[Source], inputs: &[Input]) -> Vec<bool> {
    let mut reads = vec![false; input.arrow.fields().len()];
    for source in columns {
        if let Source::Column(index) = source {
            reads[*index] = true;
        }
    }
    for input_of_expressions in inputs {
        match input_of_expressions.kind {
            InputKind::Column(index) => reads[index] = true,
            // What identifies a change is made of the key.
            InputKind::Meta(Meta::Identity) => input.key.iter().for_each(|index| reads[*index] = true),
            InputKind::Meta(_) => {}
        }
    }
    reads
}

fn picked_schema(input: &TableSchema, reads: &[bool]) -> Arc<Schema> {
    let field = |(field, read): (&FieldRef, &bool)| match read {
        true => Arc::new(field.as_ref().clone().with_nullable(true)),
        false => Arc::new(Field::new(field.name(), DataType::Null, true)),
    };
    Arc::new(Schema::new(input.arrow.fields().iter().zip(reads).map(field).collect::<Vec<_>>()))
}
