//! Reading values as strictly as the schema: files have no API server before them.
//!
//! Text must be written as text, a whole number without a fraction, a label once. Must never echo what
//! stands in the place of a credential's reference: it may be the credential.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor,
};

use crate::{Account, SecretKeyRef};

/// Text that was written as text. Other readers make text of what looks like a number: `4.10` would
/// be a model's name here, and be refused by an API server, or even read as 4.1.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Text::deserialize(deserializer).map(Text::into)
}

/// [`text`], where it may be left out.
pub(crate) fn optional_text<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    Ok(Option::<Text>::deserialize(deserializer)?.map(Text::into))
}

/// A list of [`text`].
pub(crate) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let texts = Vec::<Text>::deserialize(deserializer)?;
    Ok(texts.into_iter().map(Text::into).collect())
}

/// A list of [`text`], where it may be left out.
pub(crate) fn optional_texts<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<String>>, D::Error> {
    let texts = Option::<Vec<Text>>::deserialize(deserializer)?;
    Ok(texts.map(|texts| texts.into_iter().map(Text::into).collect()))
}

/// Labels: text each, none twice. Labels are grants, so of two values neither may win in silence.
pub(crate) fn labels<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    deserializer.deserialize_any(LabelsVisitor)
}

/// A whole number. What is out of bounds is left to the compiler, as far as it can be represented.
pub(crate) fn whole<'de, D: Deserializer<'de>, const LEAST: i64, const MOST: i64>(
    deserializer: D,
) -> Result<i64, D::Error> {
    deserializer.deserialize_any(WholeVisitor::<LEAST, MOST>)
}

/// [`whole`], where it may be left out.
pub(crate) fn optional_whole<'de, D: Deserializer<'de>, const LEAST: i64, const MOST: i64>(
    deserializer: D,
) -> Result<Option<i64>, D::Error> {
    let whole = Option::<Whole<LEAST, MOST>>::deserialize(deserializer)?;
    Ok(whole.map(|Whole(number)| number))
}

/// A Provider's accounts; in their place, and in that of one, nothing is echoed.
pub(crate) fn accounts<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Account>, D::Error> {
    deserializer.deserialize_any(AccountsVisitor)
}

/// A reference to a credential; in its place nothing is echoed.
pub(crate) fn secret_ref<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<SecretKeyRef, D::Error> {
    MapOnly::new("a map with name and key, of a Secret").deserialize(deserializer)
}

/// The scalars, refused without an echo.
macro_rules! refuse_scalars_unseen {
    () => {
        refuse_scalars_unseen! {
            visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128,
            visit_f64: f64, visit_char: char, visit_str: &str, visit_bytes: &[u8]
        }
    };
    ($($visit:ident: $scalar:ty),*) => {
        $(fn $visit<E: Error>(self, _: $scalar) -> Result<Self::Value, E> {
            Err(E::invalid_type(Unexpected::Other("something else"), &self))
        })*
    };
}

struct Text(String);

struct TextVisitor;

struct LabelsVisitor;

struct Whole<const LEAST: i64, const MOST: i64>(i64);

struct WholeVisitor<const LEAST: i64, const MOST: i64>;

struct AccountsVisitor;

/// A `T`, which is a map; what else stands in its place isn't echoed.
struct MapOnly<T> {
    expected: &'static str,
    read: PhantomData<T>,
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("text, in quotes where it looks like a number, true, false or null")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Text, E> {
        Ok(Text(text))
    }
}

impl<'de> Visitor<'de> for LabelsVisitor {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map of labels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut labels = BTreeMap::new();
        while let Some((Text(name), Text(value))) = map.next_entry()? {
            if labels.contains_key(&name) {
                let twice = format_args!("found the label {name:?} twice; allowed is once");
                return Err(A::Error::custom(twice));
            }
            labels.insert(name, value);
        }
        Ok(labels)
    }
}

impl<'de, const LEAST: i64, const MOST: i64> Deserialize<'de> for Whole<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        whole::<D, LEAST, MOST>(deserializer).map(Self)
    }
}

impl<const LEAST: i64, const MOST: i64> Visitor<'_> for WholeVisitor<LEAST, MOST> {
    type Value = i64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a whole number, {LEAST} to {MOST}")
    }

    fn visit_i64<E>(self, number: i64) -> Result<i64, E> {
        Ok(number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<i64, E> {
        self.visit_u128(number.into())
    }

    fn visit_i128<E: Error>(self, number: i128) -> Result<i64, E> {
        let too_large = |_| E::invalid_value(Unexpected::Other(&number.to_string()), &self);
        number.try_into().map_err(too_large)
    }

    fn visit_u128<E: Error>(self, number: u128) -> Result<i64, E> {
        let too_large = |_| E::invalid_value(Unexpected::Other(&number.to_string()), &self);
        number.try_into().map_err(too_large)
    }
}

impl<'de> Visitor<'de> for AccountsVisitor {
    type Value = Vec<Account>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of accounts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let account = || MapOnly::new("a map with name and secretRef");
        let mut accounts = Vec::new();
        while let Some(account) = items.next_element_seed(account())? {
            accounts.push(account);
        }
        Ok(accounts)
    }

    refuse_scalars_unseen!();
}

impl<T> MapOnly<T> {
    fn new(expected: &'static str) -> Self {
        let read = PhantomData;
        Self { expected, read }
    }
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for MapOnly<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for MapOnly<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.expected)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }

    refuse_scalars_unseen!();
}
