use super::*;
use crate::trace::Source;

fn spec(text: &str) -> Result<GenerateSpec, TraceError> {
    GenerateSpec::read(Source { name: "s.json", text })
}

const SPEC: &str = r#"{
    "nodes": [{"name": "n", "count": 4, "allocatable": {"cpu": "16"}}],
    "pods": {"count": 2000, "arrival": {"poisson": 2}, "classes": [
        {"name": "a", "weight": 3, "requests": {"cpu": "1"}, "duration": {"lognormal": {"median": 60, "sigma": 1}}},
        {"name": "b", "requests": {"cpu": "100m", "x.io/y": "2"}, "scale": {"uniform": {"from": 1, "to": 4}}}]},
    "failures": {"between": {"exponential": {"mean": 500}}, "repair": {"constant": 10}}
}"#;

#[test]
fn the_same_seed_makes_the_same_and_another_one_another() {
    let spec = spec(SPEC).unwrap();
    let told = |seed| format!("{:?}", generate(&spec, seed).unwrap());
    assert_eq!(told(1), told(1));
    assert_ne!(told(1), told(2));
}

#[test]
fn rates_and_weights_are_those_asked_for() {
    let workload = generate(&spec(SPEC).unwrap(), 7).unwrap();
    let last = workload.pods.last().unwrap().at.as_secs_f64();
    assert!((900.0..1100.0).contains(&last), "2000 pods at 2 a second end at {last}");
    let light = workload.pods.iter().filter(|pod| pod.name.starts_with("b-")).count();
    assert!((420..580).contains(&light), "a quarter of 2000: {light}");
    assert!(workload.classes.len() <= 2 + 24, "scales are rounded: {}", workload.classes.len());
    assert!(
        workload.outages.len() > 4
            && workload.outages.iter().all(|outage| outage.lasts == SimTime::from_secs(10))
    );
    let scaled = workload.classes.iter().find(|class| class.demand.requests.cpu.0 == 200).unwrap();
    assert_eq!(scaled.demand.requests.scalars["x.io/y"], 4);
}

#[test]
fn failures_leave_pods_as_they_were() {
    let with = generate(&spec(SPEC).unwrap(), 7).unwrap();
    let without = SPEC.replace(",\n    \"failures\": {\"between\": {\"exponential\": {\"mean\": 500}}, \"repair\": {\"constant\": 10}}", "");
    let without = generate(&spec(&without).unwrap(), 7).unwrap();
    assert!(without.outages.is_empty());
    assert_eq!(format!("{:?}", with.pods), format!("{:?}", without.pods));
}

#[test]
fn what_is_wrong_is_said_with_line_and_field() {
    let problem = |from: &str, to: &str| spec(&SPEC.replace(from, to)).unwrap_err().to_string();
    assert_eq!(
        problem("\"median\": 60", "\"median\": -60"),
        "s.json:4: pods.classes[0].duration.lognormal.median: -60 must be above 0 and at most 1e12"
    );
    assert!(
        problem("\"poisson\": 2", "\"poisson\": 0")
            .starts_with("s.json:3: pods.arrival.poisson: 0 must be above 0")
    );
    assert!(problem("\"count\": 4", "\"count\": 99999999").ends_with("nodes: more than 1000000"));
    assert!(
        problem("\"cpu\": \"100m\"", "\"cpu\": \"much\"")
            .starts_with("s.json:5: pods.classes[1]: spec.containers")
    );
    assert!(
        problem("\"cpu\": \"16\"", "\"cpu\": \"much\"")
            .starts_with("s.json:2: nodes[0].allocatable.cpu: quantities must match")
    );
    assert_eq!(
        problem("\"cpu\": \"16\"", "\"cpu\": \"-1\""),
        "s.json:2: nodes[0].allocatable.cpu: \"-1\" must not be negative"
    );
    assert!(
        problem("\"name\": \"b\"", "\"name\": \"B\"").starts_with("s.json:5: pods.classes[1].name: must")
    );
    assert_eq!(
        problem("\"from\": 1, \"to\": 4", "\"from\": 4, \"to\": 1"),
        "s.json:5: pods.classes[1].scale: to is 1, which is less than 4, where it begins"
    );
    assert!(
        problem("\"from\": 1,", "\"from\": -1,")
            .starts_with("s.json:5: pods.classes[1].scale.uniform.from: -1 must be from 0")
    );
    assert_eq!(
        problem("{\"constant\": 10}", "{\"uniform\": {\"from\": 2, \"to\": 1}}"),
        "s.json:6: failures.repair: to is 1, which is less than 2, where it begins"
    );
    assert!(
        problem("\"name\": \"b\"", "\"nom\": \"b\"")
            .starts_with("s.json:5: pods.classes[1].nom: unknown field")
    );
}
