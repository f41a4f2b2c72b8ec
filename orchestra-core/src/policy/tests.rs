use serde_json::{Value, json};

use super::access::*;
use super::*;
use crate::gvk::GroupVersion;
use crate::patch::apply::Schema;
use crate::schema;

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
    let why = "expression 'object.none == 1' resulted in error: no such key: none";
    let ignored = Decision::Ignore { message: why.to_owned() };
    assert_eq!(ask(&spec("Ignore"), &json!({}), None).decisions, [ignored]);
    assert_eq!(ask(&spec("Fail"), &json!({}), None).decisions, [denied(why)]);
}

#[test]
fn who_may_what_is_asked_until_all_is_known() {
    let spec = json!({"validations": [
        {"expression": "authorizer.group('apps').resource('deployments').namespace('a').check('get').allowed() && \
                        !authorizer.serviceAccount('a', 'robot').path('/x').check('get').allowed()"},
        {"expression": "authorizer.requestResource.name('n').fieldSelector('a=b').labelSelector('c=d').check('create').reason() == 'no'"},
        {"expression": "authorizer.group('').resource('pods').subresource('exec').check('get').errored()",
            "messageExpression": "authorizer.group('').resource('pods').subresource('exec').check('get').error()"},
        {"expression": "authorizer.group('').resource(' ').check('get').allowed()"},
        {"expression": "authorizer.serviceAccount('A', 'b').path('/').check('get').allowed()"},
    ]});
    assert_eq!(Policy::problems(&spec), []);
    let request = json!({"requestResource": {"group": "", "version": "v1", "resource": "configmaps"}, "requestSubResource": "",
        "namespace": "here", "name": "this"});
    let (policy, authority) = (Policy::compile(&spec), Authority::default());
    let mut asked = Vec::new();
    let verdict = loop {
        let verdict = policy.ask(&Inputs::new(&request, None, None).authority(&authority));
        let open = authority.open();
        if open.is_empty() {
            break verdict;
        }
        for question in open {
            let answer = match &question.subject {
                Subject::Resource(about) if about.resource == "deployments" => {
                    Answer { is_allowed: true, ..Answer::default() }
                }
                Subject::Resource(about) if about.subresource == "exec" => {
                    Answer { error: Some("broken".to_owned()), ..Answer::default() }
                }
                _ => Answer { reason: "no".to_owned(), ..Answer::default() },
            };
            asked.push(question.clone());
            authority.answer(question, answer);
        }
    };
    let allowed: Vec<bool> = verdict.decisions.iter().map(|decision| *decision == Decision::Admit).collect();
    assert_eq!(allowed, [true, true, true, false, false], "{verdict:?}");
    let why = "expression 'authorizer.group('').resource(' ').check('get').allowed()' resulted in error: resource must not be empty";
    assert_eq!(verdict.decisions[3], denied(why));
    assert_eq!(asked.len(), 4, "{asked:?}");
    let own = ResourceAccess {
        resource: "configmaps".to_owned(),
        namespace: "here".to_owned(),
        name: "n".to_owned(),
        fields: "a=b".to_owned(),
        labels: "c=d".to_owned(),
        ..ResourceAccess::default()
    };
    let about_own = Question { account: None, subject: Subject::Resource(own), verb: "create".to_owned() };
    assert!(asked.contains(&about_own), "{asked:?}");
    let robot = Account { namespace: "a".to_owned(), name: "robot".to_owned() };
    let about_path =
        Question { account: Some(robot), subject: Subject::Path("/x".to_owned()), verb: "get".to_owned() };
    assert!(asked.contains(&about_path), "{asked:?}");
}

#[test]
fn without_somebody_to_ask_an_expression_about_rights_refuses() {
    let spec = json!({"validations": [{"expression": "authorizer.group('').resource('pods').check('get').allowed()"}]});
    assert!(matches!(ask(&spec, &json!({}), None).decisions.as_slice(), [Decision::Deny { .. }]));
}

