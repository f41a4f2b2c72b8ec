use proptest::prelude::*;
use serde_json::json;

use super::*;

fn value(yaml: &str) -> Value {
    parse_first(&format!("v: {yaml}"), "f.yaml").unwrap()["v"].clone()
}

fn refused(text: &str) -> String {
    parse(text, "f.yaml").unwrap_err().to_string()
}

const POD: &str = "apiVersion: v1\nkind: Pod\n";

#[test]
fn scalars_are_read_as_kubectl_reads_them() {
    for (yaml, expected) in [
        ("0644", json!(420)),
        ("0o644", json!(420)),
        ("0x1F", json!(31)),
        ("08", json!(8)),
        ("1_000", json!(1000)),
        ("1e3", json!(1000)),
        ("1.0", json!(1)),
        ("0.5", json!(0.5)),
        ("yes", json!(true)),
        ("on", json!(true)),
        ("Off", json!(false)),
        ("\"on\"", json!("on")),
        ("~", json!(null)),
        ("", json!(null)),
        ("2020-01-01", json!("2020-01-01")),
        ("!!binary aGk=", json!("hi")),
        ("!!str 1", json!("1")),
        ("1:30", json!("1:30")),
    ] {
        assert_eq!(value(yaml), expected, "{yaml}");
    }
}

#[test]
fn keys_become_text() {
    let read = |text: &str| parse_first(text, "f").unwrap();
    assert_eq!(read("a: 1\n2: b\n0644: c\non: d\n"), json!({"2": "b", "420": "c", "a": 1, "true": "d"}));
    assert_eq!(read("\"on\": d\n"), json!({"on": "d"}));
}

#[test]
fn merge_keys_merge() {
    let text = "base: &b {x: 1, z: 2}\nv:\n  <<: *b\n  z: 3\n";
    assert_eq!(parse_first(text, "f").unwrap()["v"], json!({"x": 1, "z": 3}));
}

#[test]
fn documents_are_parted_and_know_their_lines() {
    let text = format!(
        "# a comment\n---\n\n{POD}metadata: {{name: a}}\n--- # next\n---\n{POD}metadata: {{name: b}}\n"
    );
    let documents = parse(&text, "dir/f.yaml").unwrap();
    let found: Vec<(usize, &str)> =
        documents.iter().map(|d| (d.line, d.value["metadata"]["name"].as_str().unwrap())).collect();
    assert_eq!(found, [(4, "a"), (9, "b")]);
    assert_eq!(&*documents[0].origin, "dir/f.yaml");
}

#[test]
fn json_objects_may_follow_one_another() {
    let text = "\n{\"apiVersion\": \"v1\",\n\"kind\": \"A\"}\n{\"apiVersion\": \"v1\", \"kind\": \"B\"}\n";
    let found: Vec<(usize, String)> = parse(text, "f")
        .unwrap()
        .into_iter()
        .map(|d| (d.line, d.value["kind"].as_str().unwrap().into()))
        .collect();
    assert_eq!(found, [(2, "A".to_owned()), (4, "B".to_owned())]);
}

#[test]
fn lists_are_taken_apart() {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "A"},
        {"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {"name": "x"}}]},
    ]});
    let kinds: Vec<Value> =
        parse(&list.to_string(), "f").unwrap().into_iter().map(|d| d.value["kind"].clone()).collect();
    assert_eq!(kinds, ["A", "Pod"]);
    assert!(parse("apiVersion: v1\nkind: List\nitems: []\n", "f").unwrap().is_empty());
}

#[test]
fn nothing_at_all_is_no_document() {
    for text in ["", "\n", "# only\n", "---\n---\n", "null\n", "\u{feff}"] {
        assert_eq!(parse(text, "f").unwrap(), [], "{text:?}");
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (text, message) in [
        (format!("{POD}metadata:\n\tname: a\n"), "f.yaml:4:1: a tab cannot indent, use spaces"),
        (format!("{POD}---\n{POD}kind: Again\n"), "f.yaml:6:1: duplicate mapping key: kind"),
        ("kind: Pod\n".to_owned(), "f.yaml:1:1: apiVersion is missing or no text"),
        ("apiVersion: v1\nkind: 5\n".to_owned(), "f.yaml:1:1: kind is missing or no text"),
        ("just text\n".to_owned(), "f.yaml:1:1: an object is expected: a map with apiVersion and kind"),
        (format!("{POD}--- {{}}\n"), "f.yaml:3:4: invalid document separator: {}"),
        ("{\"a\": 1,\n \"a\": 2}".to_owned(), "f.yaml:2:4: duplicate mapping key: a"),
        ("{\"a\": }".to_owned(), "f.yaml:1:7: expected value"),
        (format!("{POD}a: b: c\n"), "f.yaml:3:5: mapping values are not allowed in this context"),
        (format!("{POD}a: .nan\n"), "f.yaml:3:4: non-finite float `.nan` rejected by the configured policy"),
    ] {
        assert_eq!(refused(&text), message, "{text:?}");
    }
}

#[test]
fn bombs_are_refused() {
    let mut aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let before = vec![format!("*a{}", i - 1); 9].join(", ");
        aliases.push_str(&format!("a{i}: &a{i} [{before}]\n"));
    }
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 100].join(", "));
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let deep_json = format!("{{\"a\": {deep}}}");
    let many = "---\na: 1\n".repeat(MAX_DOCUMENTS + 1);
    for text in [aliases, long, deep, deep_json, many, "x".repeat(MAX_TEXT + 1)] {
        assert!(parse(&text, "f").is_err());
    }
}

