//! Metrics written out with their help to the letter.
//!
//! [`Registry::register`](prometheus_client::registry::Registry::register) ends every help text with a full stop and lets
//! no counter be called otherwise than `..._total`; upstream's texts and names are what dashboards know. A metric without a
//! series is not mentioned at all, as upstream does it.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::Histogram;

/// A label: its name and its value.
pub type Label<'a> = (&'static str, &'a str);

/// Writes a counter. One whose name does not end in `_total` has no type in OpenMetrics, as upstream's library writes it.
///
/// # Errors
/// What `out` writes to has failed.
pub fn counter<'a, const N: usize>(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = ([Label<'a>; N], u64)>,
) -> fmt::Result {
    match name.strip_suffix("_total") {
        Some(name) => family(out, (name, help, MetricType::Counter), samples, |encoder, value| {
            encoder.encode_counter::<NoLabelSet, _, f64>(&value, None)
        }),
        None => family(out, (name, help, MetricType::Unknown), samples, |encoder, value| {
            encoder.encode_gauge(&value)
        }),
    }
}

/// Writes a counter of fractions, of seconds mostly; its name ends in `_total`.
///
/// # Errors
/// What `out` writes to has failed.
pub fn seconds<'a, const N: usize>(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = ([Label<'a>; N], f64)>,
) -> fmt::Result {
    let name = name.strip_suffix("_total").unwrap_or(name);
    family(out, (name, help, MetricType::Counter), samples, |encoder, value| {
        encoder.encode_counter::<NoLabelSet, _, f64>(&value, None)
    })
}

/// Writes a gauge.
///
/// # Errors
/// What `out` writes to has failed.
pub fn gauge<'a, const N: usize>(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = ([Label<'a>; N], i64)>,
) -> fmt::Result {
    family(out, (name, help, MetricType::Gauge), samples, |encoder, value| encoder.encode_gauge(&value))
}

/// Writes a gauge of fractions: of times, mostly.
///
/// # Errors
/// What `out` writes to has failed.
pub fn fraction<'a, const N: usize>(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = ([Label<'a>; N], f64)>,
) -> fmt::Result {
    family(out, (name, help, MetricType::Gauge), samples, |encoder, value| encoder.encode_gauge(&value))
}

/// Writes a histogram.
///
/// # Errors
/// What `out` writes to has failed.
pub fn histogram<'a, 'h, const N: usize>(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = ([Label<'a>; N], &'h Histogram)>,
) -> fmt::Result {
    family(out, (name, help, MetricType::Histogram), samples, |encoder, histogram| histogram.write(encoder))
}

fn family<'a, V, const N: usize>(
    out: &mut DescriptorEncoder<'_>,
    (name, help, kind): (&str, &str, MetricType),
    samples: impl IntoIterator<Item = ([Label<'a>; N], V)>,
    write: impl Fn(&mut MetricEncoder<'_>, V) -> fmt::Result,
) -> fmt::Result {
    let mut samples = samples.into_iter().peekable();
    if samples.peek().is_none() {
        return Ok(());
    }
    let mut encoder = out.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in samples {
        if labels.is_empty() {
            write(&mut encoder, value)?;
        } else {
            write(&mut encoder.encode_family(&labels)?, value)?;
        }
    }
    Ok(())
}
