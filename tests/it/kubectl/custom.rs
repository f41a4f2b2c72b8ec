//! Custom resources with the unmodified kubectl, from their definition to their end.

use crate::harness::{Cluster, text};

const DEFINITION: &str = r#"---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wd], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.selector}
    selectableFields: [{jsonPath: .spec.colour}]
    additionalPrinterColumns:
    - {name: Colour, type: string, jsonPath: .spec.colour}
    - {name: Wanted, type: integer, jsonPath: .spec.replicas}
    - {name: Material, type: string, jsonPath: .spec.material, priority: 1}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        type: object
        description: A thing that is made.
        required: [spec]
        properties:
          spec:
            type: object
            description: What is wanted.
            required: [colour]
            properties:
              colour: {type: string, description: The colour it has., enum: [red, green]}
              material: {type: string, default: wood}
              replicas: {type: integer, format: int32, minimum: 0, default: 1}
              parts: {type: array, items: {type: object, properties: {name: {type: string}, weight: {type: integer}}}}
          status:
            type: object
            properties:
              replicas: {type: integer}
              selector: {type: string}
              conditions:
                type: array
                items: {type: object, properties: {type: {type: string}, status: {type: string}}}
"#;

const WIDGETS: &str = r#"---
apiVersion: example.com/v1
kind: Widget
metadata: {name: one, labels: {set: first}}
spec: {colour: red, parts: [{name: lid, weight: 2}]}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: two, labels: {set: second}}
spec: {colour: green, replicas: 3}
"#;

