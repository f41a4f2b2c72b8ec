use std::collections::BTreeMap;

use serde_json::json;

use super::*;

struct Variables(HashMap<&'static str, Value>);

impl Scope for Variables {
    fn get(&self, name: &str) -> Option<Value> {
        self.0.get(name).cloned()
    }
}

fn run(source: &str) -> Result<Value, String> {
    let program = Environment::new().compile(source).map_err(|error| error.to_string())?;
    program.evaluate(&(), 1_000_000).result.map_err(|fault| fault.to_string())
}

fn text(text: &str) -> Value {
    Value::String(Arc::new(text.to_owned()))
}

#[test]
fn what_the_language_says_is_so() {
    for source in [
        "1 + 2 * 3 == 7 && -3 + 4 == 1 && 7 % 4 == 3 && 0x10 == 16",
        "'a' + \"b\" == 'ab' && r'\\d' == '\\\\d' && '''it's''' == \"it's\" && '\\u00e4'.size() == 1",
        "b'abc'.size() == 3 && bytes('abc') == b'abc'",
        "[1, 2, 3].all(x, x > 0) && [1, 2].exists(x, x == 2) && [1, 1].exists_one(x, x == 1) == false",
        "[1, 2, 3].filter(x, x > 1).map(x, x * 2) == [4, 6] && [1, 2].map(x, x > 1, x) == [2]",
        "{'a': 1, 'b': 2}.all(k, k in ['a', 'b']) && {'a': 1}.a == 1 && 'a' in {'a': 1} && !('b' in {'a': 1})",
        "{'a': 1}.transformMap(k, v, v + 1) == {'a': 2} && [3, 4].transformList(i, v, i + v) == [3, 5]",
        "['x', 'y'].all(i, v, i < 2 && v != '') && {'a': 1}.transformMapEntry(k, v, {k + 'b': v}) == {'ab': 1}",
        "cel.bind(a, 5, a * a) == 25 && [3, 1, 2].sortBy(x, -x) == [3, 2, 1]",
        "optional.of(1).orValue(2) == 1 && optional.none().orValue(2) == 2 && {'a': 1}[?'b'].hasValue() == false",
        "{'a': 1}.?a.optMap(x, x + 1).value() == 2 && [?optional.none(), ?optional.of(1)] == [1]",
        "type(1) == int && type('a') == string && type([]) == list && type(null) == null_type && 1.5 > 1",
        "true || 1 / 0 == 1",
        "1 / 0 == 1 || true",
        "size('äöü') == 3 && 'abc'.matches('^a.c$') && 'abc'.contains('b') && int('5') == 5 && string(5) == '5'",
        "duration('90m') == duration('1h30m') && timestamp('2024-01-01T00:00:00Z').getFullYear() == 2024",
        "string(duration('90m')) == '5400s' && timestamp('2024-01-01T00:00:00Z') + duration('1h') > timestamp('2024-01-01T00:30:00Z')",
        "quantity('1Gi').isGreaterThan(quantity('500Mi')) && isQuantity('1m') && quantity('2').add(1) == quantity('3')",
        "ip('10.0.0.1').family() == 4 && cidr('10.0.0.0/8').containsIP('10.1.2.3') && isIP('::1')",
        "url('https://a.b:80/c').getHost() == 'a.b:80' && isURL('http://x') && semver('1.2.3').major() == 1",
        "'a,b'.split(',') == ['a', 'b'] && ['a', 'b'].join('-') == 'a-b' && 'aXa'.replace('X', 'Y') == 'aYa'",
        "'%s'.format([null_type]) == 'null_type' && '%s'.format([[int]]).contains('int')",
        "'%s is %d'.format(['x', 3]) == 'x is 3' && 'ABC'.lowerAscii() == 'abc' && 'hello'.charAt(1) == 'e'",
        "[3, 1, 2].max() == 3 && [1, 2].isSorted() && [1, 2, 3].sum() == 6 && [1, 2, 1].distinct() == [1, 2]",
        "sets.contains([1, 2], [1]) && lists.range(3) == [0, 1, 2] && [1, 2].reverse() == [2, 1]",
        "!format.dns1123Label().validate('my-name').hasValue()",
        "dyn(1) == dyn(1.0) && dyn([1, 2]) == dyn([1.0, 2.0])",
        "-9223372036854775808 < 0 && --1 == 1 && !!true",
        "'abc'.find('[bc]+') == 'bc' && 'a1b2'.findAll('[0-9]') == ['1', '2']",
    ] {
        assert_eq!(run(source), Ok(Value::Bool(true)), "{source}");
    }
}

#[test]
fn what_fails_says_why() {
    for (source, why) in [
        ("1 / 0 == 1", "division by zero"),
        ("sets.contains(dyn([int]), dyn([1]))", "no such overload"),
        ("'%s'.format([dyn(optional.of(int))]) == ''", "no such overload"),
        ("[1][5] == 1", "index out of bounds: 5"),
        ("{'a': 1}['b'] == 1", "no such key: b"),
        ("9223372036854775807 + 1 == 0", "integer overflow"),
        ("dyn('a') + dyn(1) == dyn(2)", "no such overload"),
        ("dyn('a').b == 1", "no such overload"),
        ("dyn('a') < 1", "no such overload"),
        ("has(dyn(5).a)", "no such overload"),
    ] {
        assert_eq!(run(source), Err(why.to_owned()), "{source}");
    }
}

#[test]
fn errors_of_the_compiler_point_at_their_place() {
    let fields = BTreeMap::from([("n".to_owned(), Declared::simple(Type::Int, 1, 1))]);
    let object = Object { name: "selfType".to_owned(), fields, others: Others::Refused };
    let environment = Environment::new().variable("self", Declared::object(object, 2));
    for (source, wanted) in [
        ("self.foo > 0", "ERROR: <input>:1:5: undefined field 'foo'\n | self.foo > 0\n | ....^"),
        (
            "slf.n > 0",
            "ERROR: <input>:1:1: undeclared reference to 'slf' (in container '')\n | slf.n > 0\n | ^",
        ),
        (
            "self.n > 'a'",
            "ERROR: <input>:1:8: found no matching overload for '_>_' applied to '(int, string)'\n | self.n > 'a'\n | \
             .......^",
        ),
        (
            "true &&\n  self.n.startsWith('a')",
            "ERROR: <input>:2:20: found no matching overload for 'startsWith' applied to 'int.(string)'\n |   \
             self.n.startsWith('a')\n | ...................^",
        ),
        (
            "self.n.all(x, true)",
            "ERROR: <input>:1:5: expression of type 'int' cannot be range of a comprehension (must be list, map, or \
             dynamic)\n | self.n.all(x, true)\n | ....^",
        ),
        (
            "nothing(1)",
            "ERROR: <input>:1:8: undeclared reference to 'nothing' (in container '')\n | nothing(1)\n | .......^",
        ),
        (
            "[1, 'a'] == []",
            "ERROR: <input>:1:5: expected type 'int' but found 'string'\n | [1, 'a'] == []\n | ....^",
        ),
        (
            "1 +",
            "ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', \
             'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | 1 +\n | ...^",
        ),
    ] {
        let error = environment.compile(source).map(|_| ()).expect_err(source);
        assert_eq!(error.to_string(), wanted);
    }
}

#[test]
fn no_expression_goes_on_beyond_its_limit() {
    let items: Vec<i32> = (0..1_000).collect();
    let scope = Variables(HashMap::from([
        ("self", values::from_json(&json!(items))),
        ("text", text(&"x".repeat(100_000))),
    ]));
    let environment = Environment::new()
        .variable("self", Declared::list(Declared::simple(Type::Int, 1, 1), UNBOUNDED))
        .variable("text", Declared::simple(Type::String, UNBOUNDED, 2));
    let nested = "self.all(a, self.all(b, self.all(c, self.all(d, self.all(e, a + b + c + d + e >= 0)))))";
    let wide = (0..40).fold("1 == 1".to_owned(), |inner, n| {
        let before = if n == 39 { "dyn([1, 1])".to_owned() } else { format!("dyn([x{0}, x{0}])", n + 1) };
        format!("cel.bind(x{n}, {before}, {inner})")
    });
    let compared = wide.replace("1 == 1", "x0 == x0");
    let flattened = wide.replace("1 == 1", "'%s'.format([x0]) == ''");
    for source in [
        nested,
        compared.as_str(),
        flattened.as_str(),
        "lists.range(9223372036854775807).size() > 0",
        "text.replace('', text).size() > 0",
        "self.map(x, text).join(text).size() > 0",
        "[text].map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a)\
         .map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).size() > 0",
        "self.all(x, text.matches('(x+x+)+y' + string(x)) == false)",
    ] {
        let program = environment.compile(source).expect(source);
        let outcome = program.evaluate(&scope, 1_000_000);
        assert_eq!(outcome.result, Err(Fault::Cost), "{source}");
    }
    let long = "1".to_owned() + &" + 1".repeat(5_000);
    assert!(environment.compile(&long).is_err());
    let deep = "(".repeat(10_000) + "1" + &")".repeat(10_000);
    assert!(environment.compile(&deep).is_err());
    assert!(environment.compile(&"!".repeat(100_001)).is_err());
}

#[test]
fn what_it_can_cost_is_known_before() {
    let list = |max| Declared::list(Declared::simple(Type::String, 40, 2), max);
    let cost = |source: &str, max: u64| {
        let environment = Environment::new().variable("self", list(max));
        environment.compile(source).expect(source).estimated_cost()
    };
    // A look at `self`, and for each item: three for `all`, one for the name, four for its text, none for the literal.
    assert_eq!(cost("self.all(x, x.startsWith('a'))", 10), 1 + 1 + 10 * (3 + 1 + 4));
    assert!(cost("self.all(x, self.all(y, x == y))", 1_000) > 1_000_000);
    assert_eq!(cost("self.all(x, self.all(y, x == y))", UNBOUNDED), u64::MAX);
    assert_eq!(cost("self.size() > 5", UNBOUNDED), 3);
}

#[test]
fn what_is_estimated_is_never_less_than_what_is_spent() {
    let scope =
        Variables(HashMap::from([("self", values::from_json(&json!(["ab", "abc", "", "abcdefghij"])))]));
    let environment =
        Environment::new().variable("self", Declared::list(Declared::simple(Type::String, 10, 2), 4));
    for source in [
        "self.all(x, x.size() >= 0)",
        "self.exists(x, x == 'none')",
        "self.exists_one(x, x.contains('abcd'))",
        "self.map(x, x + x).size() == 4",
        "self.filter(x, x.matches('^a')).size() == 3",
        "self.map(x, x.upperAscii()).join(',').size() > 0",
        "self == self.reverse()",
        "'ab' in self && self[0] == 'ab'",
        "self.all(x, self.all(y, x <= y || y <= x))",
    ] {
        let program = environment.compile(source).expect(source);
        let outcome = program.evaluate(&scope, 1_000_000);
        assert!(outcome.result.is_ok(), "{source}: {:?}", outcome.result);
        let estimated = program.estimated_cost();
        assert!(outcome.cost <= estimated, "{source}: {} > {estimated}", outcome.cost);
    }
}

#[test]
fn names_that_no_expression_can_use_are_written_out() {
    for (field, wanted) in [
        ("foo", Some("foo")),
        ("namespace", Some("__namespace__")),
        ("foo-bar", Some("foo__dash__bar")),
        ("a.b/c", Some("a__dot__b__slash__c")),
        ("a__b", Some("a__underscores__b")),
        ("a_b", Some("a_b")),
        ("1a", None),
        ("a b", None),
    ] {
        assert_eq!(escape(field).as_deref(), wanted);
    }
}

/// Words from which expressions are made by chance.
const WORDS: [&str; 62] = [
    "self",
    "text",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    ":",
    "?",
    "+",
    "-",
    "*",
    "/",
    "%",
    "==",
    "<",
    ">=",
    "&&",
    "||",
    "!",
    " in ",
    "1",
    "0",
    "-1",
    "9223372036854775807",
    "1.5",
    "2u",
    "'a'",
    "''",
    "'(a|b)*'",
    "b'x'",
    "true",
    "null",
    "x",
    ".all(x, ",
    ".map(x, ",
    ".filter(x, ",
    ".exists_one(i, x, ",
    ".size()",
    ".matches(",
    ".split(",
    ".replace(",
    ".join(",
    ".format([",
    "])",
    "quantity(",
    "duration('1h')",
    "timestamp(0)",
    "ip('::1')",
    "semver('1.2.3')",
    "lists.range(",
    ".indexOf(",
    ".substring(",
    ".sortBy(x, ",
    "cel.bind(x, ",
    "optional.of(",
    ".?a",
    "has(self.a)",
    "string(",
];

#[test]
fn nothing_that_chance_writes_ends_otherwise_than_with_a_value_or_a_reason() {
    let scope = Variables(HashMap::from([
        ("self", values::from_json(&json!([1, "a", {"a": [2]}]))),
        ("text", text("äb")),
    ]));
    let environment = Environment::new()
        .variable("self", Declared::dynamic())
        .variable("text", Declared::simple(Type::String, 9, 2));
    let mut state: u64 = 1;
    let mut draw = |most: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % most
    };
    let mut compiled = 0;
    for _ in 0..30_000 {
        let length = 1 + draw(9);
        let source: String = (0..length).map(|_| WORDS[draw(WORDS.len())]).collect();
        let closed = format!("{source}{}", [")", "x)", "])", ""][draw(4)]);
        for source in [source, closed] {
            if let Ok(program) = environment.compile(&source) {
                compiled += 1;
                let outcome = program.evaluate(&scope, 10_000);
                assert!(outcome.cost <= 10_000 || outcome.result == Err(Fault::Cost), "{source}");
            }
        }
    }
    assert!(compiled > 500, "{compiled}");
}

