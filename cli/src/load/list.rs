//! The objects of a `v1 List`, read in place so that errors keep their line.
//!
//! What kind an item is may stand behind its spec, so the heads are read first; then come passes over
//! the whole List, each ended by the first item that can't be read. Must never read an item twice.

use std::fmt;

use serde::de::{
    Deserialize as _, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::object::Shape;
use super::{About, Object};

/// A List's items, on their way.
pub(super) struct Items {
    /// What is still to be read, by index.
    wanted: Vec<Option<(Shape, About)>>,
    /// The item that a pass is at.
    at: usize,
    read: Vec<(About, Object)>,
}

impl Items {
    /// Items of which these are to be read.
    pub(super) fn new(wanted: Vec<Option<(Shape, About)>>) -> Self {
        Self {
            wanted,
            at: 0,
            read: Vec::new(),
        }
    }

    /// Makes a pass over the List.
    ///
    /// # Errors
    /// When the item it is at can't be read.
    pub(super) fn read(&mut self, text: &str) -> Result<(), serde_yaml::Error> {
        self.at = 0;
        serde_yaml::Deserializer::from_str(text).deserialize_map(ListPass(self))
    }

    /// Hands over what was read.
    pub(super) fn take_read(&mut self) -> Vec<(About, Object)> {
        std::mem::take(&mut self.read)
    }

    /// Gives up the item that ended the pass; `None` when it wasn't an item that did.
    pub(super) fn give_up(&mut self) -> Option<(Shape, About)> {
        self.wanted.get_mut(self.at)?.take()
    }
}

struct ListPass<'a>(&'a mut Items);

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
        let item = wanted.get_mut(*at);
        let Some(item) = item.filter(|item| item.is_some()) else {
            return IgnoredAny::deserialize(deserializer).map(drop);
        };
        if let Some((shape, about)) = &*item {
            read.push((about.clone(), shape.read(about, deserializer)?));
            *item = None;
        }
        Ok(())
    }
}
