//! Requests: what every one has in common, and putting records.

use super::answer::{Failure, Refusal};
use super::batch::write_batch;
use super::connection::{Connection, Endpoint};
use super::frame::{read_frame, write_frame};
use super::packing::Compression;
use super::sign::{Signed, authorization};
use super::wire::{Fields, Value, length_of_field, write_head};
use bytes::Bytes;
use dujiang_core::clock::Clock;
use dujiang_core::{Code, Error, Secret};
use http_body_util::Full;
use hyper::{Request, Response};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// Who asks.
#[derive(Debug, Clone)]
pub struct Access {
    /// AccessKey ID.
    pub id: String,
    /// AccessKey secret.
    pub key: Secret,
    /// Token of a temporary access key.
    pub token: Option<Secret>,
}

/// Makes requests; connections are handed in.
#[derive(Clone)]
pub struct Client {
    /// Where the service answers.
    pub endpoint: Endpoint,
    /// Who asks.
    pub access: Access,
    /// The time in requests.
    pub clock: Arc<dyn Clock>,
    /// Longest time for one request.
    pub timeout: Duration,
    /// Of bodies with records.
    pub compression: Compression,
}

/// A record that was not taken, though its request was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutFailure {
    /// Which of the request's records.
    pub index: usize,
    /// Why.
    pub refusal: Refusal,
}

/// What of a request differs from others.
struct Call<'a> {
    method: &'a str,
    path: &'a str,
    content_type: &'a str,
    action: Option<&'a str>,
    body: Vec<u8>,
    compression: Compression,
}

