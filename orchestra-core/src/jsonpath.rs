//! kubectl's dialect of JSONPath: `{range .items[*]}{.metadata.name}{"\n"}{end}`.
//!
//! Behaves as `k8s.io/client-go/util/jsonpath`: text outside braces stands for itself; results of one pair of braces
//! are parted by a space; `$` and `@` both mean the object at hand, within `range` the item; a quoted key such as
//! `['metadata.name']` is a path of its own. The members of a map come in the order of their keys.

mod eval;
mod parse;

use serde_json::Value;

/// The longest template, in bytes.
pub const MAX_TEMPLATE: usize = 64 * 1024;

/// What is wrong with a template, or why it does not fit an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonPathError(pub(crate) String);

/// What to do where an object lacks a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Nothing is printed, as `kubectl get -o jsonpath` does.
    Skipped,
    /// It is an error, as for `kubectl wait --for=jsonpath`.
    Refused,
}

/// A template, understood and ready to be filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Text(String),
    Path(Vec<Step>),
    Range { over: Vec<Step>, body: Vec<Node> },
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Wildcard,
    /// The value and everything in it that has parts.
    Descendants,
    /// One item, counted from the end if negative.
    Index(i64),
    Slice {
        start: Option<i64>,
        end: Option<i64>,
        step: Option<i64>,
    },
    Union(Vec<Vec<Step>>),
    Filter(Filter),
    /// A value written in a filter; what came before it does not matter.
    Literal(Value),
}

