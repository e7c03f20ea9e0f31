//! Strict deserialisation by member name. A derived struct deserializer also accepts an array of member values; here an array
//! in place of an object is a type error, and so is null for an optional member (R73).

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value};

/// A value in which every object must be a JSON object, at every depth.
#[derive(Debug)]
pub struct Strict(pub Value);

/// Reads a value by member names.
///
/// # Errors
/// When the value does not have the shape of `T`.
pub fn read<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    T::deserialize(Strict(value))
}

impl<'de> Deserializer<'de> for Strict {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => {
                let mut items = SeqDeserializer::new(items.into_iter().map(Strict));
                let read = visitor.visit_seq(&mut items)?;
                items.end().map(|()| read)
            }
            Value::Object(members) => {
                let mut members = MapDeserializer::new(members.into_iter().map(|(name, value)| (name, Strict(value))));
                let read = visitor.visit_map(&mut members)?;
                members.end().map(|()| read)
            }
            scalar => scalar.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(_) => Err(Error::invalid_type(Unexpected::Seq, &visitor)),
            // serde would also accept an empty map here.
            Value::Null => Err(Error::invalid_type(Unexpected::Unit, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => Err(Error::custom("null is not a value of this member; leave it out")),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct identifier ignored_any
    }
}

impl IntoDeserializer<'_, Error> for Strict {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        name: String,
        #[serde(default)]
        inner: Vec<Inner>,
        any: Option<Value>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        count: u64,
    }

    #[test]
    fn an_object_is_read_by_name_and_an_array_is_refused() {
        let any = json!([{ "a": [1, 1.5, null, "x", true, { "b": {} }] }]);
        let good = json!({ "name": "n", "inner": [{ "count": 1 }], "any": any });
        let read_by_name: Outer = read(good.clone()).unwrap();
        assert_eq!(read_by_name, serde_json::from_value(good).unwrap());
        assert_eq!(read::<Value>(any.clone()).unwrap(), any);
        for wrong in [
            json!(["n", [], null]),
            json!({ "name": "n", "inner": [[1]] }),
            json!({ "name": "n", "inner": { "count": 1 } }),
            json!({ "name": ["n"] }),
            json!({ "name": "n", "other": 1 }),
            json!({ "name": "n", "any": null }),
            json!("n"),
            json!(null),
        ] {
            assert!(read::<Outer>(wrong.clone()).is_err(), "{wrong}");
        }
        for wrong in [json!(null), json!([]), json!(1)] {
            assert!(read::<serde_json::Map<String, Value>>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
