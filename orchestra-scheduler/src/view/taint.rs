//! Taints, tolerations, and when one lets the other pass.

use k8s_openapi::api::core::v1 as api;

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaintEffect {
    /// No new pods.
    NoSchedule,
    /// Rather no new pods.
    PreferNoSchedule,
    /// No new pods, and running ones have to leave.
    NoExecute,
}

impl TaintEffect {
    fn from_api(text: &str) -> Option<Self> {
        match text {
            "NoSchedule" => Some(Self::NoSchedule),
            "PreferNoSchedule" => Some(Self::PreferNoSchedule),
            "NoExecute" => Some(Self::NoExecute),
            _ => None,
        }
    }
}

/// A mark on a node that keeps pods away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// The taint's key.
    pub key: Box<str>,
    /// The taint's value; may be empty.
    pub value: Box<str>,
    /// What it does.
    pub effect: TaintEffect,
}

impl Taint {
    /// Reads a taint; one with an effect nobody knows has no effect, and is `None`.
    pub(super) fn from_api(taint: &api::Taint) -> Option<Self> {
        Some(Self {
            key: taint.key.as_str().into(),
            value: taint.value.as_deref().unwrap_or_default().into(),
            effect: TaintEffect::from_api(&taint.effect)?,
        })
    }
}

/// How a toleration compares a taint's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TolerationOperator {
    /// Key and value have to be equal.
    Equal,
    /// Any value will do.
    Exists,
    /// An operator this version does not act on; tolerates nothing.
    Unknown,
}

/// A pod's permission to ignore some taints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Toleration {
    /// The key; empty together with [`TolerationOperator::Exists`] means any.
    pub key: Box<str>,
    /// The comparison.
    pub operator: TolerationOperator,
    /// The value to compare with.
    pub value: Box<str>,
    /// The effect that is tolerated; `None` means any.
    pub effect: Option<TaintEffect>,
}

impl Toleration {
    /// Reads a toleration; one for an effect nobody knows matches nothing, and is `None`.
    pub(super) fn from_api(toleration: &api::Toleration) -> Option<Self> {
        Some(Self {
            key: toleration.key.as_deref().unwrap_or_default().into(),
            operator: match toleration.operator.as_deref().unwrap_or_default() {
                "" | "Equal" => TolerationOperator::Equal,
                "Exists" => TolerationOperator::Exists,
                _ => TolerationOperator::Unknown,
            },
            value: toleration.value.as_deref().unwrap_or_default().into(),
            effect: match toleration.effect.as_deref().unwrap_or_default() {
                "" => None,
                text => Some(TaintEffect::from_api(text)?),
            },
        })
    }

    /// Whether this toleration lets the pod ignore `taint`.
    #[must_use]
    pub fn tolerates(&self, taint: &Taint) -> bool {
        if self.effect.is_some_and(|effect| effect != taint.effect) {
            return false;
        }
        if !self.key.is_empty() && self.key != taint.key {
            return false;
        }
        match self.operator {
            TolerationOperator::Equal => self.key == taint.key && self.value == taint.value,
            TolerationOperator::Exists => true,
            TolerationOperator::Unknown => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toleration(
        key: &str,
        operator: TolerationOperator,
        value: &str,
        effect: Option<TaintEffect>,
    ) -> Toleration {
        Toleration { key: key.into(), operator, value: value.into(), effect }
    }

    #[test]
    fn toleration_match_follows_key_operator_value_and_effect() {
        use TolerationOperator::{Equal, Exists, Unknown};
        let taint = Taint { key: "gpu".into(), value: "a100".into(), effect: TaintEffect::NoSchedule };
        let no_schedule = Some(TaintEffect::NoSchedule);
        for (toleration, expected) in [
            (toleration("gpu", Equal, "a100", no_schedule), true),
            (toleration("gpu", Equal, "a100", None), true),
            (toleration("gpu", Equal, "h100", no_schedule), false),
            (toleration("gpu", Exists, "", no_schedule), true),
            (toleration("gpu", Exists, "", Some(TaintEffect::NoExecute)), false),
            (toleration("", Exists, "", None), true),
            (toleration("cpu", Exists, "", None), false),
            (toleration("gpu", Unknown, "1", None), false),
        ] {
            assert_eq!(toleration.tolerates(&taint), expected, "{toleration:?}");
        }
    }
}
