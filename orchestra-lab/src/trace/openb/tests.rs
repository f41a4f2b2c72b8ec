use super::*;
use crate::trace;

const NODES: &str = "sn,cpu_milli,memory_mib,gpu,model\nn0,64000,262144,2,P100\nn1,32000,131072,0,\n";
const HEADER: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n";

fn pods(rows: &str, bad: BadRows) -> Result<(Vec<OpenbPod>, Skipped), TraceError> {
    let text = format!("{HEADER}{rows}");
    read_pods(Source { name: "pods.csv", text: &text }, bad)
}

fn problem(rows: &str) -> String {
    pods(rows, BadRows::Stop).unwrap_err().to_string()
}

#[test]
fn a_trace_becomes_nodes_classes_and_pods() {
    let text = format!(
        "{HEADER}a,4000,1024,1,460,P100|T4,LS,Running,10,70,20\nb,4000,1024,1,460,P100|T4,LS,Running,11,,\n\
         c,1000,1024,0,0,,BE,Failed,12,13,\n"
    );
    let nodes = Source { name: "nodes.csv", text: NODES };
    let read = trace::read(Some(nodes), Source { name: "pods.csv", text: &text }, BadRows::Stop).unwrap();
    let workload = read.workload;
    assert_eq!((workload.nodes.len(), workload.classes.len(), workload.pods.len()), (2, 2, 3));
    let facts = &workload.nodes[0].facts;
    assert_eq!((facts.allocatable.cpu.0, facts.allocatable_pods), (64_000, 1001));
    assert_eq!(facts.allocatable.scalars[MILLI], 2000);
    assert_eq!(facts.labels[MODEL], "P100");
    let stays: Vec<_> = workload.pods.iter().map(|pod| (pod.at, pod.stay)).collect();
    let secs = SimTime::from_secs;
    assert_eq!(
        stays,
        [(secs(10), Stay::For(secs(50))), (secs(11), Stay::Forever), (secs(12), Stay::For(secs(1)))]
    );
    let pod = workload.pod(&workload.pods[0]).unwrap();
    assert_eq!(pod.key.to_string(), "default/a");
    assert_eq!(pod.demand.requests.scalars[MILLI], 460);
    assert!(pod.rules.admit(facts) && !pod.rules.admit(&workload.nodes[1].facts));
}

#[test]
fn a_file_without_times_has_a_pod_a_second_that_stays() {
    let text = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\na,1,1,0,0\nb,1,1,8,1000\n";
    let read = trace::read(None, Source { name: "p", text }, BadRows::Stop).unwrap();
    let pods: Vec<_> = read.workload.pods.iter().map(|pod| (pod.at, pod.stay)).collect();
    assert_eq!(pods, [(SimTime::ZERO, Stay::Forever), (SimTime::from_secs(1), Stay::Forever)]);
}

#[test]
fn what_is_wrong_is_said_with_file_line_and_column() {
    assert_eq!(
        problem("a,1,1,0,0,,,,0,1,\nb,x,1,0,0,,,,0,1,\n"),
        "pods.csv:3: cpu_milli: \"x\" is not a whole number from 0 to 1000000000"
    );
    assert_eq!(problem("a,1,1,0,0,,,,-5,1,\n"), "pods.csv:2: creation_time: \"-5\" must not be negative");
    assert_eq!(problem("a,1,1,0,0,,,,9,1,\n"), "pods.csv:2: deletion_time: 1 is before 9, when the pod came");
    assert_eq!(
        problem("a,1,1,0,0,,,,9,9,8\n"),
        "pods.csv:2: scheduled_time: 8 is before 9, when the pod came"
    );
    assert_eq!(problem("a,1,1,0,0,,,,,9,\n"), "pods.csv:2: creation_time: must not be empty");
    assert_eq!(problem("a,1,1,0,7,,,,0,9,\n"), "pods.csv:2: gpu_milli: must be 0 for a pod without devices");
    assert_eq!(problem("a,1,1\n"), "pods.csv:2: 3 columns instead of 11");
    assert_eq!(problem("a,1,1,0,0,,,,0,1,\na,1,1,0,0,,,,0,1,\n"), "pods.csv:3: name: \"a\" is there twice");
    assert!(problem("A b,1,1,0,0,,,,0,1,\n").starts_with("pods.csv:2: name: must consist of"));
    assert!(problem("a,1,1,1,1,T 4,,,0,1,\n").ends_with("gpu_spec: \"T 4\" cannot be the value of a label"));
}

#[test]
fn unknown_missing_and_repeated_columns_are_refused_even_when_rows_are_skipped() {
    let problem = |text| read_nodes(Source { name: "n", text }, BadRows::Skip).unwrap_err().to_string();
    assert!(problem("sn,cpu_milli,memory_mib,gpu,model,colour\n").starts_with("n:1: colour: unknown column"));
    assert_eq!(problem("sn,cpu_milli,memory_mib,gpu\n"), "n:1: model: the column is missing");
    assert_eq!(problem("sn,sn,cpu_milli\n"), "n:1: sn: the column is there twice");
    assert_eq!(problem(""), "n:1: sn: the column is missing");
}

#[test]
fn rows_that_make_no_sense_are_left_out_and_counted_on_request() {
    let (read, skipped) = pods("a,1,1,0,0,,,,0,1,\nb,1\nc,1,1,0,0,,,,0,1,\n", BadRows::Skip).unwrap();
    assert_eq!(read.iter().map(|pod| &*pod.name).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(skipped.count, 1);
    assert_eq!(skipped.first[0].line, 3);
}
