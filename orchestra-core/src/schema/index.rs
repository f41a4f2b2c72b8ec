//! The table of all types: read once, found by name or by kind.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::model::{Default, Field, Item, ListType, Number, ObjectType, PatchStrategy, Scalar, Shape};
use crate::gvk::GroupVersion;

const DATA: &str = include_str!("../../data/api-1.36.tsv");
const META: &str = "io.k8s.apimachinery.pkg.apis.meta";

/// The groups of upstream and where their types are.
const GROUPS: [(&str, &str); 22] = [
    ("", "io.k8s.api.core"),
    ("admissionregistration.k8s.io", "io.k8s.api.admissionregistration"),
    ("apiextensions.k8s.io", "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions"),
    ("apiregistration.k8s.io", "io.k8s.kube-aggregator.pkg.apis.apiregistration"),
    ("apps", "io.k8s.api.apps"),
    ("authentication.k8s.io", "io.k8s.api.authentication"),
    ("authorization.k8s.io", "io.k8s.api.authorization"),
    ("autoscaling", "io.k8s.api.autoscaling"),
    ("batch", "io.k8s.api.batch"),
    ("certificates.k8s.io", "io.k8s.api.certificates"),
    ("coordination.k8s.io", "io.k8s.api.coordination"),
    ("discovery.k8s.io", "io.k8s.api.discovery"),
    ("events.k8s.io", "io.k8s.api.events"),
    ("flowcontrol.apiserver.k8s.io", "io.k8s.api.flowcontrol"),
    ("meta.k8s.io", META),
    ("networking.k8s.io", "io.k8s.api.networking"),
    ("node.k8s.io", "io.k8s.api.node"),
    ("policy", "io.k8s.api.policy"),
    ("rbac.authorization.k8s.io", "io.k8s.api.rbac"),
    ("resource.k8s.io", "io.k8s.api.resource"),
    ("scheduling.k8s.io", "io.k8s.api.scheduling"),
    ("storage.k8s.io", "io.k8s.api.storage"),
];

/// All types, sorted by name.
pub fn types() -> &'static [ObjectType] {
    static TYPES: OnceLock<Box<[ObjectType]>> = OnceLock::new();
    TYPES.get_or_init(|| parse(DATA))
}

/// The type with this OpenAPI name.
pub fn by_name(name: &str) -> Option<&'static ObjectType> {
    let types = types();
    let index = types.binary_search_by(|ty| ty.name.cmp(name)).ok()?;
    types.get(index)
}

/// The type of a kind. The kinds that every group has, such as `DeleteOptions` and `Status`, are found under any
/// group of upstream; under the group of a custom resource only `DeleteOptions` is.
pub fn of_kind(gv: &GroupVersion, kind: &str) -> Option<&'static ObjectType> {
    let own = GROUPS
        .iter()
        .find(|(group, _)| *group == gv.group)
        .and_then(|(_, package)| by_name(&format!("{package}.{}.{kind}", gv.version)));
    let is_shared = kind == "DeleteOptions" || GROUPS.iter().any(|(group, _)| *group == gv.group);
    own.or_else(|| is_shared.then(|| by_name(&format!("{META}.v1.{kind}")))?)
        .filter(|ty| ty.is_kind || kind == "WatchEvent")
}

/// The group and version of the kinds in a package.
pub(super) fn group_version_of(package: &'static str) -> Option<GroupVersion> {
    let (stem, version) = package.rsplit_once('.')?;
    // The kinds that every group has; those of other versions are in a group of their own.
    if stem == META && version == "v1" {
        return Some(GroupVersion::new("", version));
    }
    let (group, _) = GROUPS.iter().find(|(_, package)| *package == stem)?;
    Some(GroupVersion::new(group, version))
}

/// The type of JSON schemas in custom resource definitions, to which fields lead that may hold something else.
pub(crate) fn json_schema_props() -> Option<&'static ObjectType> {
    by_name("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")
}

pub(super) fn at(index: u16) -> Option<&'static ObjectType> {
    types().get(usize::from(index))
}

fn parse(data: &'static str) -> Box<[ObjectType]> {
    let lines = || data.lines().filter(|line| !line.starts_with('#'));
    let names = lines()
        .filter_map(|line| line.strip_prefix('@'))
        .map(|line| line.split('\t').next().unwrap_or(line))
        .zip(0u16..)
        .collect::<HashMap<_, _>>();
    let mut types = Vec::with_capacity(names.len());
    let mut header: Option<&'static str> = None;
    let mut fields = Vec::with_capacity(64);
    for line in lines() {
        if let Some(next) = line.strip_prefix('@') {
            finish(&mut types, header.replace(next), &mut fields);
        } else if let Some(header) = header {
            let package = object_name(header).rsplit_once('.').map_or("", |(package, _)| package);
            fields.extend(field(line, package, &names));
        }
    }
    finish(&mut types, header, &mut fields);
    types.into_boxed_slice()
}

