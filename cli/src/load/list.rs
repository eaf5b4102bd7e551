//! The objects of a `v1 List`, read in place so that errors keep their line.
//!
//! What kind an item is may stand behind its spec, so the heads are read first; then come passes over
//! the whole List, each ended by the first item that can't be read. Which items those are is asked of
//! the untyped items, so that a bad one keeps no good one from being read. Must never read an item
//! twice.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;

use serde::de::{
    Deserialize as _, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use weighbridge_compiler::Untyped;

use super::object::Shape;
use super::syntax::{Fault, Syntax};
use super::{About, Object};

/// A List, of which only the items matter.
#[derive(Debug, serde::Deserialize)]
pub(super) struct ListOf<T> {
    #[serde(default = "Vec::new")]
    pub(super) items: Vec<T>,
}

/// An item that is to be read.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) index: usize,
    pub(super) shape: Shape,
    pub(super) about: About,
}

/// A List's items, on their way.
pub(super) struct Items {
    /// What is still to be read, by index.
    wanted: BTreeMap<usize, Item>,
    /// The item that a pass is at.
    at: usize,
    read: Vec<(About, Object)>,
}

impl Items {
    /// Items of which these are to be read.
    pub(super) fn new(wanted: impl IntoIterator<Item = Item>) -> Self {
        Self {
            wanted: wanted.into_iter().map(|item| (item.index, item)).collect(),
            at: 0,
            read: Vec::new(),
        }
    }

    /// Makes a pass over the List.
    ///
    /// # Errors
    /// When the item it is at can't be read.
    pub(super) fn read(&mut self, syntax: Syntax, text: &str) -> Result<(), Fault> {
        self.at = 0;
        syntax.read_with(text, ListPass(self))
    }

    /// Hands over what was read.
    pub(super) fn take_read(&mut self) -> Vec<(About, Object)> {
        mem::take(&mut self.read)
    }

    /// Gives up the item that ended the pass; `None` when it wasn't an item that did.
    pub(super) fn give_up(&mut self) -> Option<Item> {
        self.wanted.remove(&self.at)
    }

    /// Takes out the items that can't be read from their untyped form, each with why.
    pub(super) fn take_suspects(&mut self, untyped: Vec<Untyped>) -> Vec<(Item, Fault)> {
        let mut suspects = Vec::new();
        for (index, untyped) in untyped.into_iter().enumerate() {
            let wanted = self.wanted.get(&index);
            let read = wanted.map(|item| item.shape.read(&item.about, untyped));
            if let Some(Err(error)) = read {
                let message = error.to_string();
                let item = self.wanted.remove(&index);
                suspects.extend(item.map(|item| (item, Fault { at: None, message })));
            }
        }
        suspects
    }

    /// Gives up whatever is left.
    pub(super) fn give_up_all(&mut self) -> Vec<Item> {
        mem::take(&mut self.wanted).into_values().collect()
    }
}

struct ListPass<'a>(&'a mut Items);

impl<'de> DeserializeSeed<'de> for ListPass<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ListPass<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a List")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "items" => map.next_value_seed(ItemsPass(self.0))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct ItemsPass<'a>(&'a mut Items);

impl<'de> DeserializeSeed<'de> for ItemsPass<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ItemsPass<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(ItemPass(self.0))?.is_some() {
            self.0.at += 1;
        }
        Ok(())
    }
}

struct ItemPass<'a>(&'a mut Items);

impl<'de> DeserializeSeed<'de> for ItemPass<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Items { wanted, at, read } = self.0;
        let Some(item) = wanted.get(at) else {
            return IgnoredAny::deserialize(deserializer).map(drop);
        };
        read.push((
            item.about.clone(),
            item.shape.read(&item.about, deserializer)?,
        ));
        wanted.remove(at);
        Ok(())
    }
}
