//! Talking to brokers.

mod admin;
mod errors;
mod heard;
mod producer;
mod reports;

pub(crate) use admin::{Admin, NewTopic, Topic};
pub(crate) use errors::{of_client, unconfirmed, unfit};
pub(crate) use heard::{Heard, topics_of};
pub(crate) use producer::{Outcome, Producer, Record};
pub(crate) use reports::Reports;

use dujiang_core::{Code, Error, Result};

/// Runs a call of the client that waits for brokers on a thread for such work.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Error::new(Code::Bug, "work on Kafka broke off").with_source(e))?
}
