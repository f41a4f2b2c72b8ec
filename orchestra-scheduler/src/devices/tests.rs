//! Tests of the search for devices.

use std::sync::Arc;

use k8s_openapi::api::resource::v1::{AllocationResult, ResourceClaim};
use serde_json::{Value, json};

use super::*;
use crate::testing;
use crate::view::{
    ClusterView, DeviceAllocation, DeviceClaimView, DeviceClassView, DeviceSliceView, PodUid, Promise,
};

/// Devices, classes and claims, and one node, `n`, that wants some.
struct Shop {
    cluster: ClusterView,
    claims: Vec<Arc<DeviceClaimView>>,
    steps: u64,
    shares: bool,
}

impl Shop {
    fn new() -> Self {
        let cluster = testing::cluster([json!({"metadata": {"name": "n", "labels": {"rack": "1"}}})]);
        let shop = Self { cluster, claims: Vec::new(), steps: 1_000_000, shares: true };
        shop.class("gpu", json!({}))
    }

    fn class(mut self, name: &str, spec: Value) -> Self {
        let class = serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap();
        self.cluster.keep(Arc::new(DeviceClassView::from_api(&class)));
        self
    }

    /// A slice of node `n`'s, unless `more` says otherwise; its pool is named like its first letter.
    fn slice(mut self, name: &str, more: Value, devices: Value) -> Self {
        let mut spec = json!({"driver": "d.io", "nodeName": "n", "devices": devices,
            "pool": {"name": &name[..1], "generation": 1, "resourceSliceCount": 1}});
        merge(&mut spec, more);
        let slice = serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap();
        self.cluster.keep(Arc::new(DeviceSliceView::from_api(&slice)));
        self
    }

    fn devices(self, devices: Value) -> Self {
        self.slice("a", json!({}), devices)
    }

    /// A claim with these requests, to be allocated.
    fn claim(mut self, name: &str, devices: Value) -> Self {
        self.claims.push(claim(name, devices, json!({})));
        self
    }

    /// A claim that has these devices of pool `a` already.
    fn had(mut self, results: Value) -> Self {
        let name = format!("had-{}", self.cluster.all::<DeviceClaimView>().count());
        let mut results = results;
        for result in results.as_array_mut().unwrap() {
            merge(result, json!({"driver": "d.io", "pool": "a", "request": "r"}));
        }
        self.cluster.keep(claim(&name, json!({}), json!({"allocation": {"devices": {"results": results}}})));
        self
    }

    fn allocate(&self) -> Result<Option<Vec<AllocationResult>>, Trouble> {
        let (offers, in_use, selectors) =
            (Offers::of(&self.cluster), InUse::of(&self.cluster), Selectors::default());
        let claims: Vec<&DeviceClaimView> = self.claims.iter().map(AsRef::as_ref).collect();
        let question = Question {
            cluster: &self.cluster,
            claims: &claims,
            offers: &offers,
            in_use: &in_use,
            selectors: &selectors,
            steps: self.steps,
            shares: self.shares,
        };
        allocate(question, self.cluster.node("n").unwrap().facts())
    }

    /// `request=device` of all claims, in order; `-` if there is no allocation.
    fn got(&self) -> String {
        let Some(results) = self.allocate().unwrap() else { return "-".to_owned() };
        let all = results
            .iter()
            .flat_map(|result| result.devices.iter().flat_map(|all| all.results.iter().flatten()));
        all.map(|one| format!("{}={}", one.request, one.device)).collect::<Vec<_>>().join(" ")
    }

    fn trouble(&self) -> String {
        match self.allocate() {
            Err(Trouble::Broken(text)) => text,
            other => panic!("no trouble: {other:?}"),
        }
    }
}

fn merge(into: &mut Value, more: Value) {
    let Value::Object(more) = more else { return };
    for (key, value) in more {
        match value.is_null() {
            true => drop(into.as_object_mut().unwrap().remove(&key)),
            false => into[key] = value,
        }
    }
}