#[test]
fn two_questions_fit_into_an_expression() {
    let check = "authorizer.path('/a').check('get').allowed()";
    let spec = json!({"validations": [{"expression": format!("{check} || {check}")}, {"expression": format!("{check} || {check} || {check}")}]});
    let authority = Authority::default();
    let request = json!({});
    let question =
        Question { account: None, subject: Subject::Path("/a".to_owned()), verb: "get".to_owned() };
    authority.answer(question, Answer::default());
    let verdict = Policy::compile(&spec).ask(&Inputs::new(&request, None, None).authority(&authority));
    assert_eq!(verdict.decisions[0], denied(&format!("failed expression: {check} || {check}")));
    assert!(
        matches!(&verdict.decisions[1], Decision::Deny { message, .. } if message.contains("actual cost limit exceeded"))
    );
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

/// What the only mutation of a policy makes of a Deployment of two replicas.
fn mutated(way: &str, expression: &str) -> Result<Option<Value>, Unmade> {
    let field = if way == "JSONPatch" { "jsonPatch" } else { "applyConfiguration" };
    let spec = json!({
        "variables": [{"name": "twice", "expression": "object.spec.replicas * 2"}],
        "mutations": [{"patchType": way, field: {"expression": expression}}],
    });
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let policy = MutatingPolicy::compile(&spec);
    let ty = schema::of_kind(&GroupVersion::new("apps", "v1"), "Deployment").unwrap();
    let request = json!({"operation": "CREATE"});
    let inputs = Inputs::new(&request, Some(&object), None);
    policy.mutate(&policy.mutations()[0], &inputs, &object, Schema::Builtin(ty))
}

#[test]
fn a_configuration_is_laid_over_the_object() {
    let made = mutated(
        "ApplyConfiguration",
        "Object{metadata: Object.metadata{annotations: {'a': 'b'}}, spec: Object.spec{replicas: variables.twice, template: \
         Object.spec.template{spec: Object.spec.template.spec{containers: object.spec.template.spec.containers.map(c, \
         Object.spec.template.spec.containers{name: c.name, imagePullPolicy: 'Never'})}}}}",
    );
    let made = made.unwrap().unwrap();
    assert_eq!(made["metadata"], json!({"name": "d", "annotations": {"a": "b"}}));
    assert_eq!(made["spec"]["replicas"], 4);
    assert_eq!(made["spec"]["selector"], json!({"matchLabels": {"a": "b"}}));
    assert_eq!(
        made["spec"]["template"]["spec"]["containers"],
        json!([{"name": "c", "image": "i", "imagePullPolicy": "Never"}])
    );
}

#[test]
fn a_patch_is_made_unless_its_test_fails() {
    let made = mutated(
        "JSONPatch",
        "[JSONPatch{op: 'test', path: '/spec/replicas', value: 2.0}, JSONPatch{op: 'replace', path: '/spec/replicas', value: \
         variables.twice}, JSONPatch{op: 'add', path: '/metadata/labels', value: {}}, JSONPatch{op: 'add', path: \
         '/metadata/labels/' + jsonpatch.escapeKey('a/b~c'), value: 'x'}, JSONPatch{op: 'add', path: '/spec/strategy', value: \
         Object.spec.strategy{type: 'Recreate'}}]",
    );
    let made = made.unwrap().unwrap();
    assert_eq!(made["metadata"], json!({"name": "d", "labels": {"a/b~c": "x"}}));
    assert_eq!(
        (&made["spec"]["replicas"], &made["spec"]["strategy"]),
        (&json!(4), &json!({"type": "Recreate"}))
    );
    let tested =
        "[JSONPatch{op: 'test', path: '/spec/replicas', value: 3}, JSONPatch{op: 'remove', path: '/spec'}]";
    assert_eq!(mutated("JSONPatch", tested), Ok(None));
}

#[test]
fn mutations_that_do_not_fit_say_why() {
    let failed = |way: &str, expression: &str| match mutated(way, expression) {
        Err(Unmade::Failed(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        failed("ApplyConfiguration", "Object{spec: Object.spec{selector: Object.spec.wrong{}}}"),
        "type mismatch: unexpected type name \"Object.spec.wrong\", expected \"Object.spec.selector\", which matches field \
         name path from root Object type"
    );
    assert_eq!(
        failed("ApplyConfiguration", "Object{spec: Object.spec{replicas: 'two'}}"),
        "error applying patch: failed to convert patch object to typed object: .spec.replicas: expected numeric (int or \
         float), got string"
    );
    assert_eq!(
        failed("ApplyConfiguration", "Object{spec: Object.spec{replicas: object.spec.none}}"),
        "expression 'Object{spec: Object.spec{replicas: object.spec.none}}' resulted in error: no such key: none"
    );
    assert_eq!(failed("ApplyConfiguration", "Object.spec{}"), "must evaluate to Object but got Object.spec");
    assert_eq!(failed("JSONPatch", "JSONPatch{}"), "must evaluate to list(JSONPatch) but got JSONPatch");
    assert_eq!(
        failed("JSONPatch", "[JSONPatch{op: 'remove', path: '/spec/none/x'}]"),
        "JSONPath: remove operation does not apply: doc is missing path: /spec/none/x: missing value"
    );
    let strict = "[JSONPatch{op: 'add', path: '/spec/none', value: 1}]";
    let why = "strict decoding error: unknown field \"spec.none\"".to_owned();
    assert_eq!(mutated("JSONPatch", strict), Err(Unmade::Misshapen(why)));
    let own = "[JSONPatch{op: 'replace', path: '/kind', value: 'Pod'}]";
    assert!(matches!(mutated("JSONPatch", own), Err(Unmade::Misshapen(_))));
}

#[test]
fn what_mutations_write_is_bounded() {
    let mut expression = "'0123456789'".to_owned();
    for _ in 0..10 {
        expression = format!("cel.bind(x, {expression}, [x, x, x, x, x, x, x, x])");
    }
    let patch = format!("[JSONPatch{{op: 'add', path: '/spec', value: {expression}}}]");
    assert!(
        matches!(mutated("JSONPatch", &patch), Err(Unmade::Failed(why)) if why.ends_with("the value is too large"))
    );
    let config = format!("Object{{spec: {expression}}}");
    assert!(
        matches!(mutated("ApplyConfiguration", &config), Err(Unmade::Failed(why)) if why.ends_with("the value is too large"))
    );
}

#[test]
fn variables_that_are_made_of_others_go_only_so_deep() {
    let chain = |count: usize| {
        let variables = (0..count).map(|at| match at {
            0 => json!({"name": "v0", "expression": "[1]"}),
            _ => json!({"name": format!("v{at}"), "expression": format!("[dyn(variables.v{})]", at - 1)}),
        });
        let last = format!("variables.v{0} == variables.v{0}", count - 1);
        json!({"variables": variables.collect::<Vec<_>>(), "validations": [{"expression": last}]})
    };
    assert_eq!(ask(&chain(60), &json!({}), None).decisions, [Decision::Admit]);
    let problems = Policy::problems(&chain(300));
    assert_eq!(problems[0].2, "compilation failed: expression recursion limit exceeded: 250");
    assert!(matches!(ask(&chain(300), &json!({}), None).decisions.as_slice(), [Decision::Deny { .. }]));
}
