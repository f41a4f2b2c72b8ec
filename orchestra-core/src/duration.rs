//! Spans of time as people read them: the `AGE` column.

/// A span as `kubectl` prints it, with two or three significant figures: `45s`, `3m20s`, `5h`, `2d3h`, `400d`.
///
/// Follows `k8s.io/apimachinery/pkg/util/duration.HumanDuration`: clocks that differ by a second are forgiven, a
/// span further below zero is `<invalid>`.
pub fn human(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    match seconds {
        ..=-2 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => pair(seconds, (MINUTE, 'm'), (1, 's')),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => pair(seconds, (HOUR, 'h'), (MINUTE, 'm')),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => pair(seconds, (DAY, 'd'), (HOUR, 'h')),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => pair(seconds, (YEAR, 'y'), (DAY, 'd')),
        _ => format!("{}y", seconds / YEAR),
    }
}

/// The age at `now` of what came to be at `since`, both Unix time in seconds; `<unknown>` if that is not known.
pub fn age(since: Option<i64>, now: i64) -> String {
    since.map_or_else(|| "<unknown>".to_owned(), |since| human(now.saturating_sub(since)))
}

// The larger unit and, unless none is left, the smaller.
fn pair(seconds: i64, (large, large_name): (i64, char), (small, small_name): (i64, char)) -> String {
    let rest = seconds % large / small;
    let mut text = format!("{}{large_name}", seconds / large);
    if rest != 0 {
        text.push_str(&format!("{rest}{small_name}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_kubectl_prints_them() {
        for (seconds, text) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (10_860, "3h1m"),
            (28_799, "7h59m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (691_200, "8d"),
            (63_071_999, "729d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (252_288_000, "8y"),
        ] {
            assert_eq!(human(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn an_unknown_start_has_no_age() {
        assert_eq!(age(None, 5), "<unknown>");
        assert_eq!(age(Some(2), 5), "3s");
    }
}
