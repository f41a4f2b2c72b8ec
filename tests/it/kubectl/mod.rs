//! Every command of kubectl, and the test that shows it; the commands are asked of kubectl itself.

mod apply;
mod cluster;
mod config;
mod create;
mod custom;
mod usage;
mod waiting;
mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// What works on files of its own alone is shown too: it reads what the server wrote or writes what the server reads.
const SHOWN: &[(&str, &str)] = &[
    ("annotate", "every_kind_is_got_described_labelled_annotated_patched_and_explained"),
    ("api-resources", "resources_are_discovered_with_their_short_names"),
    ("api-versions", "a_cluster_tells_what_it_is"),
    ("apply", "objects_are_created_edited_applied_again_and_deleted"),
    ("apply edit-last-applied", "what_was_applied_last_is_shown_set_and_edited"),
    ("apply set-last-applied", "what_was_applied_last_is_shown_set_and_edited"),
    ("apply view-last-applied", "what_was_applied_last_is_shown_set_and_edited"),
    ("attach", "who_attaches_talks_to_the_containers_program"),
    ("auth", "rights_are_asked_for_and_reconciled"),
    ("auth can-i", "rights_are_asked_for_and_reconciled"),
    ("auth reconcile", "rights_are_asked_for_and_reconciled"),
    ("auth whoami", "rights_are_asked_for_and_reconciled"),
    ("autoscale", "a_workload_is_run_exposed_set_and_autoscaled"),
    ("certificate", "a_request_for_a_certificate_is_approved_or_denied"),
    ("certificate approve", "a_request_for_a_certificate_is_approved_or_denied"),
    ("certificate deny", "a_request_for_a_certificate_is_approved_or_denied"),
    ("cluster-info", "a_cluster_tells_what_it_is"),
    ("cluster-info dump", "a_cluster_tells_what_it_is"),
    ("completion", "commands_without_a_server_work_on_what_it_wrote"),
    ("config", "commands_without_a_server_work_on_what_it_wrote"),
    ("config current-context", "commands_without_a_server_work_on_what_it_wrote"),
    ("config delete-cluster", "commands_without_a_server_work_on_what_it_wrote"),
    ("config delete-context", "commands_without_a_server_work_on_what_it_wrote"),
    ("config delete-user", "commands_without_a_server_work_on_what_it_wrote"),
    ("config get-clusters", "commands_without_a_server_work_on_what_it_wrote"),
    ("config get-contexts", "commands_without_a_server_work_on_what_it_wrote"),
    ("config get-users", "commands_without_a_server_work_on_what_it_wrote"),
    ("config rename-context", "commands_without_a_server_work_on_what_it_wrote"),
    ("config set", "commands_without_a_server_work_on_what_it_wrote"),
    ("config set-cluster", "commands_without_a_server_work_on_what_it_wrote"),
    ("config set-context", "commands_without_a_server_work_on_what_it_wrote"),
    ("config set-credentials", "commands_without_a_server_work_on_what_it_wrote"),
    ("config unset", "commands_without_a_server_work_on_what_it_wrote"),
    ("config use-context", "commands_without_a_server_work_on_what_it_wrote"),
    ("config view", "commands_without_a_server_work_on_what_it_wrote"),
    ("cordon", "nodes_are_cordoned_tainted_and_drained"),
    ("cp", "files_are_copied_into_a_container_and_out_again"),
    ("create", "every_subcommand_of_create_makes_its_object"),
    ("create clusterrole", "every_subcommand_of_create_makes_its_object"),
    ("create clusterrolebinding", "every_subcommand_of_create_makes_its_object"),
    ("create configmap", "every_subcommand_of_create_makes_its_object"),
    ("create cronjob", "every_subcommand_of_create_makes_its_object"),
    ("create deployment", "every_subcommand_of_create_makes_its_object"),
    ("create ingress", "every_subcommand_of_create_makes_its_object"),
    ("create job", "every_subcommand_of_create_makes_its_object"),
    ("create namespace", "every_subcommand_of_create_makes_its_object"),
    ("create poddisruptionbudget", "every_subcommand_of_create_makes_its_object"),
    ("create priorityclass", "every_subcommand_of_create_makes_its_object"),
    ("create quota", "every_subcommand_of_create_makes_its_object"),
    ("create role", "every_subcommand_of_create_makes_its_object"),
    ("create rolebinding", "every_subcommand_of_create_makes_its_object"),
    ("create secret", "every_subcommand_of_create_makes_its_object"),
    ("create secret docker-registry", "every_subcommand_of_create_makes_its_object"),
    ("create secret generic", "every_subcommand_of_create_makes_its_object"),
    ("create secret tls", "every_subcommand_of_create_makes_its_object"),
    ("create service", "every_subcommand_of_create_makes_its_object"),
    ("create service clusterip", "every_subcommand_of_create_makes_its_object"),
    ("create service externalname", "every_subcommand_of_create_makes_its_object"),
    ("create service loadbalancer", "every_subcommand_of_create_makes_its_object"),
    ("create service nodeport", "every_subcommand_of_create_makes_its_object"),
    ("create serviceaccount", "every_subcommand_of_create_makes_its_object"),
    ("create token", "every_subcommand_of_create_makes_its_object"),
    ("debug", "a_container_is_added_to_a_pod_that_runs"),
    ("delete", "every_kind_of_the_guestbook_is_deleted_and_nothing_is_left"),
    ("describe", "every_kind_is_got_described_labelled_annotated_patched_and_explained"),
    ("diff", "a_diff_shows_what_an_apply_would_change"),
    ("drain", "nodes_are_cordoned_tainted_and_drained"),
    ("edit", "every_kind_is_got_described_labelled_annotated_patched_and_explained"),
    ("events", "events_are_listed_for_the_object_they_are_about"),
    ("exec", "a_command_gets_its_input_and_gives_its_outputs_and_its_exit_code"),
    ("explain", "every_kind_is_got_described_labelled_annotated_patched_and_explained"),
    ("expose", "a_workload_is_run_exposed_set_and_autoscaled"),
    ("get", "every_kind_is_got_described_labelled_annotated_patched_and_explained"),
    ("kustomize", "a_kustomization_is_built_and_applied"),
    ("label", "every_kind_is_got_described_labelled_annotated_patched_and_explained"),
    ("logs", "logs_are_followed_while_they_are_written"),
    ("patch", "every_kind_is_got_described_labelled_annotated_patched_and_explained"),
    ("plugin", "commands_without_a_server_work_on_what_it_wrote"),
    ("plugin list", "commands_without_a_server_work_on_what_it_wrote"),
    ("port-forward", "ports_of_a_pod_are_forwarded"),
    ("proxy", "a_cluster_tells_what_it_is"),
    ("replace", "an_object_is_replaced_by_force_or_not"),
    ("rollout", "a_workload_is_rolled_back_and_restarted"),
    ("rollout history", "a_workload_is_rolled_back_and_restarted"),
    ("rollout pause", "a_paused_deployment_keeps_its_pods_until_it_is_resumed"),
    ("rollout restart", "a_workload_is_rolled_back_and_restarted"),
    ("rollout resume", "a_paused_deployment_keeps_its_pods_until_it_is_resumed"),
    ("rollout status", "a_workload_is_rolled_back_and_restarted"),
    ("rollout undo", "a_workload_is_rolled_back_and_restarted"),
    ("run", "a_workload_is_run_exposed_set_and_autoscaled"),
    ("scale", "scaling_is_followed_by_pods_and_service"),
    ("set", "a_workload_is_run_exposed_set_and_autoscaled"),
    ("set env", "a_workload_is_run_exposed_set_and_autoscaled"),
    ("set image", "a_workload_is_run_exposed_set_and_autoscaled"),
    ("set resources", "a_workload_is_run_exposed_set_and_autoscaled"),
    ("set selector", "a_workload_is_run_exposed_set_and_autoscaled"),
    ("set serviceaccount", "a_workload_is_run_exposed_set_and_autoscaled"),
    ("set subject", "rights_are_asked_for_and_reconciled"),
    ("taint", "nodes_are_cordoned_tainted_and_drained"),
    ("top", "top_shows_what_nodes_pods_and_containers_use"),
    ("top node", "top_shows_what_nodes_pods_and_containers_use"),
    ("top pod", "top_shows_what_nodes_pods_and_containers_use"),
    ("uncordon", "nodes_are_cordoned_tainted_and_drained"),
    ("version", "resources_are_discovered_with_their_short_names"),
    ("wait", "a_workload_is_run_exposed_set_and_autoscaled"),
];

