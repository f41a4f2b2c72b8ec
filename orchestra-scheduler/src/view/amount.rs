//! Reads the amounts of the API into whole numbers, rounding up as the scheduler upstream does.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use orchestra_core::quantity::Quantity;

use super::ViewError;
use crate::unit::ResourceName;

/// The amount of `name` that `quantity` stands for: millicores of CPU, whole units of the rest.
pub(super) fn amount(name: &ResourceName, quantity: &Text, field: &str) -> Result<i64, ViewError> {
    let parsed = Quantity::parse(&quantity.0).map_err(|error| ViewError::new(field, error.to_string()))?;
    Ok(if *name == ResourceName::Cpu { parsed.milli_value() } else { parsed.value() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &ResourceName, text: &str) -> Result<i64, ViewError> {
        amount(name, &Text(text.to_owned()), "requests")
    }

    #[test]
    fn cpu_is_rounded_up_to_millicores() {
        for (text, millis) in
            [("1", 1000), ("100m", 100), ("0.1", 100), ("1u", 1), ("1500u", 2), ("2e3", 2_000_000)]
        {
            assert_eq!(read(&ResourceName::Cpu, text), Ok(millis), "{text}");
        }
    }

    #[test]
    fn other_resources_are_rounded_up_to_whole_units() {
        for (text, units) in [("1Gi", 1 << 30), ("1.5Ki", 1536), ("100m", 1), ("1k", 1000), ("-3", -3)] {
            assert_eq!(read(&ResourceName::Memory, text), Ok(units), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_its_field() {
        for text in ["", "1x", "1 Gi", "--1"] {
            assert_eq!(read(&ResourceName::Memory, text).unwrap_err().field(), "requests", "{text}");
        }
    }
}
