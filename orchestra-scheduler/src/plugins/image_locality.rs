//! ImageLocality: prefers nodes that have the pod's images, weighed by how widely each has spread.
//!
//! Counting an image less when few nodes have it keeps pods from crowding on the one node that has it.

use crate::plugin::{Cycle, Plugin, Score};
use crate::profile::Version;
use crate::unit::Points;
use crate::view::{ClusterView, ImageSpread, NodeView, PodView};

const MEBIBYTE: i64 = 1024 * 1024;
/// Less than this is not worth anything.
const LEAST: i64 = 23 * MEBIBYTE;
/// More than this for each container is worth no more.
const MOST_EACH: i64 = 1000 * MEBIBYTE;

/// Scores by the images that are there already.
#[derive(Clone, Copy, Debug)]
pub struct ImageLocality {
    version: Version,
}

impl ImageLocality {
    /// The plugin as of one Kubernetes version; from 1.36 on images mounted as volumes count too.
    #[must_use]
    pub fn for_version(version: Version) -> Self {
        Self { version }
    }
}

/// An image's name with the tag that is meant when none is written.
fn with_tag(name: &str) -> String {
    if name.rfind(':') <= name.rfind('/') { format!("{name}:latest") } else { name.to_owned() }
}

/// What the scores of a pod depend on besides the node: how far each of its images has spread, and among how many
/// nodes.
pub(crate) fn spreads(cluster: &ClusterView, pod: &PodView) -> Vec<(usize, ImageSpread)> {
    if !cluster.knows_images() {
        return Vec::new();
    }
    let images = pod.rules.images.iter().chain(&pod.rules.image_volumes);
    images.filter_map(|image| Some((cluster.node_count(), cluster.image(&with_tag(image))?))).collect()
}

impl Plugin for ImageLocality {
    fn name(&self) -> &str {
        "ImageLocality"
    }
}

impl Score for ImageLocality {
    fn score(&self, cycle: &Cycle<'_>, pod: &PodView, node: &NodeView) -> Points {
        let (rules, cluster) = (&pod.rules, cycle.cluster());
        let worth = |image: &str| {
            let name = with_tag(image);
            node.facts().images.get(name.as_str())?;
            let spread = cluster.image(&name)?;
            let share = spread.nodes as f64 / cluster.node_count() as f64;
            Some((spread.size as f64 * share) as i64)
        };
        let mounted = if self.version >= Version::V1_36 { &*rules.image_volumes } else { &[] };
        let images = rules.images.iter().chain(mounted);
        let sum = images.filter_map(|image| worth(image)).fold(0_i64, i64::saturating_add);
        let containers = i64::try_from(rules.images.len()).unwrap_or(i64::MAX).max(1);
        let most = MOST_EACH.saturating_mul(containers);
        Points(Points::MAX.0 * (sum.clamp(LEAST, most) - LEAST) / (most - LEAST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cluster, pod};
    use serde_json::{Value, json};

    fn score(version: Version, spec: Value, images: &[&[(&str, i64)]]) -> i64 {
        let cluster = cluster(images.iter().enumerate().map(|(index, images)| {
            let images: Vec<_> = images
                .iter()
                .map(|(name, mebibytes)| json!({"names": [name], "sizeBytes": mebibytes * MEBIBYTE}))
                .collect();
            json!({"metadata": {"name": format!("n{index}")}, "status": {"images": images}})
        }));
        let plugin = ImageLocality::for_version(version);
        plugin.score(&Cycle::new(&cluster), &pod(json!({"spec": spec})), cluster.node("n0").unwrap()).0
    }

    fn running(images: &[&str]) -> Value {
        let containers: Vec<_> = images.iter().map(|image| json!({"name": "c", "image": image})).collect();
        json!({"containers": containers})
    }

    #[test]
    fn the_size_counts_by_the_share_of_nodes_that_have_the_image() {
        let with = &[("a:latest", 512)][..];
        // (512 − 23)·100/977 = 50.05
        assert_eq!(score(Version::V1_36, running(&["a"]), &[with]), 50);
        // half the nodes: (256 − 23)·100/977 = 23.8
        assert_eq!(score(Version::V1_36, running(&["a"]), &[with, &[]]), 23);
    }

    #[test]
    fn sums_are_held_between_23_mib_and_1000_mib_for_each_container() {
        assert_eq!(score(Version::V1_36, running(&["a"]), &[&[("a:latest", 23)]]), 0);
        assert_eq!(score(Version::V1_36, running(&["a"]), &[&[("a:latest", 4000)]]), 100);
        // (32 − 23)·100/977 = 0.9, (33 − 23)·100/977 = 1.02; (990 − 23)·100/977 = 98.98, (991 − 23)·100/977 = 99.08
        for (size, expected) in [(32, 0), (33, 1), (990, 98), (991, 99)] {
            let node: &[(&str, i64)] = &[("a:latest", size)];
            assert_eq!(score(Version::V1_36, running(&["a"]), &[node]), expected, "{size}");
        }
        // two containers: (1000 − 23)·100/(2000 − 23) = 49.4; the same image twice counts twice
        assert_eq!(score(Version::V1_36, running(&["a", "b"]), &[&[("a:latest", 1000)]]), 49);
        assert_eq!(score(Version::V1_36, running(&["a", "a"]), &[&[("a:latest", 1000)]]), 100);
    }

    #[test]
    fn init_containers_count_and_image_volumes_from_1_36_on() {
        let node: &[&[(&str, i64)]] = &[&[("a:1", 1000)]];
        let init = json!({"containers": [{"name": "c", "image": "x"}], "initContainers": [{"name": "i", "image": "a:1"}]});
        assert_eq!(score(Version::V1_36, init, node), 49);
        let mounted = json!({"containers": [{"name": "c", "image": "x"}],
            "volumes": [{"name": "v", "image": {"reference": "a:1"}}]});
        assert_eq!(score(Version::V1_36, mounted.clone(), node), 100);
        assert_eq!(score(Version::V1_35, mounted, node), 0);
    }

    #[test]
    fn names_without_a_tag_mean_latest_and_a_port_is_no_tag() {
        for (name, expected) in [
            ("a", "a:latest"),
            ("a:1", "a:1"),
            ("host:5000/a", "host:5000/a:latest"),
            ("host:5000/a:1", "host:5000/a:1"),
            ("a@sha256:00", "a@sha256:00"),
        ] {
            assert_eq!(with_tag(name), expected);
        }
    }

    #[test]
    fn the_size_is_the_one_first_seen_in_the_cluster() {
        let nodes: &[&[(&str, i64)]] = &[&[("a:1", 512)], &[("a:1", 9999)]];
        assert_eq!(score(Version::V1_36, running(&["a:1"]), nodes), 50);
    }
}