fn claim(name: &str, devices: Value, status: Value) -> Arc<DeviceClaimView> {
    let claim: ResourceClaim =
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"devices": devices}, "status": status}))
        .unwrap();
    Arc::new(DeviceClaimView::from_api(&claim))
}

fn plain(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name})).collect()
}

/// Requests for devices of class `gpu`, by name, with what is to be said besides.
fn wanting(requests: &[(&str, Value)]) -> Value {
    let exact = |more: &Value| {
        let mut exact = json!({"deviceClassName": "gpu"});
        merge(&mut exact, more.clone());
        exact
    };
    let requests: Vec<_> =
        requests.iter().map(|(name, more)| json!({"name": name, "exactly": exact(more)})).collect();
    json!({"requests": requests})
}

fn selecting(expression: &str) -> Value {
    json!({"selectors": [{"cel": {"expression": expression}}]})
}

#[test]
fn a_count_is_taken_from_the_first_devices_that_nobody_has() {
    let shop = Shop::new().devices(plain(&["x", "y", "z"])).had(json!([{"device": "x"}]));
    assert_eq!(shop.claim("c", wanting(&[("r", json!({"count": 2}))])).got(), "r=y r=z");
    let shop = Shop::new().devices(plain(&["x", "y"])).had(json!([{"device": "x"}]));
    assert_eq!(shop.claim("c", wanting(&[("r", json!({"count": 2}))])).got(), "-");
}

#[test]
fn pools_are_gone_through_by_driver_and_name_and_slices_by_name() {
    let two = json!({"pool": {"name": "a", "generation": 1, "resourceSliceCount": 2}});
    let shop = Shop::new()
        .slice("b1", json!({"driver": "z.io"}), plain(&["last"]))
        .slice("a2", two.clone(), plain(&["second"]))
        .slice("a1", two, plain(&["first"]))
        .slice("c1", json!({}), plain(&["third"]));
    let got = shop.claim("c", wanting(&[("r", json!({"count": 4}))])).got();
    assert_eq!(got, "r=first r=second r=third r=last");
}

#[test]
fn devices_that_are_promised_to_another_claim_are_had() {
    let mut shop = Shop::new().devices(plain(&["x", "y"])).claim("c", wanting(&[("r", json!({}))]));
    let result =
        json!({"devices": {"results": [{"driver": "d.io", "pool": "a", "device": "x", "request": "r"}]}});
    let allocation = Arc::new(DeviceAllocation::new(serde_json::from_value(result).unwrap()));
    let other = claim("other", json!({}), json!({}));
    let promise = Promise::Devices { claim: other.key.clone(), pod: PodUid::from("p"), allocation };
    shop.cluster.promise(promise.clone());
    assert_eq!(shop.got(), "r=y");
    shop.cluster.release(&promise);
    assert_eq!(shop.got(), "r=x");
}

#[test]
fn all_means_every_device_or_none() {
    let all = || wanting(&[("r", json!({"allocationMode": "All"}))]);
    let shop = Shop::new().devices(plain(&["x", "y"])).claim("c", all());
    assert_eq!(shop.got(), "r=x r=y");
    assert_eq!(shop.had(json!([{"device": "y"}])).got(), "-", "one of them is somebody's");
    assert_eq!(Shop::new().claim("c", all()).got(), "-", "none is not all");
    let half = json!({"pool": {"name": "a", "generation": 1, "resourceSliceCount": 2}});
    let shop = Shop::new().slice("a1", half, plain(&["x"])).claim("c", all());
    assert_eq!(
        shop.trouble(),
        "claim default/c, request r: asks for all devices, but resource pool d.io/a is currently being updated"
    );
}

#[test]
fn the_first_alternative_that_can_be_had_is_taken() {
    let options = json!({"requests": [{"name": "r", "firstAvailable": [
        {"name": "two", "deviceClassName": "gpu", "count": 2},
        {"name": "one", "deviceClassName": "gpu", "count": 1}]}, {"name": "s", "exactly": {"deviceClassName": "gpu"}}]});
    let shop = |names: &[&str]| Shop::new().devices(plain(names)).claim("c", options.clone());
    assert_eq!(shop(&["x", "y", "z"]).got(), "r/two=x r/two=y s=z");
    assert_eq!(shop(&["x", "y"]).got(), "r/one=x s=y", "what follows has to be had, too");
    assert_eq!(shop(&["x"]).got(), "-");
}

