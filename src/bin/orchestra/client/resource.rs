//! Which resources the cluster serves and what people call them.

use kube::Client;
use serde_json::Value;

use super::request;
use crate::failure::Failure;

/// Aggregated discovery: two requests tell everything.
const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// One resource as discovery describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) plural: String,
    singular: String,
    short_names: Vec<String>,
    categories: Vec<String>,
    pub(super) namespaced: bool,
}

impl Resource {
    /// The path of the collection, or of one object in it.
    pub(super) fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let mut path = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        if let Some(namespace) = namespace.filter(|_| self.namespaced) {
            path = format!("{path}/namespaces/{}", escape(namespace));
        }
        path = format!("{path}/{}", self.plural);
        name.map_or(path.clone(), |name| format!("{path}/{}", escape(name)))
    }

    /// `pod/x`, `deployment.apps/x`: how an object is named in messages.
    pub(super) fn shown(&self, name: &str) -> String {
        let singular =
            if self.singular.is_empty() { self.kind.to_lowercase() } else { self.singular.clone() };
        if self.group.is_empty() {
            format!("{singular}/{name}")
        } else {
            format!("{singular}.{}/{name}", self.group)
        }
    }

    fn is_called(&self, word: &str) -> bool {
        let (name, group) = word.split_once('.').map_or((word, None), |(name, group)| (name, Some(group)));
        let group_fits = group.is_none_or(|group| {
            group == self.group
                || group == format!("{}.{}", self.version, self.group)
                || (self.group.is_empty() && group == self.version)
        });
        group_fits
            && (self.plural == name
                || self.singular == name
                || self.kind.eq_ignore_ascii_case(name)
                || self.short_names.iter().any(|short| short == name))
    }
}

/// Everything the cluster serves, most preferred first.
pub(super) struct Resources(Vec<Resource>);

impl Resources {
    /// Asks the cluster.
    pub(super) async fn discover(client: &Client) -> Result<Self, Failure> {
        let mut found = Vec::new();
        for path in ["/api", "/apis"] {
            read(&request::get(client, path, DISCOVERY).await?, &mut found);
        }
        Ok(Self(found))
    }

    /// The resources `word` stands for: one by its name, several by a category such as `all`.
    pub(super) fn named(&self, word: &str) -> Result<Vec<&Resource>, Failure> {
        let word = word.to_lowercase();
        if let Some(resource) = self.0.iter().find(|resource| resource.is_called(&word)) {
            return Ok(vec![resource]);
        }
        let category: Vec<_> = self.0.iter().filter(|resource| resource.categories.contains(&word)).collect();
        if category.is_empty() {
            return Err(Failure::of(format!("error: the server doesn't have a resource type {word:?}")));
        }
        Ok(category)
    }

    /// The resource that holds objects of this kind.
    pub(super) fn of_kind(&self, api_version: &str, kind: &str) -> Option<&Resource> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.0
            .iter()
            .find(|resource| resource.kind == kind && resource.group == group && resource.version == version)
    }
}

fn read(discovery: &Value, found: &mut Vec<Resource>) {
    for group in list(discovery, "items") {
        let group_name = text(&group["metadata"], "name");
        for version in list(group, "versions") {
            for resource in list(version, "resources") {
                found.push(Resource {
                    group: group_name.clone(),
                    version: text(version, "version"),
                    kind: text(&resource["responseKind"], "kind"),
                    plural: text(resource, "resource"),
                    singular: text(resource, "singularResource"),
                    short_names: texts(resource, "shortNames"),
                    categories: texts(resource, "categories"),
                    namespaced: resource["scope"] == "Namespaced",
                });
            }
        }
    }
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value, field: &str) -> Vec<String> {
    list(value, field).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A text as it may stand in a path or a query: a slash in it must not lead elsewhere.
pub(super) fn escape(segment: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    segment
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resources() -> Resources {
        let mut found = Vec::new();
        read(
            &json!({"items": [{"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [
                {"resource": "deployments", "singularResource": "deployment", "shortNames": ["deploy"],
                 "categories": ["all"], "scope": "Namespaced", "responseKind": {"kind": "Deployment"}}]}]}]}),
            &mut found,
        );
        Resources(found)
    }

    #[test]
    fn a_resource_answers_to_all_its_names() {
        let resources = resources();
        for word in
            ["deployments", "deployment", "Deployment", "deploy", "deployments.apps", "deploy.v1.apps", "all"]
        {
            assert_eq!(resources.named(word).map(|found| found.len()).unwrap_or(0), 1, "{word}");
        }
        for word in ["deploymentz", "deployments.batch", ""] {
            assert!(resources.named(word).is_err(), "{word}");
        }
    }

    #[test]
    fn a_name_cannot_lead_out_of_its_collection() {
        let resources = resources();
        let path = resources.named("deploy").unwrap()[0].path(Some("a/b"), Some("../secrets"));
        assert_eq!(path, "/apis/apps/v1/namespaces/a%2Fb/deployments/..%2Fsecrets");
    }
}
