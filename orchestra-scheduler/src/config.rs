//! Reads a `KubeSchedulerConfiguration` (`kubescheduler.config.k8s.io/v1`) into a [`Scheduler`].
//!
//! Profiles, plugins by extension point, `multiPoint`, weights and arguments mean what they mean upstream. Whatever
//! is not understood is an error that names file, line and field; what only makes sense for upstream's process
//! (leader election, client connection, profiling) is read and has no effect.

mod arguments;
mod extender;
mod merge;
mod registry;
mod shape;

use std::time::Duration;

use serde_path_to_error::{Path, Segment};

use crate::profile::{Profile, Sampling};
use crate::queue::BackoffOptions;
use crate::scheduler::Scheduler;

use self::merge::Merge;
use self::shape::{Configuration, ProfileShape, Spanned};

pub use self::registry::{ArgumentError, PluginRegistry};

/// The largest configuration that is read, in bytes.
const LARGEST: usize = 1024 * 1024;
const API_VERSION: &str = "kubescheduler.config.k8s.io/v1";
const KIND: &str = "KubeSchedulerConfiguration";

/// A configuration that cannot be used: where, which field, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {}{problem}", .field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default())]
pub struct ConfigError {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, counted from 1.
    pub line: u64,
    /// The path of the field, where it is known.
    pub field: Option<String>,
    /// What is wrong.
    pub problem: String,
}

/// Says what is wrong with one field.
struct Reader<'a> {
    file: &'a str,
    registry: &'a PluginRegistry,
}

impl Scheduler {
    /// Reads a `KubeSchedulerConfiguration`; `file` is only used in errors. Plugins are looked up in `registry`,
    /// [`PluginRegistry::default`] being those of this crate.
    ///
    /// # Errors
    /// When a field is unknown or has a value that makes no sense, or a plugin is unknown.
    pub fn from_config(text: &str, file: &str, registry: &PluginRegistry) -> Result<Self, ConfigError> {
        let error = |line, problem: String| ConfigError { file: file.to_owned(), line, field: None, problem };
        if text.len() > LARGEST {
            return Err(error(1, format!("larger than {LARGEST} bytes")));
        }
        let options = serde_yaml::options! { legacy_octal_numbers: true };
        let mut field = None;
        let read = serde_yaml::with_deserializer_from_str_with_options(text, options, |input| {
            serde_path_to_error::deserialize::<_, Configuration>(input).map_err(|problem| {
                field = path_of(problem.path());
                problem.into_inner()
            })
        });
        let read = read.map_err(|problem| {
            let line = problem.location().map_or(1, |location| location.line());
            ConfigError { field: field.take(), ..error(line, problem.without_snippet().to_string()) }
        })?;
        Reader { file, registry }.scheduler(read)
    }
}

/// The path of a field as users write it: a value whose line is kept is a field `value` to the reader alone, for the configuration has
/// none of that name.
fn path_of(path: &Path) -> Option<String> {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("[{index}]")),
            Segment::Map { key } | Segment::Enum { variant: key } if key != "value" => {
                text.push_str(if text.is_empty() { "" } else { "." });
                text.push_str(key);
            }
            _ => {}
        }
    }
    Some(text).filter(|text| !text.is_empty())
}

