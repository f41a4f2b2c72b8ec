//! Where the objects of a resource lie in the store.

use crate::storage::resource::registry_prefix;

/// Something that names no resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no resource: secrets, deployments.apps, *.apps and *.* do")]
pub struct BadResource(String);

/// The prefix of the keys under which the objects of a resource lie. A resource is named as in an upstream
/// `EncryptionConfiguration`: `secrets`, `deployments.apps`; `*.apps` for a whole group, `*.` for the group of pods, `*.*` for everything.
///
/// ```
/// use orchestra_apiserver::encryption::storage_prefix;
///
/// assert_eq!(storage_prefix("secrets").unwrap(), "/registry/core/secrets/");
/// assert_eq!(storage_prefix("*.apps").unwrap(), "/registry/apps/");
/// assert!(storage_prefix("../secrets").is_err());
/// ```
///
/// # Errors
/// When it names none.
pub fn storage_prefix(resource: &str) -> Result<String, BadResource> {
    let bad = || BadResource(resource.to_owned());
    let is_name = |name: &str| {
        let ends_well = |text: &str| !text.starts_with(['.', '-']) && !text.ends_with(['.', '-']);
        let fits =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
        !name.is_empty() && name.bytes().all(fits) && ends_well(name)
    };
    match resource.split_once('.') {
        Some(("*", "*")) => Ok("/registry/".to_owned()),
        Some(("*", "")) => Ok(registry_prefix("", None)),
        Some(("*", group)) if is_name(group) => Ok(registry_prefix(group, None)),
        Some((plural, group)) if is_name(plural) && is_name(group) => {
            Ok(registry_prefix(group, Some(plural)))
        }
        None if is_name(resource) => Ok(registry_prefix("", Some(resource))),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_named_as_upstream_names_them() {
        for (resource, prefix) in [
            ("configmaps", "/registry/core/configmaps/"),
            ("deployments.apps", "/registry/apps/deployments/"),
            ("events.events.k8s.io", "/registry/core/events/"),
            ("*.", "/registry/core/"),
            ("*.events.k8s.io", "/registry/core/events/"),
            ("widgets.example.com", "/registry/example.com/widgets/"),
            ("*.*", "/registry/"),
        ] {
            assert_eq!(storage_prefix(resource).as_deref(), Ok(prefix), "{resource}");
        }
        for bad in ["", "*", "secrets.", ".apps", "Secrets", "a/b", "*.*.*", "sec*", "*.a/b", "a..", "a b"] {
            assert!(storage_prefix(bad).is_err(), "{bad}");
        }
    }
}
