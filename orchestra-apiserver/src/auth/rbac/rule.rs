//! One rule of a role: which verbs on which things.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::auth::authorize::AccessRequest;
use crate::request::RequestInfo;

const ALL: &str = "*";

/// A `PolicyRule`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Rule {
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub(crate) verbs: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub(crate) api_groups: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub(crate) resources: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub(crate) resource_names: Vec<String>,
    #[serde(
        rename = "nonResourceURLs",
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(crate) non_resource_urls: Vec<String>,
}

/// Lists may be written as `null`.
fn nullable<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Rule {
    /// Everything there is, objects and other paths.
    pub(crate) fn everything() -> [Self; 2] {
        let all = || vec![ALL.to_owned()];
        let objects = Self { verbs: all(), api_groups: all(), resources: all(), ..Self::default() };
        let paths = Self { verbs: all(), non_resource_urls: all(), ..Self::default() };
        [objects, paths]
    }

    /// Whether the rule allows a request.
    pub(crate) fn allows(&self, asked: &AccessRequest<'_>) -> bool {
        let verb = has(&self.verbs, asked.verb);
        match asked.info {
            RequestInfo::NonResource(_) => verb && self.covers_path(asked.path),
            RequestInfo::Resource(request) => {
                verb && has(&self.api_groups, &request.gv.group)
                    && self.covers_resource(&request.resource, request.subresource.as_deref())
                    && self.names(request.name.as_deref())
            }
        }
    }

    fn covers_path(&self, path: &str) -> bool {
        self.non_resource_urls.iter().any(|url| match url.strip_suffix(ALL) {
            Some(prefix) => path.starts_with(prefix),
            None => url == path,
        })
    }

    fn covers_resource(&self, resource: &str, subresource: Option<&str>) -> bool {
        self.resources.iter().any(|own| match (own.as_str(), subresource) {
            (ALL, _) => true,
            (own, None) => own == resource,
            (own, Some(below)) => own
                .split_once('/')
                .is_some_and(|(of, own_below)| own_below == below && (of == ALL || of == resource)),
        })
    }

    fn names(&self, name: Option<&str>) -> bool {
        self.resource_names.is_empty()
            || name.is_some_and(|name| self.resource_names.iter().any(|own| own == name))
    }

    /// The rule in parts that allow one thing each, so that each can be compared with what somebody holds.
    pub(crate) fn parts(&self) -> Vec<Self> {
        let one = |text: &String| vec![text.clone()];
        let mut parts = Vec::new();
        for verb in &self.verbs {
            for group in &self.api_groups {
                for resource in &self.resources {
                    let part = Self {
                        verbs: one(verb),
                        api_groups: one(group),
                        resources: one(resource),
                        ..Self::default()
                    };
                    if self.resource_names.is_empty() {
                        parts.push(part);
                        continue;
                    }
                    let named = |name| Self { resource_names: one(name), ..part.clone() };
                    parts.extend(self.resource_names.iter().map(named));
                }
            }
            for url in &self.non_resource_urls {
                parts.push(Self { verbs: one(verb), non_resource_urls: one(url), ..Self::default() });
            }
        }
        parts
    }

    /// Whether whoever holds this rule holds `part`, one of [`Rule::parts`].
    pub(crate) fn covers(&self, part: &Self) -> bool {
        let each = |own: &[String], wanted: &[String]| wanted.iter().all(|one| has(own, one));
        each(&self.verbs, &part.verbs)
            && each(&self.api_groups, &part.api_groups)
            && part.resources.iter().all(|resource| match resource.split_once('/') {
                Some((of, below)) => self.covers_resource(of, Some(below)),
                None => self.covers_resource(resource, None),
            })
            && part.non_resource_urls.iter().all(|url| match url.strip_suffix(ALL) {
                Some(prefix) => self.non_resource_urls.iter().any(|own| {
                    own == url || own.strip_suffix(ALL).is_some_and(|own| prefix.starts_with(own))
                }),
                None => self.covers_path(url),
            })
            && (self.resource_names.is_empty()
                || (!part.resource_names.is_empty()
                    && part.resource_names.iter().all(|name| self.resource_names.contains(name))))
    }
}

fn has(own: &[String], wanted: &str) -> bool {
    own.iter().any(|one| one == ALL || one == wanted)
}

/// Of `wanted`, what none of `held` covers; parts about the same thing are one rule again, with their verbs together.
pub(crate) fn missing(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let mut verbs_of: BTreeMap<Rule, Vec<String>> = BTreeMap::new();
    for mut part in wanted.iter().flat_map(Rule::parts) {
        if !held.iter().any(|rule| rule.covers(&part)) {
            let verbs = std::mem::take(&mut part.verbs);
            let known = verbs_of.entry(part).or_default();
            for verb in verbs {
                if !known.contains(&verb) {
                    known.push(verb);
                }
            }
        }
    }
    verbs_of.into_iter().map(|(part, verbs)| Rule { verbs, ..part }).collect()
}

/// As upstream's `CompactString` shows it in refusals.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let shown: Vec<String> = lists
            .iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| format!("{name}:{}", quoted(list)))
            .collect();
        write!(f, "{{{}}}", shown.join(", "))
    }
}

/// A list as Go's `%q` prints it.
pub(crate) fn quoted(list: &[String]) -> String {
    let each: Vec<String> = list.iter().map(|one| format!("{one:?}")).collect();
    format!("[{}]", each.join(" "))
}