fn object_name(header: &'static str) -> &'static str {
    header.split('\t').next().unwrap_or(header)
}

fn finish(types: &mut Vec<ObjectType>, header: Option<&'static str>, fields: &mut Vec<Field>) {
    let Some(header) = header else { return };
    let marks = header.split_once('\t').map_or("", |(_, marks)| marks);
    let mut numbered: Vec<(Number, u16)> =
        fields.iter().zip(0u16..).filter_map(|(field, at)| Some((field.number?, at))).collect();
    numbered.sort_unstable_by(|(a, _), (b, _)| a.path().cmp(b.path()));
    for ((_, at), rank) in numbered.iter().zip(0u16..) {
        if let Some(field) = fields.get_mut(usize::from(*at)) {
            field.rank = Some(rank);
        }
    }
    types.push(ObjectType {
        name: object_name(header),
        is_kind: marks.split(' ').any(|mark| mark == "kind"),
        is_atomic: marks.split(' ').any(|mark| mark == "atomic"),
        fields: fields.drain(..).collect(),
        numbered: numbered.into_iter().map(|(_, at)| at).collect(),
        completed: OnceLock::new(),
    });
}

fn field(line: &'static str, package: &str, names: &HashMap<&str, u16>) -> Option<Field> {
    let mut columns = line.split('\t');
    let (name, number, ty) = (columns.next()?, columns.next()?, columns.next()?);
    let (is_pointer, shape, item) = parse_type(ty, package, names)?;
    let mut field = Field {
        name,
        number: Number::parse(number),
        shape,
        item,
        is_pointer,
        keep: false,
        omit_zero: false,
        required: false,
        default: Default::None,
        enum_values: None,
        item_enum_values: None,
        list_type: None,
        list_map_keys: None,
        map_type: None,
        patch_strategy: PatchStrategy::default(),
        merge_key: None,
        go: None,
        rank: None,
    };
    for attribute in columns {
        let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        match key {
            "required" => field.required = true,
            "keep" => field.keep = true,
            "omitzero" => field.omit_zero = true,
            "zero" => field.default = Default::Zero,
            "default" => field.default = Default::Json(value),
            "enum" => field.enum_values = Some(value),
            "item-enum" => field.item_enum_values = Some(value),
            "list-type" => field.list_type = parse_list_type(value),
            "keys" => field.list_map_keys = Some(value),
            "map-type" => field.map_type = Some(value),
            "patch" => field.patch_strategy = PatchStrategy(Some(value)),
            "merge-key" => field.merge_key = Some(value),
            "go" => field.go = Some(value),
            _ => return None,
        }
    }
    if field.default == Default::None && has_zero_default(&field) {
        field.default = Default::Zero;
    }
    Some(field)
}

/// What upstream's generator does: structs have `{}` as default, scalars that are always written their zero.
fn has_zero_default(field: &Field) -> bool {
    let plain = matches!(
        field.item,
        Item::Scalar(Scalar::String | Scalar::Bool | Scalar::Int32 | Scalar::Int64 | Scalar::Float64)
    );
    let object = matches!(field.item, Item::Object(_));
    field.shape == Shape::Single && !field.is_pointer && (object || (plain && field.keep))
}

fn parse_list_type(text: &str) -> Option<ListType> {
    match text {
        "atomic" => Some(ListType::Atomic),
        "set" => Some(ListType::Set),
        "map" => Some(ListType::Map),
        _ => None,
    }
}

fn parse_type(text: &str, package: &str, names: &HashMap<&str, u16>) -> Option<(bool, Shape, Item)> {
    let (is_pointer, text) = text.strip_prefix('*').map_or((false, text), |rest| (true, rest));
    let (shape, text) = if let Some(rest) = text.strip_prefix("{}[]") {
        (Shape::MapOfLists, rest)
    } else if let Some(rest) = text.strip_prefix("{}") {
        (Shape::Map, rest)
    } else if let Some(rest) = text.strip_prefix("[]") {
        (Shape::List, rest)
    } else {
        (Shape::Single, text)
    };
    let item = match text.strip_prefix('#') {
        Some(name) if name.contains('.') => Item::Object(*names.get(name)?),
        Some(name) => Item::Object(*names.get(format!("{package}.{name}").as_str())?),
        None => Item::Scalar(parse_scalar(text)?),
    };
    Some((is_pointer, shape, item))
}

fn parse_scalar(text: &str) -> Option<Scalar> {
    Some(match text {
        "string" => Scalar::String,
        "bool" => Scalar::Bool,
        "int32" => Scalar::Int32,
        "int64" => Scalar::Int64,
        "float64" => Scalar::Float64,
        "bytes" => Scalar::Bytes,
        "Quantity" => Scalar::Quantity,
        "IntOrString" => Scalar::IntOrString,
        "Time" => Scalar::Time,
        "MicroTime" => Scalar::MicroTime,
        "RawExtension" => Scalar::RawExtension,
        "FieldsV1" => Scalar::FieldsV1,
        "JSON" => Scalar::Json,
        "SchemaOrBool" => Scalar::SchemaOrBool,
        "SchemaOrArray" => Scalar::SchemaOrArray,
        "SchemaOrStringArray" => Scalar::SchemaOrStringArray,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gv(text: &str) -> GroupVersion {
        GroupVersion::parse(text).unwrap()
    }

    #[test]
    fn every_line_of_the_table_is_understood() {
        let fields: usize = types().iter().map(|ty| ty.fields.len()).sum();
        let lines = DATA.lines().filter(|line| !line.starts_with(['#', '@'])).count();
        assert_eq!(fields, lines);
        assert!(fields > 2400, "{fields}");
    }

    #[test]
    fn types_and_fields_are_sorted_so_that_they_can_be_found() {
        assert!(types().is_sorted_by(|a, b| a.name < b.name));
        for ty in types() {
            assert!(ty.fields.is_sorted_by(|a, b| a.name < b.name), "{}", ty.name);
            assert!(ty.fields.len() <= 128, "{}", ty.name);
        }
    }

    #[test]
    fn the_index_stays_small() {
        let fields: usize = types().iter().map(|ty| ty.fields.len()).sum();
        let bytes = fields * size_of::<Field>() + size_of_val(types());
        assert!(bytes < 512 << 10, "{bytes}");
    }

    #[test]
    fn a_kind_is_found_by_group_and_version() {
        for (version, kind, name) in [
            ("v1", "Pod", "io.k8s.api.core.v1.Pod"),
            ("apps/v1", "Deployment", "io.k8s.api.apps.v1.Deployment"),
            ("rbac.authorization.k8s.io/v1", "Role", "io.k8s.api.rbac.v1.Role"),
            (
                "apiregistration.k8s.io/v1",
                "APIService",
                "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
            ),
            ("apps/v1", "DeleteOptions", "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"),
        ] {
            assert_eq!(of_kind(&gv(version), kind).unwrap().name, name);
        }
        assert_eq!(of_kind(&gv("apps/v1"), "Pod"), None);
        assert_eq!(of_kind(&gv("v1"), "PodSpec"), None);
        assert_eq!(of_kind(&gv("apps/v9"), "Deployment"), None);
        assert_eq!(of_kind(&gv("apps.example.com/v1"), "Deployment"), None);
        assert_eq!(of_kind(&gv("example.com/v1"), "Status"), None);
        assert!(of_kind(&gv("example.com/v1"), "DeleteOptions").is_some());
    }

    #[test]
    fn every_kind_is_found_under_its_own_group_and_version() {
        for ty in types().iter().filter(|ty| ty.is_kind) {
            let gv = ty.group_version().unwrap_or_else(|| panic!("{}", ty.name));
            assert_eq!(of_kind(&gv, ty.short_name()), Some(ty));
        }
    }

    #[test]
    fn a_field_carries_its_merge_rules() {
        let ports = by_name("io.k8s.api.core.v1.Container").unwrap().field("ports").unwrap();
        assert_eq!(ports.merge_key, Some("containerPort"));
        assert_eq!(ports.map_keys().collect::<Vec<_>>(), ["containerPort", "protocol"]);
        assert!(ports.patch_strategy.merges() && !ports.patch_strategy.retains_keys());
        assert_eq!(ports.object().unwrap().short_name(), "ContainerPort");
        let volumes = by_name("io.k8s.api.core.v1.PodSpec").unwrap().field("volumes").unwrap();
        assert!(volumes.patch_strategy.merges() && volumes.patch_strategy.retains_keys());
    }

    #[test]
    fn go_prints_types_by_the_last_part_of_their_package() {
        assert_eq!(by_name("io.k8s.api.autoscaling.v2.MetricSpec").unwrap().go_name(), "v2.MetricSpec");
    }
}
