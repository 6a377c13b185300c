//! The names of Kafka's own Java client, as the dialect's files have them, for the client library of this program.

use dujiang_core::options::{Place, Problem, nearest};
use dujiang_core::{Code, Secret};
use rdkafka::ClientConfig;

/// The prefix of the options that go to the client.
pub(crate) const PREFIX: &str = "properties.";

/// Java's name and the library's, where they differ.
const RENAMED: &[(&str, &str)] = &[
    ("max.request.size", "message.max.bytes"),
    ("fetch.max.wait.ms", "fetch.wait.max.ms"),
    ("ssl.truststore.certificates", "ssl.ca.pem"),
    ("ssl.keystore.certificate.chain", "ssl.certificate.pem"),
    ("ssl.keystore.key", "ssl.key.pem"),
];
/// What only a Java program can use, and what this program decides itself; the reason is told.
const REFUSED: &[(&str, &str)] = &[
    ("key.serializer", "keys are written as `key.format` says"),
    ("value.serializer", "values are written as `value.format` says"),
    ("partitioner.class", "`partition.strategy` decides on partitions"),
    ("transactional.id", "it follows from the pipeline, so that an older instance is shut out"),
    ("enable.idempotence", "it is always on"),
    ("isolation.level", "`scan.isolation.level` decides"),
    ("group.id", "it is an option of its own"),
    ("enable.auto.commit", "positions are kept in the pipeline's checkpoints"),
    ("auto.offset.reset", "a position that is gone is an error, never a jump"),
    ("plugin.library.paths", "no code is loaded at run time"),
    ("sasl.login.callback.handler.class", "no code is loaded at run time"),
    ("sasl.oauthbearer.token.endpoint.url", "OAuth is not supported yet"),
    ("ssl.engine.location", "no code is loaded at run time"),
    ("ssl.providers", "no code is loaded at run time"),
];
const JAAS: &str = "sasl.jaas.config";
const TRUST: &str = "ssl.truststore.location";
const TRUST_TYPE: &str = "ssl.truststore.type";
const TRUST_PASSWORD: &str = "ssl.truststore.password";
/// Lists of settings are long; only these are offered as what might have been meant.
const WELL_KNOWN: &[&str] = &[
    "bootstrap.servers",
    "security.protocol",
    "sasl.mechanism",
    "sasl.username",
    "sasl.password",
    "sasl.jaas.config",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.truststore.location",
    "ssl.endpoint.identification.algorithm",
    "compression.type",
    "linger.ms",
    "batch.size",
    "max.request.size",
    "transaction.timeout.ms",
    "delivery.timeout.ms",
    "client.id",
    "acks",
];

/// One setting of the block, with its place.
pub(crate) type Given = (String, Secret);

/// Adds the settings of a block to the client's; every mistake is told.
pub(crate) fn apply(given: &[Given], place: impl Fn(&str) -> Place, client: &mut ClientConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, value) in given {
        let at = || place(&format!("{PREFIX}{name}"));
        if let Err(mut problem) = one(name, value, given, client) {
            problem.place = at();
            problems.push(problem);
        }
    }
    if client.get("bootstrap.servers").is_none() {
        let problem = Problem::new(
            Code::MissingKey,
            "required option `properties.bootstrap.servers` is missing",
            Place::Block(None),
        );
        problems
            .push(problem.help("name one or more brokers: `properties.bootstrap.servers: kafka1:9092,kafka2:9092`"));
    }
    if problems.is_empty()
        && let Err(why) = client.create_native_config()
    {
        problems.push(unfit(&why.to_string(), place("properties.bootstrap.servers")));
    }
    problems
}

fn unfit(why: &str, place: Place) -> Problem {
    Problem::new(Code::KafkaSetting, format!("the Kafka client does not accept its settings: {why}"), place)
}

fn one(name: &str, value: &Secret, given: &[Given], client: &mut ClientConfig) -> Result<(), Problem> {
    let nowhere = Place::Block(None);
    if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        let message = format!("`{PREFIX}{name}` has no effect here: {why}");
        return Err(Problem::new(Code::KafkaSetting, message, nowhere).help("remove it"));
    }
    match name {
        JAAS => return jaas(value, client),
        TRUST | TRUST_TYPE | TRUST_PASSWORD => return trust(given, client),
        _ => {}
    }
    let native = RENAMED.iter().find(|(java, _)| *java == name).map_or(name, |(_, native)| native);
    // An unknown name, and most values that cannot be, are told by the library one by one.
    let mut alone = ClientConfig::new();
    alone.set(native, value.reveal());
    if let Err(why) = alone.create_native_config() {
        return Err(refused(name, &why.to_string()));
    }
    client.set(native, value.reveal());
    Ok(())
}