#[test]
fn what_must_match_is_looked_for_in_all_ways() {
    let device = |name: &str, numa: i64| json!({"name": name, "attributes": {"numa": {"int": numa}}});
    let shop = Shop::new().devices(json!([device("x", 0), device("y", 1), {"name": "dumb"}, device("z", 1)]));
    let mut pair = wanting(&[("r", json!({})), ("s", json!({}))]);
    pair["constraints"] = json!([{"matchAttribute": "d.io/numa"}]);
    assert_eq!(shop.claim("c", pair.clone()).got(), "r=y s=z");
    pair["constraints"] = json!([{"matchAttribute": "d.io/numa", "requests": ["r"]}]);
    let shop = Shop::new().devices(json!([device("x", 0), {"name": "dumb"}]));
    assert_eq!(shop.claim("c", pair.clone()).got(), "r=x s=dumb", "a constraint for one request");
    pair["constraints"] = json!([{"distinctAttribute": "d.io/numa"}]);
    let shop = Shop::new().devices(json!([device("x", 1), device("y", 1), device("z", 0)]));
    assert_eq!(shop.claim("c", pair.clone()).got(), "r=x s=z");
    pair["constraints"] = json!([{}]);
    let text = "claim default/c, constraint #0: empty constraint (unsupported constraint type?)";
    assert_eq!(Shop::new().claim("c", pair).trouble(), text);
}

#[test]
fn a_constraint_that_all_devices_cannot_keep_is_an_error() {
    let device = |name: &str, numa: i64| json!({"name": name, "attributes": {"numa": {"int": numa}}});
    let mut all = wanting(&[("r", json!({"allocationMode": "All"}))]);
    all["constraints"] = json!([{"matchAttribute": "d.io/numa"}]);
    let shop = Shop::new().devices(json!([device("x", 0), device("y", 1)])).claim("c", all);
    assert_eq!(
        shop.trouble(),
        "claim default/c, request r: cannot add device d.io/a/y because a claim constraint would not be satisfied"
    );
}

#[test]
fn class_and_request_both_select() {
    let devices = json!([
        {"name": "small", "attributes": {"model": {"string": "m"}}, "capacity": {"memory": {"value": "1Gi"}}},
        {"name": "old", "attributes": {"model": {"string": "m"}, "driver": {"version": "1.2.3"}}, "capacity": {"memory": {"value": "80Gi"}}},
        {"name": "right", "attributes": {"d.io/model": {"string": "m"}, "driver": {"version": "2.0.0"}}, "capacity": {"memory": {"value": "80Gi"}}},
    ]);
    let shop = || {
        Shop::new()
            .class("gpu", selecting("device.driver == 'd.io' && device.attributes['d.io'].model == 'm'"))
            .devices(devices.clone())
    };
    let expression = "device.capacity['d.io'].memory.compareTo(quantity('8Gi')) > 0 && \
        device.attributes['d.io'].driver.isGreaterThan(semver('1.9.0'))";
    // A name that the device does not have is an error, so that it has to be asked for first.
    let careful = format!("'driver' in device.attributes['d.io'] && {expression}");
    assert_eq!(shop().claim("c", wanting(&[("r", selecting(&careful))])).got(), "r=right");
    assert_eq!(
        shop()
            .claim("c", wanting(&[("r", selecting("device.attributes['d.io'].driver.major() > 1"))]))
            .trouble(),
        "claim default/c: selector #0 on device d.io/a/small: CEL runtime error: no such key: driver"
    );
}

#[test]
fn a_domain_of_which_nothing_is_said_is_empty_and_still_not_there() {
    let shop = |expression: &str| {
        Shop::new().devices(plain(&["x"])).claim("c", wanting(&[("r", selecting(expression))]))
    };
    assert_eq!(shop("has(device.attributes['e.io'].model)").got(), "-");
    assert_eq!(shop("!has(device.attributes['e.io'].model) && !('e.io' in device.attributes)").got(), "r=x");
    assert_eq!(shop("device.allowMultipleAllocations").got(), "-");
}

