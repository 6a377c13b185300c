//! What the client says, as errors with codes.

use dujiang_core::{Code, Error};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// The code of the client's own list, if it gives one.
fn number(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::Transaction(inner) => Some(inner.code()),
        other => other.rdkafka_error_code(),
    }
}

/// An error of a call, for whatever was being done; `brokers` as configured.
pub(crate) fn of_client(doing: &str, brokers: &str, error: KafkaError) -> Error {
    told(doing, brokers, number(&error)).with_source(error.to_string())
}

/// The same from the client's number alone.
pub(crate) fn told(doing: &str, brokers: &str, number: Option<RDKafkaErrorCode>) -> Error {
    use RDKafkaErrorCode as N;
    let (code, help) = match number {
        Some(
            N::TopicAuthorizationFailed
            | N::GroupAuthorizationFailed
            | N::ClusterAuthorizationFailed
            | N::TransactionalIdAuthorizationFailed
            | N::DelegationTokenAuthorizationFailed
            | N::SaslAuthenticationFailed
            | N::Authentication
            | N::UnsupportedSASLMechanism,
        ) => (Code::KafkaDenied, denied_help(number)),
        Some(N::UnknownTopicOrPartition | N::UnknownTopic | N::UnknownPartition | N::UnknownTopicId) => (
            Code::KafkaTopic,
            "check whether the topic was deleted; nothing is lost, the next start goes on where this one stopped",
        ),
        Some(
            N::PolicyViolation
            | N::InvalidReplicationFactor
            | N::InvalidPartitions
            | N::InvalidConfig
            | N::InvalidTopic
            | N::TopicAlreadyExists,
        ) => (
            Code::KafkaTopic,
            "change `topic.partitions`, `topic.replication-factor` or `topic.properties.*`, or make the topic yourself",
        ),
        Some(N::InvalidTransactionTimeout) => (
            Code::KafkaSetting,
            "the brokers' `transaction.max.timeout.ms` is lower: set `properties.transaction.timeout.ms` to at most that, and \
             `pipeline.checkpoint.interval` well below it",
        ),
        Some(
            N::MessageSizeTooLarge | N::InvalidRecord | N::InvalidMessage | N::InvalidTimestamp | N::InvalidMessageSize,
        ) => (Code::KafkaRefused, "see the topic's settings, such as `cleanup.policy` and `max.message.bytes`"),
        Some(N::Fenced | N::ProducerFenced | N::InvalidProducerEpoch) => {
            (Code::Fenced, "another instance of this pipeline writes now; this one ends")
        }
        Some(N::Fatal | N::State | N::PurgeQueue | N::PurgeInflight | N::InvalidTransactionalState) => {
            (Code::KafkaAborted, "nothing is lost: the next start goes on after the last epoch that was committed")
        }
        _ => (
            Code::KafkaUnreachable,
            "check the brokers, the network and `properties.bootstrap.servers`, and whether the listener speaks what \
             `properties.security.protocol` says",
        ),
    };
    let message = match code {
        Code::KafkaDenied => format!("Kafka does not let this user {doing}"),
        Code::Fenced => format!("a newer instance has taken over: cannot {doing}"),
        Code::KafkaUnreachable => format!("Kafka does not answer: cannot {doing}"),
        _ => format!("cannot {doing}"),
    };
    Error::new(code, message).fact("brokers", brokers).help(help)
}

/// The settings are none for the client.
pub(crate) fn unfit(error: KafkaError) -> Error {
    Error::new(Code::KafkaSetting, "the Kafka client does not accept its settings").with_source(error.to_string())
}

fn denied_help(number: Option<RDKafkaErrorCode>) -> &'static str {
    use RDKafkaErrorCode as N;
    match number {
        Some(N::TopicAuthorizationFailed) => {
            "give the user the rights WRITE, DESCRIBE and, for topics to be made, CREATE on the topic"
        }
        Some(N::TransactionalIdAuthorizationFailed) => {
            "give the user the right WRITE on the transactional id, which begins with `dujiang-`"
        }
        Some(N::GroupAuthorizationFailed) => "give the user the right READ on the consumer group",
        Some(N::ClusterAuthorizationFailed) => "give the user the right IDEMPOTENT_WRITE on the cluster",
        _ => "check `properties.security.protocol`, `properties.sasl.mechanism`, user, password and certificates",
    }
}

/// The user's name or certificate is not accepted: told by the connection itself, not as the answer to a call.
pub(crate) fn denied(brokers: &str, reason: &str) -> Error {
    Error::new(Code::KafkaDenied, "Kafka does not let this user in")
        .fact("brokers", brokers)
        .fact("Kafka says", reason)
        .help(denied_help(None))
}

/// Nothing was confirmed for too long.
pub(crate) fn unconfirmed(messages: u64, brokers: &str, why: Option<String>) -> Error {
    let error = Error::new(Code::SinkUnwritten, format!("Kafka has not confirmed {messages} messages in time"))
        .fact("brokers", brokers)
        .help("check the brokers; what was sent stays in flight, and nothing is lost");
    match why {
        Some(why) => error.fact("Kafka says", why),
        None => error,
    }
}
