//! `/openapi/v3`: the index, and one document for each group and version; `/openapi/v2`: one of everything.
//!
//! Documents are large and rarely asked for, so each is built at its first request and kept compressed.

mod swagger;

use std::io::{Read as _, Write};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;
use orchestra_core::gvk::GroupVersion;
use orchestra_core::openapi::{self, Part, ResourcePaths, Verb};
use serde_json::Value;

use swagger::Swagger;

use crate::aggregate::Table;
use crate::body::{self, Body};
use crate::catalog::Catalog;
use crate::discovery;
use crate::negotiate::accept;
use crate::query::Query;
use crate::status::StatusError;
use crate::storage::resource::Resource;

/// Where the document of everything is.
pub(crate) const V2: &str = "openapi/v2";

const MEDIA_TYPE: &str = "application/json";

/// What `/openapi/v2`, `/openapi/v3` and below serve.
#[derive(Debug)]
pub(crate) struct OpenApi {
    versions: Vec<Version>,
    /// Documents of other servers: their path, and what their links are told apart by.
    remote: Vec<(String, String)>,
    /// What other servers say in the older form.
    parts: Vec<Arc<Part>>,
    index: OnceLock<Bytes>,
    swagger: Swagger,
}

#[derive(Debug)]
struct Version {
    gv: GroupVersion,
    resources: Vec<ResourcePaths>,
    hash: OnceLock<String>,
    compressed: OnceLock<Bytes>,
}

impl Version {
    fn path(&self) -> String {
        let GroupVersion { group, version } = &self.gv;
        if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
    }

    fn hash(&self) -> &str {
        self.hash.get_or_init(|| openapi::document_hash(&self.gv, &self.resources))
    }

    fn compressed(&self) -> Bytes {
        let make = || {
            let document = openapi::v3_document(&self.gv, &self.resources);
            compressed(|out| {
                // Writing into memory cannot fail.
                let _ = serde_json::to_writer(std::io::BufWriter::with_capacity(64 << 10, out), &document);
            })
        };
        self.compressed.get_or_init(make).clone()
    }
}

fn compressed(write: impl FnOnce(&mut dyn Write)) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    write(&mut encoder);
    encoder.finish().unwrap_or_default().into()
}

/// What was compressed here can be decompressed.
fn plain(compressed: &Bytes) -> Vec<u8> {
    let mut plain = Vec::new();
    let _ = GzDecoder::new(compressed.as_ref()).read_to_end(&mut plain);
    plain
}

impl OpenApi {
    pub(crate) fn new(catalog: &Catalog, table: &Table) -> Self {
        let mut versions: Vec<Version> = Vec::new();
        for resource in catalog.iter() {
            let gv = &resource.description().gv;
            let paths = paths(&resource);
            match versions.iter_mut().find(|v| v.gv == *gv) {
                Some(version) => version.resources.extend(paths),
                None => versions.push(Version {
                    gv: gv.clone(),
                    resources: paths,
                    hash: OnceLock::new(),
                    compressed: OnceLock::new(),
                }),
            }
        }
        let remote: Vec<_> = table.openapi().map(|(path, hash)| (path, hash.to_owned())).collect();
        let parts = table.swagger().collect();
        Self { versions, remote, parts, index: OnceLock::new(), swagger: Swagger::default() }
    }

    /// Answers [`V2`].
    pub(crate) fn v2(&self, headers: &HeaderMap, now: Timestamp) -> Response<Body> {
        self.swagger.answer(headers, now, || self.v2_document())
    }

    /// Answers a path below `/openapi/v3`; `None` when there is nothing.
    pub(crate) fn serve(
        &self,
        path: &str,
        query: &Query,
        headers: &HeaderMap,
    ) -> Option<Result<Response<Body>, StatusError>> {
        let below = path.strip_prefix("openapi/v3")?;
        if below.is_empty() {
            return Some(json(headers).map(|()| body::json(StatusCode::OK, self.index())));
        }
        let below = below.strip_prefix('/')?;
        let version = self.versions.iter().find(|v| v.path() == below)?;
        Some(json(headers).map(|()| document(version, query, headers)))
    }