#[test]
fn an_expression_that_is_none_is_told_with_its_place() {
    let shop = |expression: &str| {
        Shop::new().devices(plain(&["x"])).claim("c", wanting(&[("r", selecting(expression))]))
    };
    assert!(
        shop("1 +")
            .trouble()
            .starts_with("claim default/c: selector #0 on device d.io/a/x: CEL compile error: ")
    );
    let text = shop("'text'").trouble();
    assert!(text.ends_with("must evaluate to bool or the unknown type, not string"), "{text}");
    let shop = Shop::new().class("gpu", selecting("noise")).devices(plain(&["x"]));
    let text = shop.claim("c", wanting(&[("r", json!({}))])).trouble();
    assert!(text.starts_with("class gpu: selector #0 on device d.io/a/x: CEL compile error: "), "{text}");
}

#[test]
fn tainted_devices_go_to_those_who_tolerate_it_from_1_36_on() {
    let devices = json!([
        {"name": "bad", "taints": [{"key": "broken", "value": "fan", "effect": "NoSchedule"}]},
        {"name": "odd", "taints": [{"key": "odd", "effect": "None"}]}]);
    let shop = |more: Value| Shop::new().devices(devices.clone()).claim("c", wanting(&[("r", more)]));
    assert_eq!(shop(json!({})).got(), "r=odd");
    for toleration in [
        json!({"operator": "Exists"}),
        json!({"key": "broken", "operator": "Exists", "effect": "NoSchedule"}),
        json!({"key": "broken", "value": "fan"}),
    ] {
        assert_eq!(shop(json!({"tolerations": [toleration]})).got(), "r=bad", "{toleration}");
    }
    for toleration in [
        json!({"key": "broken"}),
        json!({"operator": "Exists", "effect": "NoExecute"}),
        json!({"key": "x", "operator": "Exists"}),
    ] {
        assert_eq!(shop(json!({"tolerations": [toleration]})).got(), "r=odd", "{toleration}");
    }
    let before = Shop { shares: false, ..shop(json!({})) };
    assert_eq!(before.got(), "r=bad");
}

#[test]
fn who_looks_after_devices_takes_them_from_nobody() {
    let admin = || wanting(&[("r", json!({"adminAccess": true, "count": 2}))]);
    let shop = Shop::new().devices(plain(&["x", "y"])).had(json!([{"device": "x"}])).claim("c", admin());
    assert_eq!(shop.got(), "r=x r=y");
    let result = shop.allocate().unwrap().unwrap().remove(0);
    assert_eq!(result.devices.unwrap().results.unwrap()[0].admin_access, Some(true));
    let shop = Shop::new().devices(plain(&["x"])).had(json!([{"device": "x", "adminAccess": true}]));
    assert_eq!(shop.claim("c", wanting(&[("r", json!({}))])).got(), "r=x");
}

#[test]
fn parts_of_a_device_share_its_counters() {
    let shared = json!({"sharedCounters": [{"name": "card", "counters": {"slots": {"value": "3"}}}],
        "pool": {"name": "a", "generation": 1, "resourceSliceCount": 2}});
    let part = |name: &str, slots: &str| json!({"name": name, "consumesCounters": [{"counterSet": "card", "counters": {"slots": {"value": slots}}}]});
    let shop = || {
        Shop::new().slice("a0", shared.clone(), json!([])).slice(
            "a1",
            json!({"pool": {"name": "a", "generation": 1, "resourceSliceCount": 2}}),
            json!([part("whole", "3"), part("half", "2"), part("rest", "1")]),
        )
    };
    assert_eq!(shop().claim("c", wanting(&[("r", json!({"count": 2}))])).got(), "r=half r=rest");
    let shop_with_half = shop().had(json!([{"device": "half"}]));
    assert_eq!(shop_with_half.claim("c", wanting(&[("r", json!({}))])).got(), "r=rest");
    let before = Shop { shares: false, ..shop().claim("c", wanting(&[("r", json!({}))])) };
    assert_eq!(before.got(), "-", "not known before 1.36");
}

