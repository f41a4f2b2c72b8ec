use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parsed(text: &str) -> Quantity {
    Quantity::parse(text).unwrap()
}

#[test]
fn printing_is_canonical() {
    for (text, canonical) in [
        ("0", "0"),
        ("0Ki", "0"),
        ("1", "1"),
        ("+1", "1"),
        ("-1", "-1"),
        ("01", "1"),
        (".5", "500m"),
        ("0.5", "500m"),
        ("1.5", "1500m"),
        ("1.", "1"),
        ("1000m", "1"),
        ("1000", "1k"),
        ("1024", "1024"),
        ("1500", "1500"),
        ("100m", "100m"),
        ("1u", "1u"),
        ("0.1n", "1n"),
        ("-0.1n", "-1n"),
        ("1.0000000001", "1000000001n"),
        ("1Ki", "1Ki"),
        ("1024Ki", "1Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("1.1Ki", "1126400m"),
        ("0.0001Ki", "102400u"),
        ("2048Ei", "9223372036854775807"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("1e0", "1"),
        ("1.5e3", "1500"),
        ("12e6", "12e6"),
        ("120e5", "12e6"),
        ("1e-3", "1e-3"),
        ("1E", "1E"),
        ("1000E", "1000E"),
        ("1e-50", "1e-9"),
        ("1e99", "100e27"),
        ("1e999999999999", "100e27"),
    ] {
        assert_eq!(parsed(text).to_string(), canonical, "{text}");
    }
}

#[test]
fn what_is_no_quantity_is_refused() {
    for text in ["", "abc", "1 Ki", "1KiB", "1.2.3", "1Q", "1e3x", "1%", "ä"] {
        assert_eq!(Quantity::parse(text), Err(QuantityError::Format), "{text}");
    }
    for text in ["1mm", "--1", "1ki", "1e", "1m5", "1Ee5", "1K", "1Mi3"] {
        assert_eq!(Quantity::parse(text), Err(QuantityError::Suffix), "{text}");
    }
    assert_eq!(Quantity::parse(&"1".repeat(10_000)), Err(QuantityError::Format));
    assert!(QuantityError::Format.to_string().starts_with("quantities must match the regular expression"));
}

#[test]
fn some_spellings_survive_as_upstream_keeps_them() {
    for (text, kept) in [
        ("1.500", "1.500"),
        ("+1", "+1"),
        ("01", "01"),
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1.5Gi", "1536Mi"),
        ("8Mi", "8Mi"),
        ("1024Ki", "1Mi"),
    ] {
        assert_eq!(Quantity::rewrite(text).unwrap(), kept, "{text}");
    }
}

#[test]
fn amounts_are_compared_over_all_families() {
    assert_eq!(parsed("1000m"), parsed("1"));
    assert_eq!(parsed("1Ki"), parsed("1024"));
    assert!(parsed("1M") < parsed("1Mi"));
    assert!(parsed("-1") < parsed("1n"));
}

#[test]
fn sums_keep_the_family_of_the_first() {
    assert_eq!((parsed("1Gi") + parsed("500M")).to_string(), "1573741824");
    assert_eq!((parsed("1Gi") + parsed("1Gi")).to_string(), "2Gi");
    assert_eq!((Quantity::ZERO + parsed("1Gi")).to_string(), "1Gi");
    assert_eq!((parsed("1") - parsed("250m")).to_string(), "750m");
    assert_eq!(["1", "250m"].into_iter().map(parsed).sum::<Quantity>().to_string(), "1250m");
    assert_eq!(Quantity::MAX + Quantity::MAX, Quantity::MAX);
}

#[test]
fn whole_and_milli_values_round_up() {
    assert_eq!((parsed("1.1").value(), parsed("1.1").milli_value()), (2, 1100));
    assert_eq!((parsed("1n").value(), parsed("1n").milli_value()), (1, 1));
    assert_eq!(parsed("-1.1").value(), -2);
    assert_eq!(parsed("100E").value(), i64::MAX);
    assert_eq!(Quantity::from_milli(1500).to_string(), "1500m");
    assert_eq!(Quantity::new(2048, Format::BinarySi).to_string(), "2Ki");
}

#[test]
fn numbers_of_json_are_quantities_too() {
    assert_eq!(Quantity::from_json(&json!(2)), Some(Ok(parsed("2"))));
    assert_eq!(Quantity::from_json(&json!(0.5)), Some(Ok(parsed("500m"))));
    assert_eq!(Quantity::from_json(&json!("1Ki")), Some(Ok(parsed("1024"))));
    assert_eq!(Quantity::from_json(&json!([])), None);
}

fn any_format() -> impl Strategy<Value = Format> {
    prop_oneof![Just(Format::DecimalSi), Just(Format::BinarySi), Just(Format::DecimalExponent)]
}

proptest! {
    #[test]
    fn a_quantity_survives_being_written(
        nanos in prop_oneof![any::<i64>().prop_map(i128::from), -MAX_NANOS..=MAX_NANOS],
        format in any_format(),
    ) {
        // Binary quantities are capped where decimal ones are not.
        let cap = i128::from(i64::MAX) * NANO;
        let nanos = if format == Format::BinarySi { nanos.clamp(-cap, cap) } else { nanos };
        let quantity = Quantity { nanos, format };
        let text = quantity.to_string();
        let again = Quantity::parse(&text).unwrap();
        prop_assert_eq!(again, quantity);
        prop_assert_eq!(again.to_string(), text);
    }

    #[test]
    fn order_is_that_of_the_numbers(a in -9999..9999i64, b in -9999..9999i64) {
        let quantity = |n: i64| parsed(&format!("{n}m"));
        prop_assert_eq!(quantity(a).cmp(&quantity(b)), a.cmp(&b));
        prop_assert_eq!(quantity(a) + quantity(b), quantity(a + b));
        prop_assert_eq!(quantity(a) - quantity(b), quantity(a - b));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[-+]?[0-9.]{0,40}[eEinumkKMGTP]{0,2}[-+]?[0-9]{0,30}") {
        if let Ok(quantity) = Quantity::parse(&text) {
            prop_assert_eq!(Quantity::parse(&quantity.to_string()), Ok(quantity));
        }
    }
}

#[test]
fn short_texts_are_what_reading_and_writing_them_would_make() {
    for suffix in ["", "m", "k", "M", "G", "Ki", "Mi", "Gi"] {
        for number in 0..1100 {
            let text = format!("{number}{suffix}");
            let long: Quantity = text.parse().unwrap();
            let canonical = long.to_string();
            assert!(!text::is_short(&text) || canonical == text, "{text}");
            assert!(text::is_short(&text) || !(1..1000).contains(&number), "{text}");
        }
    }
    for text in ["", "m", "0", "01", "-1", "+1", "1.0", "1e3", "1n", "1000", "1T", "1mm"] {
        assert!(!text::is_short(text), "{text}");
    }
}
