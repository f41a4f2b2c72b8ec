use super::*;
use crate::synthetic::Campaign;
use crate::testing::{asking, cluster};
use serde_json::json;

/// A fixed number of histories; longer campaigns are run with `examples/engines.rs`.
#[test]
fn both_engines_see_and_choose_the_same() {
    let campaign = Campaign::run(1, 6_000).unwrap_or_else(|difference| panic!("{difference}"));
    assert!(campaign.indexed * 3 > campaign.decisions, "the index hardly speaks: {campaign:?}");
    assert!(campaign.placed * 4 > campaign.decisions, "hardly any pod is placed: {campaign:?}");
}

#[test]
fn pods_alike_are_placed_from_the_index() {
    let cluster = cluster([json!({})]);
    let mut engine = FastEngine::seeded(0);
    let outcome = engine.place(&Profile::default(), &mut Cycle::new(&cluster), &asking("p", "1", "1"));
    assert!(matches!(outcome, Outcome::Chosen(_)));
    assert_eq!(engine.tally(), Tally { indexed: 1, scanned: 0 });
}
