//! The description of a generated workload, read from JSON.

use std::collections::{BTreeMap, HashSet};

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use rand::Rng;
use rand_distr::{Distribution as _, Exp, LogNormal, Pareto, Weibull};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::NodePlan;
use super::generate::check;
use super::places::Places;
use crate::time::SimTime;
use crate::trace::{LARGEST_SPEC, MOST_NODES, MOST_PODS, Source, TraceError, words};

/// A description of nodes, pods and failures that [`generate`](super::generate) makes a workload of.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerateSpec {
    #[serde(default)]
    pub(super) nodes: Vec<NodesSpec>,
    pub(super) pods: PodsSpec,
    pub(super) failures: Option<FailuresSpec>,
    #[serde(skip)]
    pub(super) places: Places,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodesSpec {
    pub(super) name: String,
    pub(super) count: usize,
    pub(super) allocatable: BTreeMap<String, Quantity>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) taints: Vec<api::Taint>,
}

impl NodesSpec {
    /// The name of its `number`th node.
    pub(super) fn name_of(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PodsSpec {
    pub(super) count: usize,
    pub(super) arrival: Arrival,
    pub(super) classes: Vec<ClassSpec>,
}

/// When pods come.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Arrival {
    /// Independently of each other, so many a second on average.
    Poisson(Positive),
    /// Each at any time within so many seconds.
    Uniform(Positive),
    /// One every so many seconds.
    Every(Positive),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ClassSpec {
    pub(super) name: String,
    #[serde(default = "one")]
    pub(super) weight: Positive,
    pub(super) requests: BTreeMap<String, Quantity>,
    /// What the requests of each pod are multiplied with.
    pub(super) scale: Option<Chance>,
    /// How long a pod runs; forever if nothing is said.
    pub(super) duration: Option<Chance>,
    #[serde(default)]
    pub(super) priority: i32,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) node_selector: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) tolerations: Vec<api::Toleration>,
    pub(super) affinity: Option<api::Affinity>,
}

/// Nodes fail independently of each other, and come back.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct FailuresSpec {
    /// Seconds between the failures of one node.
    pub(super) between: Chance,
    /// Seconds until it is back.
    pub(super) repair: Chance,
}

/// A number above 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Positive(pub(super) f64);

/// A number that is 0 or above.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotNegative(pub(super) f64);

fn one() -> Positive {
    Positive(1.0)
}

impl<'de> Deserialize<'de> for Positive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        if number > 0.0 && number <= 1e12 {
            return Ok(Self(number));
        }
        Err(D::Error::custom(format!("{number} must be above 0 and at most 1e12")))
    }
}

impl<'de> Deserialize<'de> for NotNegative {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        if (0.0..=1e12).contains(&number) {
            return Ok(Self(number));
        }
        Err(D::Error::custom(format!("{number} must be from 0 to 1e12")))
    }
}

/// A distribution of numbers that are not negative.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Chance {
    /// Always the same.
    Constant(Positive),
    /// Anything between.
    Uniform {
        /// The least.
        from: NotNegative,
        /// The most.
        to: NotNegative,
    },
    /// Exponential.
    Exponential {
        /// On average.
        mean: Positive,
    },
    /// Log-normal.
    Lognormal {
        /// Half are below.
        median: Positive,
        /// The deviation of the logarithm.
        sigma: Positive,
    },
    /// Pareto.
    Pareto {
        /// The least.
        scale: Positive,
        /// How fast the tail ends.
        shape: Positive,
    },
    /// Weibull.
    Weibull {
        /// The scale.
        scale: Positive,
        /// The shape.
        shape: Positive,
    },
}

impl Chance {
    /// One number of the distribution.
    pub(super) fn draw(&self, random: &mut impl Rng) -> f64 {
        // Parameters are above 0, so the constructors do not fail.
        let drawn = match *self {
            Self::Constant(value) => Ok(value.0),
            Self::Uniform { from, to } => Ok(from.0 + (to.0 - from.0) * random.random::<f64>()),
            Self::Exponential { mean } => Exp::new(1.0 / mean.0).map(|it| it.sample(random)).map_err(drop),
            Self::Lognormal { median, sigma } => {
                LogNormal::new(median.0.ln(), sigma.0).map(|it| it.sample(random)).map_err(drop)
            }
            Self::Pareto { scale, shape } => {
                Pareto::new(scale.0, shape.0).map(|it| it.sample(random)).map_err(drop)
            }
            Self::Weibull { scale, shape } => {
                Weibull::new(scale.0, shape.0).map(|it| it.sample(random)).map_err(drop)
            }
        };
        drawn.unwrap_or(0.0).max(0.0)
    }

