//! Documents of OpenAPI 2.0 of several servers as one.
//!
//! After upstream's `kube-aggregator/pkg/controllers/openapi/aggregator`: of another server's document counts what is about its own
//! group and version, and what has a name that is taken by something else gets another one.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::operation::GVK;
use crate::gvk::GroupVersion;

/// What references lead to.
const SECTIONS: [&str; 2] = ["definitions", "parameters"];

/// A section and a name in it.
type Place = (&'static str, String);

/// What another server's document says of one group and version.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    paths: Map<String, Value>,
    shared: BTreeMap<Place, Value>,
}

fn place(reference: &str) -> Option<Place> {
    let (section, name) = reference.strip_prefix("#/")?.split_once('/')?;
    let section = SECTIONS.into_iter().find(|known| *known == section)?;
    Some((section, name.to_owned()))
}

/// Shows `see` the text of every reference in a value.
fn references(value: &Value, see: &mut dyn FnMut(&str)) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "$ref" => see(text),
                    other => references(other, see),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, see)),
        _ => {}
    }
}

fn leads_to(value: &Value) -> BTreeSet<Place> {
    let mut found = BTreeSet::new();
    references(value, &mut |text| found.extend(place(text)));
    found
}

fn is_of(schema: &Value, gv: &GroupVersion) -> bool {
    let kinds = schema.get(GVK).and_then(Value::as_array).into_iter().flatten();
    let is =
        |kind: &Value, field: &str, wanted: &str| kind.get(field).and_then(Value::as_str) == Some(wanted);
    kinds.into_iter().any(|kind| is(kind, "group", &gv.group) && is(kind, "version", &gv.version))
}

impl Part {
    /// The paths of a group and version in a document, the definitions of its kinds, and whatever these refer to.
    pub fn of(document: &Value, gv: &GroupVersion) -> Self {
        let section = |name: &str| document.get(name).and_then(Value::as_object);
        let root = format!("/apis/{}/{}", gv.group, gv.version);
        let is_own = |path: &str| {
            path.strip_prefix(&root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let paths = section("paths").into_iter().flatten().filter(|(path, _)| is_own(path));
        let paths: Map<String, Value> = paths.map(|(path, item)| (path.clone(), item.clone())).collect();
        let kinds = section("definitions").into_iter().flatten().filter(|(_, schema)| is_of(schema, gv));
        let mut open: Vec<Place> = kinds.map(|(name, _)| ("definitions", name.clone())).collect();
        open.extend(paths.values().flat_map(leads_to));
        let mut shared = BTreeMap::new();
        while let Some(place) = open.pop() {
            let Some(found) = section(place.0).and_then(|section| section.get(&place.1)) else { continue };
            if let Entry::Vacant(slot) = shared.entry(place) {
                open.extend(leads_to(found));
                slot.insert(found.clone());
            }
        }
        Self { paths, shared }
    }

    /// Adds this to a document. Who was there first keeps its names and its paths.
    pub fn merge_into(&self, document: &mut Value) {
        let names = self.new_names(document);
        let Some(document) = document.as_object_mut() else { return };
        let renamed = |value: &Value| rewritten(value, &names);
        for (place, value) in &self.shared {
            let (section, name) = names.get(place).unwrap_or(place);
            if let Some(section) = section_mut(document, section) {
                section.entry(name.clone()).or_insert_with(|| renamed(value));
            }
        }
        if let Some(paths) = section_mut(document, "paths") {
            for (path, item) in &self.paths {
                paths.entry(path.clone()).or_insert_with(|| renamed(item));
            }
        }
    }

    /// New names for what is called as something else is, and for what refers to such, if its own name is taken.
    fn new_names(&self, document: &Value) -> BTreeMap<Place, Place> {
        let there = |(section, name): &Place| document.get(*section)?.get(name);
        let differs =
            |place: &&Place| there(place).is_some_and(|known| Some(known) != self.shared.get(*place));
        let mut taken: BTreeSet<&Place> = self.shared.keys().filter(differs).collect();
        loop {
            let refers = |(place, value): &(&Place, &Value)| {
                !taken.contains(place)
                    && there(place).is_some()
                    && leads_to(value).iter().any(|other| taken.contains(other))
            };
            let more: Vec<&Place> = self.shared.iter().filter(refers).map(|(place, _)| place).collect();
            if more.is_empty() {
                break;
            }
            taken.extend(more);
        }
        let renamed = taken.into_iter().map(|place| {
            let (section, name) = place;
            let mut free = (2..).map(|n: u32| (*section, format!("{name}_v{n}")));
            let is_free = |new: &Place| there(new).is_none() && !self.shared.contains_key(new);
            let new = free.find(is_free).unwrap_or_else(|| place.clone());
            (place.clone(), new)
        });
        renamed.collect()
    }
}

fn section_mut<'d>(document: &'d mut Map<String, Value>, name: &str) -> Option<&'d mut Map<String, Value>> {
    document.entry(name).or_insert_with(|| Map::new().into()).as_object_mut()
}

