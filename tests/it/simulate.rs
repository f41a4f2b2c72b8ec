//! `orchestra simulate`: the same inputs give the same bytes, and what makes no sense is refused before anything is written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use orchestra::lab::strategy;
use orchestra::scheduler::Scheduler;
use tempfile::TempDir;

use crate::harness::{orchestra, text};

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/simulations").join(name);
    path.to_str().unwrap().to_owned()
}

/// The names of all strategies there are.
fn all_strategies() -> String {
    let known = strategy::known(Scheduler::default());
    known.iter().map(strategy::Named::name).collect::<Vec<_>>().join(",")
}

/// Every example simulation, and every strategy in the first.
fn examples() -> Vec<Vec<String>> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    vec![
        words(&[
            "--nodes",
            &example("nodes.csv"),
            "--trace",
            &example("pods.csv"),
            "--strategy",
            &all_strategies(),
            "--seeds",
            "42,43",
        ]),
        words(&["--trace", &example("outage.json"), "--all-refusals"]),
        words(&[
            "--generate",
            &example("overload.json"),
            "--strategy",
            "default,fairshare",
            "--seeds",
            "1..2",
        ]),
    ]
}

fn simulate(arguments: &[impl AsRef<std::ffi::OsStr>], out: &Path) -> Output {
    orchestra().arg("simulate").args(arguments).arg("--out").arg(out).output().unwrap()
}

#[track_caller]
fn succeeds(arguments: &[impl AsRef<std::ffi::OsStr>], out: &Path) -> String {
    let output = simulate(arguments, out);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "no progress where nobody looks");
    text(&output.stdout)
}

fn bytes(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    names.map(|path| (path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap())).collect()
}

#[track_caller]
fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (bytes(one), bytes(other));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (name, content) in &one {
        assert!(other.get(name) == Some(content), "{} differs", name.display());
    }
}

#[test]
fn every_file_of_the_examples_is_in_one_of_them() {
    let used = examples().concat();
    for entry in fs::read_dir(example("")).unwrap() {
        let path = entry.unwrap().path();
        assert!(used.iter().any(|word| Path::new(word) == path), "{} is not run", path.display());
    }
}

#[test]
fn every_example_gives_the_same_bytes_with_one_thread_and_with_two_and_from_its_manifest() {
    let place = TempDir::new().unwrap();
    for (number, arguments) in examples().into_iter().enumerate() {
        let folder = |name: &str| place.path().join(format!("{number}-{name}"));
        let with =
            |threads: &str| [arguments.clone(), vec!["--threads".to_owned(), threads.to_owned()]].concat();
        let (one, two, again) = (folder("one"), folder("two"), folder("again"));
        let printed = succeeds(&with("1"), &one);
        assert_eq!(succeeds(&with("2"), &two), printed);
        assert_same(&one, &two);
        let expected = [
            "comparison.svg",
            "decisions.csv",
            "fragmentation.svg",
            "manifest.json",
            "queueing-delay.svg",
            "summary.json",
            "timeline.csv",
            "utilisation.svg",
        ];
        assert_eq!(bytes(&one).keys().map(|name| name.to_str().unwrap()).collect::<Vec<_>>(), expected);
        let manifest = one.join("manifest.json");
        let repeated = succeeds(&["--manifest", manifest.to_str().unwrap()], &again);
        assert!(repeated.ends_with("the same as before: 7 files\n"), "{repeated}");
        assert_same(&one, &again);
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 3 * examples().len(), "nothing else is left");
}

#[test]
fn a_manifest_is_held_to_its_files() {
    let place = TempDir::new().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::copy(example("nodes.csv"), path("nodes.csv")).unwrap();
    fs::copy(example("pods.csv"), path("pods.csv")).unwrap();
    let (nodes, pods) = (path("nodes.csv"), path("pods.csv"));
    let arguments = ["--nodes", nodes.to_str().unwrap(), "--trace", pods.to_str().unwrap()];
    succeeds(&arguments, &path("first"));
    let manifest = path("first/manifest.json");
    let repeat = ["--manifest", manifest.to_str().unwrap()];
    // A file that was moved is found where the user says it is.
    fs::rename(&pods, path("moved.csv")).unwrap();
    let moved = path("moved.csv");
    succeeds(&[&repeat[..], &["--trace", moved.to_str().unwrap()]].concat(), &path("second"));
    assert_same(&path("first"), &path("second"));
    // One that was changed is refused.
    fs::write(&pods, fs::read_to_string(&moved).unwrap().replacen("2000", "2001", 1)).unwrap();
    let refused = simulate(&repeat, &path("third"));
    assert!(text(&refused.stderr).contains("pods.csv is not the file the manifest speaks of"));
    assert!(!refused.status.success() && !path("third").exists());
}