/// The words after which `--help` lists commands, each on a line of its own.
fn commands(help: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in help.lines() {
        if !line.starts_with(' ') {
            inside = line.contains("Commands") && line.ends_with(':');
        } else if inside && let Some(word) = line.split_whitespace().next() {
            found.push(word.to_owned());
        }
    }
    found
}

/// All commands under this one, deeper ones too.
fn gather(prefix: &[String], found: &mut BTreeSet<String>) {
    let output = Command::new("kubectl").args(prefix).arg("--help").output().expect("kubectl is on the PATH");
    for command in commands(&crate::harness::text(&output.stdout)) {
        let path = [prefix, &[command]].concat();
        // Completions of a shell are each a command.
        if prefix.first().is_none_or(|first| first != "completion") && found.insert(path.join(" ")) {
            gather(&path, found);
        }
    }
}

/// The tests that stand in a folder and below it.
fn tests_in(folder: &std::path::Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_in(&path, found);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.windows(2).filter(|pair| pair[0] == "#[test]") {
            if let Some(name) = pair[1].strip_prefix("fn ").and_then(|rest| rest.split('(').next()) {
                found.insert(name.to_owned());
            }
        }
    }
}

#[test]
fn every_command_of_kubectl_is_shown_by_a_test() {
    let mut commands = BTreeSet::new();
    gather(&[], &mut commands);
    assert!(commands.contains("get") && commands.contains("create secret tls"), "{commands:?}");
    let shown: BTreeMap<&str, &str> = SHOWN.iter().copied().collect();
    let missing: Vec<_> = commands.iter().filter(|command| !shown.contains_key(command.as_str())).collect();
    assert_eq!(missing, Vec::<&String>::new(), "shown by no test, or both shown and not yet");
    let mut tests = BTreeSet::new();
    tests_in(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it")), &mut tests);
    let missing: BTreeSet<_> = shown.values().filter(|test| !tests.contains(**test)).collect();
    assert_eq!(missing, BTreeSet::new(), "there are no such tests");
}