#[test]
fn a_device_for_many_is_shared_by_its_capacity() {
    let policy = json!({"default": "1Gi", "validRange": {"min": "2Gi", "max": "8Gi", "step": "2Gi"}});
    let devices = json!([{"name": "net", "allowMultipleAllocations": true,
        "capacity": {"memory": {"value": "8Gi", "requestPolicy": policy}}}]);
    let wants = |amount: &str| wanting(&[("r", json!({"capacity": {"requests": {"memory": amount}}}))]);
    let shop = Shop::new().devices(devices.clone()).claim("one", wants("3Gi")).claim("two", wants("1Gi"));
    let results = shop.allocate().unwrap().unwrap();
    let shares: Vec<_> = results
        .iter()
        .map(|result| {
            let device = &result.devices.as_ref().unwrap().results.as_ref().unwrap()[0];
            (device.consumed_capacity.as_ref().unwrap()["memory"].0.clone(), device.share_id.clone().unwrap())
        })
        .collect();
    assert_eq!([&*shares[0].0, &*shares[1].0], ["4Gi", "2Gi"], "rounded up to a step, and to the least");
    assert_ne!(shares[0].1, shares[1].1);
    let full = Shop::new().devices(devices.clone()).had(json!([{"device": "net",
        "shareID": shares[0].1, "consumedCapacity": {"memory": "6Gi"}}]));
    assert_eq!(full.claim("c", wants("3Gi")).got(), "-");
    let shop = Shop::new().devices(devices.clone()).claim("c", wants("9Gi"));
    assert_eq!(shop.got(), "-", "more than the policy gives one claim");
    let unknown = wanting(&[("r", json!({"capacity": {"requests": {"speed": "1"}}}))]);
    assert_eq!(Shop::new().devices(devices).claim("c", unknown).got(), "-");
}

#[test]
fn only_the_newest_edition_of_a_pool_counts_and_a_part_of_it_is_not_used() {
    let edition = |generation: i64, slices: i64| json!({"pool": {"name": "a", "generation": generation, "resourceSliceCount": slices}});
    let one = || wanting(&[("r", json!({}))]);
    let shop =
        Shop::new().slice("a1", edition(1, 1), plain(&["old"])).slice("a2", edition(2, 1), plain(&["new"]));
    assert_eq!(shop.claim("c", one()).got(), "r=new");
    assert_eq!(Shop::new().slice("a1", edition(1, 2), plain(&["x"])).claim("c", one()).got(), "-");
    let elsewhere = json!({"nodeName": "m", "pool": {"name": "a", "generation": 1, "resourceSliceCount": 2}});
    let shop = Shop::new().slice("a1", edition(1, 2), plain(&["x"])).slice("a2", elsewhere, plain(&["y"]));
    assert_eq!(shop.claim("c", one()).got(), "r=x", "slices of other nodes make a pool whole");
}

#[test]
fn a_pool_that_contradicts_itself_is_not_used() {
    let shop = Shop::new().devices(plain(&["x", "x"])).claim("c", wanting(&[("r", json!({}))]));
    assert_eq!(shop.allocate(), Err(Trouble::Here("invalid resource pools were encountered")));
    assert_eq!(shop.slice("b1", json!({}), plain(&["y"])).got(), "r=y", "others are");
}