    /// What is wrong with it, beyond what each number of it tells.
    pub(super) fn problem(&self) -> Option<String> {
        match self {
            Self::Uniform { from, to } if to.0 < from.0 => {
                Some(format!("to is {}, which is less than {}, where it begins", to.0, from.0))
            }
            _ => None,
        }
    }

    /// A time of the distribution.
    pub(super) fn time(&self, random: &mut impl Rng) -> SimTime {
        SimTime::from_secs_f64(self.draw(random))
    }
}

impl GenerateSpec {
    /// Reads a description.
    ///
    /// ```
    /// use orchestra_lab::trace::Source;
    /// use orchestra_lab::workload::{GenerateSpec, generate};
    ///
    /// let text = r#"{
    ///   "nodes": [{"name": "node", "count": 3, "allocatable": {"cpu": "16", "memory": "64Gi"}}],
    ///   "pods": {
    ///     "count": 100,
    ///     "arrival": {"poisson": 0.5},
    ///     "classes": [{"name": "batch", "requests": {"cpu": "2"}, "duration": {"exponential": {"mean": 60}}}]
    ///   }
    /// }"#;
    /// let spec = GenerateSpec::read(Source { name: "spec.json", text })?;
    /// let workload = generate(&spec, 42)?;
    /// assert_eq!(workload.pods.len(), 100);
    /// # Ok::<(), orchestra_lab::trace::TraceError>(())
    /// ```
    ///
    /// # Errors
    /// With the field that makes no sense.
    pub fn read(source: Source<'_>) -> Result<Self, TraceError> {
        if source.text.len() > LARGEST_SPEC {
            return Err(source.error(1, None, format!("larger than {LARGEST_SPEC} bytes")));
        }
        let mut deserializer = serde_json::Deserializer::from_str(source.text);
        let mut spec: Self = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let path = error.path().to_string();
            let line = error.inner().line() as u64;
            source.error(
                line,
                Some(&path).filter(|path| **path != ".").map(String::as_str),
                words(error.inner()),
            )
        })?;
        deserializer.end().map_err(|problem| source.error(problem.line() as u64, None, words(&problem)))?;
        spec.places = Places::of(source);
        let nodes = spec.nodes.iter().fold(0_usize, |sum, nodes| sum.saturating_add(nodes.count));
        if nodes > MOST_NODES {
            return Err(source.error(1, Some("nodes"), format!("more than {MOST_NODES}")));
        }
        if spec.pods.count > MOST_PODS {
            return Err(source.error(1, Some("pods.count"), format!("more than {MOST_PODS}")));
        }
        if spec.pods.classes.is_empty() {
            return Err(source.error(1, Some("pods.classes"), "must not be empty"));
        }
        for (at, nodes) in spec.nodes.iter().enumerate() {
            if spec.nodes.iter().take(at).any(|other| other.name == nodes.name) {
                return Err(spec.places.in_nodes(at, ".name", format!("{:?} is there twice", nodes.name)));
            }
        }
        check(&spec)?;
        Ok(spec)
    }

    /// Holds the names of its nodes against those of others that will be beside them.
    ///
    /// # Errors
    /// With the first group of nodes one of which has the name of another node.
    pub fn check_beside(&self, others: &[NodePlan]) -> Result<(), TraceError> {
        let taken: HashSet<&str> = others.iter().map(|other| &*other.facts.name).collect();
        for (at, group) in self.nodes.iter().enumerate() {
            let mut names = (0..group.count).map(|number| group.name_of(number));
            if let Some(twice) = names.find(|name| taken.contains(name.as_str())) {
                return Err(self.places.in_nodes(at, "", format!("node {twice:?} is there already")));
            }
        }
        Ok(())
    }

    /// How many nodes it describes.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes.iter().map(|group| group.count).sum()
    }

    /// How many pods it describes.
    #[must_use]
    pub fn pods(&self) -> usize {
        self.pods.count
    }
}