fn rewritten(value: &Value, names: &BTreeMap<Place, Place>) -> Value {
    match value {
        Value::Object(map) => {
            let field = |(key, value): (&String, &Value)| {
                let value = match value {
                    Value::String(text) if key == "$ref" => {
                        let new = place(text).and_then(|place| names.get(&place));
                        new.map_or_else(|| text.clone(), |(section, name)| format!("#/{section}/{name}"))
                            .into()
                    }
                    other => rewritten(other, names),
                };
                (key.clone(), value)
            };
            Value::Object(map.iter().map(field).collect())
        }
        Value::Array(items) => items.iter().map(|item| rewritten(item, names)).collect(),
        plain => plain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GV: GroupVersion = GroupVersion::new("g.test", "v1");

    fn theirs() -> Value {
        let reference = |name: &str| json!({"$ref": format!("#/definitions/{name}")});
        json!({
            "paths": {
                "/apis/g.test/v1/things": {"get": {
                    "parameters": [{"$ref": "#/parameters/pretty"}],
                    "responses": {"200": {"schema": reference("ThingList")}},
                }},
                "/apis/g.test/v10/things": {}, "/apis/other/v1/x": {"get": reference("Other")}, "/version/": {},
            },
            "definitions": {
                "Thing": {"x-kubernetes-group-version-kind": [{"group": "g.test", "version": "v1", "kind": "Thing"}],
                    "properties": {"metadata": reference("Meta"), "self": reference("Thing")}},
                "ThingList": {"items": reference("Thing")},
                "Meta": {"properties": {"time": reference("Time")}},
                "Time": {"type": "string"},
                "Other": {},
            },
            "parameters": {"pretty": {"name": "pretty"}, "unused": {}},
        })
    }

    #[test]
    fn only_what_is_about_the_group_and_version_is_taken() {
        let mut document = json!({"swagger": "2.0", "paths": {}, "definitions": {}});
        Part::of(&theirs(), &GV).merge_into(&mut document);
        let names =
            |section: &str| document[section].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names("paths"), ["/apis/g.test/v1/things"]);
        assert_eq!(names("definitions"), ["Meta", "Thing", "ThingList", "Time"]);
        assert_eq!(names("parameters"), ["pretty"]);
    }

    #[test]
    fn a_name_that_is_taken_by_something_else_is_changed_and_so_are_all_references() {
        let own = json!({
            "Meta": {"properties": {"time": {"$ref": "#/definitions/Time"}}},
            "Time": {"type": "string", "format": "date-time"}, "Time_v2": {},
        });
        let mut document = json!({"paths": {}, "definitions": own});
        Part::of(&theirs(), &GV).merge_into(&mut document);
        let definitions = &document["definitions"];
        for (name, schema) in own.as_object().unwrap() {
            assert_eq!(&definitions[name], schema, "what was there stays");
        }
        assert_eq!(definitions["Time_v3"], json!({"type": "string"}));
        assert_eq!(definitions["Meta_v2"]["properties"]["time"]["$ref"], "#/definitions/Time_v3");
        assert_eq!(definitions["Thing"]["properties"]["metadata"]["$ref"], "#/definitions/Meta_v2");
        assert_eq!(definitions["Thing"]["properties"]["self"]["$ref"], "#/definitions/Thing");
    }

    #[test]
    fn what_is_no_document_adds_nothing() {
        for broken in [json!(null), json!({"paths": [], "definitions": {"A": 1}}), json!([])] {
            assert_eq!(Part::of(&broken, &GV), Part::default());
        }
        let loose = json!({"paths": {"/apis/g.test/v1": {"$ref": "#/definitions/none"}}});
        let mut document = json!({});
        Part::of(&loose, &GV).merge_into(&mut document);
        assert_eq!(document["paths"].as_object().unwrap().len(), 1);
    }
}