#[test]
fn devices_reach_one_node_all_nodes_or_those_selected() {
    let selector = |value: &str| json!({"nodeSelectorTerms": [{"matchExpressions": [{"key": "rack", "operator": "In", "values": [value]}]}]});
    let got = |more: Value, devices: Value| {
        let mut more = more;
        if more.get("nodeName").is_none() {
            more["nodeName"] = Value::Null;
        }
        let shop = Shop::new().slice("a", more, devices).claim("c", wanting(&[("r", json!({}))]));
        shop.allocate()
            .unwrap()
            .map(|mut results| serde_json::to_value(results.remove(0).node_selector).unwrap())
    };
    let here = json!({"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}]});
    assert_eq!(got(json!({"nodeName": "n"}), plain(&["x"])), Some(here.clone()));
    assert_eq!(got(json!({"nodeName": "m"}), plain(&["x"])), None);
    assert_eq!(got(json!({"allNodes": true}), plain(&["x"])), Some(Value::Null));
    assert_eq!(got(json!({"nodeSelector": selector("1")}), plain(&["x"])), Some(selector("1")));
    assert_eq!(got(json!({"nodeSelector": selector("2")}), plain(&["x"])), None);
    let each = json!([{"name": "far", "nodeName": "m"}, {"name": "near", "nodeName": "n"}]);
    assert_eq!(got(json!({"perDeviceNodeSelection": true}), each), Some(here));
}

#[test]
fn configuration_of_class_and_claim_goes_with_the_devices() {
    let opaque = |text: &str| json!({"driver": "d.io", "parameters": {"is": text}});
    let mut wanted = wanting(&[("r", json!({})), ("s", json!({}))]);
    wanted["config"] = json!([{"opaque": opaque("all")}, {"requests": ["s"], "opaque": opaque("one")}, {"requests": ["t"], "opaque": opaque("none")}]);
    let shop = Shop::new()
        .class("gpu", json!({"config": [{"opaque": opaque("class")}]}))
        .devices(plain(&["x", "y"]))
        .claim("c", wanted);
    let result = shop.allocate().unwrap().unwrap().remove(0);
    let config = serde_json::to_value(result.devices.unwrap().config).unwrap();
    assert_eq!(
        config,
        json!([
        {"source": "FromClass", "opaque": opaque("class")},
        {"source": "FromClaim", "opaque": opaque("all")},
        {"source": "FromClaim", "requests": ["s"], "opaque": opaque("one")}])
    );
}

#[test]
fn what_cannot_be_meant_is_an_error() {
    for (devices, text) in [
        (
            wanting(&[("r", json!({"deviceClassName": "none"}))]),
            "claim default/c, request r: could not retrieve device class none",
        ),
        (
            wanting(&[("r", json!({"allocationMode": "Some"}))]),
            "claim default/c, request r: unsupported count mode Some",
        ),
        (json!({"requests": [{"name": "r"}]}), "claim default/c, request r: unsupported request type"),
        (
            wanting(&[("r", json!({"count": 33}))]),
            "claim default/c: number of requested devices 33 exceeds the claim limit of 32",
        ),
        (
            wanting(&[("r", json!({"selectors": [{}]}))]),
            "claim default/c, request r, selector #0: CEL expression empty (unsupported selector type?)",
        ),
    ] {
        assert_eq!(Shop::new().claim("c", devices).trouble(), text);
    }
}

#[test]
fn a_search_without_hope_ends_at_its_limit() {
    let names: Vec<String> = (0..40).map(|n| format!("x{n}")).collect();
    let devices: Value =
        names.iter().map(|name| json!({"name": name, "attributes": {"a": {"string": name}}})).collect();
    let mut wanted = wanting(&[("r", json!({"count": 20})), ("s", json!({"count": 2}))]);
    wanted["constraints"] = json!([{"matchAttribute": "d.io/a", "requests": ["s"]}]);
    let shop = Shop { steps: 10_000, ..Shop::new().devices(devices).claim("c", wanted) };
    assert_eq!(shop.allocate(), Err(Trouble::Timeout));
}

#[test]
fn a_thousand_claims_are_no_deeper_than_one() {
    let names: Vec<String> = (0..1000).map(|n| format!("x{n:04}")).collect();
    let devices: Value = names.iter().map(|name| json!({"name": name})).collect();
    let shop = Shop { steps: 10_000_000, ..Shop::new().devices(devices) };
    let shop = (0..1000).fold(shop, |shop, n| shop.claim(&format!("c{n}"), wanting(&[("r", json!({}))])));
    assert_eq!(shop.allocate().unwrap().map(|results| results.len()), Some(1000));
}
