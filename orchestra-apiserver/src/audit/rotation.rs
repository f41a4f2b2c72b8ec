//! When a log file is put away, under which name, and which of those put away are removed. After what upstream's logs do
//! (`--audit-log-maxsize`, `-maxbackup`, `-maxage`).

use std::path::{Path, PathBuf};

use jiff::{Timestamp, ToSpan, tz::TimeZone};

const STAMP: &str = "%Y-%m-%dT%H-%M-%S.%3f";

/// The name of a file that is put away at `now`: `audit.log` becomes `audit-2026-01-31T10-00-00.000.log`.
pub(super) fn backup(path: &Path, now: Timestamp) -> PathBuf {
    let (stem, extension) = parts(path);
    let stamp = now.to_zoned(TimeZone::UTC).strftime(STAMP);
    path.with_file_name(format!("{stem}-{stamp}{extension}"))
}

/// When a file of that name was put away; nothing for files of other names.
fn put_away(path: &Path, name: &str) -> Option<Timestamp> {
    let (stem, extension) = parts(path);
    let stamp = name.strip_prefix(&format!("{stem}-"))?.strip_suffix(extension.as_str())?;
    let time = jiff::civil::DateTime::strptime(STAMP, stamp).ok()?;
    time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// Which of the files beside `path` are to go: the oldest beyond `most`, and those older than `days`. 0 is no bound.
pub(super) fn expired<'a>(
    path: &Path,
    names: impl IntoIterator<Item = &'a str>,
    most: u32,
    days: u32,
    now: Timestamp,
) -> Vec<&'a str> {
    let named = names.into_iter().filter_map(|name| Some((put_away(path, name)?, name)));
    let mut backups: Vec<_> = named.collect();
    backups.sort_unstable_by(|one, other| other.cmp(one));
    let oldest = now.checked_sub((i64::from(days) * 24).hours()).unwrap_or(Timestamp::MIN);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let goes = |nth: usize, at: Timestamp| (most > 0 && nth >= most) || (days > 0 && at < oldest);
    backups.iter().enumerate().filter(|(nth, (at, _))| goes(*nth, *at)).map(|(_, (_, name))| *name).collect()
}

fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let extension = text(path.extension());
    (text(path.file_stem()), if extension.is_empty() { extension } else { format!(".{extension}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_and_other_files_stay() {
        let path = Path::new("/var/log/audit.log");
        let now: Timestamp = "2026-03-10T12:00:00Z".parse().unwrap();
        let name = |days: i64| {
            let put = backup(path, now.checked_sub((days * 24).hours()).unwrap());
            put.file_name().unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(name(0), "audit-2026-03-10T12-00-00.000.log");
        let names = [name(3), name(1), "audit.log".into(), "audit-x.log".into(), "other.log".into(), name(2)];
        let gone = |most, days| expired(path, names.iter().map(String::as_str), most, days, now);
        assert_eq!(gone(0, 0), Vec::<&str>::new());
        assert_eq!(gone(2, 0), [&names[0]]);
        assert_eq!(gone(1, 0), [&names[5], &names[0]]);
        assert_eq!(gone(0, 2), [&names[0]]);
    }
}
