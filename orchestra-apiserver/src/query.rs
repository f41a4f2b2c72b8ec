//! Query parameters, and the options that lists, watches and writes take from them.

use orchestra_core::violation::{FieldPath, Violation, Violations};
use serde_json::{Value, json};

use crate::admission::Operation;
use crate::request::Verb;
use crate::status::StatusError;

/// The decoded parameters of a query, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=b&c=d`; pairs that are not valid UTF-8 are dropped, as Go's `url.ParseQuery` does.
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((form_decode(key)?, form_decode(value)?))
        });
        Self(pairs.collect())
    }

    /// The first value of a parameter; empty ones count as absent.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// Whether a parameter is set to something true; bare `?watch` counts.
    pub fn flag(&self, key: &str) -> bool {
        self.0
            .iter()
            .find(|(k, _)| k == key)
            .is_some_and(|(_, v)| !matches!(v.to_ascii_lowercase().as_str(), "false" | "0" | "f"))
    }

    /// All pairs.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    fn number(&self, key: &str) -> Result<Option<u64>, StatusError> {
        let Some(text) = self.get(key) else { return Ok(None) };
        match text.parse::<i64>() {
            Ok(n) => Ok(u64::try_from(n).ok()),
            Err(_) => {
                Err(StatusError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))
            }
        }
    }
}

fn form_decode(text: &str) -> Option<String> {
    percent_decode(&text.replace('+', " "))
}

/// Undoes percent encoding; `None` when the result is not UTF-8 or an escape is broken.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// How a list's `resourceVersion` is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VersionMatch {
    Exact,
    NotOlderThan,
}

/// `metav1.ListOptions`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListOptions {
    pub(crate) label_selector: String,
    pub(crate) field_selector: String,
    pub(crate) limit: Option<usize>,
    pub(crate) continue_token: Option<String>,
    /// `None` when unset.
    pub(crate) resource_version: Option<u64>,
    pub(crate) version_match: Option<VersionMatch>,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) allow_bookmarks: bool,
    pub(crate) send_initial_events: Option<bool>,
}

impl ListOptions {
    pub(crate) fn parse(query: &Query, watch: bool) -> Result<Self, StatusError> {
        let resource_version = match query.get("resourceVersion").map(resource_version).transpose() {
            Ok(version) => version,
            // Watches meet the mistake where nobody expects one.
            Err(why) if watch => return Err(StatusError::unforeseen(why)),
            Err(why) => return Err(StatusError::bad_request(format!("invalid resource version: {why}"))),
        };
        let matching = query.get("resourceVersionMatch");
        let limit = query.number("limit")?.filter(|n| *n > 0);
        let options = Self {
            label_selector: query.get("labelSelector").unwrap_or_default().to_owned(),
            field_selector: query.get("fieldSelector").unwrap_or_default().to_owned(),
            limit: limit.map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
            continue_token: query.get("continue").map(str::to_owned),
            resource_version,
            version_match: match matching {
                Some("Exact") => Some(VersionMatch::Exact),
                Some(_) => Some(VersionMatch::NotOlderThan),
                None => None,
            },
            timeout_seconds: query.number("timeoutSeconds")?.filter(|n| *n > 0),
            allow_bookmarks: query.flag("allowWatchBookmarks"),
            send_initial_events: query.get("sendInitialEvents").map(|_| query.flag("sendInitialEvents")),
        };
        options.check(matching, watch)?;
        Ok(options)
    }

