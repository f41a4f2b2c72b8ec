//! Numbers that a user gives either outright or as a percentage of the replicas.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Which way a percentage rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    Up,
    Down,
}

/// What `share` means for `total`. Text that is no percentage, which the API server refuses, counts as nothing.
pub(crate) fn resolve(share: &IntOrString, total: i32, rounding: Rounding) -> i32 {
    let percent = match share {
        IntOrString::Int(number) => return (*number).max(0),
        IntOrString::String(text) => {
            text.strip_suffix('%').and_then(|text| text.parse::<u32>().ok()).unwrap_or(0)
        }
    };
    let hundredths = i64::from(percent) * i64::from(total.max(0));
    let whole = match rounding {
        Rounding::Up => (hundredths + 99) / 100,
        Rounding::Down => hundredths / 100,
    };
    i32::try_from(whole).unwrap_or(i32::MAX)
}

/// Resolves surge (up) and unavailable (down); if both come to nothing, one may be unavailable, or no rollout would
/// ever move.
pub(crate) fn fenceposts(
    surge: Option<&IntOrString>,
    unavailable: Option<&IntOrString>,
    total: i32,
) -> (i32, i32) {
    let zero = IntOrString::Int(0);
    let surge = resolve(surge.unwrap_or(&zero), total, Rounding::Up);
    let unavailable = resolve(unavailable.unwrap_or(&zero), total, Rounding::Down);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_told() {
        let quarter = IntOrString::String("25%".into());
        assert_eq!(resolve(&quarter, 10, Rounding::Up), 3);
        assert_eq!(resolve(&quarter, 10, Rounding::Down), 2);
        assert_eq!(resolve(&IntOrString::Int(4), 10, Rounding::Down), 4);
        assert_eq!(resolve(&IntOrString::String("x".into()), 10, Rounding::Up), 0);
    }

    #[test]
    fn one_may_be_unavailable_when_both_round_to_nothing() {
        let ten = IntOrString::String("10%".into());
        assert_eq!(fenceposts(Some(&IntOrString::Int(0)), Some(&ten), 3), (0, 1));
        assert_eq!(fenceposts(Some(&ten), Some(&ten), 3), (1, 0));
    }
}
