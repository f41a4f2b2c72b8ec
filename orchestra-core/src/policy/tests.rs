use serde_json::{Value, json};

use super::*;

fn ask(spec: &Value, object: &Value, params: Option<&Value>) -> Verdict {
    let request =
        json!({"operation": "CREATE", "userInfo": {"username": "ann", "groups": ["dev"]}, "namespace": "a"});
    let namespace = json!({"metadata": {"name": "a", "labels": {"env": "prod"}}});
    let inputs = Inputs::new(&request, Some(object), None).namespace(Some(&namespace));
    let inputs = if spec.get("paramKind").is_some() { inputs.params(params) } else { inputs };
    Policy::compile(spec).ask(&inputs)
}

fn denied(message: &str) -> Decision {
    Decision::Deny { message: message.to_owned(), reason: "Invalid".to_owned() }
}

#[test]
fn a_policy_refuses_with_its_message_or_the_one_it_makes() {
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConditions": [{"name": "people", "expression": "!request.userInfo.username.startsWith('system:')"}],
        "variables": [
            {"name": "most", "expression": "int(params.data.most)"},
            {"name": "over", "expression": "object.spec.replicas - variables.most"},
        ],
        "validations": [
            {"expression": "variables.over <= 0", "messageExpression": "'over by ' + string(variables.over)"},
            {"expression": "namespaceObject.metadata.labels.env == 'test'", "message": " only in tests ", "reason": "Forbidden"},
            {"expression": "oldObject == null"},
            {"expression": "object.spec.none == 1"},
        ],
        "auditAnnotations": [{"key": "over", "valueExpression": "string(variables.over)"}],
    });
    let verdict = ask(&spec, &json!({"spec": {"replicas": 7}}), Some(&json!({"data": {"most": "5"}})));
    assert_eq!(
        verdict.decisions,
        [
            denied("over by 2"),
            Decision::Deny { message: "only in tests".to_owned(), reason: "Forbidden".to_owned() },
            Decision::Admit,
            denied("expression 'object.spec.none == 1' resulted in error: no such key: none"),
        ]
    );
    assert_eq!(verdict.annotations, [("over".to_owned(), "2".to_owned())]);
    assert_eq!(Policy::problems(&spec), []);
}

#[test]
fn a_failure_lets_pass_where_the_policy_says_so() {
    let spec =
        |policy: &str| json!({"failurePolicy": policy, "validations": [{"expression": "object.none == 1"}]});
    assert_eq!(ask(&spec("Ignore"), &json!({}), None).decisions, [Decision::Admit]);
    let why = "expression 'object.none == 1' resulted in error: no such key: none";
    assert_eq!(ask(&spec("Fail"), &json!({}), None).decisions, [denied(why)]);
}

#[test]
fn who_may_what_cannot_be_asked_and_so_refuses() {
    let spec = json!({"validations": [{"expression": "authorizer.group('').resource('pods').check('get').allowed()"}]});
    assert_eq!(Policy::problems(&spec), []);
    assert!(matches!(ask(&spec, &json!({}), None).decisions.as_slice(), [Decision::Deny { .. }]));
}

#[test]
fn expressions_that_do_not_fit_are_told_with_their_place() {
    let spec = json!({
        "variables": [{"name": "a", "expression": "object.b +"}],
        "validations": [{"expression": "'text'"}, {"expression": "variables.none"}, {"expression": "params.a == 1"}],
    });
    let problems = Policy::problems(&spec);
    let paths: Vec<&str> = problems.iter().map(|(path, ..)| path.as_str()).collect();
    let all = [
        "variables[0].expression",
        "validations[0].expression",
        "validations[1].expression",
        "validations[2].expression",
    ];
    assert_eq!(paths, all);
    assert_eq!(problems.get(1).unwrap().2, "must evaluate to bool but got string");
    assert!(problems.get(2).unwrap().2.contains("undefined field 'none'"));
    assert!(problems.get(3).unwrap().2.contains("undeclared reference to 'params'"));
}

#[test]
fn a_condition_that_does_not_hold_decides_over_one_that_fails() {
    let ask = |conditions: Value| {
        let object = json!({"a": 1});
        Conditions::compile(&conditions, false).ask(&Inputs::new(&json!({}), Some(&object), None))
    };
    assert_eq!(ask(json!([])), Matched::Yes);
    assert_eq!(ask(json!([{"name": "x", "expression": "object.a == 1"}])), Matched::Yes);
    let fails = json!({"name": "x", "expression": "object.b == 1"});
    assert_eq!(ask(json!([fails, {"name": "y", "expression": "object.a == 2"}])), Matched::No);
    let why = "expression 'object.b == 1' resulted in error: no such key: b".to_owned();
    assert_eq!(ask(json!([fails])), Matched::Failed(why));
}
