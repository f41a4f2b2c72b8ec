//! A registry as text: OpenMetrics as the encoder writes it, and the older form that upstream serves and every reader knows.
//!
//! In OpenMetrics a counter is described without the `_total` of its samples, a counter that is not called so has no type,
//! units have a line, numbers always have a point, and the end has a line.

use std::fmt;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// The media type that upstream answers with.
pub const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The media type of OpenMetrics.
pub const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Counters of upstream that are not called `_total`.
const OTHER_COUNTERS: &[&str] = &[
    "authenticated_user_requests",
    "authentication_attempts",
    "endpoint_slice_controller_changes",
    "endpoint_slice_controller_syncs",
];

/// What `registry` holds, for a reader who accepts these media types, as the media type and the text.
///
/// # Errors
/// A collector failed.
pub fn answer<'a>(
    registry: &Registry,
    accepted: impl IntoIterator<Item = &'a str>,
) -> Result<(&'static str, String), fmt::Error> {
    if accepted.into_iter().any(|accepted| accepted.contains("application/openmetrics-text")) {
        let mut open = String::new();
        text::encode(&mut open, registry)?;
        return Ok((OPEN, open));
    }
    Ok((CLASSIC, classic(registry)?))
}

/// What `registry` holds, in the form of Prometheus' version 0.0.4.
///
/// # Errors
/// A collector failed.
pub fn classic(registry: &Registry) -> Result<String, fmt::Error> {
    let mut open = String::new();
    text::encode(&mut open, registry)?;
    Ok(of_open(&open))
}

fn of_open(open: &str) -> String {
    let mut classic = String::with_capacity(open.len() + 1024);
    let mut help = None;
    for line in open.lines() {
        if line.starts_with("# HELP ") {
            help = Some(line);
        } else if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').unwrap_or((described, "untyped"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "unknown" if OTHER_COUNTERS.contains(&name) => ("", "counter"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            let text = help
                .take()
                .and_then(|line| line.strip_prefix("# HELP ")?.strip_prefix(name))
                .unwrap_or_default();
            classic.push_str(&format!("# HELP {name}{suffix}{text}\n# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            push_sample(&mut classic, line);
            classic.push('\n');
        }
    }
    classic
}

/// A sample, with the bound of a bucket as upstream writes it: there it is a label, and labels are told apart by their text.
fn push_sample(classic: &mut String, line: &str) {
    // A quotation mark inside a value has a backslash before it, so this is found in no value.
    let at = ["{le=\"", ",le=\""].iter().find_map(|mark| Some(line.find(mark)? + mark.len()));
    let parts = at.and_then(|at| {
        let (before, rest) = line.split_at_checked(at)?;
        let (bound, after) = rest.split_once('"')?;
        Some((before, bound.parse::<f64>().ok().filter(|bound| bound.is_finite())?, after))
    });
    match parts {
        Some((before, bound, after)) => {
            classic.push_str(before);
            classic.push_str(&number(bound));
            classic.push('"');
            classic.push_str(after);
        }
        None => classic.push_str(line),
    }
}

/// A number in the shortest form that Go knows: with an exponent of two digits where it is below -4 or above 5.
fn number(number: f64) -> String {
    let scientific = format!("{number:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => format!("{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_described_by_the_name_of_their_samples() {
        let open = "# HELP requests So many.\n# TYPE requests counter\nrequests_total{a=\"b # c\"} 2\n\
            # HELP authentication_attempts So often.\n# TYPE authentication_attempts unknown\nauthentication_attempts 3\n\
            # HELP took_seconds So long.\n# TYPE took_seconds gauge\n# UNIT took_seconds seconds\ntook_seconds 1.5\n# EOF\n";
        let classic = "# HELP requests_total So many.\n# TYPE requests_total counter\nrequests_total{a=\"b # c\"} 2\n\
            # HELP authentication_attempts So often.\n# TYPE authentication_attempts counter\nauthentication_attempts 3\n\
            # HELP took_seconds So long.\n# TYPE took_seconds gauge\ntook_seconds 1.5\n";
        assert_eq!(of_open(open), classic);
    }

    #[test]
    fn bounds_are_written_as_go_writes_them() {
        for (open, classic) in [
            ("1.0", "1"),
            ("0.005", "0.005"),
            ("0.0001", "0.0001"),
            ("0.000009999999999999999", "9.999999999999999e-06"),
            ("100000.0", "100000"),
            ("1000000.0", "1e+06"),
            ("1e9", "1e+09"),
            ("16.384", "16.384"),
            ("+Inf", "+Inf"),
        ] {
            for labels in ["", ",a=\"b\""] {
                let mut found = String::new();
                push_sample(&mut found, &format!("x_bucket{{le=\"{open}\"{labels}}} 7"));
                assert_eq!(found, format!("x_bucket{{le=\"{classic}\"{labels}}} 7"));
            }
        }
        let mut found = String::new();
        let tricky = r#"x{a=",le=\"1.0\""} 1.0"#;
        push_sample(&mut found, tricky);
        assert_eq!(found, tricky);
    }
}