#[derive(Clone, Debug, PartialEq)]
enum Filter {
    Exists(Vec<Step>),
    Compare { left: Vec<Step>, operator: Comparison, right: Vec<Step> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// Reads a template.
    ///
    /// # Errors
    /// It is no template, or too long.
    pub fn parse(template: &str) -> Result<Self, JsonPathError> {
        if template.len() > MAX_TEMPLATE {
            return Err(JsonPathError(format!("template is longer than {MAX_TEMPLATE} bytes")));
        }
        Ok(Self { nodes: parse::template(template)? })
    }

    /// Reads a single path whose braces and first dot may be left out: `spec.replicas`, `.spec.replicas`. So
    /// `--sort-by`, custom columns and the columns of custom resources are written.
    ///
    /// # Errors
    /// It is no such path.
    pub fn parse_relaxed(path: &str) -> Result<Self, JsonPathError> {
        let inner = path.trim();
        let inner = inner.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(inner);
        if inner.is_empty() || inner.contains(['{', '}']) {
            return Err(JsonPathError(format!(
                "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{{name1.name2}}' or '{{.name1.name2}}': {path}"
            )));
        }
        let dot = if inner.starts_with(['.', '$', '@', '[']) { "" } else { "." };
        Self::parse(&format!("{{{dot}{inner}}}"))
    }

    /// The values the template's first path leads to.
    ///
    /// # Errors
    /// The path does not fit the object.
    pub fn find<'v>(&'v self, object: &'v Value, missing: Missing) -> Result<Vec<&'v Value>, JsonPathError> {
        let path = self.nodes.iter().find_map(|node| match node {
            Node::Path(path) | Node::Range { over: path, .. } => Some(path),
            Node::Text(_) => None,
        });
        path.map_or(Ok(Vec::new()), |path| eval::values(path, object, missing))
    }

    /// Fills in the template.
    ///
    /// # Errors
    /// A path does not fit the object.
    pub fn render(&self, object: &Value, missing: Missing) -> Result<String, JsonPathError> {
        let mut text = String::new();
        eval::render(&self.nodes, object, missing, &mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pods() -> Value {
        json!({
            "kind": "List",
            "items": [
                {"metadata": {"name": "a", "labels": {"k8s.io/app": "x"}}, "spec": {"n": 1, "ports": [80, 81, 82, 83]}},
                {"metadata": {"name": "b"}, "spec": {"n": 2, "on": true}},
                {"metadata": {"name": "c"}, "spec": {"n": 2.5}},
            ],
        })
    }

    fn rendered(template: &str) -> String {
        JsonPath::parse(template).unwrap().render(&pods(), Missing::Skipped).unwrap()
    }

    fn refused(template: &str) -> String {
        let refusal = JsonPath::parse(template).and_then(|path| path.render(&pods(), Missing::Refused));
        refusal.unwrap_err().to_string()
    }

    #[test]
    fn templates_are_filled_in_as_kubectl_does() {
        for (template, text) in [
            ("kind={.kind}!", "kind=List!"),
            ("{$.kind}{@.kind}{['kind']}", "ListListList"),
            ("{.items[*].metadata.name}", "a b c"),
            ("{.items[0].metadata.name}", "a"),
            ("{.items[-1].metadata.name}", "c"),
            ("{.items[0:2].metadata.name}", "a b"),
            ("{.items[1:].metadata.name}", "b c"),
            ("{.items[:-1].metadata.name}", "a b"),
            ("{.items[0].spec.ports[0:4:2]}", "80 82"),
            ("{.items[0,2].metadata.name}", "a c"),
            ("{.items[0]['metadata.name','spec.n']}", "a 1"),
            (r"{.items[0].metadata.labels.k8s\.io/app}", "x"),
            (r"{.items[0].metadata.labels['k8s\.io/app']}", "x"),
            ("{.items[0].metadata.labels}", r#"{"k8s.io/app":"x"}"#),
            ("{.items[0].spec.*}", "1 [80,81,82,83]"),
            ("{..name}", "a b c"),
            ("{.items[?(@.metadata.name==\"b\")].spec.n}", "2"),
            ("{.items[?(@.metadata.name != 'b')].metadata.name}", "a c"),
            ("{.items[?(@.spec.n>=2)].metadata.name}", "b c"),
            ("{.items[?(@.spec.n<2)].metadata.name}", "a"),
            ("{.items[?(@.spec.on)].metadata.name}", "b"),
            ("{.items[?(@.spec.on==true)].metadata.name}", "b"),
            ("{.items[?(@.spec.ports[0]==80)].metadata.name}", "a"),
            ("{range .items[*]}{.metadata.name}:{.spec.n}{\"\\n\"}{end}", "a:1\nb:2\nc:2.5\n"),
            ("{range .items[*]}[{range .spec.ports[*]}{@};{end}]{end}", "[80;81;82;83;][][]"),
            ("{.absent}{.items[*].absent.more}", ""),
            ("{'single'}{\"tab\\t\"}", "singletab\t"),
            ("{ .kind }", "List"),
            ("{range .items[*]}{.metadata.name}", "abc"),
            ("", ""),
        ] {
            assert_eq!(rendered(template), text, "{template}");
        }
    }

    #[test]
    fn objects_are_escaped_as_gos_encoder_does() {
        let object = json!({"a": {"b": "<&>"}});
        let path = JsonPath::parse("{.a}{.a.b}").unwrap();
        let text = path.render(&object, Missing::Refused).unwrap();
        assert_eq!(text, r#"{"b":"\u003c\u0026\u003e"}<&>"#);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        for (template, message) in [
            ("{.absent}", "absent is not found"),
            ("{.items[7]}", "array index out of bounds: index 7, length 3"),
            ("{.items[2:1]}", "starting index 2 is greater than ending index 1"),
            ("{.items[0:2:0]}", "step must be > 0"),
            ("{.kind[0]}", "string is not array or slice"),
            ("{.kind", "unclosed action"),
            ("{end}", "not in range, nothing to end"),
            ("{.items[}", "unterminated array"),
            ("{.items[a]}", "invalid array index a"),
            ("{.items[?(@.a==]}", "unterminated filter"),
            ("{\"open}", "unterminated quoted string"),
            ("{.kind | x}", "unrecognized character in action: '|'"),
        ] {
            assert_eq!(refused(template), message, "{template}");
        }
        assert!(JsonPath::parse(&"x".repeat(MAX_TEMPLATE + 1)).is_err());
        assert!(JsonPath::parse(&format!("{{{}", "[?(@".repeat(500))).is_err());
    }

    #[test]
    fn single_paths_need_no_braces() {
        for path in ["kind", ".kind", "{.kind}", "{kind}", "$.kind"] {
            let found = JsonPath::parse_relaxed(path).unwrap();
            assert_eq!(found.find(&pods(), Missing::Refused).unwrap(), [&json!("List")], "{path}");
        }
        assert!(JsonPath::parse_relaxed("{.a}{.b}").is_err());
    }

    #[test]
    fn results_cannot_grow_without_bound() {
        let mut deep = json!(1);
        for _ in 0..40 {
            deep = json!([deep, 1]);
        }
        let path = JsonPath::parse(&format!("{{{}.x}}", "..*".repeat(12))).unwrap();
        assert!(path.render(&deep, Missing::Skipped).is_err());
    }

    proptest! {
        #[test]
        fn no_template_makes_it_panic(template in "[{}.$@a\\[\\]0:,*?()='\" <\\\\-]{0,24}|\\{\\.items\\[[-0-9:]{0,8}\\]\\}") {
            if let Ok(path) = JsonPath::parse(&template) {
                drop(path.render(&pods(), Missing::Skipped));
            }
        }
    }
}