    /// The combinations upstream forbids (`ValidateListOptions`), all of them told at once.
    fn check(&self, matching: Option<&str>, watch: bool) -> Result<(), StatusError> {
        let mut out = Violations::new();
        let path = FieldPath::new("resourceVersionMatch");
        let mut forbid = |detail: &str| out.push(Violation::forbidden(&path, detail));
        let not_older_than = matching == Some("NotOlderThan");
        if watch {
            if self.send_initial_events.is_some() && !not_older_than {
                forbid("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
            }
            if let Some(text) = matching {
                if self.send_initial_events.is_none() {
                    forbid(
                        "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                    );
                }
                if !not_older_than {
                    out.push(Violation::not_supported(&path, text, &["NotOlderThan"]));
                }
                if self.continue_token.is_some() {
                    let detail = "resourceVersionMatch is forbidden when continue is provided";
                    out.push(Violation::forbidden(&path, detail));
                }
            }
        } else {
            if let Some(text) = matching {
                if self.resource_version.is_none() {
                    forbid("resourceVersionMatch is forbidden unless resourceVersion is provided");
                }
                if self.continue_token.is_some() {
                    forbid("resourceVersionMatch is forbidden when continue is provided");
                }
                if !matches!(text, "Exact" | "NotOlderThan") {
                    out.push(Violation::not_supported(&path, text, &["Exact", "NotOlderThan", ""]));
                }
                if text == "Exact" && self.resource_version == Some(0) {
                    let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                    out.push(Violation::forbidden(&path, detail));
                }
            }
            if self.send_initial_events.is_some() {
                let path = FieldPath::new("sendInitialEvents");
                out.push(Violation::forbidden(&path, "sendInitialEvents is forbidden for list"));
            }
        }
        if out.is_empty() {
            Ok(())
        } else {
            Err(StatusError::invalid("meta.k8s.io", "ListOptions", "", &out))
        }
    }
}

/// A resourceVersion, or what upstream says of one that is no number.
pub(crate) fn resource_version(text: &str) -> Result<u64, String> {
    let wrong = |why: &str| {
        Err(format!("resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: {why}"))
    };
    match text.parse::<u64>() {
        // Rust takes a sign, Go does not.
        Ok(_) if text.starts_with('+') => wrong("invalid syntax"),
        Ok(number) => Ok(number),
        Err(error) if *error.kind() == std::num::IntErrorKind::PosOverflow => wrong("value out of range"),
        Err(_) => wrong("invalid syntax"),
    }
}

/// What to do with unknown and duplicate fields of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them and warn.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

/// What every write takes from the query.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteOptions {
    pub(crate) dry_run: bool,
    pub(crate) field_validation: FieldValidation,
    /// As the client put it, if it did.
    said_validation: Option<&'static str>,
    /// Empty when not given.
    pub(crate) field_manager: String,
    pub(crate) force: Option<bool>,
}

/// Longest name of a field manager, in bytes.
pub(crate) const MAX_FIELD_MANAGER: usize = 128;

fn field_manager(query: &Query, kind: &str) -> Result<String, StatusError> {
    let name = query.get("fieldManager").unwrap_or_default();
    let path = FieldPath::new("fieldManager");
    let violation = if name.len() > MAX_FIELD_MANAGER {
        Violation::too_long(&path, MAX_FIELD_MANAGER)
    } else if name.chars().any(char::is_control) {
        Violation::invalid(&path, name, "should only contain printable characters")
    } else {
        return Ok(name.to_owned());
    };
    Err(StatusError::invalid("meta.k8s.io", kind, "", &[violation]))
}

impl WriteOptions {
    pub(crate) fn parse(query: &Query, kind: &str) -> Result<Self, StatusError> {
        let refuse = |field: &str, value: &str, supported: &str| {
            StatusError::unprocessable(format!(
                "{kind}.meta.k8s.io \"\" is invalid: {field}: Unsupported value: {value:?}: supported values: {supported}"
            ))
        };
        let dry_run = match query.get("dryRun") {
            None => false,
            Some("All") => true,
            Some(other) => return Err(refuse("dryRun", other, "\"All\"")),
        };
        let (field_validation, said_validation) = match query.get("fieldValidation") {
            None => (FieldValidation::Warn, None),
            Some("Warn") => (FieldValidation::Warn, Some("Warn")),
            Some("Ignore") => (FieldValidation::Ignore, Some("Ignore")),
            Some("Strict") => (FieldValidation::Strict, Some("Strict")),
            Some(other) => {
                return Err(refuse("fieldValidation", other, "\"\", \"Ignore\", \"Strict\", \"Warn\""));
            }
        };
        let force = query.get("force").map(|_| query.flag("force"));
        let field_manager = field_manager(query, kind)?;
        Ok(Self { dry_run, field_validation, said_validation, field_manager, force })
    }

    /// The `CreateOptions`, `UpdateOptions` or `PatchOptions` they came as. What a patch creates was asked for by a patch.
    pub(crate) fn to_json(&self, operation: Operation, verb: Verb) -> Value {
        let kind = match (verb, operation) {
            (Verb::Patch, _) => "PatchOptions",
            (_, Operation::Create) => "CreateOptions",
            _ => "UpdateOptions",
        };
        let mut out = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
        if self.dry_run {
            out["dryRun"] = json!(["All"]);
        }
        if let Some(force) = self.force {
            out["force"] = force.into();
        }
        if !self.field_manager.is_empty() {
            out["fieldManager"] = self.field_manager.as_str().into();
        }
        if let Some(validation) = self.said_validation {
            out["fieldValidation"] = validation.into();
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded() {
        let query = Query::parse("labelSelector=a%3Db%2Cc+in+%28d%29&watch&limit=5");
        assert_eq!(query.get("labelSelector"), Some("a=b,c in (d)"));
        assert!(query.flag("watch"));
        assert!(!query.flag("allowWatchBookmarks"));
        assert_eq!(ListOptions::parse(&query, false).unwrap().limit, Some(5));
    }

    #[test]
    fn combinations_that_mean_nothing_are_refused() {
        for (query, watch) in [
            ("resourceVersionMatch=Exact", false),
            ("resourceVersionMatch=Exact&resourceVersion=0", false),
            ("sendInitialEvents=true", true),
            ("resourceVersion=x", false),
        ] {
            assert!(ListOptions::parse(&Query::parse(query), watch).is_err(), "{query}");
        }
    }
}
