//! How much a device has, and in what amounts it may be asked for.

use super::each;
use crate::kinds::frame::View;
use crate::kinds::frame::check::{refuse, required_because};
use crate::quantity::Quantity;
use crate::violation::{Violation, Violations};

/// The most amounts that a capacity is given out in.
const MOST_VALUES: usize = 10;

fn amount(view: &View) -> Option<Quantity> {
    Quantity::from_json(view.value()?)?.ok()
}

/// One capacity, of a device that `is_shared` by several claims or is not.
pub(super) fn validate(out: &mut Violations, capacity: &View, is_shared: bool) {
    let policy = capacity.get("requestPolicy");
    if !policy.is_set() {
        return;
    }
    if !is_shared {
        return out.push(Violation::forbidden(policy.path(), "allowMultipleAllocations must be true"));
    }
    let (values, range) = (policy.get("validValues"), policy.get("validRange"));
    let all = amount(&capacity.get("value")).unwrap_or_default();
    let usual = policy.get("default");
    match (!values.is_empty(), range.is_set()) {
        (true, true) => {
            let detail = "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time";
            out.push(Violation::forbidden(policy.path(), detail));
        }
        (true, false) => {
            if required_because(out, &usual, "required when validValues is defined") {
                of_values(out, amount(&usual).unwrap_or_default(), all, &values);
            }
        }
        (false, true) => {
            if required_because(out, &usual, "required when validRange is defined") {
                of_range(out, amount(&usual).unwrap_or_default(), all, &range);
            }
        }
        (false, false) => (),
    }
}

fn of_values(out: &mut Violations, usual: Quantity, all: Quantity, values: &View) {
    let amounts: Vec<Quantity> = values.items().map(|one| amount(&one).unwrap_or_default()).collect();
    for (item, pair) in values.items().skip(1).zip(amounts.windows(2)) {
        if let [before, after] = pair
            && before > after
        {
            let detail = "values must be sorted in ascending order";
            out.push(Violation::invalid(item.path(), after.to_string(), detail));
        }
    }
    let few = each(out, values, MOST_VALUES, |out, item| {
        let own = amount(item).unwrap_or_default();
        if own > all {
            let detail = format!("option is larger than capacity value: {all}");
            out.push(Violation::invalid(item.path(), own.to_string(), detail));
        }
    });
    if few {
        for (at, item) in values.items().enumerate() {
            // Told apart by whole units, as upstream.
            let (before, rest) = amounts.split_at(at);
            if rest.first().is_some_and(|own| before.iter().any(|other| other.value() == own.value())) {
                let own = rest.first().map(|own| own.value().to_string()).unwrap_or_default();
                out.push(Violation::duplicate(item.path(), own));
            }
        }
    }
    if !few || !amounts.contains(&usual) {
        let detail = "default value is not valid according to the requestPolicy";
        out.push(Violation::invalid(values.path(), usual.to_string(), detail));
    }
}

fn of_range(out: &mut Violations, usual: Quantity, all: Quantity, range: &View) {
    let (min, max, step) = (range.get("min"), range.get("max"), range.get("step"));
    if !required_because(out, &min, "required when validRange is defined") {
        return;
    }
    let mut wrong = |at: &View, shown: Quantity, detail: String| {
        out.push(Violation::invalid(at.path(), shown.to_string(), detail));
    };
    let least = amount(&min).unwrap_or_default();
    if least > all {
        wrong(&min, least, format!("min is larger than capacity value: {all}"));
    }
    if usual < least {
        wrong(&min, usual, format!("default is less than min: {least}"));
    }
    let most = amount(&max);
    if let Some(most) = most {
        if least > most {
            wrong(&max, least, format!("min is larger than max: {most}"));
        }
        if most > all {
            wrong(&max, most, format!("max is larger than capacity value: {all}"));
        }
        if usual > most {
            wrong(&max, usual, format!("default is more than max: {most}"));
        }
    }
    let Some(by) = amount(&step) else { return };
    if by.value() <= 0 {
        // Upstream 1.36 ends the request with a division by zero here.
        return refuse(out, &step, "must be greater than zero");
    }
    if least + by > all {
        wrong(&step, by, format!("one step {} is larger than capacity value: {all}", least + by));
    }
    for value in [Some(usual), most].into_iter().flatten() {
        let steps = i128::from(value.value()) - i128::from(least.value());
        if steps % i128::from(by.value()) != 0 {
            wrong(&step, value, format!("value is not a multiple of a given step ({by}) from ({least})"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::violation::FieldPath;

    fn said(policy: Value) -> Vec<String> {
        let capacity = json!({"value": "10Gi", "requestPolicy": policy});
        let mut out = Violations::new();
        validate(&mut out, &View::at(Some(&capacity), FieldPath::new("c")), true);
        out.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn amounts_are_in_order_and_the_usual_one_is_among_them() {
        assert_eq!(said(json!({"default": "2Gi", "validValues": ["1Gi", "2Gi"]})), [""; 0]);
        let at = "c.requestPolicy.validValues";
        assert_eq!(
            said(json!({"default": "3Gi", "validValues": ["2Gi", "1Gi", "20Gi", "20Gi"]})),
            [
                format!("{at}[1]: Invalid value: \"1Gi\": values must be sorted in ascending order"),
                format!("{at}[2]: Invalid value: \"20Gi\": option is larger than capacity value: 10Gi"),
                format!("{at}[3]: Invalid value: \"20Gi\": option is larger than capacity value: 10Gi"),
                format!("{at}[3]: Duplicate value: \"21474836480\""),
                format!(
                    "{at}: Invalid value: \"3Gi\": default value is not valid according to the requestPolicy"
                ),
            ]
        );
        assert_eq!(
            said(json!({"validValues": ["1Gi"]})),
            ["c.requestPolicy.default: Required value: required when validValues is defined"]
        );
    }

    #[test]
    fn a_range_is_within_what_there_is_and_goes_by_its_steps() {
        let at = "c.requestPolicy.validRange";
        assert_eq!(
            said(json!({"default": "2Gi", "validRange": {"min": "1Gi", "max": "5Gi", "step": "1Gi"}})),
            [""; 0]
        );
        assert_eq!(
            said(json!({"default": "1", "validRange": {"min": "2", "max": "20Gi", "step": "5"}})),
            [
                format!("{at}.min: Invalid value: \"1\": default is less than min: 2"),
                format!("{at}.max: Invalid value: \"20Gi\": max is larger than capacity value: 10Gi"),
                format!(
                    "{at}.step: Invalid value: \"1\": value is not a multiple of a given step (5) from (2)"
                ),
                format!(
                    "{at}.step: Invalid value: \"20Gi\": value is not a multiple of a given step (5) from (2)"
                ),
            ]
        );
        assert_eq!(
            said(json!({"default": "1", "validRange": {"min": "1", "step": "0"}})),
            [format!("{at}.step: Invalid value: \"0\": must be greater than zero")]
        );
        assert_eq!(
            said(json!({"default": "1", "validRange": {}})),
            [format!("{at}.min: Required value: required when validRange is defined")]
        );
        assert_eq!(
            said(json!({"default": "1", "validRange": {"min": "1"}, "validValues": ["1"]})),
            [
                "c.requestPolicy: Forbidden: exactly one policy can be specified, cannot specify \"validValues\" and \
                 \"validRange\" at the same time"
            ]
        );
    }
}
