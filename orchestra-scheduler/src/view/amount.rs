//! Reads the amounts of the API into whole numbers, rounding up as the scheduler upstream does.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::ViewError;
use crate::unit::ResourceName;

/// The amount of `name` that `quantity` stands for: millicores of CPU, whole units of the rest.
pub(super) fn amount(name: &ResourceName, quantity: &Quantity, field: &str) -> Result<i64, ViewError> {
    let scale = if *name == ResourceName::Cpu { 3 } else { 0 };
    rounded_up(&quantity.0, scale)
        .ok_or_else(|| ViewError::new(field, format!("{:?} is not a quantity", quantity.0)))
}

/// `text` times ten to the power of `scale`, rounded away from zero and held at the ends of the range.
fn rounded_up(text: &str, scale: i32) -> Option<i64> {
    let (number, suffix) =
        text.split_at(text.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len()));
    let (negative, digits) = match number.as_bytes().first()? {
        b'-' => (true, &number[1..]),
        b'+' => (false, &number[1..]),
        _ => (false, number),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty())
        || !all_digits(whole)
        || !all_digits(fraction)
        || digits.len() > 64
    {
        return None;
    }
    let (factor, exponent): (i128, i32) = match suffix {
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "" => (1, 0),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => (1, suffix.strip_prefix(['e', 'E'])?.parse::<i16>().ok()?.into()),
    };
    let mut value: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        value = value.saturating_mul(10).saturating_add(i128::from(digit - b'0'));
    }
    value = value.saturating_mul(factor);
    let shift = exponent + scale - i32::try_from(fraction.len()).ok()?;
    let power = 10_i128.checked_pow(shift.unsigned_abs());
    let value = match (shift < 0, power) {
        (false, Some(power)) => value.saturating_mul(power),
        (false, None) if value == 0 => 0,
        (false, None) => i128::MAX,
        (true, Some(power)) => value / power + i128::from(value % power != 0),
        (true, None) => i128::from(value != 0),
    };
    let bounded = i64::try_from(value).unwrap_or(i64::MAX);
    Some(if negative { -bounded } else { bounded })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_rounded_up_to_millicores() {
        for (text, millis) in
            [("1", 1000), ("100m", 100), ("0.1", 100), ("1u", 1), ("1500u", 2), ("2e3", 2_000_000)]
        {
            assert_eq!(rounded_up(text, 3), Some(millis), "{text}");
        }
    }

    #[test]
    fn other_resources_are_rounded_up_to_whole_units() {
        for (text, units) in
            [("1Gi", 1 << 30), ("1.5Ki", 1536), ("100m", 1), ("1k", 1000), ("-3", -3), ("20E", i64::MAX)]
        {
            assert_eq!(rounded_up(text, 0), Some(units), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "m", ".", "1x", "1 Gi", "--1", "1e", "1e99999"] {
            assert_eq!(rounded_up(text, 0), None, "{text}");
        }
    }
}
