//! Whatever happens in whatever order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Something that happens to a small cluster.
#[derive(Clone, Debug)]
enum Happens {
    PodMade { pod: u8, cpu: u8 },
    PodDeleted { pod: u8 },
    NodeMade { node: u8 },
    NodeLost { node: u8 },
    Answered { went_well: bool },
    TimePasses { seconds: u8 },
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (0_u8..12, 1_u8..4).prop_map(|(pod, cpu)| Happens::PodMade { pod, cpu }),
        2 => (0_u8..12).prop_map(|pod| Happens::PodDeleted { pod }),
        2 => (0_u8..4).prop_map(|node| Happens::NodeMade { node }),
        1 => (0_u8..4).prop_map(|node| Happens::NodeLost { node }),
        4 => any::<bool>().prop_map(|went_well| Happens::Answered { went_well }),
        2 => (0_u8..20).prop_map(|seconds| Happens::TimePasses { seconds }),
    ]
}

/// The API as far as binding goes.
#[derive(Default)]
struct World {
    /// Every pod by name: its uid, its CPUs, and its node.
    pods: BTreeMap<String, (String, u8, Option<String>)>,
    made: u32,
    /// Bindings that were asked for and not yet answered.
    asked: Vec<(PodUid, String, String)>,
}

impl World {
    fn view(&self, name: &str) -> Option<PodView> {
        let (uid, cpu, node) = self.pods.get(name)?;
        Some(pod(json!({"metadata": {"name": name, "uid": uid}, "spec": {"nodeName": node, "containers": [
            {"name": "app", "resources": {"requests": {"cpu": cpu.to_string()}}}]}})))
    }

    fn happens(&mut self, event: Happens, dispatcher: &mut Dispatcher, now: &mut Moment) {
        match event {
            Happens::PodMade { pod, cpu } => {
                let name = format!("p{pod}");
                self.made += 1;
                self.pods.entry(name.clone()).or_insert_with(|| (format!("u{}", self.made), cpu, None));
                dispatcher.pod_applied(self.view(&name).unwrap(), *now);
            }
            Happens::PodDeleted { pod } => {
                let name = format!("p{pod}");
                self.pods.remove(&name);
                dispatcher.pod_deleted(&PodKey::new("default", &name), *now);
            }
            Happens::NodeMade { node: index } => dispatcher.node_applied(node(&format!("n{index}")), *now),
            Happens::NodeLost { node } => dispatcher.node_deleted(&format!("n{node}"), *now),
            Happens::Answered { went_well } => {
                let Some((uid, name, node)) = self.asked.pop() else { return };
                let target = self.pods.get_mut(&name).filter(|pod| pod.0 == *uid);
                if let Some(pod) = target.filter(|_| went_well) {
                    assert_eq!(pod.2, None, "{name} is bound twice");
                    pod.2 = Some(node);
                    dispatcher.performed(&uid, Ok(()), *now);
                    dispatcher.pod_applied(self.view(&name).unwrap(), *now);
                } else {
                    dispatcher.performed(&uid, Err("no".into()), *now);
                }
            }
            Happens::TimePasses { seconds } => *now = now.after(Duration::from_secs(seconds.into())),
        }
    }

    /// Takes all steps and looks whether they make sense.
    fn take_steps(&mut self, dispatcher: &mut Dispatcher, now: Moment) {
        while let Some(step) = dispatcher.next(now) {
            let Step::Perform(job) = step else { continue };
            let (name, node) = (job.pod.key.name.to_string(), job.node.to_string());
            let pod = self.pods.get(&name).expect("only pods that exist are bound");
            assert_eq!((pod.0.as_str(), pod.2.as_ref()), (&*job.pod.uid, None), "{name} has a node already");
            assert!(self.asked.iter().all(|(uid, ..)| *uid != job.pod.uid), "{name} is being bound already");
            self.asked.push((job.pod.uid.clone(), name, node));
        }
        for node in dispatcher.cluster().nodes() {
            assert!(node.requested().cpu <= node.facts().allocatable.cpu, "{} is over capacity", node.name());
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_no_pod_is_bound_twice_and_no_node_is_over_capacity(
        events in prop::collection::vec(happens(), 1..80)
    ) {
        let (mut dispatcher, mut world, mut now) = (dispatcher(), World::default(), START);
        for event in events {
            world.happens(event, &mut dispatcher, &mut now);
            world.take_steps(&mut dispatcher, now);
        }
        // Once everything is answered and time has passed, whoever fits somewhere is somewhere.
        for _ in 0..40 {
            world.happens(Happens::Answered { went_well: true }, &mut dispatcher, &mut now);
            world.happens(Happens::TimePasses { seconds: 19 }, &mut dispatcher, &mut now);
            world.take_steps(&mut dispatcher, now);
        }
        for (name, (_, cpu, node)) in &world.pods {
            let fits = |node: &NodeView| node.facts().allocatable.cpu.minus(node.requested().cpu).0 >= i64::from(*cpu) * 1000;
            prop_assert!(node.is_some() || !dispatcher.cluster().nodes().any(|node| fits(node)), "{name} was forgotten");
        }
    }
}