#[test]
fn the_deepest_nesting_fits_a_small_stack() {
    let levels = MAX_DEPTH - 1;
    let deep = format!("a: {}{}", "[".repeat(levels), "]".repeat(levels));
    let read =
        std::thread::Builder::new().stack_size(128 << 10).spawn(move || parse_first(&deep, "f")).unwrap();
    assert!(read.join().unwrap().is_ok());
}

#[test]
fn a_long_text_is_no_bomb() {
    let text = format!("{POD}data: {}\n", "x".repeat(4 << 20));
    assert_eq!(parse(&text, "f").unwrap().len(), 1);
}

#[test]
fn only_the_first_document_of_a_body_is_read() {
    assert_eq!(parse_first("a: 1\n---\n\tbroken", "body").unwrap(), json!({"a": 1}));
    assert_eq!(parse_first("{\"a\": 1} trailing", "body").unwrap(), json!({"a": 1}));
    assert_eq!(parse_first("", "body").unwrap(), Value::Null);
}

#[test]
fn yaml_is_written_as_kubectl_prints_it() {
    let object = json!({
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "web", "labels": {}, "annotations": {"a": "yes", "b": "1", "c": "x: y", "d": "# no", "e": ""}},
        "spec": {
            "containers": [{"name": "a", "args": ["-c", "- x", "it's", "'q'"], "ports": []}],
            "list": [[1, 2], [true, null]],
        },
        "time": "2020-01-01T00:00:00Z",
        "text": "one\n two\n",
        "cut": "one\n\ntwo",
        "tab": "a\tb\n",
        "half": 0.5,
    });
    let expected = r#"apiVersion: v1
cut: |-
  one

  two
half: 0.5
kind: Pod
metadata:
  annotations:
    a: "yes"
    b: "1"
    c: 'x: y'
    d: '# no'
    e: ""
  labels: {}
  name: web
spec:
  containers:
  - args:
    - -c
    - '- x'
    - it's
    - '''q'''
    name: a
    ports: []
  list:
  - - 1
    - 2
  - - true
    - null
tab: "a\tb\n"
text: |
  one
   two
time: "2020-01-01T00:00:00Z"
"#;
    assert_eq!(to_yaml(&object), expected);
}

#[test]
fn odd_texts_are_quoted_as_kubectl_quotes_them() {
    for (text, yaml) in [
        ("- x", "'- x'"),
        ("it's", "it's"),
        (" lead", "' lead'"),
        ("trail ", "'trail '"),
        ("a \nb", r#""a \nb""#),
        ("1:30", r#""1:30""#),
        ("0x1F", r#""0x1F""#),
        ("1_000", r#""1_000""#),
        ("0o17", r#""0o17""#),
        ("1e3", r#""1e3""#),
        ("08", r#""08""#),
        ("1.", r#""1.""#),
        ("2020-01-01", r#""2020-01-01""#),
        ("N", r#""N""#),
        ("=", "="),
        ("<<", "<<"),
        ("-", "'-'"),
        ("?", "'?'"),
        ("a:b", "a:b"),
        ("a #b", "'a #b'"),
        ("a, b", "a, b"),
        ("x}", "x}"),
        ("{x", "'{x'"),
        ("@a", "'@a'"),
        ("\n", "|2+"),
        ("a\n\n", "|+\n  a"),
        ("  x\ny", "|2-\n    x\n  y"),
        ("é\u{1f600}", r#""é\U0001F600""#),
        ("\u{a0}x\u{2028}y", "\"\u{a0}x\\Ly\""),
        ("l\r\n", r#""l\r\n""#),
    ] {
        assert_eq!(to_yaml(&json!({ "k": text })).trim_end_matches('\n'), format!("k: {yaml}"), "{text:?}");
    }
    assert_eq!(to_yaml(&json!({"<<": 1, "on": 2, "0644": 3})), "\"0644\": 3\n\"<<\": 1\n\"on\": 2\n");
}

#[test]
fn long_texts_are_folded_at_a_space() {
    let words = vec!["words"; 20].join(" ");
    let text = to_yaml(&json!({ "message": words }));
    assert_eq!(text.lines().count(), 2);
    assert!(text.lines().all(|line| line.len() < 90));
    assert_eq!(parse_first(&text, "f").unwrap()["message"], words.as_str());
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(value in crate::patch::merge::tests::tree(), text in "[ -~\n\tä:#'\"-]{0,30}", word in "[-+0-9eExX_.:a-fnosyNOY~]{0,6}") {
        let object = json!({"a": value, "b": [text, {"c": word}], word.clone(): 1, "k": text});
        prop_assert_eq!(parse_first(&to_yaml(&object), "f").unwrap(), object);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[-a:{}\\[\\]\"'&*!|>%@`#,? \t\n0]{0,24}") {
        drop(parse(&text, "f"));
    }
}
