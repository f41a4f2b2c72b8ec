//! Attributes of devices: one value each, or a list of one type.

use crate::kinds::frame::View;
use crate::kinds::frame::check::refuse;
use crate::violation::{Violation, Violations};

/// The most bytes of a value.
const MOST_BYTES: usize = 64;
const VALUES: [&str; 4] = ["bool", "int", "string", "version"];
const LISTS: [&str; 4] = ["bools", "ints", "strings", "versions"];

/// Whether a device has an attribute with a list.
pub(super) fn any_list(attributes: &View) -> bool {
    attributes.entries().any(|(_, attribute)| LISTS.iter().any(|list| attribute.get(list).is_set()))
}

/// One attribute.
pub(super) fn validate(out: &mut Violations, attribute: &View) {
    let string = attribute.get("string");
    if string.is_set() {
        of_text(out, &string);
    }
    let version = attribute.get("version");
    if version.is_set() {
        of_version(out, &version);
    }
    for list in LISTS {
        let list = attribute.get(list);
        if list.is_set() && list.is_empty() {
            refuse(out, &list, "must not be empty if specified");
        }
    }
    attribute.get("strings").items().for_each(|item| of_text(out, &item));
    attribute.get("versions").items().for_each(|item| of_version(out, &item));
    let given = VALUES.iter().chain(&LISTS).filter(|field| attribute.get(field).is_set());
    match given.count() {
        1 => (),
        0 => out.push(Violation::required(attribute.path(), "exactly one value must be specified")),
        _ => refuse(out, attribute, "exactly one value must be specified"),
    }
}

fn of_text(out: &mut Violations, value: &View) {
    if value.text().len() > MOST_BYTES {
        out.push(Violation::too_long(value.path(), MOST_BYTES));
    }
}

fn of_version(out: &mut Violations, value: &View) {
    if !is_version(value.text()) {
        refuse(out, value, "must be a string compatible with semver.org spec 2.0.0");
    }
    of_text(out, value);
}

/// A version as <https://semver.org/spec/v2.0.0.html> has it.
fn is_version(text: &str) -> bool {
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, before) = text.split_once('-').map_or((text, None), |(core, before)| (core, Some(before)));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = |part: &str| is_digits(part) && (part == "0" || !part.starts_with('0'));
    let is_word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let numbers: Vec<&str> = core.split('.').collect();
    numbers.len() == 3
        && numbers.iter().all(|part| is_number(part))
        && before.is_none_or(|before| {
            before.split('.').all(|part| if is_digits(part) { is_number(part) } else { is_word(part) })
        })
        && build.is_none_or(|build| build.split('.').all(is_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_semantic() {
        for good in ["1.2.3", "0.0.0", "1.2.3-alpha.1", "1.2.3+b.007", "1.2.3-0a.x-y+z-1", "1.0.0--"] {
            assert!(is_version(good), "{good}");
        }
        for bad in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "01.2.3",
            "v1.2.3",
            "1.2.3-",
            "1.2.3-01",
            "1.2.3-a..b",
            "1.2.3+",
            "1.2.3+a_b",
        ] {
            assert!(!is_version(bad), "{bad}");
        }
    }
}