impl Reader<'_> {
    fn scheduler(&self, read: Configuration) -> Result<Scheduler, ConfigError> {
        if read.api_version.value != API_VERSION {
            return Err(self.at(&read.api_version, "apiVersion", format!("must be {API_VERSION:?}")));
        }
        if read.kind.value != KIND {
            return Err(self.at(&read.kind, "kind", format!("must be {KIND:?}")));
        }
        if let Some(parallelism) = read.parallelism.as_ref().filter(|number| number.value < 1) {
            return Err(self.at(parallelism, "parallelism", "must be greater than zero"));
        }
        let extenders = self.extenders(&read.extenders)?;
        let sampling =
            self.sampling(read.percentage_of_nodes_to_score.as_ref(), "percentageOfNodesToScore")?;
        let mut profiles = Vec::new();
        for (index, shape) in read.profiles.iter().enumerate() {
            let profile = self.profile(shape, index, sampling, &extenders.ignored)?;
            if profiles.iter().any(|other: &Profile| other.name() == profile.name()) {
                let field = format!("profiles[{index}].schedulerName");
                return Err(self.at(shape, &field, format!("duplicate value: {:?}", &**profile.name())));
            }
            profiles.push(profile);
        }
        if profiles.is_empty() {
            let name = crate::profile::DEFAULT_NAME.to_owned();
            let plain = ProfileShape { scheduler_name: Some(name), ..ProfileShape::default() };
            let merged = Merge::of(self, &plain, "profiles[0]", &extenders.ignored)?;
            let empty = Profile::empty(crate::profile::DEFAULT_NAME).sampling(sampling.unwrap_or_default());
            profiles.push(merged.onto(empty, self)?);
        }
        let with = |profile: Profile| extenders.all.iter().cloned().fold(profile, Profile::extender);
        let profiles = profiles.into_iter().map(with).collect();
        Ok(Scheduler::default().profiles(profiles).backoff(self.backoff(&read)?))
    }

    fn profile(
        &self,
        shape: &Spanned<ProfileShape>,
        index: usize,
        sampling: Option<Sampling>,
        ignored: &[String],
    ) -> Result<Profile, ConfigError> {
        let at = format!("profiles[{index}]");
        let own = shape.value.percentage_of_nodes_to_score.as_ref();
        let sampling = self.sampling(own, &format!("{at}.percentageOfNodesToScore"))?.or(sampling);
        let name = shape.value.scheduler_name.as_deref().unwrap_or(crate::profile::DEFAULT_NAME);
        let merged = Merge::of(self, &shape.value, &at, ignored)?;
        let profile = merged.onto(Profile::empty(name).sampling(sampling.unwrap_or_default()), self)?;
        profile.check().map_err(|error| self.at(shape, &at, error.to_string()))?;
        if profile.queue_sort.is_none() {
            return Err(self.at(shape, &format!("{at}.plugins.queueSort"), "one plugin has to be enabled"));
        }
        Ok(profile)
    }

    fn sampling(&self, percent: Option<&Spanned<i64>>, field: &str) -> Result<Option<Sampling>, ConfigError> {
        let Some(percent) = percent else { return Ok(None) };
        match u8::try_from(percent.value) {
            Ok(0) => Ok(Some(Sampling::Adaptive)),
            Ok(100) => Ok(Some(Sampling::All)),
            Ok(number @ 1..100) => Ok(Some(Sampling::Percent(number))),
            _ => Err(self.at(percent, field, "not in valid range [0-100]")),
        }
    }

    fn backoff(&self, read: &Configuration) -> Result<BackoffOptions, ConfigError> {
        let mut options = BackoffOptions::default();
        if let Some(initial) = &read.pod_initial_backoff_seconds {
            let seconds = u64::try_from(initial.value).ok().filter(|seconds| *seconds > 0);
            let problem = || self.at(initial, "podInitialBackoffSeconds", "must be greater than 0");
            options.initial = Duration::from_secs(seconds.ok_or_else(problem)?);
        }
        if let Some(longest) = &read.pod_max_backoff_seconds {
            let seconds = u64::try_from(longest.value).unwrap_or(0);
            options.longest = Duration::from_secs(seconds);
            if options.longest < options.initial {
                let problem = "must be greater than or equal to PodInitialBackoffSeconds";
                return Err(self.at(longest, "podMaxBackoffSeconds", problem));
            }
        }
        Ok(options)
    }

    fn at<T>(&self, place: &Spanned<T>, field: &str, problem: impl Into<String>) -> ConfigError {
        ConfigError {
            file: self.file.to_owned(),
            line: place.referenced.line(),
            field: Some(field.to_owned()),
            problem: problem.into(),
        }
    }
}

#[cfg(test)]
mod tests;