impl Client {
    /// A request with JSON, or none in its body.
    ///
    /// # Errors
    /// Whatever keeps it from success.
    pub async fn json(
        &self,
        connection: &mut Connection,
        method: &str,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Bytes, Failure> {
        let content_type = "application/json";
        self.call(connection, Call { method, path, content_type, action: None, body, compression: Compression::None })
            .await
    }

    /// Puts records into one shard, as protocol buffers: `records` is the body of a `PutRecordsRequest`. The service takes all of
    /// them or none; what it says of single ones comes back.
    ///
    /// # Errors
    /// Whatever keeps it from success.
    pub async fn put_protobuf(
        &self,
        connection: &mut Connection,
        path: &str,
        records: &[u8],
    ) -> Result<Vec<PutFailure>, Failure> {
        let answer =
            self.framed(connection, path, ("application/x-protobuf", "pub"), &[records], self.compression).await?;
        put_failures(&answer).ok_or_else(|| Failure::Unreadable("the message is damaged".to_owned()))
    }

    /// Puts rows into one shard as one batch, all of them or none.
    ///
    /// # Errors
    /// As [`Client::put_protobuf`].
    pub async fn put_batch(
        &self,
        connection: &mut Connection,
        path: &str,
        rows: &[u8],
        count: usize,
    ) -> Result<Vec<PutFailure>, Failure> {
        let batch = write_batch(rows, count, self.compression)
            .map_err(|cause| Failure::Lost(Error::new(Code::Bug, "a batch cannot be compressed").with_source(cause)))?;
        let mut heads = Vec::new();
        write_head(1, length_of_field(batch.len()), &mut heads);
        write_head(6, batch.len(), &mut heads);
        // What is compressed is the batch.
        let call = ("application/x-binary", "pub");
        let answer = self.framed(connection, path, call, &[&heads, &batch], Compression::None).await?;
        put_failures(&answer).ok_or_else(|| Failure::Unreadable("the message is damaged".to_owned()))
    }

    /// A request with a framed message, given in parts; the message of its answer.
    pub(super) async fn framed(
        &self,
        connection: &mut Connection,
        path: &str,
        (content_type, action): (&str, &str),
        message: &[&[u8]],
        compression: Compression,
    ) -> Result<Bytes, Failure> {
        let mut body = Vec::with_capacity(message.iter().map(|part| part.len()).sum::<usize>() + 12);
        write_frame(&mut body, |out| message.iter().for_each(|part| out.extend_from_slice(part)));
        let call = Call { method: "POST", path, content_type, action: Some(action), body, compression };
        let answer = self.call(connection, call).await?;
        let payload = read_frame(&answer).map_err(|fault| Failure::Unreadable(format!("{fault:?}")))?;
        Ok(answer.slice_ref(payload))
    }

    /// Puts records as JSON; the body names the shard of each.
    ///
    /// # Errors
    /// Whatever keeps it from success.
    pub async fn put_json(
        &self,
        connection: &mut Connection,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Vec<PutFailure>, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Failed {
            index: usize,
            #[serde(default)]
            error_code: String,
            #[serde(default)]
            error_message: String,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            #[serde(default)]
            failed_records: Vec<Failed>,
        }
        let (content_type, compression) = ("application/json", self.compression);
        let call = Call { method: "POST", path, content_type, action: None, body, compression };
        let answer = self.call(connection, call).await?;
        let answer: Answer = serde_json::from_slice(&answer).map_err(|e| Failure::Unreadable(e.to_string()))?;
        let failure = |failed: Failed| PutFailure {
            index: failed.index,
            refusal: Refusal {
                code: failed.error_code,
                message: failed.error_message,
                request_id: String::new(),
                status: 200,
            },
        };
        Ok(answer.failed_records.into_iter().map(failure).collect())
    }

    async fn call(&self, connection: &mut Connection, call: Call<'_>) -> Result<Bytes, Failure> {
        let what = format!("{} {}", call.method, call.path);
        let request = self.request(call).map_err(Failure::Lost)?;
        let answer = connection.exchange(&self.endpoint, request, self.timeout).await.map_err(Failure::Lost)?;
        let header = |name: &str| {
            answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let request_id = header("x-datahub-request-id");
        tracing::debug!(request = request_id, what, status = answer.status().as_u16(), "DataHub has answered");
        let body = unpacked(&answer, &header("content-encoding"), &header("x-datahub-content-raw-size"));
        if answer.status().is_success() {
            return body;
        }
        // A refusal whose words cannot be read still has its status.
        let words = body.unwrap_or_default();
        Err(Failure::Refused(Refusal::read(answer.status().as_u16(), &request_id, &words)))
    }

    fn request(&self, call: Call<'_>) -> dujiang_core::Result<Request<Full<Bytes>>> {
        let bug = |cause: String| Error::new(Code::Bug, "a request to DataHub cannot be made").fact("cause", cause);
        let size = call.body.len().to_string();
        let body = call.compression.pack(call.body).map_err(|e| bug(e.to_string()))?;
        let date = date(self.clock.now_micros());
        let mut headers = vec![("x-datahub-client-version", "1.1")];
        let encoding = call.compression.encoding();
        if encoding.is_some() {
            headers.push(("x-datahub-content-raw-size", &size));
        }
        if let Some(action) = call.action {
            headers.push(("x-datahub-request-action", action));
        }
        if let Some(token) = &self.access.token {
            headers.push(("x-datahub-security-token", token.reveal()));
        }
        let (method, content_type, resource) = (call.method, call.content_type, call.path);
        let signed = Signed { method, content_type, date: &date, headers: &headers, resource };
        let mut builder = Request::builder()
            .method(method)
            .uri(resource)
            .header("Host", self.endpoint.authority())
            .header("Date", &date)
            .header("Content-Type", content_type)
            .header("Authorization", authorization(&self.access.id, self.access.key.reveal(), &signed));
        for (name, value) in &headers {
            builder = builder.header(*name, *value);
        }
        if let Some(encoding) = encoding {
            builder = builder.header("Content-Encoding", encoding).header("Accept-Encoding", encoding);
        }
        builder.body(Full::new(Bytes::from(body))).map_err(|e| bug(e.to_string()))
    }
}

fn unpacked(answer: &Response<Bytes>, encoding: &str, size: &str) -> Result<Bytes, Failure> {
    let compression = Compression::of_encoding(encoding)
        .ok_or_else(|| Failure::Unreadable(format!("the unknown encoding `{encoding}`")))?;
    if compression == Compression::None {
        return Ok(answer.body().clone());
    }
    let size = size.parse().ok().filter(|&size: &usize| size <= 64 << 20);
    let size = size.ok_or_else(|| Failure::Unreadable("no size of the body".into()))?;
    let body = compression.unpack(answer.body(), size).map_err(|e| Failure::Unreadable(e.to_string()))?;
    Ok(Bytes::from(body))
}

/// The failures in a `PutRecordsResponse`.
fn put_failures(message: &[u8]) -> Option<Vec<PutFailure>> {
    let mut failures = Vec::new();
    for field in Fields::of(message) {
        let (2, Value::Bytes(record)) = field? else { continue };
        let refusal = Refusal { code: String::new(), message: String::new(), request_id: String::new(), status: 200 };
        let mut failure = PutFailure { index: 0, refusal };
        for field in Fields::of(record) {
            match field? {
                (1, Value::Number(index)) => failure.index = usize::try_from(index).ok()?,
                (2, Value::Bytes(code)) => failure.refusal.code = String::from_utf8_lossy(code).into_owned(),
                (3, Value::Bytes(text)) => failure.refusal.message = String::from_utf8_lossy(text).into_owned(),
                _ => {}
            }
        }
        failures.push(failure);
    }
    Some(failures)
}

/// `Fri, 20 Nov 2026 15:00:00 GMT`.
fn date(micros: i64) -> String {
    let time = chrono::DateTime::from_timestamp(micros.div_euclid(1_000_000), 0).unwrap_or_default();
    time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_http() {
        assert_eq!(date(1_795_186_800_000_000), "Fri, 20 Nov 2026 15:00:00 GMT");
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
