//! The order of versions in discovery.

use std::cmp::{Ordering, Reverse};

/// Orders versions as discovery lists them: `v10` before `v2`, then `v11beta2` before `v10beta3`, alphas behind betas, and
/// everything else behind them by name. See `version.CompareKubeAwareVersionStrings`.
pub fn version_order(a: &str, b: &str) -> Ordering {
    match (parse(a), parse(b)) {
        (Some(a), Some(b)) => Reverse(a).cmp(&Reverse(b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// Maturity, major and minor.
fn parse(version: &str) -> Option<(u8, u64, u64)> {
    let rest = version.strip_prefix('v')?;
    let at = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    let (major, rest) = rest.split_at(at);
    let major = major.parse().ok().filter(|_| !major.starts_with('0'))?;
    let (maturity, minor) = match rest {
        "" => return Some((2, major, 0)),
        _ => match (rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
            (Some(minor), _) => (1, minor),
            (_, Some(minor)) => (0, minor),
            _ => return None,
        },
    };
    let is_number = minor.bytes().all(|byte| byte.is_ascii_digit()) && !minor.starts_with('0');
    Some((maturity, major, minor.parse().ok().filter(|_| is_number)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_versions_come_first_and_newer_before_older() {
        let mut versions =
            ["foo10", "v1", "v10beta3", "v11alpha2", "v10", "foo1", "v3beta1", "v2", "v11beta2", "v12alpha1"];
        versions.sort_by(|a, b| version_order(a, b));
        assert_eq!(
            versions,
            ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10"]
        );
    }
}
