//! From a file's text to a pipeline that can run.

use crate::blocks::{self, Blocks, RawBlock};
use crate::bytes;
use crate::common::common_options;
use crate::diagnostic::Diagnostic;
use crate::document;
use crate::finding::{Finding, Findings};
use crate::given::Given;
use crate::guarantee::{self, Asked};
use crate::hints::{self, quoted};
use crate::overrides::{self, Setting, Target, Variable};
use crate::pipeline::{Block, Guarantee, Pipeline, PipelineSettings, SchemaBehavior};
use crate::references::{Origin, Resolver};
use crate::registry::Registry;
use crate::rules::{self, RouteOptions, RouteRule, TransformOptions, TransformRule};
use crate::schema_changes;
use crate::secrets::{self, SecretNames};
use crate::settings;
use crate::sinks;
use crate::source_text::SourceText;
use dujiang_core::connector::{Log, PipelineOptions, SinkSpec};
use dujiang_core::options::{OptionDef, Place, Problem, RawOption, nearest};
use dujiang_core::sink::Sink;
use dujiang_core::source::Source;
use dujiang_core::{Code, Secret};
use std::collections::BTreeMap;
use std::io;

/// Everything a pipeline is made of.
pub struct Inputs<'a> {
    /// The file.
    pub text: SourceText,
    /// The environment: all variables; those that begin with `DUJIANG__` override the file, any may be named by
    /// `${env:X}`.
    pub env: Vec<(String, String)>,
    /// `--set path=value`, in the order given; overrides file and environment.
    pub set: Vec<(String, String)>,
    /// Reads the file of a `${file:path}`.
    pub read_file: &'a dyn Fn(&str) -> io::Result<String>,
}

/// A pipeline that can run.
pub struct Loaded {
    /// What the file says.
    pub pipeline: Pipeline,
    /// The source, built.
    pub source: Box<dyn Source>,
    /// The log, built.
    pub log: Option<Log>,
    /// The sink, built.
    pub sink: Box<dyn Sink>,
    /// Further sinks of the log, each with the pipeline as it is for that sink.
    pub more: Vec<(Pipeline, Box<dyn Sink>)>,
    /// What the user should know although it runs, in file order.
    pub warnings: Vec<Diagnostic>,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded").field("pipeline", &self.pipeline).finish_non_exhaustive()
    }
}

/// Reads and checks a pipeline; builds its source and sink, which touches nothing outside the process.
///
/// # Errors
/// Every mistake (and every warning) at once, in file order. A file of several pipelines is refused.
pub fn load(inputs: Inputs<'_>, registry: &dyn Registry) -> Result<Loaded, Vec<Diagnostic>> {
    let read_file = |_: &str, path: &str| (inputs.read_file)(path);
    let all = AllInputs { texts: vec![inputs.text.clone()], env: inputs.env, set: inputs.set, read_file: &read_file };
    let mut loaded = load_all(all, registry)?;
    if loaded.len() > 1 {
        let message = format!("`{}` holds {} pipelines where one is needed", inputs.text.name(), loaded.len());
        let mut several = Diagnostic::about_file(Code::WrongShape, message, inputs.text.name());
        several.help = Some("give each pipeline a file of its own for this".into());
        return Err(vec![several]);
    }
    Ok(loaded.pop().expect("invariant: without a pipeline there is an error"))
}

/// Files whose pipelines run in one process.
pub struct AllInputs<'a> {
    /// The files; each holds one pipeline per YAML document.
    pub texts: Vec<SourceText>,
    /// As in [`Inputs::env`]; with several pipelines the name of one comes first: `DUJIANG__ORDERS__SOURCE__HOSTNAME`.
    pub env: Vec<(String, String)>,
    /// As in [`Inputs::set`]; with several pipelines `orders.source.hostname`.
    pub set: Vec<(String, String)>,
    /// Reads the file of a `${file:path}`: the name of the pipeline file, and the path.
    pub read_file: &'a dyn Fn(&str, &str) -> io::Result<String>,
}

