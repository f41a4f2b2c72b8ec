//! How much of what is left of a node's devices typical pods could not use.

use super::typical::Typical;
use crate::gpu::Devices;

/// Measures fragmentation, by model of device.
#[derive(Clone, Debug)]
pub struct Fragmentation {
    models: Vec<Box<str>>,
    kinds: Vec<Kind>,
}

#[derive(Clone, Debug)]
struct Kind {
    cpu: i64,
    milli: u16,
    devices: usize,
    /// Bit by bit, which models will do; `None` for any.
    models: Option<u64>,
    share: f64,
}

/// The measure on nodes with one model of device.
#[derive(Clone, Copy, Debug)]
pub struct Measure<'a> {
    kinds: &'a [Kind],
    model: u64,
}

impl Fragmentation {
    /// The measure by a typical workload.
    #[must_use]
    pub fn new(typical: &Typical) -> Self {
        let mut models: Vec<Box<str>> = Vec::new();
        let mut bit = |name: &str| {
            let known = models.iter().position(|model| **model == *name);
            let index = known.unwrap_or_else(|| {
                models.push(name.into());
                models.len() - 1
            });
            // More than 64 models share the last bit.
            1_u64 << index.min(63)
        };
        let kinds = typical.0.iter().map(|kind| {
            let names = kind.wants.models.split('|').filter(|name| !name.is_empty());
            let mask = names.fold(0, |mask, name| mask | bit(name));
            Kind {
                cpu: kind.wants.cpu,
                milli: kind.wants.milli,
                devices: kind.wants.devices.into(),
                models: (mask != 0).then_some(mask),
                share: kind.share,
            }
        });
        let kinds = kinds.collect();
        Self { models, kinds }
    }

    /// The measure for nodes whose devices are of this model.
    #[must_use]
    pub fn on(&self, model: Option<&str>) -> Measure<'_> {
        let index = model.and_then(|name| self.models.iter().position(|model| **model == *name));
        Measure { kinds: &self.kinds, model: index.map_or(0, |index| 1 << index.min(63)) }
    }
}

impl Measure<'_> {
    /// The expected thousandths of devices that a typical pod could not use, with so much CPU and these devices left.
    ///
    /// Summed up by cause and then over the causes, as the authors' program does, so that even the last bit agrees.
    #[must_use]
    pub fn of(&self, cpu: i64, devices: &Devices) -> f64 {
        let idle = devices.total_left();
        if idle == 0 {
            return 0.0;
        }
        let mut lost = [0.0_f64; 6];
        for kind in self.kinds {
            let (enough_cpu, other_model) =
                (cpu >= kind.cpu, kind.models.is_some_and(|models| models & self.model == 0));
            let (cause, milli) = if kind.milli == 0 {
                (if enough_cpu { 3 } else { 4 }, idle)
            } else if other_model {
                (5, idle)
            } else {
                match (devices.with_at_least(kind.milli) >= kind.devices, enough_cpu) {
                    (true, true) => (1, too_little(devices, kind.milli)),
                    (true, false) => (2, idle),
                    (false, true) => (1, idle),
                    (false, false) => (0, idle),
                }
            };
            lost[cause] += kind.share * milli as f64;
        }
        lost.iter().sum()
    }
}

/// What is left on devices that have less than `milli`.
fn too_little(devices: &Devices, milli: u16) -> i64 {
    devices.left().iter().filter(|left| **left < milli).map(|left| i64::from(*left)).sum()
}