fn given(cluster: &Cluster, arguments: &[&str], manifest: &str) -> String {
    let output = cluster.kubectl_with(&[arguments, &["-f", "-"]].concat(), manifest.as_bytes());
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn with_widgets() -> Cluster {
    let cluster = Cluster::start();
    given(&cluster, &["apply"], DEFINITION);
    cluster.kubectl(&["wait", "crd/widgets.example.com", "--for=condition=Established", "--timeout=60s"]);
    let said = given(&cluster, &["apply"], WIDGETS);
    assert_eq!(said, "widget.example.com/one created\nwidget.example.com/two created\n");
    cluster
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn custom_objects_are_shown_in_their_own_columns_and_found_by_labels_and_fields() {
    let cluster = with_widgets();
    let table = cluster.kubectl(&["get", "wd"]);
    let lines: Vec<Vec<&str>> = table.lines().map(words).collect();
    assert_eq!(lines[0], ["NAME", "COLOUR", "WANTED", "AGE"]);
    assert_eq!(lines[1][..3], ["one", "red", "1"]);
    assert_eq!(lines[2][..3], ["two", "green", "3"]);
    let wide = cluster.kubectl(&["get", "widgets.v1.example.com", "one", "-o", "wide"]);
    assert_eq!(words(wide.lines().next().unwrap()), ["NAME", "COLOUR", "WANTED", "MATERIAL", "AGE"]);
    assert!(wide.contains("wood"), "{wide}");
    assert!(cluster.kubectl(&["get", "all"]).contains("widget.example.com/one"));
    let names =
        |arguments: &[&str]| cluster.kubectl(&[&["get", "widgets", "-o", "name"], arguments].concat());
    assert_eq!(names(&["-l", "set=second"]), "widget.example.com/two\n");
    assert_eq!(names(&["--field-selector", "spec.colour=red"]), "widget.example.com/one\n");
    assert_eq!(
        names(&["--field-selector", "spec.colour!=red,metadata.name=two"]),
        "widget.example.com/two\n"
    );
    let why = cluster.kubectl_fails(&["get", "widgets", "--field-selector", "spec.material=wood"]);
    assert!(why.contains("field label not supported: spec.material"), "{why}");
}

#[test]
fn the_fields_of_a_custom_kind_are_explained() {
    let cluster = with_widgets();
    let whole = cluster.kubectl(&["explain", "widgets"]);
    for part in [
        "GROUP:      example.com",
        "KIND:       Widget",
        "A thing that is made.",
        "spec\t<Object> -required-",
    ] {
        assert!(whole.contains(part), "{part}: {whole}");
    }
    let colour = cluster.kubectl(&["explain", "widgets.spec.colour"]);
    assert!(colour.contains("The colour it has.") && colour.contains("<string>"), "{colour}");
    let tree = cluster.kubectl(&["explain", "widgets", "--recursive"]);
    assert!(tree.contains("parts\t<[]Object>") && tree.contains("weight\t<integer>"), "{tree}");
    let why = cluster.kubectl_fails(&["explain", "widgets.spec.taste"]);
    assert!(why.contains(r#"field "taste" does not exist"#), "{why}");
}

#[test]
fn custom_objects_are_changed_scaled_waited_for_and_deleted() {
    let cluster = with_widgets();
    let field =
        |path: &str| cluster.kubectl(&["get", "widget", "one", "-o", &format!("jsonpath={{{path}}}")]);
    // Applied again without a field, the field is gone, and what has a default has it.
    let said = given(&cluster, &["apply"], &WIDGETS.replace(", replicas: 3", ""));
    assert_eq!(said, "widget.example.com/one unchanged\nwidget.example.com/two configured\n");
    assert_eq!(cluster.kubectl(&["get", "widget", "two", "-o", "jsonpath={.spec.replicas}"]), "1");
    // What an editor does: the whole is read, changed and sent as a patch.
    let edited = cluster
        .kubectl_command()
        .args(["edit", "widget", "one"])
        .env("KUBE_EDITOR", r"sed -i s/colour:.red/colour:\ green/")
        .output()
        .unwrap();
    assert!(edited.status.success(), "{}", text(&edited.stderr));
    assert_eq!(field(".spec.colour"), "green");
    cluster.kubectl(&["patch", "widget", "one", "--type=merge", "-p", r#"{"spec":{"material":"tin"}}"#]);
    cluster.kubectl(&[
        "patch",
        "widget",
        "one",
        "--type=json",
        "-p",
        r#"[{"op":"add","path":"/spec/parts/-","value":{"name":"box"}}]"#,
    ]);
    assert_eq!(field(".spec.material") + &field(".spec.parts[*].name"), "tinlid box");
    // A custom kind has no strategic merge.
    let why = cluster.kubectl_fails(&["patch", "widget", "one", "--type=strategic", "-p", "{}"]);
    assert!(why.contains("application/strategic-merge-patch+json is not supported"), "{why}");
    let why = cluster.kubectl_fails(&[
        "patch",
        "widget",
        "one",
        "--type=merge",
        "-p",
        r#"{"spec":{"colour":"blue"}}"#,
    ]);
    assert!(
        why.contains(r#"spec.colour: Unsupported value: "blue": supported values: "red", "green""#),
        "{why}"
    );
    let refused =
        cluster.kubectl_with(&["apply", "-f", "-"], WIDGETS.replace("colour: red", "color: red").as_bytes());
    assert!(text(&refused.stderr).contains(r#"unknown field "spec.color""#), "{}", text(&refused.stderr));

    cluster.kubectl(&["scale", "widget/one", "--replicas=5", "--current-replicas=1"]);
    assert_eq!(field(".spec.replicas"), "5");
    let why = cluster.kubectl_fails(&["scale", "widget/one", "--replicas=6", "--current-replicas=1"]);
    assert!(why.contains("Expected replicas to be 1, was 5"), "{why}");

    // The status is written apart from the rest, and can be waited for.
    let status =
        r#"{"spec":{"colour":"red"},"status":{"replicas":5,"conditions":[{"type":"Made","status":"True"}]}}"#;
    cluster.kubectl(&["patch", "widget", "one", "--subresource=status", "--type=merge", "-p", status]);
    assert_eq!(field(".spec.colour") + &field(".status.replicas"), "green5");
    cluster.kubectl(&["wait", "widget/one", "--for=condition=Made", "--timeout=60s"]);
    cluster.kubectl(&["wait", "widget/one", "--for=jsonpath={.status.replicas}=5", "--timeout=60s"]);
    let described = cluster.kubectl(&["describe", "widget", "one"]);
    assert!(described.contains("Material:  tin"), "{described}");

    cluster.kubectl(&["delete", "widget", "one", "--wait"]);
    assert_eq!(cluster.kubectl(&["get", "widgets", "-o", "name"]), "widget.example.com/two\n");
    // With the definition all of its objects end, and the kind is one of nobody.
    cluster.kubectl(&["delete", "crd", "widgets.example.com", "--wait"]);
    // This asks again what there is; others believe for a while what they found before.
    assert_eq!(cluster.kubectl(&["api-resources", "--api-group=example.com", "-o", "name"]), "");
    let why = cluster.kubectl_fails(&["get", "widgets"]);
    assert!(why.contains(r#"the server doesn't have a resource type "widgets""#), "{why}");
}
