//! What a request asks for: paths, queries, options, and the form of the answer it accepts.
#![no_main]

use http::{HeaderMap, HeaderValue, Method, header};
use libfuzzer_sys::fuzz_target;
use negotiate::accept::{Endpoint, Output};
use query::{ListOptions, Query, WriteOptions};
use request::{RequestInfo, Verb};

// Only these files of the server: the rest of it takes minutes to build. What they name of the rest stands below.
#[path = "../../orchestra-apiserver/src/query.rs"]
#[allow(dead_code, reason = "the server calls what the target does not")]
mod query;
#[path = "../../orchestra-apiserver/src/request.rs"]
#[allow(dead_code, reason = "the server calls what the target does not")]
mod request;
#[path = "../../orchestra-apiserver/src/status.rs"]
#[allow(dead_code, reason = "the server calls what the target does not")]
mod status;

// So that what is named in here is found from this folder.
#[path = "."]
mod negotiate {
    #[path = "../../orchestra-apiserver/src/negotiate/accept.rs"]
    #[allow(dead_code, reason = "the server calls what the target does not")]
    pub mod accept;
}

#[allow(dead_code, reason = "the server makes these")]
mod admission {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Operation {
        Create,
        Update,
        Delete,
        Connect,
    }
}

mod storage {
    pub mod resource {
        pub struct Resource;

        impl Resource {
            pub fn object_type(&self) -> Option<()> {
                None
            }
        }
    }
}

const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

fuzz_target!(
    init: orchestra_fuzz::plant("requests", seeds()),
    |bytes: &[u8]| {
        let Some((&first, rest)) = bytes.split_first() else { return };
        let text = String::from_utf8_lossy(rest);
        let (target, accept) = text.split_once('\n').unwrap_or((&text, ""));
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = Query::parse(query);
        let method = &METHODS[usize::from(first) % METHODS.len()];
        if let Some(RequestInfo::Resource(request)) = RequestInfo::parse(method, path, &query) {
            assert!(!request.resource.is_empty());
            assert_eq!(Verb::parse(request.verb.as_str()).is_none(), request.verb == Verb::Other);
            // A tail is only behind a subresource, and that only behind a name.
            assert!(request.tail.is_empty() || request.subresource.is_some());
            assert!(request.subresource.is_none() || request.name.is_some());
        }
        for watch in [false, true] {
            let _ = ListOptions::parse(&query, watch);
        }
        let _ = WriteOptions::parse(&query, "PatchOptions");
        let mut headers = HeaderMap::new();
        for line in accept.split('\n') {
            if let Ok(value) = HeaderValue::from_str(line) {
                headers.append(header::ACCEPT, value);
            }
        }
        for endpoint in [Endpoint::Builtin, Endpoint::Custom, Endpoint::Whole] {
            for verb in [Verb::Get, Verb::List, Verb::Watch] {
                let _ = Output::negotiate(&headers, &query, endpoint, verb);
            }
        }
    }
);

fn seeds() -> Vec<Vec<u8>> {
    [
        "\0/api/v1/namespaces/default/pods/web/log?follow=true&tailLines=5",
        "\0/apis/apps/v1/watch/namespaces/n/deployments?resourceVersion=7&timeoutSeconds=9",
        "\x02/api/v1/namespaces/%2e%2e/pods?dryRun=All&fieldManager=m&fieldValidation=Strict",
        "\0/api/v1/pods?limit=5&continue=x&resourceVersionMatch=Exact&labelSelector=a%3Db\napplication/json;as=Table;v=v1;g=meta.k8s.io,application/json",
        "\x05/api/v1/namespaces/a/services/http:b:80/proxy/x/../y?sendInitialEvents=true\n*/*;q=0.1,application/vnd.kubernetes.protobuf;stream=watch",
        "\x01//apis//a/b/c\napplication/*;q=x, text/plain;;,=",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}
