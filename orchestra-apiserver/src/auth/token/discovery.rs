//! How others verify tokens without asking the server: OpenID Connect discovery, as upstream serves it.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use super::TokenKey;
use crate::body::{self, Body};

/// Where the keys are, below the server's root.
pub(crate) const KEYS: &str = "openid/v1/jwks";
const CONFIGURATION: &str = ".well-known/openid-configuration";

/// Both documents, made once.
#[derive(Debug)]
pub(crate) struct Documents {
    configuration: Bytes,
    keys: Bytes,
}

impl Documents {
    pub(super) fn new(issuer: &str, keys_at: &str, key: &TokenKey) -> Self {
        let configuration = json!({
            "issuer": issuer, "jwks_uri": keys_at,
            "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        });
        Self {
            configuration: configuration.to_string().into(),
            keys: json!({"keys": [key.jwk()]}).to_string().into(),
        }
    }

    /// Answers a path; `None` when there is nothing.
    pub(crate) fn serve(&self, path: &str) -> Option<Response<Body>> {
        let (media, bytes) = match path {
            CONFIGURATION => ("application/json", &self.configuration),
            KEYS => ("application/jwk-set+json", &self.keys),
            _ => return None,
        };
        let mut response = body::typed(StatusCode::OK, media, bytes.clone());
        let cached = HeaderValue::from_static("public, max-age=3600");
        response.headers_mut().insert(header::CACHE_CONTROL, cached);
        Some(response)
    }
}
