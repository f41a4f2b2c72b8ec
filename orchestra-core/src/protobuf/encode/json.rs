//! What serde reads of JSON, written as it is read.

use std::fmt;

use base64::Engine as _;
use jiff::Timestamp;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize as _, Deserializer};
use serde_json::value::RawValue;

use super::{Encoder, Part, put_empty};
use crate::protobuf::wire::{put_bytes, put_double, put_length_before, put_number, put_tag};
use crate::schema::{self, Field, Item, ObjectType, Scalar, Shape};

/// The fields of an object of a known type, without tag and length.
pub(super) struct Object<'a> {
    pub(super) encoder: &'a mut Encoder,
    pub(super) ty: &'static ObjectType,
}

impl Object<'_> {
    fn fields<'de, A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let Self { encoder, ty } = self;
        let (base, first_part) = (encoder.out.len(), encoder.parts.len());
        while let Some(at) = access.next_key_seed(FieldName(ty))? {
            let Some((rank, field)) = at else {
                access.next_value::<IgnoredAny>()?;
                continue;
            };
            let Some(number) = field.number.as_ref().and_then(|number| number.path().last().copied()) else {
                access.next_value::<IgnoredAny>()?;
                continue;
            };
            let start = encoder.out.len();
            access.next_value_seed(FieldValue { encoder: &mut *encoder, number, field })?;
            let end = encoder.out.len();
            if end > start {
                encoder.parts.push(Part { rank, start, end });
            }
        }
        encoder.finish(ty, base, first_part);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<(), A::Error> {
        self.fields(access)
    }
}

/// Finds the field that a key names, without keeping the key.
struct FieldName(&'static ObjectType);

impl<'de> DeserializeSeed<'de> for FieldName {
    type Value = Option<(u16, &'static Field)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for FieldName {
    type Value = Option<(u16, &'static Field)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.ranked(key))
    }
}

/// The value of a field: one item, a list or a map.
struct FieldValue<'a> {
    encoder: &'a mut Encoder,
    number: u16,
    field: &'static Field,
}

impl<'de> DeserializeSeed<'de> for FieldValue<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self { encoder, number, field } = self;
        match field.shape {
            Shape::Single => ItemValue { encoder, number, field }.deserialize(deserializer),
            Shape::List | Shape::Map | Shape::MapOfLists => {
                deserializer.deserialize_any(Items { encoder, number, field, shape: field.shape })
            }
        }
    }
}

/// A list, or a map: entries with the key as field 1 and the value as field 2.
struct Items<'a> {
    encoder: &'a mut Encoder,
    number: u16,
    field: &'static Field,
    shape: Shape,
}

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or a map")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let Self { encoder, number, field, .. } = self;
        loop {
            let start = encoder.out.len();
            let Some(()) = access.next_element_seed(ItemValue { encoder: &mut *encoder, number, field })?
            else {
                return Ok(());
            };
            if encoder.out.len() == start {
                put_empty(&mut encoder.out, number, field);
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let Self { encoder, number, field, shape } = self;
        while let Some(key) = access.next_key::<String>()? {
            put_tag(&mut encoder.out, number);
            let entry = encoder.out.len();
            put_bytes(&mut encoder.out, 1, key.as_bytes());
            if shape == Shape::MapOfLists {
                put_tag(&mut encoder.out, 2);
                let list = encoder.out.len();
                access.next_value_seed(Items {
                    encoder: &mut *encoder,
                    number: 1,
                    field,
                    shape: Shape::List,
                })?;
                put_length_before(&mut encoder.out, list);
            } else {
                let value = encoder.out.len();
                access.next_value_seed(ItemValue { encoder: &mut *encoder, number: 2, field })?;
                if encoder.out.len() == value {
                    put_empty(&mut encoder.out, 2, field);
                }
            }
            put_length_before(&mut encoder.out, entry);
        }
        Ok(())
    }
}

/// One value with its tag; null, and what does not fit, is nothing.
struct ItemValue<'a> {
    encoder: &'a mut Encoder,
    number: u16,
    field: &'static Field,
}

impl<'de> DeserializeSeed<'de> for ItemValue<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.field.item {
            Item::Scalar(Scalar::RawExtension | Scalar::FieldsV1 | Scalar::Json) => {
                let text = Box::<RawValue>::deserialize(deserializer)?;
                if text.get() != "null" {
                    let Self { encoder, number, .. } = self;
                    put_tag(&mut encoder.out, number);
                    let start = encoder.out.len();
                    put_bytes(&mut encoder.out, 1, text.get().as_bytes());
                    put_length_before(&mut encoder.out, start);
                }
                Ok(())
            }
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl ItemValue<'_> {
    fn scalar(&self) -> Option<Scalar> {
        match self.field.item {
            Item::Scalar(scalar) => Some(scalar),
            Item::Object(_) => None,
        }
    }

