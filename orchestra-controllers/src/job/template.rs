//! The pods of a Job, as they are created.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod};

use super::policy::judge;
use super::spec::{FAILURES, FINALIZER, IGNORED_FAILURES, INDEX, number};
use crate::family::Known;
use crate::ownership::controller_reference;
use crate::pod;

/// Longer prefixes are cut, so that the letters that the server adds still fit into a name.
const LONGEST_PREFIX: usize = 58;
const VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// A pod of a Job without indexes.
pub(super) fn plain(job: &Job, spec: &JobSpec) -> Pod {
    let mut new = pod::from_template(&spec.template, &job.key().namespace, controller_reference(job));
    new.metadata.generate_name = Some(format!("{}-", job.name()));
    let finalizers = new.metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        finalizers.push(FINALIZER.into());
    }
    new
}

/// The pod of an index. `replaced` is the failed one whose place it takes.
pub(super) fn indexed(job: &Job, spec: &JobSpec, index: u32, replaced: Option<&Pod>) -> Pod {
    let mut new = plain(job, spec);
    let suffix = format!("-{index}-");
    let room = LONGEST_PREFIX.saturating_sub(suffix.len());
    // A name is ASCII, so that a byte is a letter.
    let name = job.name().get(..room).unwrap_or(job.name());
    new.metadata.generate_name = Some(format!("{name}{suffix}"));
    let annotations = new.metadata.annotations.get_or_insert_default();
    annotations.insert(INDEX.into(), index.to_string());
    if spec.backoff_limit_per_index.is_some() {
        let (counted, ignored) = failures(spec, replaced);
        annotations.insert(FAILURES.into(), counted.to_string());
        if ignored > 0 {
            annotations.insert(IGNORED_FAILURES.into(), ignored.to_string());
        }
    }
    new.metadata.labels.get_or_insert_default().insert(INDEX.into(), index.to_string());
    let pod = new.spec.get_or_insert_default();
    pod.hostname = Some(format!("{}-{index}", job.name()));
    let init = pod.init_containers.iter_mut().flatten();
    pod.containers.iter_mut().chain(init).for_each(tell_index);
    new
}

fn failures(spec: &JobSpec, replaced: Option<&Pod>) -> (i32, i32) {
    let Some(replaced) = replaced else { return (0, 0) };
    let (counted, ignored) = (number(replaced, FAILURES), number(replaced, IGNORED_FAILURES));
    match judge(spec, replaced).counts() {
        true => (counted.saturating_add(1), ignored),
        false => (counted, ignored.saturating_add(1)),
    }
}

fn tell_index(container: &mut Container) {
    let variables = container.env.get_or_insert_default();
    if variables.iter().any(|variable| variable.name == VARIABLE) {
        return;
    }
    let source = EnvVarSource {
        field_ref: Some(ObjectFieldSelector {
            field_path: format!("metadata.labels['{INDEX}']"),
            ..ObjectFieldSelector::default()
        }),
        ..EnvVarSource::default()
    };
    variables.push(EnvVar { name: VARIABLE.into(), value_from: Some(source), ..EnvVar::default() });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pod_of_an_index_knows_which_it_is() {
        let job: Job = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "a".repeat(60), "namespace": "n", "uid": "u"},
            "spec": {"completionMode": "Indexed", "backoffLimitPerIndex": 1, "template": {"spec": {"containers": [{"name": "c"}]}}},
        }))
        .unwrap();
        let spec = job.spec.clone().unwrap();
        let first = indexed(&job, &spec, 12, None);
        assert_eq!(first.metadata.generate_name.as_deref(), Some(&*format!("{}-12-", "a".repeat(54))));
        assert_eq!((number(&first, INDEX), number(&first, FAILURES)), (12, 0));
        assert_eq!(first.metadata.labels.as_ref().unwrap()[INDEX], "12");
        assert_eq!(first.metadata.finalizers.as_deref(), Some(&[FINALIZER.to_owned()][..]));
        let pod = first.spec.as_ref().unwrap();
        assert_eq!(pod.hostname.as_deref(), Some(&*format!("{}-12", "a".repeat(60))));
        assert_eq!(pod.containers[0].env.as_ref().unwrap()[0].name, VARIABLE);
        let second = indexed(&job, &spec, 12, Some(&first));
        assert_eq!(number(&second, FAILURES), 1);
    }
}