/// One document of one file.
struct Document {
    file: SourceText,
    blocks: Blocks,
    /// What the file gives as the pipeline's name, or what follows from the file's name.
    name: String,
    findings: Findings,
}

/// Reads and checks pipelines that run in one process; builds their sources and sinks, which touches nothing outside it.
///
/// # Errors
/// Every mistake (and every warning) of every file at once.
pub fn load_all(inputs: AllInputs<'_>, registry: &dyn Registry) -> Result<Vec<Loaded>, Vec<Diagnostic>> {
    let env: BTreeMap<&str, &str> = inputs.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let (mut documents, mut unreadable) = (Vec::new(), Vec::new());
    for text in &inputs.texts {
        let read_file = |path: &str| (inputs.read_file)(text.name(), path);
        match read(text, &Resolver { env: env.clone(), read_file: &read_file }, registry) {
            Ok(found) => documents.extend(found),
            Err(diagnostics) => unreadable.extend(diagnostics),
        }
    }
    let names: Vec<String> = documents.iter().map(|document| document.name.clone()).collect();
    let mut common = same_names(&documents);
    let variables = overrides::variables(&env, &names, &mut common);
    let set = overrides::settings(&inputs.set, &names, &mut common);
    let (mut loaded, mut diagnostics) = (Vec::new(), unreadable);
    for (index, mut document) in documents.into_iter().enumerate() {
        document.findings.append(std::mem::take(&mut common));
        let loader = Loader {
            file: document.file,
            registry,
            variables: variables.iter().filter(|v| v.is_for(index)).cloned().collect(),
            set: set.iter().filter(|s| s.is_for(index)).cloned().collect(),
            findings: document.findings,
            secrets: Vec::new(),
            misspelt: Vec::new(),
            default_name: document.name,
            given: Vec::new(),
        };
        match loader.finish(document.blocks) {
            Ok(pipeline) => loaded.push(pipeline),
            Err(found) => diagnostics.extend(found),
        }
    }
    if diagnostics.is_empty() {
        return Ok(loaded);
    }
    diagnostics.extend(loaded.into_iter().flat_map(|pipeline| pipeline.warnings));
    Err(diagnostics)
}

/// Reads the documents of a file.
fn read(text: &SourceText, resolver: &Resolver<'_>, registry: &dyn Registry) -> Result<Vec<Document>, Vec<Diagnostic>> {
    if text.text().len() > bytes::MAX_FILE_BYTES {
        return Err(vec![bytes::too_large(text.name())]);
    }
    let mut findings = Findings::default();
    let parsed = document::parse(text.text(), &mut findings);
    let names = SecretNames::new(registry);
    let hidden = secrets::secret_spans(text.text(), &parsed.roots, &parsed.anchored, &names);
    let file = text.with_secrets(hidden);
    if parsed.roots.is_empty() {
        return Err(findings.into_diagnostics(&file));
    }
    let mut documents = Vec::with_capacity(parsed.roots.len());
    for (index, root) in parsed.roots.iter().enumerate() {
        let mut findings = std::mem::take(&mut findings);
        let blocks = blocks::read(root, file.text(), resolver, &mut findings);
        let given = blocks.pipeline.get("name").map(|option| option.value.clone());
        let name = given.unwrap_or_else(|| match index {
            0 => settings::default_name(&file),
            _ => format!("{}-{}", settings::default_name(&file), index + 1),
        });
        documents.push(Document { file: file.clone(), blocks, name, findings });
    }
    Ok(documents)
}

/// Pipelines of one process must be told apart, by variables, too.
fn same_names(documents: &[Document]) -> Findings {
    let mut findings = Findings::default();
    let mut seen = BTreeMap::new();
    for document in documents {
        if let Some(first) = seen.insert(overrides::spelling(&document.name), document) {
            let message = if first.name == document.name {
                format!("two pipelines are called `{}`", document.name)
            } else {
                format!("the pipelines `{}` and `{}` cannot be told apart", first.name, document.name)
            };
            let finding = Finding::error(Code::Conflict, message, Place::Block(None)).note(format!(
                "they stand in `{}` and `{}`",
                first.file.name(),
                document.file.name()
            ));
            findings.push(finding.help("give each a `pipeline.name` of its own"));
        }
    }
    findings
}

