//! How many nodes are looked at, and where the next search begins.

use super::*;
use crate::profile::Sampling;

#[test]
fn sampling_starts_the_next_search_where_the_last_one_ended() {
    let names: Vec<String> = (0..300).map(|index| format!("n{index}")).collect();
    let cluster = nodes(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let profile = Profile::empty("p").score(Scripted::named("flat"), 1).sampling(Sampling::Percent(10));
    let mut engine = ReferenceEngine::seeded(0);
    let picks: Vec<_> = (0..4)
        .map(|_| chosen(&engine.place(&profile, &mut Cycle::new(&cluster), &pod(json!({})))).to_owned())
        .collect();
    assert_eq!(picks, ["n0", "n100", "n200", "n0"]);
}

fn many(count: usize) -> ClusterView {
    let names: Vec<String> = (0..count).map(|index| format!("n{index:03}")).collect();
    nodes(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_node_set_is_sampled_by_its_own_size() {
    let cluster = many(400);
    fn half() -> PreFiltered {
        PreFiltered::Only((0..200).map(|index| NodeName::from(&*format!("n{index:03}"))).collect())
    }
    let narrowing = Scripted { before: half, ..Scripted::named("half") };
    let profile = Profile::empty("p").register(everything(narrowing)).sampling(Sampling::Percent(80));
    let Outcome::Chosen(choice) = place(&profile, &cluster, &pod(json!({}))) else { panic!() };
    assert_eq!(choice.feasible, 160, "80 in a hundred of the 200, not of the 400");
}

#[test]
fn nodes_passed_over_on_the_way_to_one_too_many_count_for_the_next_start() {
    fn odd_ones_out(node: &NodeView) -> Verdict {
        // The first hundred pass, the next fifty do not, the others do.
        let number: usize = node.name().trim_start_matches('n').parse().unwrap_or(0);
        if (100..150).contains(&number) { Verdict::unschedulable("no") } else { Verdict::Pass }
    }
    let cluster = many(300);
    let scripted = Scripted { filter: odd_ones_out, ..Scripted::named("some") };
    let profile = Profile::empty("p").register(everything(scripted)).sampling(Sampling::Percent(1));
    let mut engine = ReferenceEngine::seeded(0);
    let mut pick = || chosen(&engine.place(&profile, &mut Cycle::new(&cluster), &pod(json!({})))).to_owned();
    // The fifty that failed are not looked at again: the second search goes from 150 to 249.
    assert_eq!([pick(), pick(), pick()], ["n000", "n150", "n250"]);
}

#[test]
fn a_nominated_node_that_fails_counts_once_for_the_next_start() {
    fn not_the_last(node: &NodeView) -> Verdict {
        if &**node.name() == "n299" { Verdict::unschedulable("no") } else { Verdict::Pass }
    }
    let mut cluster = many(300);
    let nominated = pod(json!({"metadata": {"name": "p"}, "status": {"nominatedNodeName": "n299"}}));
    cluster.nominate(nominated.clone(), &NodeName::from("n299"));
    let scripted = Scripted { filter: not_the_last, ..Scripted::named("some") };
    let profile = Profile::empty("p").register(everything(scripted)).sampling(Sampling::Percent(1));
    let mut engine = ReferenceEngine::seeded(0);
    assert_eq!(chosen(&engine.place(&profile, &mut Cycle::new(&cluster), &nominated)), "n000");
    cluster.withdraw(&nominated);
    let next = pod(json!({"metadata": {"name": "q"}}));
    assert_eq!(chosen(&engine.place(&profile, &mut Cycle::new(&cluster), &next)), "n101");
}

#[test]
fn the_start_is_taken_modulo_the_nodes_that_come_into_question() {
    fn some() -> PreFiltered {
        PreFiltered::Only((200..260).map(|index| NodeName::from(&*format!("n{index}"))).collect())
    }
    let cluster = many(300);
    let all = Profile::empty("p").score(Scripted::named("flat"), 1).sampling(Sampling::Percent(1));
    let narrowing = Scripted { before: some, ..Scripted::named("some") };
    let few = Profile::empty("p").register(everything(narrowing));
    let mut engine = ReferenceEngine::seeded(0);
    let mut pick =
        |profile| chosen(&engine.place(profile, &mut Cycle::new(&cluster), &pod(json!({})))).to_owned();
    // The first search ends at 100, which is 40 of 60.
    assert_eq!([pick(&all), pick(&few)], ["n000", "n240"]);
}