/// An environment with messages as mutating policies have them.
fn patches() -> Environment {
    let text = || Declared::simple(Type::String, UNBOUNDED, 1);
    let fields = ["op", "path", "from"].map(|name| (name.to_owned(), text()));
    let mut fields = BTreeMap::from(fields);
    fields.insert("value".to_owned(), Declared::dynamic());
    let patch = Object { name: "JSONPatch".to_owned(), fields, others: Others::Refused };
    Environment::new().variable("object", Declared::dynamic()).message(patch).family("Object")
}

#[test]
fn messages_are_written_out() {
    let run = |source: &str| {
        let program = patches().compile(source).unwrap_or_else(|error| panic!("{error}"));
        let outcome = program.evaluate(&(), 1_000);
        let json = outcome.result.as_ref().map(|value| values::to_json(value, 1_000).unwrap());
        (program.ty().to_string(), json.unwrap_or_else(|fault| json!(fault.to_string())), outcome.cost)
    };
    let nested = "Object{spec: Object.spec{replicas: 3, ?paused: optional.none(), ?x: optional.of('y')},}";
    assert_eq!(run(nested), ("Object".to_owned(), json!({"spec": {"replicas": 3, "x": "y"}}), 82));
    let list = "[JSONPatch{op: 'add', path: '/' + 'a', value: {'b': [1]}}]";
    let made = json!([{"op": "add", "path": "/a", "value": {"b": [1]}}]);
    assert_eq!(run(list), ("list(JSONPatch)".to_owned(), made, 91));
    assert_eq!(run("true ? [] : [JSONPatch{}]").0, "list(JSONPatch)");
    assert_eq!(
        run("Object{} == Object{} && Object{a: 1} != Object{a: 2} && dyn(Object{}) != Object.a{}").1,
        json!(true)
    );
    assert_eq!(run("JSONPatch{op: 'test'}.op + string(has(JSONPatch{}.op))").1, json!("testfalse"));
    assert_eq!(run("optional.ofNonZeroValue(Object.a{}).hasValue()").1, json!(false));
    assert_eq!(run("Object.a{namespace: 2}.namespace").1, json!(2));
}

