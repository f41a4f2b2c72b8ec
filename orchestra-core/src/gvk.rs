//! Names of kinds and resources: group, version, kind, plural.

use std::borrow::Cow;
use std::fmt;

/// An API group and version, such as `apps/v1`; the core group is the empty string.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersion {
    /// The group, empty for the core group.
    pub group: Cow<'static, str>,
    /// The version, such as `v1`.
    pub version: Cow<'static, str>,
}

impl GroupVersion {
    /// A group and version known when the program is compiled.
    pub const fn new(group: &'static str, version: &'static str) -> Self {
        Self { group: Cow::Borrowed(group), version: Cow::Borrowed(version) }
    }

    /// Reads an `apiVersion` field. `None` when it has more than one slash or an empty part.
    pub fn parse(api_version: &str) -> Option<Self> {
        let (group, version) = match api_version.split_once('/') {
            Some((group, version)) if !group.is_empty() => (group, version),
            Some(_) => return None,
            None => ("", api_version),
        };
        if version.is_empty() || version.contains('/') {
            return None;
        }
        Some(Self { group: group.to_owned().into(), version: version.to_owned().into() })
    }
}

/// As it stands in an `apiVersion` field: `v1`, `apps/v1`.
impl fmt::Display for GroupVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.version)
        } else {
            write!(f, "{}/{}", self.group, self.version)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_version_survives_a_round_trip() {
        for text in ["v1", "apps/v1", "networking.k8s.io/v1"] {
            assert_eq!(GroupVersion::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_malformed_api_version_is_refused() {
        for text in ["", "/v1", "apps/", "a/b/c"] {
            assert_eq!(GroupVersion::parse(text), None, "{text}");
        }
    }
}
