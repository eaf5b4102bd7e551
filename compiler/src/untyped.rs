//! A value of no type: what was written, whether or not it fits the type it should have.
//!
//! Keeps every entry of a map, so that a key written twice is noticed, and can be asked again and again
//! whether it is a value of some type. Must never fail on what its format could read, or show itself:
//! it may be a Secret.

use std::fmt;

use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{
    Deserialize, Deserializer, EnumAccess, Error as _, IgnoredAny, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

/// A value of any type, out of any format.
///
/// For whoever fills a [`World`](crate::World): where a document as a whole can't be read, its parts
/// deserialize from this, each by itself. It has no place in a file, and its numbers are no texts.
#[derive(Clone, PartialEq)]
pub enum Untyped {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number that may be negative.
    Integer(i64),
    /// A whole number that isn't.
    Unsigned(u64),
    /// Any other number; a whole one of more than 64 bits is infinite.
    Float(f64),
    /// Text.
    Text(String),
    /// What is binary in its format.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Untyped>),
    /// The entries of a map, in the order written.
    Map(Vec<(Untyped, Untyped)>),
    /// What stands behind a tag. A type that is read from it doesn't see the tag.
    Tagged(Box<Untyped>),
}

impl Untyped {
    /// Whether there is a tag, on it or inside.
    pub(crate) fn has_tags(&self) -> bool {
        match self {
            Self::Tagged(_) => true,
            Self::List(items) => items.iter().any(Self::has_tags),
            Self::Map(entries) => entries
                .iter()
                .any(|(key, value)| key.has_tags() || value.has_tags()),
            _ => false,
        }
    }
}

impl fmt::Debug for Untyped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Untyped")
    }
}

impl<'de> Deserialize<'de> for Untyped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UntypedVisitor)
    }
}

struct UntypedVisitor;

impl<'de> Visitor<'de> for UntypedVisitor {
    type Value = Untyped;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<Untyped, E> {
        Ok(Untyped::Null)
    }

    fn visit_none<E>(self) -> Result<Untyped, E> {
        Ok(Untyped::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Untyped, D::Error> {
        Untyped::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Untyped, D::Error> {
        Untyped::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Untyped, E> {
        Ok(Untyped::Bool(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Untyped, E> {
        Ok(Untyped::Text(value.to_owned()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Untyped, E> {
        Ok(Untyped::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Untyped, E> {
        Ok(Untyped::Unsigned(value))
    }

    fn visit_i128<E>(self, _: i128) -> Result<Untyped, E> {
        Ok(Untyped::Float(f64::NEG_INFINITY))
    }

    fn visit_u128<E>(self, _: u128) -> Result<Untyped, E> {
        Ok(Untyped::Float(f64::INFINITY))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Untyped, E> {
        Ok(Untyped::Float(value))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Untyped, E> {
        Ok(Untyped::Bytes(bytes.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Untyped, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Untyped::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Untyped, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Untyped::Map(map))
    }

    /// A YAML tag.
    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Untyped, A::Error> {
        let (_, value) = data.variant::<IgnoredAny>()?;
        Ok(Untyped::Tagged(value.newtype_variant()?))
    }
}

impl<'de> Deserializer<'de> for Untyped {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Integer(value) => visitor.visit_i64(value),
            Self::Unsigned(value) => visitor.visit_u64(value),
            Self::Float(value) => visitor.visit_f64(value),
            Self::Text(text) => visitor.visit_string(text),
            Self::Bytes(bytes) => visitor.visit_byte_buf(bytes),
            Self::List(items) => SeqDeserializer::new(items.into_iter()).deserialize_any(visitor),
            Self::Map(entries) => {
                MapDeserializer::new(entries.into_iter()).deserialize_any(visitor)
            }
            Self::Tagged(value) => value.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Null => visitor.visit_none(),
            Self::Tagged(value) => value.deserialize_option(visitor),
            value => visitor.visit_some(value),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            Self::Text(text) => visitor.visit_enum(text.into_deserializer()),
            Self::Tagged(value) => value.deserialize_enum(name, variants, visitor),
            value => value.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// The name of a field. A number would be taken for its index.
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Text(text) => visitor.visit_string(text),
            Self::Tagged(value) => value.deserialize_identifier(visitor),
            _ => {
                let found = Unexpected::Other("something else");
                Err(Error::invalid_type(found, &visitor))
            }
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct ignored_any
    }
}

impl IntoDeserializer<'_, Error> for Untyped {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
