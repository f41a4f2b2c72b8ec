//! `PriorityLevelConfiguration`: how many requests of a level run, and how the others wait.

use serde_json::{Value, json};

use super::{GROUP, conditions, fixed};
use crate::kind::Scope;
use crate::kinds::frame::cells::{self, Show, column, text};
use crate::kinds::frame::check::refuse;
use crate::kinds::frame::{Builtin, Fill, Generation, Object, View};
use crate::violation::{Violation, Violations};

/// The most queues of a level.
const MOST_QUEUES: i64 = 10_000_000;
/// The most bits that dealing a hand may take.
const MOST_BITS: i64 = 60;

pub(crate) fn kind() -> Builtin {
    Builtin::new(GROUP, "PriorityLevelConfiguration", "prioritylevelconfigurations", Scope::Cluster)
        .generation(Generation::Spec)
        .status(|| json!({}))
        .default(default)
        .validate(|level, out| {
            validate(level, out);
            fixed(out, level, "PriorityLevelConfiguration");
            conditions(out, &level.get("status").get("conditions"));
        })
        .validate_status(|new, _, out| conditions(out, &new.get("status").get("conditions")))
        .columns(vec![
            cells::name(),
            column("Type", "string", "Whether it is limited.", |level, _| text(level, "/spec/type").into()),
            amount("NominalConcurrencyShares", "Its share of all requests.", |level, _| {
                shown(level, "/spec/limited/nominalConcurrencyShares")
            }),
            amount("Queues", "How many queues it has.", |level, _| {
                shown(level, "/spec/limited/limitResponse/queuing/queues")
            }),
            amount("HandSize", "From how many queues one is chosen.", |level, _| {
                shown(level, "/spec/limited/limitResponse/queuing/handSize")
            }),
            amount("QueueLengthLimit", "How many wait in one queue.", |level, _| {
                shown(level, "/spec/limited/limitResponse/queuing/queueLengthLimit")
            }),
            cells::age(),
        ])
}

fn amount(name: &'static str, description: &'static str, cell: fn(&Value, i64) -> Value) -> Show {
    column(name, "string", description, cell)
}

fn shown(level: &Value, pointer: &str) -> Value {
    level.pointer(pointer).cloned().unwrap_or_else(|| "<none>".into())
}

