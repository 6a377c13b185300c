//! HTTP/1.1 over one connection that is made when it is needed and kept.

use dujiang_core::{Code, Error, Result, ResultExt};
use dujiang_net::{Dial, Stage, Tls, TlsMode, Transport, host_and_port};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::time::Duration;

/// Longest answer that is read.
const MAX_ANSWER: usize = 64 << 20;

/// Where the service answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether connections are encrypted.
    pub tls: bool,
}

impl Endpoint {
    /// Reads `https://host[:port]`.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim_end_matches('/').split_once("://")?;
        let tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (rest, if tls { 443 } else { 80 }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let good = !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']);
        good.then(|| Self { host: host.to_owned(), port, tls })
    }

    /// `host:port`.
    pub fn authority(&self) -> String {
        host_and_port(&self.host, self.port)
    }
}

/// One connection, or none yet.
#[derive(Debug, Default)]
pub struct Connection {
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    /// Sends a request and reads the whole answer. After a failure the next request has a new connection.
    ///
    /// # Errors
    /// When there is no answer; whether the request was carried out is unknown then.
    pub async fn exchange(
        &mut self,
        endpoint: &Endpoint,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Response<Bytes>> {
        let exchanged = tokio::time::timeout(limit, self.try_exchange(endpoint, request, limit)).await;
        exchanged.unwrap_or_else(|_| {
            let message = format!("{} does not answer", endpoint.authority());
            Err(Error::new(Code::SinkWrite, message).fact("waited", format!("{} ms", limit.as_millis())))
        })
    }

    async fn try_exchange(
        &mut self,
        endpoint: &Endpoint,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Response<Bytes>> {
        let mut kept = self.sender.take();
        if let Some(sender) = &mut kept
            && sender.ready().await.is_err()
        {
            // The service closes connections that stood idle.
            kept = None;
        }
        let mut sender = match kept {
            Some(sender) => sender,
            None => connect(endpoint, limit).await?,
        };
        let lost = || format!("the connection to {} was lost", endpoint.authority());
        let answer = sender.send_request(request).await.or_code(Code::SinkWrite, lost)?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.or_code(Code::SinkWrite, lost)?;
        self.sender = Some(sender);
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

async fn connect(endpoint: &Endpoint, limit: Duration) -> Result<SendRequest<Full<Bytes>>> {
    let peer = format!("DataHub at {}", endpoint.authority());
    let dial = Dial { host: &endpoint.host, port: endpoint.port, peer: &peer, limit, listening: "the endpoint" };
    // The codes of the way to a source are not those of a sink.
    let as_sink = |error: Error| match error.code() {
        Code::TlsFailed => error,
        _ => error.with_code(Code::SinkWrite),
    };
    let mut transport = dial.tcp(&mut Stage::Resolving).await.map_err(as_sink)?;
    if endpoint.tls {
        transport.encrypt(&endpoint.host, &peer, &Tls::from(TlsMode::VerifyIdentity)).await.map_err(as_sink)?;
    }
    match transport {
        Transport::Tcp(stream) => open(TokioIo::new(stream)).await,
        Transport::Tls(stream) => open(TokioIo::new(*stream)).await,
        Transport::Unix(_) | Transport::Gone => Err(Error::new(Code::Bug, "a connection to DataHub is gone")),
    }
}

async fn open<T>(io: T) -> Result<SendRequest<Full<Bytes>>>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let opened = handshake(io).await;
    let (sender, connection) = opened.or_code(Code::SinkWrite, || "HTTP cannot be begun".to_owned())?;
    // It ends with its sender; what becomes of it is told to whoever waits for an answer.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read() {
        let read = |text| Endpoint::parse(text).map(|e| (e.authority(), e.tls));
        assert_eq!(read("https://dh-cn.aliyuncs.com"), Some(("dh-cn.aliyuncs.com:443".into(), true)));
        assert_eq!(read("http://127.0.0.1:8080/"), Some(("127.0.0.1:8080".into(), false)));
        assert_eq!(read("http://[::1]:81"), Some(("[::1]:81".into(), false)));
        for wrong in ["dh-cn.aliyuncs.com", "ftp://x", "https://", "https://a/b", "http://a:port", "http://u@h"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
