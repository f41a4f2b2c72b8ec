//! A webhook's server: TLS on loopback, with a certificate of its own authority. The whole-cluster tests use it as well.

#![allow(dead_code, reason = "several test programs use it, and not all of them all of it")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What a webhook does with a review's request: the response, or something else.
type Reply = dyn Fn(&Value) -> Said + Send + Sync;

pub(crate) enum Said {
    /// The `response` of a review; the uid is filled in.
    Response(Value),
    /// This, as it is.
    Raw(u16, String),
    /// Nothing, ever.
    Silence,
    /// A connection that closes.
    Hangup,
}

/// A webhook's server.
pub(crate) struct Hook {
    pub(crate) address: SocketAddr,
    pub(crate) ca: String,
    /// The requests that came, oldest first.
    seen: Arc<Mutex<Vec<Value>>>,
    pub(crate) connections: Arc<Mutex<usize>>,
}

impl Hook {
    /// Starts one that has these names.
    pub(crate) async fn start(
        names: &[&str],
        reply: impl Fn(&Value) -> Said + Send + Sync + 'static,
    ) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let own = CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![own.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let hook = Self {
            address,
            ca: STANDARD.encode(ca.pem()),
            seen: seen.clone(),
            connections: connections.clone(),
        };
        let reply: Arc<Reply> = Arc::new(reply);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                *connections.lock().unwrap() += 1;
                let (acceptor, reply, seen) = (acceptor.clone(), reply.clone(), seen.clone());
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else { return };
                    let service = service_fn(|request: Request<Incoming>| respond(&reply, &seen, request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(tls), service)
                        .await;
                });
            }
        });
        hook
    }

    /// Its `clientConfig` by URL.
    pub(crate) fn by_url(&self) -> Value {
        json!({"url": format!("https://{}/review", self.address), "caBundle": self.ca})
    }

    /// What came since the last time.
    pub(crate) fn take(&self) -> Vec<Value> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

async fn respond(
    reply: &Arc<Reply>,
    seen: &Mutex<Vec<Value>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let uri = request.uri().to_string();
    let body = request.into_body().collect().await?.to_bytes();
    let review: Value = serde_json::from_slice(&body)?;
    let mut asked = review["request"].clone();
    asked["uri"] = uri.into();
    asked["apiVersion"] = review["apiVersion"].clone();
    let said = reply(&asked);
    seen.lock().unwrap().push(asked.clone());
    let (code, text) = match said {
        Said::Response(mut response) => {
            if response.get("uid").is_none() {
                response["uid"] = asked["uid"].clone();
            }
            let review =
                json!({"kind": review["kind"], "apiVersion": review["apiVersion"], "response": response});
            (200, review.to_string())
        }
        Said::Raw(code, text) => (code, text),
        Said::Silence => std::future::pending().await,
        Said::Hangup => return Err("hang up".into()),
    };
    let answer = Response::builder().status(code).header("content-type", "application/json");
    Ok(answer.body(Full::new(Bytes::from(text)))?)
}

/// Yes.
pub(crate) fn allow() -> Said {
    Said::Response(json!({"allowed": true}))
}

/// Yes, with this JSON patch.
pub(crate) fn patched(operations: &Value) -> Said {
    let patch = STANDARD.encode(operations.to_string());
    Said::Response(json!({"allowed": true, "patch": patch, "patchType": "JSONPatch"}))
}