#[test]
fn messages_that_do_not_fit_are_told_where_they_do_not() {
    for (source, why) in [
        ("JSONPatch{op: 1}", "1:13: expected type of field 'op' is 'string' but provided type is 'int'"),
        ("JSONPatch{other: 1}", "1:16: undefined field 'other'"),
        ("JSONPatch{?op: 'a'}", "1:16: expected type 'optional_type(string)' but found 'string'"),
        ("Objects{a: 1}", "1:8: undeclared reference to 'Objects' (in container '')"),
        ("object{a: 1}", "1:7: 'dyn' is not a type"),
        ("Object{a: 1, a}", "1:15: Syntax error: mismatched input '}' expecting ':'"),
        ("Object{a: }", "1:11: Syntax error: mismatched input '}' expecting"),
        ("[JSONPatch{}, Object{}]", "1:21: expected type 'JSONPatch' but found 'Object'"),
        ("(Object){a: 1}", "1:9: Syntax error: extraneous input '{' expecting <EOF>"),
    ] {
        let error = patches().compile(source).expect_err(source).to_string();
        assert!(error.starts_with(&format!("ERROR: <input>:{why}")), "{source}: {error}");
    }
    assert!(Environment::new().compile("Object{}").is_err(), "only where they are declared");
}

#[test]
fn a_value_that_holds_another_many_times_is_no_large_json() {
    let mut source = "'0123456789'".to_owned();
    for _ in 0..12 {
        source = format!("cel.bind(x, {source}, [x, x, x, x, x, x, x, x])");
    }
    let value = run(&source).expect("is small");
    assert_eq!(values::to_json(&value, 1 << 20), Err(values::NotJson::TooLarge));
}