struct Loader<'a> {
    file: SourceText,
    registry: &'a dyn Registry,
    variables: Vec<Variable<'a>>,
    set: Vec<Setting<'a>>,
    findings: Findings,
    secrets: Vec<Secret>,
    /// Blocks that are there under a misspelt key, which has been reported.
    misspelt: Vec<&'static str>,
    /// The name of a pipeline that gives none.
    default_name: String,
    /// Every option that was given.
    given: Vec<Given>,
}

impl Loader<'_> {
    fn finish(mut self, blocks: Blocks) -> Result<Loaded, Vec<Diagnostic>> {
        let registry = self.registry;
        let Blocks { source: mut raw_source, log, sink, pipeline, transform, route, sinks, misspelt } = blocks;
        self.misspelt = misspelt;
        let (settings, asked_in_pipeline) = self.settings(pipeline);
        let target = Target::block("source");
        let source_spec = self.kind(target, &mut raw_source, registry.sources().iter().map(|s| s.kind));
        let source_spec = source_spec.and_then(|kind| registry.source(&kind));
        let mut raw_sinks = sinks::all(sink, sinks, &log, &self.variables, &self.set, &mut self.findings);
        let kinds = || registry.sinks().iter().map(|s| s.kind);
        let mut kind = |(target, raw): &mut (Target, RawBlock)| {
            self.kind(*target, raw, kinds()).and_then(|kind| registry.sink(&kind))
        };
        let sink_specs: Vec<Option<&SinkSpec>> = raw_sinks.iter_mut().map(&mut kind).collect();

        let given = settings.as_ref().and_then(|s| s.name.clone());
        let name = given.unwrap_or_else(|| self.default_name.clone());
        let options = connector_options(&name, settings.as_ref());
        let in_source = ("source", source_spec.map_or(&[][..], |spec| spec.options));
        let in_sink = ("sink", sink_specs.iter().flatten().next().map_or(&[][..], |spec| spec.options));
        let source = source_spec.and_then(|spec| {
            self.overrides(target, &mut raw_source, spec.options);
            let block = self.block(target, spec.kind, &mut raw_source, spec.options);
            let built =
                self.build(&block, &raw_source, ("source", spec.options), in_sink, |raw| (spec.build)(raw, &options))?;
            built.warnings().into_iter().for_each(|problem| self.findings.push(Finding::from(problem).into_warning()));
            Some((block, built))
        });
        let log = self.log(log, in_sink, &options);
        let asked = (settings.as_ref(), asked_in_pipeline.as_ref());
        let all = raw_sinks.into_iter().zip(sink_specs);
        let built = all.filter_map(|((target, raw), spec)| self.sink(target, raw, spec?, in_source, asked, &options));
        let sinks: Vec<BuiltSink> = built.collect();
        if let (Some(settings), Some((block, _))) = (&settings, &source) {
            settings::check_batch(settings, block, &mut self.findings);
        }
        let rules = Rules { transforms: self.transforms(transform), routes: self.routes(route) };
        self.conclude(name, settings, source, log, sinks, rules)
    }

    /// The log; `Some(None)` without a block.
    fn log(
        &mut self,
        mut raw: RawBlock,
        elsewhere: (&str, &[OptionDef]),
        options: &PipelineOptions,
    ) -> Option<Option<(Block, Log)>> {
        let (registry, target) = (self.registry, Target::block("log"));
        let outside = overrides::is_named(target, &self.variables, &self.set);
        if raw.place.is_none() && raw.options.is_empty() && !outside {
            return Some(None);
        }
        let kind = self.kind(target, &mut raw, registry.logs().iter().map(|s| s.kind))?;
        let spec = registry.log(&kind)?;
        self.overrides(target, &mut raw, spec.options);
        let block = self.block(target, spec.kind, &mut raw, spec.options);
        let built = self.build(&block, &raw, ("log", spec.options), elsewhere, |raw| (spec.build)(raw, options))?;
        Some(Some((block, built)))
    }

    fn sink(
        &mut self,
        target: Target,
        mut raw: RawBlock,
        spec: &SinkSpec,
        elsewhere: (&str, &[OptionDef]),
        (settings, asked): (Option<&PipelineSettings>, Option<&Asked>),
        options: &PipelineOptions,
    ) -> Option<BuiltSink> {
        self.overrides(target, &mut raw, spec.options);
        let behavior = settings.map_or(SchemaBehavior::Evolve, |s| s.schema_change_behavior);
        let schema_changes = schema_changes::take(&mut raw, behavior, &mut self.findings);
        let asked_in_sink = guarantee::take(&mut raw, spec.options);
        let asked = guarantee::asked(asked, asked_in_sink.as_ref(), spec.options, &mut self.findings);
        guarantee::tell(asked.as_ref(), &mut raw, spec.options);
        let block = self.block(target, spec.kind, &mut raw, spec.options);
        let sink = self.build(&block, &raw, ("sink", spec.options), elsewhere, |raw| (spec.build)(raw, options))?;
        guarantee::check(asked.as_ref(), sink.class(), spec.kind, &mut self.findings);
        Some(BuiltSink { block, sink, guarantee: asked.map(|asked| asked.guarantee), schema_changes })
    }

    fn transforms(&mut self, raw: Vec<RawBlock>) -> Vec<TransformRule> {
        let (registry, file) = (self.registry, self.file.clone());
        let raw = self.rules("transform", raw, TransformOptions::DEFS);
        raw.iter().filter_map(|raw| rules::transform(raw, registry.sql(), &file, &mut self.findings)).collect()
    }

    fn routes(&mut self, raw: Vec<RawBlock>) -> Vec<RouteRule> {
        let raw = self.rules("route", raw, RouteOptions::DEFS);
        raw.iter().filter_map(|raw| rules::route(raw, &mut self.findings)).collect()
    }

    /// Lays environment and command line over the rules of a list.
    fn rules(&mut self, list: &'static str, mut raw: Vec<RawBlock>, defs: &[OptionDef]) -> Vec<RawBlock> {
        let count = overrides::rules(list, raw.len(), &self.variables, &self.set, &mut self.findings);
        raw.resize_with(count, RawBlock::default);
        for (index, block) in raw.iter_mut().enumerate() {
            let target = Target::rule(list, index);
            overrides::apply(target, block, defs, &self.variables, &self.set, &mut self.findings);
            self.given.push(Given::new(format!("{list}.{index}"), block));
        }
        raw
    }

    /// The `pipeline` block, and what it asks of the sink.
    fn settings(&mut self, mut raw: RawBlock) -> (Option<PipelineSettings>, Option<Asked>) {
        let target = Target::block("pipeline");
        overrides::apply(target, &mut raw, PipelineSettings::DEFS, &self.variables, &self.set, &mut self.findings);
        self.given.push(Given::new("pipeline", &raw));
        let asked = guarantee::asked_for(raw.get("guarantee"), "pipeline.guarantee");
        settings::check_values(&raw, self.registry.sql(), &mut self.findings);
        match PipelineSettings::parse(&raw.options) {
            Ok(settings) => {
                settings::check(&settings, &raw, &mut self.findings);
                (Some(settings), asked)
            }
            Err(problems) => {
                self.problems("the `pipeline` block", &raw, PipelineSettings::DEFS, ("", &[]), problems);
                (None, asked)
            }
        }
    }

    /// The `type` of a block, if it is one of the known ones.
    fn kind<'k>(
        &mut self,
        target: Target,
        raw: &mut RawBlock,
        known: impl Iterator<Item = &'k str> + Clone,
    ) -> Option<String> {
        let block = target.block;
        overrides::apply_type(target, raw, &self.variables, &self.set);
        if raw.place.is_none() && raw.options.is_empty() {
            let message = format!("Missing required field \"{block}\" in top-level configuration");
            let help = format!("add a `{block}:` block with `type:` and the options of that type");
            if !self.misspelt.contains(&block) {
                self.findings.push(Finding::error(Code::MissingKey, message, Place::Block(None)).help(help));
            }
            return None;
        }
        let kind = self.known_kind(block.trim_end_matches('s'), raw, known);
        if kind.is_none() {
            raw.report_unreadable(&mut self.findings);
        }
        kind
    }

    fn known_kind<'k>(
        &mut self,
        block: &str,
        raw: &RawBlock,
        known: impl Iterator<Item = &'k str> + Clone,
    ) -> Option<String> {
        let Some(option) = raw.get("type") else {
            if !raw.unreadable.iter().any(|(key, _)| key == "type") {
                let message = format!("Missing required field \"type\" in {block} configuration");
                let finding = Finding::error(Code::MissingKey, message, Place::Block(raw.place.clone()));
                let meant = raw.options.iter().find(|option| nearest(&option.key, ["type"].into_iter()).is_some());
                self.findings.push(finding.help(match meant {
                    Some(option) => {
                        format!("did you mean `type` instead of `{}`? It is one of {}", option.key, quoted(known))
                    }
                    None => format!("one of {}", quoted(known)),
                }));
            }
            return None;
        };
        if known.clone().any(|kind| kind == option.value) {
            return Some(option.value.clone());
        }
        let message = format!("unknown {block} type `{}`", option.value);
        let finding = Finding::error(Code::UnknownConnector, message, option.value_place.clone());
        self.findings.push(match (hints::of_flink_cdc(block, &option.value), nearest(&option.value, known.clone())) {
            (Some(instead), _) => finding
                .note(format!("Flink CDC has this {block}, Dujiang has not yet"))
                .help(format!("this build has {}{instead}", quoted(known))),
            (None, Some(near)) => finding.help(format!("did you mean `{near}`?")),
            (None, None) => finding.help(format!("this build has {}", quoted(known))),
        });
        None
    }

    /// Lays environment and command line over a block. Without a known type its variables cannot be looked up.
    fn overrides(&mut self, target: Target, raw: &mut RawBlock, options: &[OptionDef]) {
        let known: Vec<OptionDef> = common_options(target.block).iter().chain(options).copied().collect();
        overrides::apply(target, raw, &known, &self.variables, &self.set, &mut self.findings);
        self.given.push(Given::new(target.path(), raw));
    }

    /// Splits what the block itself reads from what its connector reads, and remembers the secrets.
    fn block(&mut self, target: Target, kind: &str, raw: &mut RawBlock, options: &[OptionDef]) -> Block {
        let block = &target.path();
        let place = Place::Block(raw.place.clone());
        let kind_place = raw.take("type").map_or(place.clone(), |option| option.value_place);
        let own_name = options.iter().any(|def| def.name == "name");
        let label = if own_name { None } else { raw.take("name").map(|option| option.value) };
        self.secrets.extend(raw.options.iter().flat_map(|option| secrets::in_urls(&option.value)));
        for option in raw.options.iter().filter(|option| secrets::is_secret_option(options, &option.key)) {
            self.secrets.push(Secret::new(option.value.clone()));
            if option.value.is_empty() {
                self.note_empty_secret(block, option, &raw.origins);
            }
        }
        let (options, origins) = (raw.options.clone(), raw.origins.clone());
        Block { kind: kind.to_owned(), kind_place, place, label, options, origins }
    }

    /// An empty password is legal but seldom meant, unless it was written down as such.
    fn note_empty_secret(&mut self, block: &str, option: &RawOption, origins: &[(String, Origin)]) {
        let origin = origins.iter().find(|(key, _)| *key == option.key);
        let written = matches!(option.value_place, Place::File(_)) && origin.is_none();
        if !written {
            let from = origin.map_or(String::new(), |(_, origin)| format!(": {origin} is empty"));
            let message = format!("`{block}.{}` is empty{from}", option.key);
            self.findings.push(Finding::warning(Code::BadReference, message, option.value_place.clone()));
        }
    }

    /// Builds a connector, which checks its options.
    fn build<T>(
        &mut self,
        block: &Block,
        raw: &RawBlock,
        (name, defs): (&str, &[OptionDef]),
        elsewhere: (&str, &[OptionDef]),
        build: impl FnOnce(&[RawOption]) -> Result<T, Vec<Problem>>,
    ) -> Option<T> {
        match build(&block.options) {
            Ok(built) => Some(built),
            Err(problems) => {
                self.problems(&format!("{name} type `{}`", block.kind), raw, defs, elsewhere, problems);
                None
            }
        }
    }

    /// Reports what a block's parser found, with what only the whole file can tell.
    fn problems(
        &mut self,
        whose: &str,
        raw: &RawBlock,
        defs: &[OptionDef],
        elsewhere: (&str, &[OptionDef]),
        problems: Vec<Problem>,
    ) {
        let given = hints::given_keys(raw, defs);
        for problem in problems {
            let mut finding = Finding::from(problem);
            match finding.code {
                Code::UnknownKey => {
                    if finding.help.is_none() {
                        finding.help = Some(hints::for_unknown(&finding.message, whose, defs, elsewhere));
                    }
                    finding.message = format!("{} for {whose}", finding.message);
                }
                Code::MissingKey => {
                    if given.iter().any(|key| finding.message.contains(&format!("`{key}`"))) {
                        continue;
                    }
                    finding.message = format!("{} for {whose}", finding.message);
                }
                Code::BadValue => hints::for_value(&mut finding, raw, defs),
                _ => {}
            }
            if finding.place == Place::Block(None) {
                finding.place = Place::Block(raw.place.clone());
            }
            self.findings.push(finding);
        }
    }

    fn conclude(
        mut self,
        name: String,
        settings: Option<PipelineSettings>,
        source: Option<(Block, Box<dyn Source>)>,
        log: Option<Option<(Block, Log)>>,
        sinks: Vec<BuiltSink>,
        rules: Rules,
    ) -> Result<Loaded, Vec<Diagnostic>> {
        let secrets = std::mem::take(&mut self.secrets);
        self.findings.for_each_text(|text| secrets::scrub(text, &secrets));
        let failed = self.findings.has_errors();
        let diagnostics = self.findings.into_diagnostics(&self.file);
        let mut sinks = sinks.into_iter();
        match (settings, source, log, sinks.next()) {
            (Some(settings), Some((source_block, source)), Some(log), Some(first)) if !failed => {
                let (log_block, log) = log.unzip();
                let pipeline = Pipeline {
                    name,
                    source: source_block,
                    log: log_block,
                    sink: first.block,
                    settings,
                    transforms: rules.transforms,
                    routes: rules.routes,
                    schema_changes: first.schema_changes,
                    guarantee: first.guarantee,
                    file: self.file,
                    given: self.given,
                    secrets,
                };
                let for_sink = |other: BuiltSink| {
                    let BuiltSink { block, sink, guarantee, schema_changes } = other;
                    (Pipeline { sink: block, guarantee, schema_changes, ..pipeline.clone() }, sink)
                };
                let more = sinks.map(for_sink).collect();
                Ok(Loaded { pipeline, source, log, sink: first.sink, more, warnings: diagnostics })
            }
            _ => Err(diagnostics),
        }
    }
}

/// What stands between source and sink.
struct Rules {
    transforms: Vec<TransformRule>,
    routes: Vec<RouteRule>,
}

/// A sink, and what goes with it.
struct BuiltSink {
    block: Block,
    sink: Box<dyn Sink>,
    guarantee: Option<Guarantee>,
    schema_changes: Vec<&'static str>,
}

/// What connectors are told; with the defaults where the block has mistakes, so that their own are found too.
fn connector_options(name: &str, settings: Option<&PipelineSettings>) -> PipelineOptions {
    let defaults = PipelineSettings::parse(&[]).expect("invariant: no setting is required");
    let settings = settings.unwrap_or(&defaults);
    PipelineOptions {
        name: name.to_owned(),
        parallelism: usize::from(settings.parallelism.get()),
        memory_limit: settings.memory_limit.0,
    }
}
