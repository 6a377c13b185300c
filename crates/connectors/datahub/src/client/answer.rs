//! What the service answers when it does not do what it is asked. Codes decide, never the HTTP status.

use dujiang_core::{Code, Error};
use serde::Deserialize;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The service's code: `NoSuchTopic`.
    pub code: String,
    /// Its words.
    pub message: String,
    /// Number of the request, for its support.
    pub request_id: String,
    /// HTTP status.
    pub status: u16,
}

/// What can be done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It may pass.
    Retry,
    /// Too much at once: it passes after a short while.
    Throttled,
    /// The shard takes nothing (any more): the list of shards has to be read again.
    Reroute,
    /// A record is at fault.
    Record,
    /// It will not pass: something has to be mended.
    Fatal,
}

impl Refusal {
    /// What can be done about it. A code that is not known may pass.
    pub fn class(&self) -> Class {
        match self.code.as_str() {
            "LimitExceeded" => Class::Throttled,
            "InvalidShardOperation" | "NoSuchShard" | "InvalidShardId" => Class::Reroute,
            "MalformedRecord" => Class::Record,
            "Unauthorized" | "NoPermission" | "OperationDenied" | "NoSuchProject" | "NoSuchTopic"
            | "NoSuchSubscription" | "InvalidParameter" => Class::Fatal,
            code if code.ends_with("AlreadyExist") => Class::Fatal,
            _ => Class::Retry,
        }
    }

    /// Reads the body of an answer that is none of success.
    pub(crate) fn read(status: u16, request_id: &str, body: &[u8]) -> Self {
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "PascalCase", default)]
        struct Body {
            request_id: String,
            error_code: String,
            error_message: String,
        }
        let body: Body = serde_json::from_slice(body).unwrap_or_default();
        let request_id = if body.request_id.is_empty() { request_id.to_owned() } else { body.request_id };
        let code = if body.error_code.is_empty() { format!("HTTP {status}") } else { body.error_code };
        Self { code, message: body.error_message, request_id, status }
    }
}

/// Why a request has no good answer.
#[derive(Debug)]
pub enum Failure {
    /// No answer: whether it was carried out is unknown.
    Lost(Error),
    /// The service says no.
    Refused(Refusal),
    /// The answer cannot be read.
    Unreadable(String),
}

impl Failure {
    /// What can be done about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Refused(refusal) => refusal.class(),
            Self::Lost(error) if error.retry() == dujiang_core::codes::Retry::Never => Class::Fatal,
            Self::Lost(_) | Self::Unreadable(_) => Class::Retry,
        }
    }

    /// Whether the service says no with this code.
    pub fn is(&self, code: &str) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.code == code)
    }

    /// The error that users see. What may pass has the code `passing`.
    pub fn into_error(self, what: &str, passing: Code) -> Error {
        let fatal = self.class() == Class::Fatal;
        match self {
            Self::Lost(error) if fatal => error.fact("while", what),
            Self::Lost(error) => Error::new(passing, format!("DataHub gave no answer: {what}"))
                .help("see whether the endpoint can be reached from here")
                .with_source(error),
            Self::Refused(refusal) => {
                let code = if fatal { Code::DatahubRefused } else { passing };
                let message = format!("DataHub refused it ({}): {what}", refusal.code);
                Error::new(code, message)
                    .fact("DataHub says", refusal.message)
                    .fact("request", refusal.request_id)
                    .help(help(&refusal.code))
            }
            Self::Unreadable(why) => Error::new(passing, format!("DataHub's answer cannot be read: {what}"))
                .fact("found", why)
                .help("see whether something between here and the endpoint changes answers"),
        }
    }
}

fn help(code: &str) -> &'static str {
    match code {
        "Unauthorized" => "check `access-id` and `access-key`, and that this machine's clock is right",
        "NoPermission" | "OperationDenied" => "let the access key's owner read and write in the project",
        "NoSuchProject" => "create the project, or correct `project`",
        "NoSuchTopic" => "create the topic, or let the pipeline do so (`topic.create: true`)",
        "LimitExceeded" => "split shards, so that more can be written at once",
        _ => "see what the service says",
    }
}