#[test]
fn several_strategies_and_a_configuration_are_written_down_in_order() {
    let place = TempDir::new().unwrap();
    let config = place.path().join("packing.yaml");
    fs::write(
        &config,
        "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nprofiles:\n- pluginConfig:\n  \
         - name: NodeResourcesFit\n    args: {scoringStrategy: {type: MostAllocated}}\n",
    )
    .unwrap();
    let out = |name: &str| place.path().join(name);
    let arguments = |more: &[&str]| {
        [&["--generate", &example("overload.json"), "--seeds", "7"][..], more]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    succeeds(&arguments(&[]), &out("spread"));
    succeeds(&arguments(&["--config", config.to_str().unwrap()]), &out("packed"));
    let decisions = |name: &str| fs::read_to_string(out(name).join("decisions.csv")).unwrap();
    assert!(
        decisions("spread")
            .starts_with("strategy,seed,time,namespace,pod,decision,node,queued,attempts,reason\ndefault,7,")
    );
    assert_ne!(decisions("spread"), decisions("packed"));
    // The manifest has the configuration in it.
    fs::remove_file(&config).unwrap();
    let manifest = out("packed").join("manifest.json");
    succeeds(&["--manifest", manifest.to_str().unwrap()], &out("again"));
    assert_same(&out("packed"), &out("again"));
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_written() {
    let place = TempDir::new().unwrap();
    let out = place.path().join("out");
    let file = |name: &str, text: &str| {
        fs::write(place.path().join(name), text).unwrap();
        place.path().join(name).to_str().unwrap().to_owned()
    };
    let nodes = example("nodes.csv");
    let pods = example("pods.csv");
    let header = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,creation_time,deletion_time\n";
    let late = file("late.csv", &format!("{header}a,1,1,0,0,5,9\nb,1,1,0,0,9,5\n"));
    let odd = file("odd.csv", "name,cpu_milli,memory_mib,num_gpu,gpu_milli,colour\n");
    let torn = file("torn.csv", &format!("{header}a,1,1,0,0,5,9\nb,one,1,0,0,5,9\n"));
    let early = file("early.csv", &format!("{header}a,1,1,0,0,-5,9\n"));
    let trace = |name: &str, pods: &str| file(name, &format!("{{\"pods\": [\n{pods}\n]}}"));
    let backwards = trace("backwards.json", "{\"name\": \"a\", \"at\": 5, \"until\": 4}");
    let before = trace("before.json", "{\"name\": \"a\", \"at\": 0},\n{\"name\": \"b\", \"at\": -1}");
    let negative = trace("negative.json", "{\"name\": \"a\", \"at\": 0, \"duration\": -0.5}");
    let coloured = trace("coloured.json", "{\"name\": \"a\", \"at\": 0, \"colour\": 1}");
    let broken = trace("broken.json", "{\"name\": }");
    let load = |name: &str, nodes: &str, class: &str| {
        let pods = format!("{{\"count\": 1, \"arrival\": {{\"every\": 1}}, \"classes\": [\n{class}]}}");
        file(name, &format!("{{\"nodes\": [\n{nodes}],\n\"pods\": {pods}}}"))
    };
    let group = "{\"name\": \"node\", \"count\": 1, \"allocatable\": {\"cpu\": \"1\"}}";
    let class = "{\"name\": \"a\", \"requests\": {\"cpu\": \"1\"}}";
    let beside = load("beside.json", group, class);
    let much = load("much.json", group, "{\"name\": \"a\", \"requests\": {\"cpu\": \"much\"}}");
    let odd_class = load("odd.json", group, "{\"name\": \"a\", \"requests\": {}, \"colour\": 1}");
    let nowhere = load("nowhere.json", "", class);
    let full = file("taken", "");
    let cases: Vec<(Vec<&str>, i32, String)> = vec![
        (
            vec!["--nodes", &nodes, "--trace", &pods, "--strategy", "bets-fit"],
            2,
            "--strategy bets-fit: unknown; known are default".to_owned(),
        ),
        (
            vec!["--nodes", &nodes, "--trace", &late],
            1,
            format!("{late}:3: deletion_time: 5 is before 9, when the pod came"),
        ),
        (vec!["--nodes", &nodes, "--trace", &odd], 1, format!("{odd}:1: colour: unknown column")),
        (vec!["--nodes", &pods, "--trace", &pods], 1, format!("{pods}:1: name: unknown column")),
        (vec!["--trace", &pods], 2, "--nodes: there are no nodes".to_owned()),
        (vec!["--nodes", &nodes, "--trace", "/nowhere.csv"], 1, "/nowhere.csv: No such file".to_owned()),
        (vec!["--nodes", &nodes, "--trace", &pods, "--seeds", "3..1"], 2, "ends before it begins".to_owned()),
        (vec!["--nodes", &nodes, "--trace", &pods, "--threads", "0"], 2, "--threads".to_owned()),
        (vec!["--nodes", &nodes], 2, "--trace".to_owned()),
        (vec!["--manifest", &nodes], 1, format!("{nodes}: ")),
        (
            vec!["--nodes", &nodes, "--trace", &torn],
            1,
            format!("{torn}:3: cpu_milli: \"one\" is not a whole"),
        ),
        (
            vec!["--nodes", &nodes, "--trace", &early],
            1,
            format!("{early}:2: creation_time: \"-5\" must not be negative"),
        ),
        (
            vec!["--nodes", &nodes, "--trace", &backwards],
            1,
            format!("{backwards}:2: pods[0].until: 4 is before 5, when the pod came"),
        ),
        (
            vec!["--nodes", &nodes, "--trace", &before],
            1,
            format!("{before}:3: pods[1].at: -1 must not be negative"),
        ),
        (
            vec!["--nodes", &nodes, "--trace", &negative],
            1,
            format!("{negative}:2: pods[0].duration: -0.5 must not be negative"),
        ),
        (
            vec!["--nodes", &nodes, "--trace", &coloured],
            1,
            format!("{coloured}:2: pods[0].colour: unknown field"),
        ),
        (vec!["--nodes", &nodes, "--trace", &broken], 1, format!("{broken}:2: ")),
        (
            vec!["--nodes", &nodes, "--generate", &beside],
            1,
            format!("{beside}:2: nodes[0]: node \"node-0\" is"),
        ),
        (vec!["--generate", &much], 1, format!("{much}:4: pods.classes[0]: ")),
        (vec!["--generate", &odd_class], 1, format!("{odd_class}:4: pods.classes[0].colour: unknown field")),
        (vec!["--generate", &nowhere], 2, "--generate: there are no nodes".to_owned()),
        (vec!["--nodes", &nodes, "--trace", &pods, "--grace=-1"], 2, "--grace".to_owned()),
    ];
    for (arguments, code, problem) in cases {
        let refused = simulate(&arguments, &out);
        assert_eq!(refused.status.code(), Some(code), "{arguments:?}: {}", text(&refused.stderr));
        assert!(text(&refused.stderr).contains(&problem), "{}", text(&refused.stderr));
        assert!(!out.exists());
    }
    // Rows that make no sense are left out when that is asked for, and counted.
    let skipped = simulate(&["--nodes", &nodes, "--trace", &late, "--skip-bad-rows"], &out);
    assert!(text(&skipped.stderr).contains("left out: ") && skipped.status.success());
    assert!(fs::read_to_string(out.join("summary.json")).unwrap().contains("\"skippedRows\": 1"));
    // Results that are there, and files of others, are left alone.
    let before = bytes(&out);
    for taken in [out.as_path(), Path::new(&full)] {
        let refused = simulate(&["--nodes", &nodes, "--trace", &pods], taken);
        assert!(
            text(&refused.stderr).contains("exists and is not an empty folder"),
            "{}",
            text(&refused.stderr)
        );
    }
    assert_eq!(bytes(&out), before);
}
