use super::*;

fn workload(text: &str) -> Result<Read, TraceError> {
    super::super::read(None, Source { name: "t.json", text }, BadRows::Stop)
}

fn problem(text: &str) -> String {
    workload(text).unwrap_err().to_string()
}

const NODE: &str = r#"{"name": "n", "allocatable": {"cpu": "4", "memory": "8Gi"}, "taints": [{"key": "k", "effect": "NoSchedule"}]}"#;

#[test]
fn nodes_pods_and_failures_are_read() {
    let text = format!(
        r#"{{"nodes": [{NODE}, {{"name": "m", "allocatable": {{"cpu": "1"}}, "from": 5, "until": 7.5}}],
            "pods": [{{"name": "a", "at": 1, "duration": 0.5, "requests": {{"cpu": "1"}}, "priority": 7}},
                     {{"name": "b", "at": 2, "until": 9, "requests": {{"cpu": "1"}}, "priority": 7}},
                     {{"name": "c", "at": 3, "tolerations": [{{"operator": "Exists"}}]}}],
            "failures": [{{"node": "m", "at": 6, "for": 1}}]}}"#
    );
    let workload = workload(&text).unwrap().workload;
    assert_eq!((workload.nodes.len(), workload.classes.len(), workload.pods.len()), (2, 2, 3));
    assert_eq!(workload.nodes[0].facts.taints.len(), 1);
    assert_eq!(workload.nodes[0].facts.allocatable_pods, 110);
    assert_eq!(workload.nodes[1].until, Some(SimTime::parse("7.5").unwrap()));
    let secs = SimTime::from_secs;
    let stays: Vec<_> = workload.pods.iter().map(|pod| pod.stay).collect();
    assert_eq!(stays, [Stay::For(SimTime::parse("0.5").unwrap()), Stay::Until(secs(9)), Stay::Forever]);
    assert_eq!(workload.outages, [Outage { node: 1, at: secs(6), lasts: secs(1) }]);
    assert_eq!(workload.classes[0].priority.0, 7);
}

#[test]
fn what_is_wrong_is_said_with_file_line_and_field() {
    let pods = |pods: &str| format!("{{\"pods\": [\n{pods}\n]}}");
    assert_eq!(
        problem(&pods("{\"name\": \"a\", \"at\": 0},\n{\"name\": \"b\",\n \"at\": -1}")),
        "t.json:4: pods[1].at: -1 must not be negative"
    );
    assert_eq!(
        problem(&pods("{\"name\": \"a\", \"at\": 5, \"until\": 4}")),
        "t.json:2: pods[0].until: 4 is before 5, when the pod came"
    );
    assert!(
        problem(&pods("{\"name\": \"a\", \"at\": 0, \"colour\": 1}"))
            .starts_with("t.json:2: pods[0].colour: unknown field")
    );
    assert_eq!(
        problem(&pods("{\"name\": \"a\", \"at\": 0, \"tolerations\": [{\"operater\": \"Exists\"}]}")),
        "t.json:2: pods[0].tolerations[0].operater: unknown field"
    );
    assert!(
        problem(&pods("{\"name\": \"a\", \"at\": 0, \"requests\": {\"cpu\": \"much\"}}"))
            .starts_with("t.json:2: pods[0]: ")
    );
    assert_eq!(
        problem(&pods("{\"name\": \"a\", \"at\": 0},\n{\"name\": \"a\", \"at\": 0}")),
        "t.json:3: pods[1].name: \"a\" is there twice"
    );
    assert_eq!(
        problem("{\n\"failures\": [{\"node\": \"x\", \"at\": 0, \"for\": 1}]}"),
        "t.json:2: failures[0].node: there is no node \"x\""
    );
    assert!(
        problem("{\"nodes\": [\n{\"name\": \"n\", \"allocatable\": {\"cpu\": \"much\"}}]}")
            .starts_with("t.json:2: nodes[0].allocatable.cpu: quantities must match")
    );
    assert!(problem("{\"pods\": [\n{\"name\": }]}").starts_with("t.json:2: "));
    assert!(problem("{\"things\": []}").starts_with("t.json:1: unknown field `things`"));
}

#[test]
fn elements_that_make_no_sense_are_left_out_on_request() {
    let text = "{\"pods\": [{\"name\": \"a\", \"at\": -1}, {\"name\": \"b\", \"at\": 0}]}";
    let read = super::super::read(None, Source { name: "t", text }, BadRows::Skip).unwrap();
    assert_eq!((read.workload.pods.len(), read.skipped.count), (1, 1));
}
