use super::*;
use crate::gpu::Ask;
use crate::trace::Source;

/// A trace of the published one's shape, made up: nodes of a few sizes, pods that share devices and pods that do not.
fn made_up() -> Trace {
    let mut nodes = "sn,cpu_milli,memory_mib,gpu,model\n".to_owned();
    for index in 0..30 {
        let (cpu, gpus, model) = [(96_000, 8, "G2"), (104_000, 2, "T4"), (16_000, 1, "P100")][index % 3];
        nodes.push_str(&format!("node-{index:04},{cpu},393216,{gpus},{model}\n"));
    }
    let mut pods = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n".to_owned();
    let mut random = crate::papers::go_random::GoRandom::seeded(7);
    for index in 0..120 {
        let (gpus, milli) =
            [(1, 1000), (1, 470), (1, 230), (0, 0), (2, 1000), (1, 810), (8, 1000)][random.below(7) as usize];
        let spec = if random.below(5) == 0 && gpus > 0 { "G2|T4" } else { "" };
        let cpu = 1000 * (1 + random.below(16));
        pods.push_str(&format!("pod-{index:04},{cpu},4096,{gpus},{milli},{spec}\n"));
    }
    Trace::parse(Source { name: "nodes", text: &nodes }, Source { name: "pods", text: &pods }).unwrap()
}

#[test]
fn nothing_is_given_away_twice_and_what_comes_wants_130_percent() {
    let trace = made_up();
    let typical = Typical::of(&trace.pods);
    for contestant in Contestant::ALL {
        let workload = Workload::seeded(&trace, 42);
        let wanted: i64 = workload.pods(&trace).map(|pod| Ask::of(&pod).milli()).sum();
        let load = wanted as f64 / trace.capacity() as f64;
        assert!((1.2..1.4).contains(&load), "{load}");
        let curve = run(&trace, &workload, contestant.profile(&typical, 42)).unwrap();
        assert_eq!(curve.placed + curve.dropped, workload.arrivals.len());
        assert!(curve.allocated > 60.0 && curve.allocated <= 100.0, "{contestant:?}: {}", curve.allocated);
        let again = run(&trace, &workload, contestant.profile(&typical, 42)).unwrap();
        assert_eq!(curve, again, "{contestant:?} repeats");
    }
}

#[test]
fn seeds_differ_in_who_comes_when_and_in_which_node_is_first() {
    let trace = made_up();
    let (one, other) = (Workload::seeded(&trace, 42), Workload::seeded(&trace, 43));
    assert_ne!(one.arrivals, other.arrivals);
    assert_ne!(one.nodes, other.nodes);
}

/// Against the published numbers, where the folder of the trace is named; see `docs/fgd.md`.
#[test]
fn the_published_numbers_come_out_where_the_trace_is_at_hand() {
    let Some(folder) = std::env::var_os("ORCHESTRA_OPENB") else {
        return println!("ORCHESTRA_OPENB names no folder with the openb trace: nothing to compare with");
    };
    let read = |name: &str| std::fs::read_to_string(std::path::Path::new(&folder).join(name)).unwrap();
    let (nodes, pods) = (read("openb_node_list_gpu_node.csv"), read("openb_pod_list_default.csv"));
    let trace =
        Trace::parse(Source { name: "nodes", text: &nodes }, Source { name: "pods", text: &pods }).unwrap();
    let typical = Typical::of(&trace.pods);
    let published = [
        (Contestant::DotProduct, 90.54),
        (Contestant::GpuClustering, 91.53),
        (Contestant::GpuPacking, 91.57),
        (Contestant::BestFit, 93.13),
        (Contestant::Fgd, 95.29),
    ];
    let workload = Workload::seeded(&trace, 42);
    for (contestant, expected) in published {
        let curve = run(&trace, &workload, contestant.profile(&typical, 42)).unwrap();
        assert_eq!(curve.by_arrived.get(&130), Some(&expected), "{contestant:?}");
    }
}
