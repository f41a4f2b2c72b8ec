//! OpenMetrics text, as the encoder writes it, in the older form that upstream serves and every reader knows.
//!
//! In OpenMetrics a counter is described without the `_total` of its samples, units have a line, and the end has one.

/// The same in the older form.
pub(super) fn of_open(open: &str) -> String {
    let mut classic = String::with_capacity(open.len() + 1024);
    let mut help = None;
    for line in open.lines() {
        if line.starts_with("# HELP ") {
            help = Some(line);
        } else if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').unwrap_or((described, "untyped"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            let text = help
                .take()
                .and_then(|line| line.strip_prefix("# HELP ")?.strip_prefix(name))
                .unwrap_or_default();
            classic.push_str(&format!("# HELP {name}{suffix}{text}\n# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            classic.push_str(line);
            classic.push('\n');
        }
    }
    classic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_described_by_the_name_of_their_samples() {
        let open = "# HELP requests So many.\n# TYPE requests counter\nrequests_total{a=\"b # c\"} 2\n\
            # HELP took_seconds So long.\n# TYPE took_seconds gauge\n# UNIT took_seconds seconds\ntook_seconds 1.5\n# EOF\n";
        let classic = "# HELP requests_total So many.\n# TYPE requests_total counter\nrequests_total{a=\"b # c\"} 2\n\
            # HELP took_seconds So long.\n# TYPE took_seconds gauge\ntook_seconds 1.5\n";
        assert_eq!(of_open(open), classic);
    }
}
