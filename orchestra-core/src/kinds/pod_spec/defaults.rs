//! Defaults of a pod's specification, after `SetDefaults_PodSpec` and its neighbours.

use serde_json::{Value, json};

use super::resources;
use super::volume_source;
use crate::kinds::frame::{Fill, Object};

/// What every specification gets, in a pod or in a template.
pub(crate) fn default(spec: &mut Object) {
    spec.fill_text("dnsPolicy", "ClusterFirst");
    spec.fill_text("restartPolicy", "Always");
    spec.object("securityContext");
    spec.fill("terminationGracePeriodSeconds", 30);
    spec.fill_text("schedulerName", "default-scheduler");
    service_account(spec);
    for volume in spec.objects("volumes") {
        volume_source::default(volume);
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for item in spec.objects(list) {
            container(item);
        }
    }
    if let Some(overhead) = spec.object_if("overhead") {
        resources::canonical(overhead);
    }
    if let Some(own) = spec.object_if("resources") {
        resources::default(own);
    }
}

/// What only a pod gets: upstream leaves it out of templates.
pub(crate) fn default_for_pod(spec: &mut Object) {
    default(spec);
    let host_network = spec.get("hostNetwork").and_then(Value::as_bool).unwrap_or_default();
    for list in ["containers", "initContainers"] {
        for item in spec.objects(list) {
            resources::requests_from_limits(item.object("resources"));
            if host_network {
                host_ports(item);
            }
        }
    }
    spec.fill("enableServiceLinks", true);
}

/// `serviceAccount` is the old name of `serviceAccountName`; upstream serves both, always equal.
fn service_account(spec: &mut Object) {
    let mut name = spec.text("serviceAccountName").to_owned();
    if name.is_empty() {
        name = spec.text("serviceAccount").to_owned();
    }
    if !name.is_empty() {
        spec.insert("serviceAccountName".to_owned(), name.clone().into());
        spec.insert("serviceAccount".to_owned(), name.into());
    }
}

/// On the host's network a container's port is the host's. A port that is missing or zero, which the rules refuse, has
/// none there either.
fn host_ports(container: &mut Object) {
    let number = |port: &Object, field: &str| port.get(field).and_then(Value::as_i64).unwrap_or_default();
    for port in container.objects("ports") {
        let own = number(port, "containerPort");
        if number(port, "hostPort") == 0 && own != 0 {
            port.insert("hostPort".to_owned(), own.into());
        }
    }
}

fn container(container: &mut Object) {
    let policy = if has_latest_tag(container.text("image")) { "Always" } else { "IfNotPresent" };
    container.fill_text("imagePullPolicy", policy);
    container.fill_text("terminationMessagePath", "/dev/termination-log");
    container.fill_text("terminationMessagePolicy", "File");
    resources::default(container.object("resources"));
    for port in container.objects("ports") {
        port.fill_text("protocol", "TCP");
    }
    for variable in container.objects("env") {
        if let Some(field) = variable.object_if("valueFrom").and_then(|source| source.object_if("fieldRef")) {
            field.fill_text("apiVersion", "v1");
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(item) = container.object_if(name) {
            probe(item);
        }
    }
    if let Some(lifecycle) = container.object_if("lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(handler) = lifecycle.object_if(hook) {
                http_get(handler);
            }
        }
    }
}

fn probe(probe: &mut Object) {
    for (field, value) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        if probe.get(field).and_then(Value::as_i64).unwrap_or_default() == 0 {
            probe.insert(field.to_owned(), json!(value));
        }
    }
    http_get(probe);
    if let Some(grpc) = probe.object_if("grpc") {
        grpc.fill("service", "");
    }
}

fn http_get(handler: &mut Object) {
    if let Some(get) = handler.object_if("httpGet") {
        get.fill_text("path", "/");
        get.fill_text("scheme", "HTTP");
    }
}

/// Whether an image reference names the tag `latest`, said or unsaid. One with a digest and no tag does not.
fn has_latest_tag(image: &str) -> bool {
    let (name, digest) = match image.split_once('@') {
        Some((name, _)) => (name, true),
        None => (image, false),
    };
    // A colon before the last slash belongs to the registry's port.
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => !digest,
    }
}

#[cfg(test)]
mod tests {
    use super::has_latest_tag;

    #[test]
    fn only_a_missing_tag_or_latest_is_pulled_always() {
        for image in ["nginx", "nginx:latest", "registry:5000/nginx", "a/b/c"] {
            assert!(has_latest_tag(image), "{image}");
        }
        for image in ["nginx:1.27", "registry:5000/nginx:1", "nginx@sha256:0123", "nginx:1@sha256:0123"] {
            assert!(!has_latest_tag(image), "{image}");
        }
    }
}
