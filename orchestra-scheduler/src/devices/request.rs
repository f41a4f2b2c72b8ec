//! What a claim asks for, one way to say it for requests and for the alternatives of a request.

use std::sync::Arc;

use k8s_openapi::api::resource::v1::{
    CapacityRequirements, DeviceRequest, DeviceSelector, DeviceTaint, DeviceToleration,
};

use crate::view::{ClusterView, DeviceClaimView, DeviceClassView};

/// How many devices one request wants.
pub(super) enum Amount {
    Exactly(usize),
    /// These, which are all there are.
    All(Vec<usize>),
}

/// One way to fulfil a request.
pub(super) struct Ask<'a> {
    /// The request, without the name of the alternative.
    pub(super) request: &'a str,
    /// Its full name, which results carry.
    pub(super) name: String,
    pub(super) class: Arc<DeviceClassView>,
    pub(super) selectors: &'a [DeviceSelector],
    pub(super) tolerations: &'a [DeviceToleration],
    pub(super) capacity: Option<&'a CapacityRequirements>,
    pub(super) admin: bool,
    pub(super) amount: Amount,
}

/// What both forms of a request have.
struct Form<'a> {
    name: String,
    class: &'a str,
    mode: Option<&'a str>,
    count: Option<i64>,
    selectors: &'a [DeviceSelector],
    tolerations: &'a [DeviceToleration],
    capacity: Option<&'a CapacityRequirements>,
    admin: bool,
}

fn list<T>(list: &Option<Vec<T>>) -> &[T] {
    list.as_deref().unwrap_or_default()
}

/// Reads a form of a request; the API has two types for them that agree in all that is read here.
macro_rules! form {
    ($one:expr, $name:expr, admin: $admin:expr) => {
        Form {
            name: $name,
            class: &$one.device_class_name,
            mode: $one.allocation_mode.as_deref(),
            count: $one.count,
            selectors: list(&$one.selectors),
            tolerations: list(&$one.tolerations),
            capacity: $one.capacity.as_ref(),
            admin: $admin,
        }
    };
}

fn forms(request: &DeviceRequest) -> Vec<Form<'_>> {
    if let Some(one) = &request.exactly {
        return vec![form!(one, request.name.clone(), admin: one.admin_access == Some(true))];
    }
    let alternatives = request.first_available.iter().flatten();
    alternatives.map(|one| form!(one, format!("{}/{}", request.name, one.name), admin: false)).collect()
}

/// The full names of the requests of a claim with the classes they name.
pub(crate) fn classes(claim: &DeviceClaimView) -> impl Iterator<Item = (String, &str)> {
    let requests = claim.wanted.requests.iter().flatten();
    requests.flat_map(forms).map(|form| (form.name, form.class))
}

/// The ways to fulfil a request, the most wanted first; `all` says which devices there are for a request that wants every one.
pub(super) fn asks<'a>(
    claim: &DeviceClaimView,
    request: &'a DeviceRequest,
    cluster: &ClusterView,
    mut all: impl FnMut(&Ask<'a>) -> Result<Vec<usize>, String>,
) -> Result<Vec<Ask<'a>>, String> {
    let place = |name: &str| format!("claim {}, request {name}", claim.key);
    let forms = forms(request);
    if forms.is_empty() {
        return Err(format!("{}: unsupported request type", place(&request.name)));
    }
    let read = |form: Form<'a>| {
        let place = place(&form.name);
        if let Some(at) = form.selectors.iter().position(|selector| selector.cel.is_none()) {
            return Err(format!(
                "{place}, selector #{at}: CEL expression empty (unsupported selector type?)"
            ));
        }
        let class = cluster.kept::<DeviceClassView>(&form.class.into()).cloned();
        let class =
            class.ok_or_else(|| format!("{place}: could not retrieve device class {}", form.class))?;
        let count = usize::try_from(form.count.unwrap_or(1)).unwrap_or(0).max(1);
        let mut ask = Ask {
            request: &request.name,
            name: form.name,
            class,
            selectors: form.selectors,
            tolerations: form.tolerations,
            capacity: form.capacity,
            admin: form.admin,
            amount: Amount::Exactly(count),
        };
        match form.mode {
            None | Some("" | "ExactCount") => {}
            Some("All") => ask.amount = Amount::All(all(&ask)?),
            Some(other) => return Err(format!("{place}: unsupported count mode {other}")),
        }
        Ok(ask)
    };
    forms.into_iter().map(read).collect()
}

impl Ask<'_> {
    /// How many devices it takes.
    pub(super) fn count(&self) -> usize {
        match &self.amount {
            Amount::Exactly(count) => *count,
            Amount::All(all) => all.len(),
        }
    }

    /// Whether a list of requests, as constraints and configuration have it, means this one.
    pub(super) fn is_among(&self, requests: &[String]) -> bool {
        requests.iter().any(|name| name == self.request || *name == self.name)
    }

    /// Whether a taint does not keep it away.
    pub(super) fn bears(&self, taint: &DeviceTaint) -> bool {
        let keeps_away = matches!(&*taint.effect, "NoSchedule" | "NoExecute");
        !keeps_away || self.tolerations.iter().any(|toleration| tolerates(toleration, taint))
    }
}

fn tolerates(toleration: &DeviceToleration, taint: &DeviceTaint) -> bool {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (effect, key) = (text(&toleration.effect), text(&toleration.key));
    if !(effect.is_empty() || effect == taint.effect) || !(key.is_empty() || key == taint.key) {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "Exists" => true,
        "" | "Equal" => text(&toleration.value) == text(&taint.value),
        _ => false,
    }
}
