//! The little of HTTP/1.1 that the service needs.

use serde_json::Value;
use std::io::{self, Write};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A request.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self { status, content_type: "application/json", body: body.to_string().into_bytes() }
    }
}

/// Reads the next request; none at the end of the connection.
pub(super) async fn read(stream: &mut TcpStream, kept: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let end = loop {
        if let Some(end) = kept.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(kept).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&kept[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let header =
        |line: &str| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    let headers: Vec<_> = lines.filter_map(header).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let begin = end + 4;
    while kept.len() < begin + length {
        if stream.read_buf(kept).await? == 0 {
            return Ok(None);
        }
    }
    let body = kept[begin..begin + length].to_vec();
    kept.drain(..begin + length);
    Ok(Some(Request { method, path, headers, body }))
}

/// Writes an answer, in the encoding that is accepted.
pub(super) async fn write(
    stream: &mut TcpStream,
    answer: &Answer,
    accepted: Option<&str>,
    request: u64,
) -> io::Result<()> {
    let (body, encoded) = match accepted {
        Some(encoding) => {
            let size = answer.body.len();
            let told = format!("Content-Encoding: {encoding}\r\nx-datahub-content-raw-size: {size}\r\n");
            (packed(&answer.body, encoding)?, told)
        }
        None => (answer.body.clone(), String::new()),
    };
    let head = format!(
        "HTTP/1.1 {} X\r\nContent-Type: {}\r\nContent-Length: {}\r\n{encoded}x-datahub-request-id: req-{request}\r\n\r\n",
        answer.status,
        answer.content_type,
        body.len()
    );
    // In one piece: a second small one would wait until the first is acknowledged.
    stream.write_all(&[head.as_bytes(), &body].concat()).await
}

fn packed(body: &[u8], encoding: &str) -> io::Result<Vec<u8>> {
    match encoding {
        "lz4" => Ok(lz4_flex::block::compress(body)),
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(body)?;
            encoder.finish()
        }
        "zstd" => zstd::stream::encode_all(body, 1),
        other => Err(io::Error::other(format!("the encoding {other}"))),
    }
}