fn default(level: &mut Object) {
    let spec = level.object("spec");
    if spec.text("type") == "Exempt" {
        let exempt = spec.object("exempt");
        exempt.fill("nominalConcurrencyShares", 0);
        exempt.fill("lendablePercent", 0);
    }
    if let Some(limited) = spec.object_if("limited") {
        limited.fill("nominalConcurrencyShares", 30);
        limited.fill("lendablePercent", 0);
        if let Some(queuing) = limited.object_if("limitResponse").and_then(|r| r.object_if("queuing")) {
            for (field, value) in [("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)] {
                if queuing.get(field).and_then(Value::as_i64).unwrap_or_default() == 0 {
                    queuing.insert(field.to_owned(), value.into());
                }
            }
        }
    }
}

fn validate(level: &View, out: &mut Violations) {
    let spec = level.get("spec");
    let (kind, limited, exempt) = (spec.get("type"), spec.get("limited"), spec.get("exempt"));
    let name = level.get("metadata").get("name");
    if (name.text() == "exempt") != (kind.text() == "Exempt") {
        let detail = "type must be 'Exempt' if and only if `name` is 'exempt'";
        out.push(Violation::invalid(kind.path(), kind.text(), detail));
    }
    match kind.text() {
        "Exempt" => {
            if limited.is_set() {
                let detail = "must be nil if the type is not Limited";
                out.push(Violation::forbidden(limited.path(), detail));
            }
            shares(out, &exempt);
        }
        "Limited" => {
            if exempt.is_set() {
                let detail = "must be nil if the type is Limited";
                out.push(Violation::forbidden(exempt.path(), detail));
            }
            if limited.is_set() {
                one_limit(out, &limited);
            } else {
                let detail = "must not be empty when type is Limited";
                out.push(Violation::required(limited.path(), detail));
            }
        }
        other => out.push(Violation::not_supported(kind.path(), other, &["Exempt", "Limited"])),
    }
}

fn shares(out: &mut Violations, of: &View) {
    let (shares, lendable) = (of.get("nominalConcurrencyShares"), of.get("lendablePercent"));
    if shares.int().is_some_and(|shares| shares < 0) {
        refuse(out, &shares, "must be a non-negative integer");
    }
    if lendable.int().is_some_and(|percent| !(0..=100).contains(&percent)) {
        refuse(out, &lendable, "must be between 0 and 100, inclusive");
    }
}

fn one_limit(out: &mut Violations, limited: &View) {
    shares(out, limited);
    let borrowing = limited.get("borrowingLimitPercent");
    if borrowing.int().is_some_and(|percent| percent < 0) {
        refuse(out, &borrowing, "if specified, must be a non-negative integer");
    }
    let response = limited.get("limitResponse");
    let (kind, queuing) = (response.get("type"), response.get("queuing"));
    match kind.text() {
        "Reject" if queuing.is_set() => {
            let detail = "must be nil if limited.limitResponse.type is not Limited";
            out.push(Violation::forbidden(queuing.path(), detail));
        }
        "Reject" => (),
        "Queue" if queuing.is_set() => queues(out, &queuing),
        "Queue" => {
            let detail = "must not be empty if limited.limitResponse.type is Limited";
            out.push(Violation::required(queuing.path(), detail));
        }
        other => out.push(Violation::not_supported(kind.path(), other, &["Queue", "Reject"])),
    }
}

fn queues(out: &mut Violations, queuing: &View) {
    let (length, queues, hand) =
        (queuing.get("queueLengthLimit"), queuing.get("queues"), queuing.get("handSize"));
    let value = |view: &View| view.int().unwrap_or_default();
    for view in [&length, &queues] {
        if value(view) <= 0 {
            out.push(Violation::invalid(view.path(), value(view), "must be positive"));
        }
    }
    if value(&queues) > MOST_QUEUES {
        refuse(out, &queues, format!("must not be greater than {MOST_QUEUES}"));
    }
    let (deck, dealt) = (value(&queues), value(&hand));
    if dealt <= 0 {
        out.push(Violation::invalid(hand.path(), dealt, "must be positive"));
    }
    if dealt > deck {
        refuse(out, &hand, format!("should not be greater than queues ({deck})"));
    } else if deck > 0 && ((deck as f64).log2() * dealt as f64).ceil() as i64 > MOST_BITS {
        let detail = format!(
            "required entropy bits of deckSize {deck} and handSize {dealt} should not be greater than {MOST_BITS}"
        );
        refuse(out, &hand, detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, served};

    fn level(name: &str, spec: Value) -> Value {
        json!({"metadata": {"name": name}, "spec": spec})
    }

    #[test]
    fn a_level_queues_by_default_in_64() {
        let queue =
            json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}});
        let whole = defaulted(kind(), level("l", queue));
        assert_eq!(
            served(kind()).row(&whole, 0)[1..6],
            [json!("Limited"), json!(30), json!(64), json!(8), json!(50)]
        );
        assert_eq!(said(kind(), whole), [""; 0]);
    }

    #[test]
    fn limits_make_sense() {
        assert_eq!(
            said(kind(), level("l", json!({"type": "Exempt"}))),
            [
                r#"spec.type: Invalid value: "Exempt": type must be 'Exempt' if and only if `name` is 'exempt'"#
            ]
        );
        let queuing = json!({"queues": 1000, "handSize": 9, "queueLengthLimit": 1});
        let limited = json!({"lendablePercent": 101, "limitResponse": {"type": "Queue", "queuing": queuing}});
        assert_eq!(
            said(kind(), level("l", json!({"type": "Limited", "limited": limited}))),
            [
                "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 9: required entropy bits of deckSize 1000 and handSize 9 should not be greater than 60",
            ]
        );
    }
}
