use super::*;
use crate::output::summaries;
use crate::run::{Decider, RunOptions, run};
use crate::trace::{BadRows, Source, read};

fn runs() -> Vec<RunSummary> {
    let text = r#"{"nodes": [{"name": "n", "allocatable": {"cpu": "4", "memory": "8Gi"}}],
        "pods": [{"name": "a", "at": 0, "duration": 60, "requests": {"cpu": "3"}},
                 {"name": "b", "at": 10, "duration": 5, "requests": {"cpu": "3"}}]}"#;
    let workload = read(None, Source { name: "t", text }, BadRows::Stop).unwrap().workload;
    let outcome =
        run(&workload, &Decider::Scheduler(Box::default()), &RunOptions::default(), &mut ()).unwrap();
    ["one", "two"]
        .iter()
        .flat_map(|name| [1, 2].map(|seed| RunSummary::of(name, seed, &workload, outcome.clone())))
        .collect()
}

#[test]
fn pictures_name_every_strategy_and_are_the_same_each_time() {
    let runs = runs();
    let strategies = summaries(&runs);
    let pictures = draw(&runs, &strategies).unwrap();
    let names: Vec<_> = pictures.iter().map(|picture| picture.name).collect();
    assert_eq!(names, ["comparison.svg", "fragmentation.svg", "queueing-delay.svg", "utilisation.svg"]);
    for picture in &pictures {
        assert!(
            picture.svg.starts_with("<svg") && picture.svg.trim_end().ends_with("</svg>"),
            "{}",
            picture.name
        );
        assert!(picture.svg.contains("one") && picture.svg.contains("two"), "{}", picture.name);
    }
    assert_eq!(draw(&runs, &strategies).unwrap(), pictures);
}

#[test]
fn nothing_to_draw_is_an_empty_picture() {
    assert_eq!(draw(&[], &[]).unwrap().len(), 4);
}
