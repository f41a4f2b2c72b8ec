//! Which files a volume from the API has. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, Volume, VolumeProjection};

use super::Material;
use super::token::Wanted;
use crate::pod::field;
use crate::source::{Content, Kind, Reference};

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
}

/// Files by their path below the volume.
pub(super) type Files = BTreeMap<String, File>;

/// Permissions where nothing is said.
const DEFAULT_MODE: i32 = 0o644;

/// The files of `volume`; `None` when it does not come from the API.
pub(super) fn of(pod: &Pod, volume: &Volume, material: &Material) -> Result<Option<Files>, String> {
    let mut files = Files::new();
    if let Some(v) = &volume.config_map {
        let picked = Pick {
            reference: Reference::new(Kind::ConfigMap, &v.name),
            items: v.items.as_deref(),
            mode: v.default_mode.unwrap_or(DEFAULT_MODE),
            optional: v.optional == Some(true),
        };
        picked.add(material, &mut files)?;
    } else if let Some(v) = &volume.secret {
        let picked = Pick {
            reference: Reference::new(Kind::Secret, v.secret_name.as_deref().unwrap_or_default()),
            items: v.items.as_deref(),
            mode: v.default_mode.unwrap_or(DEFAULT_MODE),
            optional: v.optional == Some(true),
        };
        picked.add(material, &mut files)?;
    } else if let Some(v) = &volume.downward_api {
        let mode = v.default_mode.unwrap_or(DEFAULT_MODE);
        downward(pod, v.items.as_deref().unwrap_or_default(), mode, material, &mut files)?;
    } else if let Some(v) = &volume.projected {
        let mode = v.default_mode.unwrap_or(DEFAULT_MODE);
        for source in v.sources.iter().flatten() {
            project(pod, source, mode, material, &mut files)?;
        }
    } else {
        return Ok(None);
    }
    Ok(Some(files))
}

fn project(
    pod: &Pod,
    source: &VolumeProjection,
    mode: i32,
    material: &Material,
    files: &mut Files,
) -> Result<(), String> {
    if let Some(s) = &source.config_map {
        let reference = Reference::new(Kind::ConfigMap, &s.name);
        let optional = s.optional == Some(true);
        Pick { reference, items: s.items.as_deref(), mode, optional }.add(material, files)?;
    }
    if let Some(s) = &source.secret {
        let reference = Reference::new(Kind::Secret, &s.name);
        let optional = s.optional == Some(true);
        Pick { reference, items: s.items.as_deref(), mode, optional }.add(material, files)?;
    }
    if let Some(s) = &source.downward_api {
        downward(pod, s.items.as_deref().unwrap_or_default(), mode, material, files)?;
    }
    if let Some(s) = &source.service_account_token {
        let token = material.tokens.get(&Wanted::of(s)).ok_or("the token was not asked for")?;
        let bytes = token.clone()?.into_bytes();
        files.insert(safe(&s.path)?, File { bytes, mode: bits(mode) });
    }
    if source.cluster_trust_bundle.is_some() || source.pod_certificate.is_some() {
        return Err("this kind of projection is not supported by this node".to_owned());
    }
    Ok(())
}

/// Keys of one object.
struct Pick<'a> {
    reference: Reference,
    items: Option<&'a [KeyToPath]>,
    mode: i32,
    optional: bool,
}

impl Pick<'_> {
    fn add(&self, material: &Material, files: &mut Files) -> Result<(), String> {
        let empty = Content::default();
        let content = match material.objects.get(&self.reference) {
            Some(content) => content,
            None if self.optional => &empty,
            None => return Err(self.reference.not_found()),
        };
        let Some(items) = self.items.filter(|items| !items.is_empty()) else {
            for (key, bytes) in content.iter() {
                files.insert(safe(key)?, File { bytes: bytes.clone(), mode: bits(self.mode) });
            }
            return Ok(());
        };
        for item in items {
            match content.get(&item.key) {
                Some(bytes) => {
                    let mode = bits(item.mode.unwrap_or(self.mode));
                    files.insert(safe(&item.path)?, File { bytes: bytes.clone(), mode });
                }
                None if self.optional => {}
                None => {
                    let kind = self.reference.kind.name().to_lowercase();
                    return Err(format!("{kind} references non-existent config key: {}", item.key));
                }
            }
        }
        Ok(())
    }
}