/// The library's sentence may repeat the value, so it is not shown.
fn refused(name: &str, why: &str) -> Problem {
    let unknown = why.contains("No such configuration property");
    let what =
        if unknown { "is no setting of the Kafka client" } else { "has a value that the Kafka client does not accept" };
    let problem = Problem::new(Code::KafkaSetting, format!("`{PREFIX}{name}` {what}"), Place::Block(None));
    match nearest(name, WELL_KNOWN.iter().copied()).filter(|near| unknown && *near != name) {
        Some(near) => problem.help(format!("did you mean `{PREFIX}{near}`?")),
        None if unknown => {
            problem.help("use the names of Kafka's producer and consumer settings, or those of librdkafka")
        }
        None => problem.help("see Kafka's documentation of the setting for what it takes"),
    }
}

/// `org.apache...ScramLoginModule required username="u" password="p";`
fn jaas(value: &Secret, client: &mut ClientConfig) -> Result<(), Problem> {
    let text = value.reveal();
    let known = ["PlainLoginModule", "ScramLoginModule"].iter().any(|module| text.contains(module));
    let (user, password) = (quoted(text, "username"), quoted(text, "password"));
    let (true, Some(user), Some(password)) = (known, user, password) else {
        let message = format!("`{PREFIX}{JAAS}` names no login module with user and password");
        return Err(Problem::new(Code::KafkaSetting, message, Place::Block(None))
            .help("write `properties.sasl.username` and `properties.sasl.password` instead"));
    };
    client.set("sasl.username", user).set("sasl.password", password);
    Ok(())
}

/// The value of `name="..."`.
fn quoted(text: &str, name: &str) -> Option<String> {
    let start = text.find(&format!("{name}="))? + name.len() + 1;
    let mut chars = text[start..].chars();
    let quote = chars.next().filter(|c| matches!(c, '"' | '\''))?;
    let mut value = String::new();
    while let Some(c) = chars.next() {
        match c {
            '\\' => value.push(chars.next()?),
            c if c == quote => return Some(value),
            c => value.push(c),
        }
    }
    None
}

/// Java's trust store: only its PEM form can be read here.
fn trust(given: &[Given], client: &mut ClientConfig) -> Result<(), Problem> {
    let value = |name: &str| given.iter().find(|(of, _)| of == name).map(|(_, value)| value.reveal());
    if !value(TRUST_TYPE).is_some_and(|kind| kind.eq_ignore_ascii_case("PEM")) {
        let message = format!("`{PREFIX}{TRUST}` is a key store of Java, which only Java can read");
        return Err(Problem::new(Code::KafkaSetting, message, Place::Block(None))
            .help("write its certificates into a PEM file and name that in `properties.ssl.ca.location`"));
    }
    if let Some(location) = value(TRUST) {
        client.set("ssl.ca.location", location);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(pairs: &[(&str, &str)]) -> (ClientConfig, Vec<Problem>) {
        let given: Vec<Given> = pairs.iter().map(|(k, v)| ((*k).to_owned(), Secret::new(*v))).collect();
        let mut client = ClientConfig::new();
        let problems = apply(&given, |_| Place::CommandLine, &mut client);
        (client, problems)
    }

    #[test]
    fn names_of_the_java_client_are_understood() {
        let module =
            "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"u\" password=\"p\\\"w\";";
        let (client, problems) = applied(&[
            ("bootstrap.servers", "b:9092"),
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.jaas.config", module),
            ("max.request.size", "2000000"),
            ("compression.type", "zstd"),
            ("linger.ms", "7"),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", "/etc/ca.pem"),
        ]);
        assert_eq!(problems, []);
        let got = |name| client.get(name).unwrap_or_default();
        assert_eq!((got("sasl.username"), got("sasl.password"), got("message.max.bytes")), ("u", "p\"w", "2000000"));
        assert_eq!((got("ssl.ca.location"), got("linger.ms")), ("/etc/ca.pem", "7"));
    }

    #[test]
    fn every_mistake_is_told_and_no_value_repeated() {
        let (_, problems) = applied(&[
            ("bootstrap.server", "secret-host"),
            ("linger.ms", "secret-value"),
            ("transactional.id", "x"),
            ("sasl.jaas.config", "KeyTabModule required password=\"hunter2\""),
            ("ssl.truststore.location", "/etc/trust.jks"),
        ]);
        let all: Vec<_> =
            problems.iter().map(|p| format!("{} {}", p.message, p.help.as_deref().unwrap_or(""))).collect();
        assert_eq!(problems.len(), 6, "{all:#?}");
        assert!(all[0].contains("did you mean `properties.bootstrap.servers`?"), "{all:#?}");
        assert!(!all.iter().any(|text| text.contains("secret-") || text.contains("hunter2")), "{all:#?}");
    }
}
