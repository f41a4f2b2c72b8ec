//! Which plugins end up at which extension point: defaults, `multiPoint`, and the points themselves.
//!
//! The order at a point is upstream's: first plugins that come through `multiPoint` and are named again at the
//! point, in the order they are named there; then the rest of `multiPoint`; then the rest of the point.

use std::collections::BTreeMap;

use serde_json::Value;

use super::shape::{Choice, Named, ProfileShape, Spanned};
use super::{ConfigError, Reader};
use crate::plugins::default_set;
use crate::profile::{PluginSet, Profile, Version};

/// A plugin with the weight it was given; 0 is none.
#[derive(Clone, Debug)]
struct Chosen {
    name: String,
    weight: u32,
}

/// The plugins of a profile, merged.
pub(super) struct Merge<'a> {
    shape: &'a ProfileShape,
    everywhere: Vec<Chosen>,
    made: BTreeMap<String, PluginSet>,
    at: String,
}

impl<'a> Merge<'a> {
    /// `ignored` are resources that extenders look after, and NodeResourcesFit does not.
    pub(super) fn of(
        reader: &Reader<'_>,
        shape: &'a ProfileShape,
        at: &str,
        ignored: &[String],
    ) -> Result<Self, ConfigError> {
        let mut merge = Self {
            shape,
            everywhere: everywhere(&shape.plugins.multi_point),
            made: BTreeMap::new(),
            at: at.to_owned(),
        };
        let mut args: BTreeMap<&str, &Value> = BTreeMap::new();
        for (index, entry) in shape.plugin_config.iter().enumerate() {
            let field = format!("{at}.pluginConfig[{index}]");
            let name = entry.value.name.as_str();
            if args.insert(name, &entry.value.args).is_some() {
                return Err(reader.at(entry, &field, format!("repeated config for plugin {name}")));
            }
            match reader.registry.make(name, &with_ignored(name, &entry.value.args, ignored)) {
                None => return Err(reader.at(entry, &format!("{field}.name"), unknown(reader, name))),
                Some(Err(error)) => {
                    let dot = if error.field.is_empty() { "" } else { "." };
                    let field = format!("{field}.args{dot}{}", error.field);
                    return Err(reader.at(entry, &field, error.problem));
                }
                Some(Ok(set)) => drop(merge.made.insert(name.to_owned(), set)),
            }
        }
        if !ignored.is_empty() && !merge.made.contains_key(FIT) {
            let made = reader.registry.make(FIT, &with_ignored(FIT, &Value::Null, ignored));
            merge.made.extend(made.and_then(Result::ok).map(|set| (FIT.to_owned(), set)));
        }
        for (point, choice) in points(shape) {
            for (index, named) in choice.enabled.iter().enumerate() {
                merge.make(reader, named, &format!("{at}.plugins.{point}.enabled[{index}].name"))?;
            }
        }
        for chosen in &merge.everywhere {
            if !merge.made.contains_key(&chosen.name)
                && let Some(Ok(set)) = reader.registry.make(&chosen.name, &Value::Null)
            {
                merge.made.insert(chosen.name.clone(), set);
            }
        }
        Ok(merge)
    }

    fn make(&mut self, reader: &Reader<'_>, named: &Spanned<Named>, field: &str) -> Result<(), ConfigError> {
        let name = &named.value.name;
        if self.made.contains_key(name) {
            return Ok(());
        }
        match reader.registry.make(name, &Value::Null) {
            None => Err(reader.at(named, field, unknown(reader, name))),
            Some(Err(error)) => Err(reader.at(named, field, error.problem)),
            Some(Ok(set)) => {
                self.made.insert(name.clone(), set);
                Ok(())
            }
        }
    }

    /// Fills an empty profile.
    pub(super) fn onto(&self, profile: Profile, reader: &Reader<'_>) -> Result<Profile, ConfigError> {
        let plugins = &self.shape.plugins;
        let mut profile = profile;
        for (set, _) in
            self.at_point(reader, "preEnqueue", &plugins.pre_enqueue, |set| set.pre_enqueue.is_some())?
        {
            profile.pre_enqueue.extend(set.pre_enqueue.clone());
        }
        for (set, _) in
            self.at_point(reader, "queueSort", &plugins.queue_sort, |set| set.queue_sort.is_some())?
        {
            profile.queue_sort = profile.queue_sort.or_else(|| set.queue_sort.clone());
        }
        for (set, _) in
            self.at_point(reader, "preFilter", &plugins.pre_filter, |set| set.pre_filter.is_some())?
        {
            profile.pre_filter.extend(set.pre_filter.clone());
            profile.adjust.extend(set.adjust.clone());
        }
        for (set, _) in self.at_point(reader, "filter", &plugins.filter, |set| set.filter.is_some())? {
            profile.filter.extend(set.filter.clone());
        }
        for (set, _) in
            self.at_point(reader, "postFilter", &plugins.post_filter, |set| set.post_filter.is_some())?
        {
            profile.post_filter.extend(set.post_filter.clone());
        }
        for (set, _) in
            self.at_point(reader, "preScore", &plugins.pre_score, |set| set.pre_score.is_some())?
        {
            profile.pre_score.extend(set.pre_score.clone());
        }
        for (set, weight) in self.at_point(reader, "score", &plugins.score, |set| set.score.is_some())? {
            profile.score.extend(set.score.clone().map(|scorer| match weight {
                0 => scorer,
                weight => crate::profile::Scorer { weight, ..scorer },
            }));
        }
        for (set, _) in self.at_point(reader, "reserve", &plugins.reserve, |set| set.reserve.is_some())? {
            profile.reserve.extend(set.reserve.clone());
        }
        for (set, _) in self.at_point(reader, "permit", &plugins.permit, |set| set.permit.is_some())? {
            profile.permit.extend(set.permit.clone());
        }
        for (set, _) in self.at_point(reader, "preBind", &plugins.pre_bind, |set| set.pre_bind.is_some())? {
            profile.pre_bind.extend(set.pre_bind.clone());
        }
        for (set, _) in self.at_point(reader, "bind", &plugins.bind, |set| set.bind.is_some())? {
            profile.bind.extend(set.bind.clone());
        }
        for (set, _) in
            self.at_point(reader, "postBind", &plugins.post_bind, |set| set.post_bind.is_some())?
        {
            profile.post_bind.extend(set.post_bind.clone());
        }
        // Hints belong to plugins, wherever they serve.
        profile.requeue.extend(self.made.values().filter_map(|set| set.requeue.clone()));
        Ok(profile)
    }

