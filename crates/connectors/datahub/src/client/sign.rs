//! Signatures of requests.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key, sign};

/// What of a request is signed.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// `GET`, `POST`, ...
    pub method: &'a str,
    /// As in the header of that name.
    pub content_type: &'a str,
    /// As in the header of that name.
    pub date: &'a str,
    /// The headers that begin with `x-datahub-`, in lower case and in order of their names.
    pub headers: &'a [(&'a str, &'a str)],
    /// The path.
    pub resource: &'a str,
}

/// The value of the header `Authorization`.
pub fn authorization(access_id: &str, secret: &str, signed: &Signed<'_>) -> String {
    let mut text = format!("{}\n{}\n{}\n", signed.method, signed.content_type, signed.date);
    for (name, value) in signed.headers {
        text.push_str(name);
        text.push(':');
        text.push_str(value);
        text.push('\n');
    }
    text.push_str(signed.resource);
    let key = Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    format!("DATAHUB {access_id}:{}", STANDARD.encode(sign(&key, text.as_bytes()).as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_services_own_client() {
        let signed = Signed {
            method: "POST",
            content_type: "application/x-protobuf",
            date: "Fri, 20 Nov 2026 15:00:00 GMT",
            headers: &[
                ("x-datahub-client-version", "1.1"),
                ("x-datahub-content-raw-size", "123"),
                ("x-datahub-request-action", "pub"),
            ],
            resource: "/projects/prj/topics/top/shards/0",
        };
        assert_eq!(authorization("testid", "testkey", &signed), "DATAHUB testid:ybWyc9qTHfG4OqlgvXLmvXabIkA=");
    }
}
