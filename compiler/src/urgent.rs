//! What of an object never waits for the rest of it: grants, suspension, expiry.
//!
//! It is taken from a spec that was read, or straight from what was written where the object can't be
//! read as its kind: field by field, whatever stands beside them. Must never open what was closed by
//! misreading: of what isn't clear, the last good form stays.

use std::cell::Cell;
use std::collections::BTreeMap;

use serde::de::value::Error;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;
use weighbridge_crds::{Account, Grant, ProviderSpec, RouteSpec, Timestamp, VirtualKeySpec};

use crate::untyped::Untyped;

/// What a field says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stated<T> {
    /// This.
    Said(T),
    /// Nothing: its default holds.
    LeftOut,
    /// Nobody knows: it isn't of its type, stands there twice, or may be the field beside it whose name
    /// is unknown.
    #[default]
    Unclear,
}

/// What of an object never waits. Fields that the object's kind doesn't have are unclear.
///
/// Deserializes from an object of any kind in any format; fails only on what isn't of the format. In a
/// map with an unknown field, a field that is left out counts as such only where its default is the
/// narrow one: `suspend` misspelt must not end a suspension.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Urgent {
    /// `spec.suspend`; left out, false.
    pub suspend: Stated<bool>,
    /// `spec.expiresAt`, as written; left out, never.
    pub expires_at: Stated<Timestamp>,
    /// `spec.allowedVirtualKeys` of a Route, not yet checked; left out, the Route's own namespace.
    pub allowed_virtual_keys: Stated<Grant>,
    /// `spec.allowedRoutes`, not yet checked; left out, the Provider's own namespace.
    pub allowed_routes: Stated<Grant>,
    /// By name of the account: its `allowedVirtualKeys`, not yet checked; left out, all.
    pub accounts: BTreeMap<String, Stated<Grant>>,
}

impl<T> Stated<T> {
    /// Left out counts as that in a map without unknown fields.
    fn certain_if(self, certain: bool) -> Self {
        match self {
            Self::LeftOut if !certain => Self::Unclear,
            stated => stated,
        }
    }

    fn optional(value: Option<T>) -> Self {
        value.map_or(Self::LeftOut, Self::Said)
    }
}

impl From<&ProviderSpec> for Urgent {
    fn from(spec: &ProviderSpec) -> Self {
        let grant = |account: &Account| {
            let grant = account.allowed_virtual_keys.clone();
            (account.name.clone(), Stated::optional(grant))
        };
        Self {
            allowed_routes: Stated::Said(spec.allowed_routes.clone()),
            accounts: unique(spec.accounts.iter().map(grant)),
            ..Self::default()
        }
    }
}

impl From<&RouteSpec> for Urgent {
    fn from(spec: &RouteSpec) -> Self {
        Self {
            allowed_virtual_keys: Stated::Said(spec.allowed_virtual_keys.clone()),
            ..Self::default()
        }
    }
}

impl From<&VirtualKeySpec> for Urgent {
    fn from(spec: &VirtualKeySpec) -> Self {
        Self {
            suspend: Stated::Said(spec.suspend),
            expires_at: Stated::optional(spec.expires_at.clone()),
            ..Self::default()
        }
    }
}

impl<'de> Deserialize<'de> for Urgent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Fields::of(Untyped::deserialize(deserializer)?);
        let Some(spec) = object.value("spec").map(Fields::of) else {
            return Ok(Self::default());
        };
        Ok(match object.value("kind") {
            Some(Untyped::Text(kind)) if kind == "Provider" => provider(&spec),
            Some(Untyped::Text(kind)) if kind == "Route" => route(&spec),
            Some(Untyped::Text(kind)) if kind == "VirtualKey" => virtual_key(&spec),
            _ => Self::default(),
        })
    }
}

fn provider(spec: &Fields) -> Urgent {
    let accounts = match spec.value("accounts") {
        Some(Untyped::List(accounts)) => accounts,
        _ => Vec::new(),
    };
    Urgent {
        allowed_routes: spec.stated("allowedRoutes"),
        accounts: unique(accounts.into_iter().filter_map(account)),
        ..Urgent::default()
    }
}

fn account(account: Untyped) -> Option<(String, Stated<Grant>)> {
    let account = Fields::of(account);
    let Some(Untyped::Text(name)) = account.value("name") else {
        return None;
    };
    let grant = account.stated("allowedVirtualKeys");
    Some((name, grant.certain_if(account.are_all_of::<Account>())))
}

fn route(spec: &Fields) -> Urgent {
    Urgent {
        allowed_virtual_keys: spec.stated("allowedVirtualKeys"),
        ..Urgent::default()
    }
}

fn virtual_key(spec: &Fields) -> Urgent {
    let certain = spec.are_all_of::<VirtualKeySpec>();
    // Of two, the one that closes.
    let suspended = spec
        .all("suspend")
        .any(|value| *value == Untyped::Bool(true));
    Urgent {
        suspend: if suspended {
            Stated::Said(true)
        } else {
            spec.stated("suspend").certain_if(certain)
        },
        expires_at: spec.stated("expiresAt").certain_if(certain),
        ..Urgent::default()
    }
}

/// What accounts say by name; of two with one name, nobody knows which is meant.
fn unique(
    accounts: impl Iterator<Item = (String, Stated<Grant>)>,
) -> BTreeMap<String, Stated<Grant>> {
    let mut unique = BTreeMap::new();
    for (name, grant) in accounts {
        let merge = |known: &mut Stated<Grant>| *known = Stated::Unclear;
        unique.entry(name).and_modify(merge).or_insert(grant);
    }
    unique
}

/// The fields of a map, as written, and what is no field as its name isn't text; `None` of what isn't a
/// map.
struct Fields(Option<Vec<(Untyped, Untyped)>>);

impl Fields {
    fn of(value: Untyped) -> Self {
        match value {
            Untyped::Map(fields) => Self(Some(fields)),
            _ => Self(None),
        }
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &Untyped> {
        let fields = self.0.iter().flatten();
        fields
            .filter(move |(key, _)| matches!(key, Untyped::Text(key) if key == name))
            .map(|(_, value)| value)
    }

    /// The field's value, if it stands there once.
    fn value(&self, name: &str) -> Option<Untyped> {
        let mut values = self.all(name);
        let value = values.next()?;
        values.next().is_none().then(|| value.clone())
    }

    fn stated<T: DeserializeOwned>(&self, name: &str) -> Stated<T> {
        if self.0.is_none() {
            return Stated::Unclear;
        }
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (None | Some(Untyped::Null), None) => Stated::LeftOut,
            // What a tag makes of a value, only its author knows.
            (Some(value), None) if !value.has_tags() => {
                T::deserialize(value.clone()).map_or(Stated::Unclear, Stated::Said)
            }
            _ => Stated::Unclear,
        }
    }

    /// Whether `T` has every field that stands here.
    fn are_all_of<T: DeserializeOwned>(&self) -> bool {
        let known = field_names::<T>();
        let fields = self.0.iter().flatten();
        fields
            .map(|(name, _)| name)
            .all(|name| matches!(name, Untyped::Text(name) if known.contains(&name.as_str())))
    }
}

/// The names of a struct's fields: what it asks a deserializer for.
fn field_names<T: DeserializeOwned>() -> &'static [&'static str] {
    let names = Cell::new([].as_slice());
    // It is told nothing, so it never comes to be.
    let _ = T::deserialize(Asked(&names));
    names.get()
}

/// A deserializer that notes what it is asked for, and has nothing.
struct Asked<'a>(&'a Cell<&'static [&'static str]>);

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("there is nothing here"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.set(fields);
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
