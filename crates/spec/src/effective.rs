//! What a pipeline is set to in the end, and where each value came from.

use crate::common::common_options;
use crate::given::Given;
use crate::pipeline::{Pipeline, PipelineSettings};
use crate::references::Origin;
use crate::registry::Registry;
use crate::rules::{RouteOptions, TransformOptions};
use crate::secrets::{self, SecretNames};
use dujiang_core::options::{OptionDef, Place, Presence, RawOption};

/// One option in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// `source.hostname`, `route.0.sink-table`.
    pub path: String,
    /// The value, references resolved; `None` for a secret.
    pub value: Option<String>,
    /// Where it came from: `pipeline.yaml:3:13`, `environment variable X`, `command line`, `default`; with the variable
    /// or file that a reference named.
    pub origin: String,
}

impl Pipeline {
    /// Every option in force, block by block: those that were given, then the defaults. Secrets are left out.
    pub fn effective(&self, registry: &dyn Registry) -> Vec<Effective> {
        let names = SecretNames::new(registry);
        self.given.iter().flat_map(|given| self.effective_block(given, registry, &names)).collect()
    }

    fn effective_block(&self, given: &Given, registry: &dyn Registry, names: &SecretNames) -> Vec<Effective> {
        let defs = self.definitions(given, registry);
        let mut all: Vec<Effective> =
            given.options.iter().map(|option| self.effective_option(given, option, &defs, names)).collect();
        for def in defs.iter().filter(|def| !given.options.iter().any(|option| option.key == def.name)) {
            if let Presence::Default(text) = def.presence {
                let path = format!("{}.{}", given.path, def.name);
                all.push(Effective { path, value: Some(text.to_owned()), origin: "default".into() });
            }
        }
        all
    }

    fn effective_option(
        &self,
        given: &Given,
        option: &RawOption,
        defs: &[OptionDef],
        names: &SecretNames,
    ) -> Effective {
        let origins: Vec<&Origin> =
            given.origins.iter().filter(|(key, _)| *key == option.key).map(|(_, origin)| origin).collect();
        let from_secret = origins.iter().any(|origin| match origin {
            Origin::Variable(name) | Origin::File(name) => names.contains(name),
        });
        // An option whose name certainly holds no secret is shown even if its words might: `topic.token-count`.
        let known = defs.iter().any(|def| def.name == option.key);
        let secret = from_secret
            || secrets::is_secret_option(defs, &option.key)
            || (!known && names.contains(&option.key))
            || secrets::holds_url_password(&option.value);
        let mut value = option.value.clone();
        secrets::scrub(&mut value, &self.secrets);
        let mut origin = self.origin_text(&option.value_place);
        for of in origins {
            origin.push_str(&format!(", from {of}"));
        }
        let path = format!("{}.{}", given.path, option.key);
        Effective { path, value: (!secret).then_some(value), origin }
    }

    fn origin_text(&self, place: &Place) -> String {
        match place {
            Place::File(span) | Place::Block(Some(span)) => {
                let (line, column) = self.file.line_column(span.start);
                format!("{}:{line}:{column}", self.file.name())
            }
            Place::Environment(name) => format!("environment variable {name}"),
            Place::CommandLine => "command line".to_owned(),
            Place::Block(None) => self.file.name().to_owned(),
        }
    }

    fn definitions(&self, given: &Given, registry: &dyn Registry) -> Vec<OptionDef> {
        let path = given.path.as_str();
        let kind = given.options.iter().find(|option| option.key == "type").map_or("", |option| option.value.as_str());
        let own: &[OptionDef] = match path.split('.').next().unwrap_or_default() {
            "log" => registry.log(kind).map_or(&[], |spec| spec.options),
            "sinks" => registry.sink(kind).map_or(&[], |spec| spec.options),
            "source" => registry.source(&self.source.kind).map_or(&[], |spec| spec.options),
            "sink" => registry.sink(&self.sink.kind).map_or(&[], |spec| spec.options),
            "transform" => TransformOptions::DEFS,
            "route" => RouteOptions::DEFS,
            _ => PipelineSettings::DEFS,
        };
        common_options(path).iter().chain(own).copied().collect()
    }
}
