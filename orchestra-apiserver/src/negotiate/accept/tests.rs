use super::*;

fn output(accept: &'static str, endpoint: Endpoint, query: &str) -> Result<Output, StatusError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, accept.parse().unwrap());
    Output::negotiate(&headers, &Query::parse(query), endpoint, Verb::Get)
}

fn chosen(accept: &'static str) -> Option<(Shape, Syntax)> {
    output(accept, Endpoint::Builtin, "").ok().map(|output| (output.shape, output.syntax))
}

const TABLE: Shape = Shape::Table("meta.k8s.io/v1", RowObject::Metadata);

#[test]
fn kubectl_gets_a_table() {
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
    assert_eq!(chosen(accept), Some((TABLE, Syntax::Json)));
}

#[test]
fn a_go_client_gets_protobuf() {
    let accept = "application/vnd.kubernetes.protobuf,application/json";
    assert_eq!(chosen(accept), Some((Shape::Plain, Syntax::Protobuf)));
    assert_eq!(chosen("application/vnd.kubernetes.protobuf, */*"), Some((Shape::Plain, Syntax::Protobuf)));
    let partial = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
    assert_eq!(chosen(partial), Some((Shape::Metadata("meta.k8s.io/v1", Extent::List), Syntax::Protobuf)));
}

#[test]
fn a_kind_made_at_run_time_has_no_protobuf_but_its_metadata_has() {
    let custom = |accept| output(accept, Endpoint::Custom, "").map(|o| o.syntax).ok();
    assert_eq!(custom("application/vnd.kubernetes.protobuf,application/json"), Some(Syntax::Json));
    assert_eq!(custom("application/vnd.kubernetes.protobuf"), None);
    let partial = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    assert_eq!(custom(partial), Some(Syntax::Protobuf));
}

#[test]
fn what_is_liked_more_wins_unless_it_names_less() {
    let syntax = |accept| chosen(accept).map(|(_, syntax)| syntax);
    assert_eq!(syntax("application/json;q=0.5,application/yaml"), Some(Syntax::Yaml));
    assert_eq!(syntax("application/yaml;q=0.5,application/json;q=0.8"), Some(Syntax::Json));
    assert_eq!(syntax("application/yaml,application/json"), Some(Syntax::Yaml));
    // A range without stars overtakes one with stars that stands before it, liked or not.
    assert_eq!(syntax("*/*,application/yaml;q=0.1"), Some(Syntax::Yaml));
    assert_eq!(syntax("application/yaml;q=0.1,*/*"), Some(Syntax::Json));
}

#[test]
fn what_cannot_be_produced_is_passed_over_or_refused() {
    let refusal = |accept| output(accept, Endpoint::Builtin, "").unwrap_err().to_string();
    assert_eq!(
        refusal("application/json;as=Foo;v=v1;g=meta.k8s.io"),
        "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
    );
    let unrouted = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf";
    assert_eq!(refusal("application/*"), unrouted);
    assert_eq!(refusal("text/html"), unrouted);
    assert_eq!(chosen("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io"), None);
    assert_eq!(chosen("application/yaml;stream=watch"), None);
    assert_eq!(chosen("text/html,application/*"), None);
    assert_eq!(chosen("text/html,*"), Some((Shape::Plain, Syntax::Json)));
    assert_eq!(chosen("application/yaml;as=Table;v=v1;g=meta.k8s.io"), Some((TABLE, Syntax::Yaml)));
    let whole = |accept| output(accept, Endpoint::Whole, "").map(|o| o.shape).ok();
    assert_eq!(whole("application/json;as=Table;v=v1;g=meta.k8s.io"), None);
    assert_eq!(whole("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"), Some(Shape::Plain));
}

#[test]
fn people_get_line_breaks() {
    let pretty = |query| output("application/json", Endpoint::Builtin, query).unwrap().syntax;
    assert_eq!(pretty("pretty=true"), Syntax::PrettyJson);
    assert_eq!(pretty("pretty=false"), Syntax::Json);
    assert_eq!(chosen("application/json;pretty=1"), Some((Shape::Plain, Syntax::PrettyJson)));
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, "curl/8.5.0".parse().unwrap());
    let output = Output::negotiate(&headers, &Query::default(), Endpoint::Builtin, Verb::Get);
    assert_eq!(output.unwrap().syntax, Syntax::PrettyJson);
}

#[test]
fn a_coding_with_parameters_is_not_taken() {
    let takes = |coding: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, coding.parse().unwrap());
        takes_gzip(&headers)
    };
    assert!(takes("deflate, gzip"));
    assert!(!takes("gzip;q=0"));
    assert!(!takes("gzipped"));
}
