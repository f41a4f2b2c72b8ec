//! Expressions from outside: whatever is compiled, is evaluated within its limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use orchestra_cel::{Declared, Environment, Fault, Scope, Value, values};

const LIMIT: u64 = 20_000;
const SEEDS: [&str; 4] = [
    "self.all(x, self.exists(y, x == y)) || text.matches('^a+$')",
    "cel.bind(x, self.map(y, y + 1), x.sortBy(y, -y).size() > 0 ? {'a': 1}.?a.orValue(2) : 3)",
    "quantity('1Gi').isGreaterThan(quantity('1M')) && cidr('10.0.0.0/8').containsIP('10.1.2.3')",
    "'%s %.2f'.format([text, 1.5]).split(' ').join('-').replace('', 'x') + string(duration('1h'))",
];

struct Variables;

impl Scope for Variables {
    fn get(&self, name: &str) -> Option<Value> {
        match name {
            "self" => Some(values::from_json(&serde_json::json!([1, 2, "a", {"b": null}]))),
            "text" => Some(values::from_json(&serde_json::json!("text"))),
            _ => None,
        }
    }
}

fuzz_target!(
    init: {
        // A function of the library that panics ends its expression with an error (`bridge.rs`), not the fuzzer: it is
        // ended by a panic that gets past that.
        std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
        orchestra_fuzz::plant("cel", SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect());
    },
    |source: &str| {
        let environment =
            Environment::new().variable("self", Declared::dynamic()).variable("text", Declared::dynamic());
        if let Ok(program) = environment.compile(source) {
            let outcome = program.evaluate(&Variables, LIMIT);
            assert!(outcome.cost <= LIMIT || outcome.result == Err(Fault::Cost));
        }
    }
);