    /// The plugins at one point, in order, with the weight to use (0: the plugin's own).
    fn at_point(
        &self,
        reader: &Reader<'_>,
        point: &str,
        choice: &Choice,
        serves: impl Fn(&PluginSet) -> bool,
    ) -> Result<Vec<(&PluginSet, u32)>, ConfigError> {
        let find = |name: &str| self.made.get(name).filter(|set| serves(set));
        for (index, named) in choice.enabled.iter().enumerate() {
            let field = format!("{}.plugins.{point}.enabled[{index}].name", self.at);
            let name = &named.value.name;
            if find(name).is_none() {
                return Err(reader.at(named, &field, format!("plugin {name:?} does not extend {point}")));
            }
            if choice.enabled.iter().take(index).any(|other| other.value.name == *name) {
                return Err(reader.at(named, &field, format!("plugin {name:?} is enabled twice")));
            }
        }
        let here = |name: &str| choice.enabled.iter().find(|named| named.value.name == name);
        let inherited: Vec<&Chosen> = self
            .everywhere
            .iter()
            .filter(|one| !choice.disables(&one.name) && find(&one.name).is_some())
            .collect();
        let comes_along = |name: &str| inherited.iter().find(|one| one.name == name);
        let mut chosen: Vec<(&str, u32)> = Vec::new();
        for named in &choice.enabled {
            if let Some(inherited) = comes_along(&named.value.name) {
                let weight = if named.value.weight > 0 { named.value.weight } else { inherited.weight };
                chosen.push((&named.value.name, weight));
            }
        }
        let rest = inherited.iter().filter(|one| here(&one.name).is_none());
        chosen.extend(rest.map(|one| (one.name.as_str(), one.weight)));
        let own = choice.enabled.iter().filter(|named| comes_along(&named.value.name).is_none());
        chosen.extend(own.map(|named| (named.value.name.as_str(), named.value.weight)));
        Ok(chosen.into_iter().filter_map(|(name, weight)| Some((find(name)?, weight))).collect())
    }
}

/// The plugin that can leave resources to others.
const FIT: &str = "NodeResourcesFit";

/// The arguments of a plugin with the resources added that extenders look after.
fn with_ignored(plugin: &str, args: &Value, ignored: &[String]) -> Value {
    let mut args = args.clone();
    if plugin != FIT || ignored.is_empty() || !(args.is_null() || args.is_object()) {
        return args;
    }
    let list = &mut args["ignoredResources"];
    if list.is_null() {
        *list = Value::Array(Vec::new());
    }
    if let Value::Array(list) = list {
        list.extend(ignored.iter().cloned().map(Value::String));
    }
    args
}

/// The defaults, changed by `multiPoint`: what is disabled goes, what is enabled again keeps its place, the rest is
/// added at the end.
fn everywhere(choice: &Choice) -> Vec<Chosen> {
    let enabled = |name: &str| choice.enabled.iter().find(|named| named.value.name == name);
    let mut chosen: Vec<Chosen> = default_set(Version::default())
        .iter()
        .filter(|set| !choice.disables(set.name()))
        .map(|set| Chosen {
            name: set.name().to_owned(),
            weight: enabled(set.name()).map_or(0, |named| named.value.weight),
        })
        .collect();
    for named in &choice.enabled {
        if !chosen.iter().any(|one| one.name == named.value.name) {
            chosen.push(Chosen { name: named.value.name.clone(), weight: named.value.weight });
        }
    }
    chosen
}

fn unknown(reader: &Reader<'_>, name: &str) -> String {
    let known: Vec<_> = reader.registry.names().collect();
    format!("unknown plugin {name:?}; known are {}", known.join(", "))
}

fn points(shape: &ProfileShape) -> [(&'static str, &Choice); 13] {
    let plugins = &shape.plugins;
    [
        ("multiPoint", &plugins.multi_point),
        ("preEnqueue", &plugins.pre_enqueue),
        ("queueSort", &plugins.queue_sort),
        ("preFilter", &plugins.pre_filter),
        ("filter", &plugins.filter),
        ("postFilter", &plugins.post_filter),
        ("preScore", &plugins.pre_score),
        ("score", &plugins.score),
        ("reserve", &plugins.reserve),
        ("permit", &plugins.permit),
        ("preBind", &plugins.pre_bind),
        ("bind", &plugins.bind),
        ("postBind", &plugins.post_bind),
    ]
}
