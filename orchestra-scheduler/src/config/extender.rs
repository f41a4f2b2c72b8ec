//! The extenders of a configuration.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::shape::{ExtenderShape, Spanned};
use super::{ConfigError, Reader};
use crate::extender::Extender;

/// What was configured.
#[derive(Debug, Default)]
pub(super) struct Extenders {
    pub(super) all: Vec<Arc<dyn Extender>>,
    /// The resources that they look after, and the scheduler does not.
    pub(super) ignored: Vec<String>,
}

impl Reader<'_> {
    pub(super) fn extenders(&self, shapes: &[Spanned<ExtenderShape>]) -> Result<Extenders, ConfigError> {
        let (mut extenders, mut managed) = (Extenders::default(), BTreeSet::new());
        for (index, shape) in shapes.iter().enumerate() {
            let at = |field: &str, problem: String| {
                self.at(shape, &format!("extenders[{index}].{field}"), problem)
            };
            let one = &shape.value;
            if !one.prioritize_verb.is_empty() && one.weight <= 0 {
                return Err(at("weight", "must have a positive weight applied to it".to_owned()));
            }
            let binders = shapes.iter().take(index).filter(|other| !other.value.bind_verb.is_empty()).count();
            if !one.bind_verb.is_empty() && binders > 0 {
                return Err(at("bindVerb", "only one extender can implement bind".to_owned()));
            }
            for (number, resource) in one.managed_resources.iter().enumerate() {
                let field = format!("managedResources[{number}].name");
                // The names that extended resources have: of a domain, and not of Kubernetes' own.
                let domain = resource.name.split_once('/').map(|(domain, _)| domain);
                if domain
                    .is_none_or(|domain| domain.ends_with("kubernetes.io") || domain.starts_with("requests."))
                {
                    let problem = format!("invalid extended resource name: {:?}", resource.name);
                    return Err(at(&field, problem));
                }
                if !managed.insert(&resource.name) {
                    return Err(at(&field, "duplicate extender managed resource name".to_owned()));
                }
                if resource.ignored_by_scheduler {
                    extenders.ignored.push(resource.name.clone());
                }
            }
            extenders.all.push(make(one).map_err(|(field, problem)| at(field, problem))?);
        }
        Ok(extenders)
    }
}

#[cfg(not(feature = "extender"))]
fn make(_: &ExtenderShape) -> Result<Arc<dyn Extender>, (&'static str, String)> {
    Err(("urlPrefix", "this scheduler was built without the feature `extender`".to_owned()))
}

#[cfg(feature = "extender")]
fn make(shape: &ExtenderShape) -> Result<Arc<dyn Extender>, (&'static str, String)> {
    use crate::extender::{ExtenderOptions, HttpExtender, HttpOptions};
    let timeout = shape.http_timeout.as_deref().map_or(Some(std::time::Duration::ZERO), duration);
    let timeout = timeout.ok_or_else(|| {
        ("httpTimeout", format!("{:?} is not a duration", shape.http_timeout.as_deref().unwrap_or_default()))
    })?;
    let http = HttpOptions {
        url: shape.url_prefix.clone(),
        filter: shape.filter_verb.clone(),
        prioritize: shape.prioritize_verb.clone(),
        preempt: shape.preempt_verb.clone(),
        bind: shape.bind_verb.clone(),
        timeout,
        knows_nodes: shape.node_cache_capable,
        https: shape.enable_https,
        tls: shape.tls_config.as_ref().map(tls).transpose()?,
    };
    let options = ExtenderOptions {
        weight: u32::try_from(shape.weight).unwrap_or(0),
        ignorable: shape.ignorable,
        managed: shape.managed_resources.iter().map(|resource| resource.name.as_str().into()).collect(),
        ..ExtenderOptions::default()
    };
    let extender = HttpExtender::new(http, options).map_err(|problem| {
        let field = if problem.starts_with("not a URL") { "urlPrefix" } else { "tlsConfig" };
        (field, problem)
    })?;
    Ok(Arc::new(extender))
}

#[cfg(feature = "extender")]
fn tls(shape: &super::shape::TlsShape) -> Result<crate::extender::TlsOptions, (&'static str, String)> {
    use base64::Engine as _;
    let read = |data: &str, file: &str, field: &'static str| match (data, file) {
        ("", "") => Ok(None),
        ("", file) => std::fs::read(file).map(Some).map_err(|problem| (field, format!("{file}: {problem}"))),
        (data, _) => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(data);
            decoded.map(Some).map_err(|problem| (field, format!("not base64: {problem}")))
        }
    };
    let certificate = read(&shape.cert_data, &shape.cert_file, "tlsConfig.certFile")?;
    let key = read(&shape.key_data, &shape.key_file, "tlsConfig.keyFile")?;
    let identity = match (certificate, key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((certificate, key)),
        _ => return Err(("tlsConfig", "certificate and key go together".to_owned())),
    };
    let authorities = read(&shape.ca_data, &shape.ca_file, "tlsConfig.caFile")?;
    if shape.insecure && authorities.is_some() {
        let problem = "specifying a root certificates file with the insecure flag is not allowed";
        return Err(("tlsConfig", problem.to_owned()));
    }
    Ok(crate::extender::TlsOptions {
        insecure: shape.insecure,
        server_name: (!shape.server_name.is_empty()).then(|| shape.server_name.clone()),
        authorities,
        identity,
    })
}

/// Reads a duration as Go writes it: `5s`, `1m30s`, `250ms`.
#[cfg(feature = "extender")]
fn duration(text: &str) -> Option<std::time::Duration> {
    let (mut rest, mut sum) = (text, std::time::Duration::ZERO);
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|char: char| !char.is_ascii_digit() && char != '.')?);
        let (unit, seconds) =
            [("ms", 0.001), ("us", 0.000_001), ("ns", 1e-9), ("h", 3600.0), ("m", 60.0), ("s", 1.0)]
                .into_iter()
                .find(|(unit, _)| after.starts_with(unit))?;
        let more = std::time::Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        sum = sum.checked_add(more)?;
        rest = after.get(unit.len()..)?;
    }
    (!text.is_empty()).then_some(sum)
}