    fn number<E>(self, value: i64) -> Result<(), E> {
        let scalar = self.scalar();
        let out = &mut self.encoder.out;
        match scalar {
            Some(Scalar::Int32 | Scalar::Int64) => put_number(out, self.number, value as u64),
            Some(Scalar::Float64) => put_double(out, self.number, value as f64),
            Some(Scalar::IntOrString) => {
                put_tag(out, self.number);
                let start = out.len();
                put_number(out, 1, 0);
                put_number(out, 2, value as u64);
                put_bytes(out, 3, b"");
                put_length_before(out, start);
            }
            _ => {}
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for ItemValue<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        let scalar = self.scalar();
        let out = &mut self.encoder.out;
        match scalar {
            Some(Scalar::Bool) => put_number(out, self.number, u64::from(value)),
            Some(Scalar::SchemaOrBool) => {
                put_tag(out, self.number);
                let start = out.len();
                put_number(out, 1, u64::from(value));
                put_length_before(out, start);
            }
            _ => {}
        }
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.number(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.number(value),
            Err(_) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        if self.scalar() == Some(Scalar::Float64) {
            put_double(&mut self.encoder.out, self.number, value);
        }
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        let scalar = self.scalar();
        let out = &mut self.encoder.out;
        match scalar {
            Some(Scalar::String) => put_bytes(out, self.number, text.as_bytes()),
            Some(Scalar::Bytes) => {
                if let Ok(bytes) = schema::BASE64.decode(text) {
                    put_bytes(out, self.number, &bytes);
                }
            }
            Some(Scalar::Quantity) => {
                put_tag(out, self.number);
                let start = out.len();
                put_bytes(out, 1, text.as_bytes());
                put_length_before(out, start);
            }
            Some(Scalar::IntOrString) => {
                put_tag(out, self.number);
                let start = out.len();
                put_number(out, 1, 1);
                put_number(out, 2, 0);
                put_bytes(out, 3, text.as_bytes());
                put_length_before(out, start);
            }
            Some(Scalar::Time | Scalar::MicroTime) => {
                if let Ok(time) = text.parse::<Timestamp>() {
                    put_tag(out, self.number);
                    let start = out.len();
                    put_time(time, out);
                    put_length_before(out, start);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<(), A::Error> {
        let Self { encoder, number, field } = self;
        match field.item {
            Item::Object(_) => {
                let ty = field.object().ok_or_else(|| A::Error::custom("a type that is not in the table"))?;
                put_tag(&mut encoder.out, number);
                let start = encoder.out.len();
                Object { encoder: &mut *encoder, ty }.fields(access)?;
                put_length_before(&mut encoder.out, start);
                Ok(())
            }
            Item::Scalar(scalar) => {
                let is_schema = match scalar {
                    Scalar::SchemaOrBool => Some(2),
                    Scalar::SchemaOrArray | Scalar::SchemaOrStringArray => Some(1),
                    _ => None,
                };
                let (Some(inner), Some(ty)) = (is_schema, schema::json_schema_props()) else {
                    return ignore_map(access);
                };
                put_tag(&mut encoder.out, number);
                let start = encoder.out.len();
                if scalar == Scalar::SchemaOrBool {
                    put_number(&mut encoder.out, 1, 1);
                }
                put_tag(&mut encoder.out, inner);
                let props = encoder.out.len();
                Object { encoder: &mut *encoder, ty }.fields(access)?;
                put_length_before(&mut encoder.out, props);
                put_length_before(&mut encoder.out, start);
                Ok(())
            }
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let (number, scalar) = (self.number, self.scalar());
        if !matches!(scalar, Some(Scalar::SchemaOrArray | Scalar::SchemaOrStringArray)) {
            while access.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        let encoder = self.encoder;
        put_tag(&mut encoder.out, number);
        let start = encoder.out.len();
        while access.next_element_seed(Alternative(&mut *encoder))?.is_some() {}
        put_length_before(&mut encoder.out, start);
        Ok(())
    }
}

fn ignore_map<'de, A: MapAccess<'de>>(mut access: A) -> Result<(), A::Error> {
    while access.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

/// A schema or a text in the list of a field that may be one schema or several things: field 2 of its message.
struct Alternative<'a>(&'a mut Encoder);

impl<'de> DeserializeSeed<'de> for Alternative<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Alternative<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a schema or a text")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        put_bytes(&mut self.0.out, 2, text.as_bytes());
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<(), A::Error> {
        let Some(ty) = schema::json_schema_props() else { return ignore_map(access) };
        put_tag(&mut self.0.out, 2);
        let start = self.0.out.len();
        Object { encoder: &mut *self.0, ty }.fields(access)?;
        put_length_before(&mut self.0.out, start);
        Ok(())
    }
}

fn put_time(time: Timestamp, out: &mut Vec<u8>) {
    // Nanoseconds count from the second at or before the instant.
    let nanos = i64::from(time.subsec_nanosecond());
    let (seconds, nanos) =
        if nanos < 0 { (time.as_second() - 1, nanos + 1_000_000_000) } else { (time.as_second(), nanos) };
    put_number(out, 1, seconds as u64);
    put_number(out, 2, nanos as u64);
}
