//! Quantities as text.

use std::fmt;

use super::{Format, MAX_NANOS, NANO, Quantity, QuantityError};

// No quantity that means something is longer; the digits are read one by one.
const MAX_TEXT: usize = 256;
const DECIMAL_SUFFIXES: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY_SUFFIXES: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

enum Scale {
    Decimal(i32),
    // The power of two.
    Binary(u32),
}

struct Parts<'t> {
    negative: bool,
    // Without leading zeros.
    whole: &'t str,
    fraction: &'t str,
    scale: Scale,
    format: Format,
}

fn split(text: &str) -> Result<Parts<'_>, QuantityError> {
    if text.is_empty() || text.len() > MAX_TEXT {
        return Err(QuantityError::Format);
    }
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, rest) = digits(unsigned.trim_start_matches('0'));
    let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), digits);
    let (scale, format) = read_suffix(suffix)?;
    Ok(Parts { negative, whole, fraction, scale, format })
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

fn read_suffix(suffix: &str) -> Result<(Scale, Format), QuantityError> {
    let exponent = suffix.trim_start_matches(['e', 'E', 'i', 'n', 'u', 'm', 'k', 'K', 'M', 'G', 'T', 'P']);
    let number = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(QuantityError::Format);
    }
    if let Some((_, power)) = DECIMAL_SUFFIXES.iter().find(|(name, _)| *name == suffix) {
        return Ok((Scale::Decimal(*power), Format::DecimalSi));
    }
    if let Some(step) = BINARY_SUFFIXES.iter().position(|name| *name == suffix) {
        return Ok((Scale::Binary(10 * (step as u32 + 1)), Format::BinarySi));
    }
    let power: i64 =
        suffix.strip_prefix(['e', 'E']).and_then(|power| power.parse().ok()).ok_or(QuantityError::Suffix)?;
    // Beyond a thousand either way the outcome is the cap or the least amount.
    let power = i32::try_from(power.clamp(-1000, 1000)).unwrap_or_default();
    Ok((Scale::Decimal(power), Format::DecimalExponent))
}

pub(super) fn parse(text: &str) -> Result<Quantity, QuantityError> {
    let Parts { negative, whole, fraction, scale, mut format } = split(text)?;
    let nanos = match scale {
        Scale::Decimal(power) => {
            shift(whole.bytes().chain(fraction.bytes()), power + 9 - fraction.len() as i32).min(MAX_NANOS)
        }
        Scale::Binary(power) => binary(whole, fraction, power).min(i128::from(i64::MAX) * NANO),
    };
    if format == Format::BinarySi && 0 < nanos && nanos < NANO {
        format = Format::DecimalSi;
    }
    Ok(Quantity { nanos: if negative { -nanos } else { nanos }, format })
}

// The number of these digits times ten to the power, rounded up; anything too large is the greatest number there is.
fn shift(digits: impl Iterator<Item = u8> + Clone, power: i32) -> i128 {
    let count = digits.clone().count() as i32;
    let mut number: i128 = 0;
    let mut round_up = false;
    for (i, digit) in digits.map(|digit| i128::from(digit - b'0')).enumerate() {
        if (i as i32) < count + power.min(0) {
            number = number.saturating_mul(10).saturating_add(digit);
        } else {
            round_up |= digit != 0;
        }
    }
    if round_up {
        return number.saturating_add(1);
    }
    let zeros = if number == 0 { 0 } else { power.max(0) };
    (0..zeros).fold(number, |number, _| number.saturating_mul(10))
}

// A mixed number times a power of two, in nanos, rounded up.
fn binary(whole: &str, fraction: &str, power: u32) -> i128 {
    let factor = 1_i128 << power;
    let whole = shift(whole.bytes(), 9).saturating_mul(factor);
    // Nine digits of the fraction are whole nanos. Of the rest, twenty digits are exact within an i128; what is
    // beyond only says whether to round up.
    let (nanos, rest) = fraction.split_at(fraction.len().min(9));
    let nanos = shift(nanos.bytes(), 9 - nanos.len() as i32).saturating_mul(factor);
    let rest = shift(rest.bytes(), 20 - rest.len() as i32).saturating_mul(factor);
    let unit = 10_i128.pow(20);
    whole.saturating_add(nanos).saturating_add(rest / unit + i128::from(rest % unit != 0))
}

/// Whether the text is one of the few that nearly all quantities are written as, which are canonical as they stand: up to three
/// digits and a usual suffix.
pub(super) fn is_short(text: &str) -> bool {
    let (number, suffix) = digits(text);
    matches!(number.as_bytes(), [b'1'..=b'9', rest @ ..] if rest.len() < 3)
        && matches!(suffix, "" | "m" | "k" | "M" | "G" | "Ki" | "Mi" | "Gi")
}

/// Whether upstream, having read `text`, prints it unchanged though it may not be canonical.
pub(super) fn keeps_spelling(text: &str) -> bool {
    let Ok(Parts { whole, fraction, scale, .. }) = split(text) else { return false };
    let whole = if whole.is_empty() { "0" } else { whole };
    let all = [whole, fraction].concat();
    match scale {
        Scale::Decimal(power) => {
            let power = power - fraction.len() as i32;
            all.len() <= 18 && power >= -9 && power % 3 == 0 && !all.ends_with("000") && !all.starts_with('0')
        }
        Scale::Binary(power) => {
            let fits = |number: i64| number % 8 != 0 && number.checked_mul(1 << power).is_some();
            let precision = 14 - whole.len() as i32 - power as i32 * 3 / 10;
            fraction.is_empty() && precision >= 0 && whole.parse().is_ok_and(fits)
        }
    }
}

pub(super) fn write(quantity: &Quantity, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Quantity { nanos, format } = *quantity;
    if nanos == 0 {
        return f.write_str("0");
    }
    let small = nanos.abs() < 1024 * NANO;
    if format == Format::BinarySi && !small && nanos % NANO == 0 {
        let (number, steps) = reduce(nanos / NANO, 1024, BINARY_SUFFIXES.len());
        let suffix = steps.checked_sub(1).and_then(|i| BINARY_SUFFIXES.get(i)).unwrap_or(&"");
        return write!(f, "{number}{suffix}");
    }
    if format == Format::DecimalExponent {
        let (number, steps) = reduce(nanos, 1000, usize::MAX);
        let power = steps as i32 * 3 - 9;
        return if power == 0 { write!(f, "{number}") } else { write!(f, "{number}e{power}") };
    }
    let (number, steps) = reduce(nanos, 1000, DECIMAL_SUFFIXES.len() - 1);
    write!(f, "{number}{}", DECIMAL_SUFFIXES.get(steps).map_or("", |(name, _)| name))
}

// Divides by the base as long as nothing is lost, at most so many times.
fn reduce(mut number: i128, base: i128, most: usize) -> (i128, usize) {
    let mut steps = 0;
    while steps < most && number % base == 0 {
        number /= base;
        steps += 1;
    }
    (number, steps)
}