    fn v2_document(&self) -> Value {
        let mut document = openapi::v2_document(self.groups(), crate::health::VERSION);
        for part in &self.parts {
            part.merge_into(&mut document);
        }
        document
    }

    fn groups(&self) -> impl Iterator<Item = (&GroupVersion, &[ResourcePaths])> {
        self.versions.iter().map(|version| (&version.gv, version.resources.as_slice()))
    }

    fn index(&self) -> Bytes {
        let make = || {
            let mut index = openapi::v3_index(self.groups());
            for (path, hash) in &self.remote {
                let place = format!("/openapi/v3/{path}?hash={hash}");
                index["paths"][path] = serde_json::json!({"serverRelativeURL": place});
            }
            index.to_string().into()
        };
        self.index.get_or_init(make).clone()
    }
}

fn paths(resource: &Resource) -> Vec<ResourcePaths> {
    let mut all = ResourcePaths::of(resource.description());
    let Some(main) = all.first_mut() else { return all };
    let verbs = discovery::verbs(resource);
    if let Some(custom) = resource.custom() {
        main.schema = Some(custom.source().to_string().into());
    }
    main.verbs.retain(|verb| verbs.iter().any(|name| Verb::parse(name) == Some(*verb)));
    let main = main.clone();
    for paths in all.iter_mut().filter(|paths| paths.gv == main.gv && paths.kind == main.kind) {
        paths.schema.clone_from(&main.schema);
    }
    for below in discovery::below(resource) {
        if all.iter().any(|paths| paths.subresource.as_deref() == Some(below.name)) {
            continue;
        }
        let gv = if below.version.is_empty() {
            main.gv.clone()
        } else {
            GroupVersion::new(below.group, below.version)
        };
        all.push(ResourcePaths {
            subresource: Some(below.name.to_owned()),
            gv,
            kind: below.kind,
            verbs: below.verbs.iter().filter_map(|name| Verb::parse(name)).collect(),
            schema: None,
            ..main.clone()
        });
    }
    all
}

fn json(headers: &HeaderMap) -> Result<(), StatusError> {
    let ranges = accept::ranges(headers);
    let fits = ranges.iter().any(|range| matches!(range.media, MEDIA_TYPE | "application/*" | "*/*"));
    if fits || ranges.is_empty() { Ok(()) } else { Err(StatusError::not_acceptable(&[MEDIA_TYPE])) }
}

fn document(version: &Version, query: &Query, headers: &HeaderMap) -> Response<Body> {
    let asked = query.get("hash");
    if asked.is_some_and(|hash| hash != version.hash()) {
        // The client's link is from an older server.
        let mut response =
            body::respond(StatusCode::MOVED_PERMANENTLY, MEDIA_TYPE, body::whole(Bytes::new()));
        let place = format!("/openapi/v3/{}?hash={}", version.path(), version.hash());
        if let Ok(place) = HeaderValue::from_str(&place) {
            response.headers_mut().insert(header::LOCATION, place);
        }
        return response;
    }
    let tag = HeaderValue::from_str(&format!("\"{}\"", version.hash())).ok();
    let unchanged = tag.is_some() && headers.get(header::IF_NONE_MATCH) == tag.as_ref();
    let mut response = if unchanged {
        body::respond(StatusCode::NOT_MODIFIED, MEDIA_TYPE, body::whole(Bytes::new()))
    } else if accept::takes_gzip(headers) {
        let mut response = body::json(StatusCode::OK, version.compressed());
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    } else {
        body::json(StatusCode::OK, plain(&version.compressed()))
    };
    let out = response.headers_mut();
    if let Some(tag) = tag {
        out.insert(header::ETAG, tag);
    }
    out.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if asked.is_some() {
        // The hash names the content: whoever has it need not ask again.
        out.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable, max-age=31536000"));
    }
    response
}
