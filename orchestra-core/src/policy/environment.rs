//! The variables of expressions about requests, and what they must come to.

use std::collections::BTreeMap;

use orchestra_cel::{Declared, Environment, Object, Others, Program, Type, UNBOUNDED};

/// What an expression must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// `bool`
    Bool,
    /// `string`
    Text,
    /// `string` or `null`
    TextOrNull,
    /// `Object`
    Configuration,
    /// `list(JSONPatch)`
    Patch,
    /// Anything.
    Any,
}

fn simple(ty: Type) -> Declared {
    Declared::simple(ty, UNBOUNDED, 1)
}

fn text() -> Declared {
    simple(Type::String)
}

fn object<const N: usize>(name: &str, fields: [(&str, Declared); N]) -> Declared {
    let fields: BTreeMap<_, _> =
        fields.into_iter().map(|(field, declared)| (field.to_owned(), declared)).collect();
    Declared::object(Object { name: name.to_owned(), fields, others: Others::Refused }, 2)
}

/// The variables: `object`, `oldObject`, `request`, `namespaceObject`; `params` where there are some; `authorizer`.
pub fn environment(has_params: bool) -> Environment {
    let opaque = |name: &str| simple(Type::Opaque(format!("kubernetes.authorization.{name}").into()));
    let environment = Environment::new()
        .variable("object", Declared::dynamic())
        .variable("oldObject", Declared::dynamic())
        .variable("request", request())
        .variable("namespaceObject", namespace())
        .variable("authorizer", opaque("Authorizer"))
        .variable("authorizer.requestResource", opaque("ResourceCheck"));
    if has_params { environment.variable("params", Declared::dynamic()) } else { environment }
}

/// What mutations are written as: configurations, whose parts are named after their place (`Object.spec`) and may have any
/// fields, and operations of patches.
pub(super) const CONFIGURATION: &str = "Object";
pub(super) const OPERATION: &str = "JSONPatch";

/// An environment in which mutations can be written, too.
pub(super) fn with_patches(environment: Environment) -> Environment {
    let fields = [("op", text()), ("path", text()), ("from", text()), ("value", Declared::dynamic())];
    let fields = fields.into_iter().map(|(field, declared)| (field.to_owned(), declared)).collect();
    let operation = Object { name: OPERATION.to_owned(), fields, others: Others::Refused };
    environment.message(operation).family(CONFIGURATION)
}

fn is_message(ty: &Type, name: &str) -> bool {
    matches!(ty, Type::Object(object) if object.name == name)
}

fn request() -> Declared {
    let kind =
        |name: &str, last: &str| object(name, [("group", text()), ("version", text()), (last, text())]);
    let gvk = || kind("kubernetes.GroupVersionKind", "kind");
    let gvr = || kind("kubernetes.GroupVersionResource", "resource");
    let texts = || Declared::list(text(), UNBOUNDED);
    let user = object(
        "kubernetes.UserInfo",
        [
            ("username", text()),
            ("uid", text()),
            ("groups", texts()),
            ("extra", Declared::map(texts(), UNBOUNDED)),
        ],
    );
    object(
        "kubernetes.AdmissionRequest",
        [
            ("kind", gvk()),
            ("resource", gvr()),
            ("subResource", text()),
            ("requestKind", gvk()),
            ("requestResource", gvr()),
            ("requestSubResource", text()),
            ("name", text()),
            ("namespace", text()),
            ("operation", text()),
            ("userInfo", user),
            ("dryRun", simple(Type::Bool)),
            ("options", Declared::dynamic()),
        ],
    )
}

fn namespace() -> Declared {
    let texts = || Declared::map(text(), UNBOUNDED);
    let list = || Declared::list(text(), UNBOUNDED);
    let metadata = object(
        "kubernetes.NamespaceMetadata",
        [
            ("name", text()),
            ("generateName", text()),
            ("namespace", text()),
            ("labels", texts()),
            ("annotations", texts()),
            ("uid", text()),
            ("creationTimestamp", Declared::dynamic()),
            ("deletionTimestamp", Declared::dynamic()),
            ("deletionGracePeriodSeconds", simple(Type::Int)),
            ("generation", simple(Type::Int)),
            ("resourceVersion", text()),
            ("finalizers", list()),
        ],
    );
    let spec = object("kubernetes.NamespaceSpec", [("finalizers", list())]);
    let status = object(
        "kubernetes.NamespaceStatus",
        [("phase", text()), ("conditions", Declared::list(Declared::dynamic(), UNBOUNDED))],
    );
    object("kubernetes.Namespace", [("metadata", metadata), ("spec", spec), ("status", status)])
}

/// Compiles an expression that must come to something.
///
/// # Errors
/// Why it cannot be, as upstream says it.
pub fn compile(environment: &Environment, expression: &str, wanted: Wanted) -> Result<Program, String> {
    let program = environment.compile(expression).map_err(|error| format!("compilation failed: {error}"))?;
    let ty = program.ty();
    let (fits, words) = match wanted {
        Wanted::Bool => (*ty == Type::Bool, "bool"),
        Wanted::Text => (*ty == Type::String, "string"),
        Wanted::TextOrNull => (matches!(ty, Type::String | Type::Null), "one of [string null_type]"),
        Wanted::Configuration => (is_message(ty, CONFIGURATION), CONFIGURATION),
        Wanted::Patch => {
            let fits = matches!(ty, Type::List(item) if is_message(item, OPERATION));
            (fits, "list(JSONPatch)")
        }
        Wanted::Any => (true, ""),
    };
    if fits { Ok(program) } else { Err(format!("must evaluate to {words} but got {ty}")) }
}