fn downward(
    pod: &Pod,
    items: &[DownwardAPIVolumeFile],
    mode: i32,
    material: &Material,
    files: &mut Files,
) -> Result<(), String> {
    for item in items {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(r), _) => field::value(pod, &r.field_path, &material.addresses)?,
            (None, Some(r)) => field::resource(pod, None, r, &material.allocatable)?,
            (None, None) => continue,
        };
        let mode = bits(item.mode.unwrap_or(mode));
        files.insert(safe(&item.path)?, File { bytes: text.into_bytes(), mode });
    }
    Ok(())
}

fn bits(mode: i32) -> u32 {
    u32::try_from(mode).unwrap_or(0o644) & 0o777
}

/// A path that stays inside the volume. The API server checks this too; a node trusts nobody with its files.
fn safe(path: &str) -> Result<String, String> {
    let plain = !path.is_empty()
        && !path.starts_with('/')
        && path.len() <= 4096
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        && !path.starts_with("..");
    if plain { Ok(path.to_owned()) } else { Err(format!("invalid path {path:?}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn material() -> Material {
        let content: Content =
            std::sync::Arc::new([("a", "1"), ("b", "2")].map(|(k, v)| (k.into(), v.into())).into());
        Material { objects: [(Reference::new(Kind::ConfigMap, "cm"), content)].into(), ..Default::default() }
    }

    fn files(volume: serde_json::Value) -> Result<Vec<String>, String> {
        let pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "labels": {"app": "x", "tier": "y"}},
        }))
        .unwrap();
        let volume = serde_json::from_value(volume).unwrap();
        let files = of(&pod, &volume, &material())?.expect("a payload");
        let line = |(path, file): (String, File)| {
            format!("{path} {:o} {}", file.mode, String::from_utf8(file.bytes).unwrap())
        };
        Ok(files.into_iter().map(line).collect())
    }

    #[test]
    fn all_keys_or_chosen_ones() {
        let all = files(serde_json::json!({"name": "v", "configMap": {"name": "cm"}}));
        assert_eq!(all.unwrap(), ["a 644 1", "b 644 2"]);
        let some = files(serde_json::json!({"name": "v", "configMap": {"name": "cm", "defaultMode": 0o400,
            "items": [{"key": "b", "path": "x/y", "mode": 0o600}, {"key": "a", "path": "z"}]}}));
        assert_eq!(some.unwrap(), ["x/y 600 2", "z 400 1"]);
    }

    #[test]
    fn projections_are_put_together() {
        let all = files(serde_json::json!({"name": "v", "projected": {"sources": [
            {"configMap": {"name": "cm", "items": [{"key": "a", "path": "a"}]}},
            {"secret": {"name": "gone", "optional": true}},
            {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        ]}}));
        assert_eq!(all.unwrap(), ["a 644 1", "labels 644 app=\"x\"\ntier=\"y\""]);
    }

    #[test]
    fn what_is_missing_or_leads_out_is_refused() {
        for (volume, want) in [
            (serde_json::json!({"name": "v", "configMap": {"name": "no"}}), "configmap \"no\" not found"),
            (serde_json::json!({"name": "v", "secret": {"secretName": "no"}}), "secret \"no\" not found"),
            (
                serde_json::json!({"name": "v", "configMap": {"name": "cm", "items": [{"key": "c", "path": "c"}]}}),
                "configmap references non-existent config key: c",
            ),
            (
                serde_json::json!({"name": "v", "configMap": {"name": "cm", "items": [{"key": "a", "path": "../c"}]}}),
                "invalid path \"../c\"",
            ),
        ] {
            assert_eq!(files(volume).unwrap_err(), want);
        }
    }
}
