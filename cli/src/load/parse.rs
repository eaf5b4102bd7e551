//! From a file's bytes to objects and problems.
//!
//! Guarantees: total, whatever the bytes; a document that can't be read costs none of the others; an
//! object in a List that can't be read costs none of its neighbours. Must never touch a file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::de::{DeserializeOwned, IgnoredAny};
use weighbridge_compiler::{Kind, ObjectId, Untyped, Urgent};
use weighbridge_crds::{GROUP, VERSION, check_object_name, check_part_name, required_fields};
use weighbridge_snapshot::{FORMAT, ObjectName};

use super::documents::{self, Document};
use super::error::{Values, word};
use super::list::{Item, Items, ListOf};
use super::manifest::{Head, HeadMetadata, QUOTED, Scalar};
use super::object::{ObjectSeed, Shape};
use super::syntax::{Fault, Syntax};
use super::{About, Found, Id, Object, Place, Problem};

/// How many objects of one List are reported with line and column; each costs another pass over it.
const LIST_PLACES: usize = 16;

/// What a file holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parsed {
    /// The objects that could be read.
    pub(crate) objects: Vec<Found>,
    /// What could not.
    pub(crate) problems: Vec<Problem>,
    /// What of the objects that could not be read never waits for being mended.
    pub(crate) urgent: BTreeMap<Id, Urgent>,
    /// What a standalone gateway doesn't read, as sentences.
    pub(crate) ignored: Vec<Problem>,
}

/// What a head says.
enum Said {
    Read(Shape, About),
    List,
    Ignore(String),
    Refuse(String),
}

/// A document that is being read.
struct Reader<'a> {
    file: Place,
    syntax: Syntax,
    document: Document<'a>,
    parsed: &'a mut Parsed,
}

/// Reads a file's bytes.
pub(crate) fn parse(file: &Arc<Path>, bytes: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    let syntax = Syntax::of(file);
    let file = Place::of(file);
    let documents = match (documents::decode(bytes), syntax) {
        (Ok(text), Syntax::Yaml) => documents::split(text),
        (Ok(text), Syntax::Json) => documents::whole(text),
        (Err(unfit), _) => {
            let place = file.at(unfit.line, Some(unfit.column));
            parsed.problems.push(Problem::new(place, unfit.message));
            return parsed;
        }
    };
    if documents.is_empty() {
        let nothing = Problem::new(file.clone(), "found nothing in it");
        parsed.ignored.push(nothing);
    }
    for document in documents {
        let file = file.clone();
        Reader {
            file,
            syntax,
            document,
            parsed: &mut parsed,
        }
        .read();
    }
    parsed
}

impl Reader<'_> {
    fn read(mut self) {
        if let (Syntax::Yaml, Err(unfit)) = (self.syntax, self.document.check()) {
            let place = self.file.at(unfit.line, Some(unfit.column));
            let problem = Problem::new(place, unfit.message);
            return self.parsed.problems.push(problem);
        }
        let head = match self.syntax.read::<Head>(self.document.text) {
            Ok(head) => head,
            Err(fault) => return self.refuse_head(&fault),
        };
        match say(head) {
            Said::List => self.read_list(),
            Said::Read(shape, about) => self.read_object(shape, about),
            Said::Ignore(message) => {
                let ignored = Problem::new(self.first_line(), message);
                self.parsed.ignored.push(ignored);
            }
            Said::Refuse(message) => self.refuse(message),
        }
    }

    fn read_object(&mut self, shape: Shape, about: About) {
        let place = self.first_line();
        let seed = ObjectSeed(shape, &about);
        match self.syntax.read_with(self.document.text, seed) {
            Ok(object) => self.parsed.objects.push(found(about, place, object)),
            Err(fault) => {
                let urgent = self.syntax.read(self.document.text).unwrap_or_default();
                self.refuse_object(&fault, shape, about, urgent);
            }
        }
    }

    /// Reads a List. When a first pass ends early, the items that can't be read are put aside, so that
    /// they end no other; then each of them is looked at by itself.
    fn read_list(&mut self) {
        let heads = match self.syntax.read::<ListOf<Head>>(self.document.text) {
            Ok(list) => list.items,
            Err(fault) => return self.refuse_head(&fault),
        };
        let mut items = Items::new(self.items(heads));
        let Err(fault) = self.pass(&mut items) else {
            return;
        };
        let urgent = self.read_items::<Urgent>();
        match items.give_up() {
            Some(item) => self.refuse_item(&fault, item, &urgent),
            None => return self.refuse_head(&fault),
        }
        let suspects = items.take_suspects(self.read_items::<Untyped>());
        // Nobody is left to end a pass but for what an untyped item doesn't show.
        for _ in 0..LIST_PLACES {
            let (Err(fault), Some(item)) = (self.pass(&mut items), items.give_up()) else {
                break;
            };
            self.refuse_item(&fault, item, &urgent);
        }
        for (count, (item, seen)) in suspects.into_iter().enumerate() {
            let fault = match count {
                // Read in place it may be good: there `1` can be text.
                0..LIST_PLACES => self.pass(&mut Items::new([item.clone()])).err(),
                _ => Some(seen),
            };
            if let Some(fault) = fault {
                self.refuse_item(&fault, item, &urgent);
            }
        }
        for item in items.give_up_all() {
            let message = "left out after too many others that can't be read".to_owned();
            self.refuse_item(&Fault { at: None, message }, item, &urgent);
        }
    }

    /// Makes a pass over the List and takes over what it reads.
    fn pass(&mut self, items: &mut Items) -> Result<(), Fault> {
        let pass = items.read(self.syntax, self.document.text);
        let place = self.first_line();
        for (about, object) in items.take_read() {
            self.parsed
                .objects
                .push(found(about, place.clone(), object));
        }
        pass
    }

    /// The List's items in another form; none where the List doesn't have it.
    fn read_items<T: DeserializeOwned>(&self) -> Vec<T> {
        let list = self.syntax.read::<ListOf<T>>(self.document.text);
        list.map(|list| list.items).unwrap_or_default()
    }

    /// What to read of each item; the rest is reported at once.
    fn items(&mut self, heads: Vec<Head>) -> Vec<Item> {
        let mut items = Vec::new();
        for (index, head) in heads.into_iter().enumerate() {
            match say(head) {
                Said::Read(shape, about) => items.push(Item {
                    index,
                    shape,
                    about,
                }),
                Said::List => {
                    self.refuse(format!("items[{index}]: found a List inside a List"));
                }
                Said::Refuse(message) => self.refuse(format!("items[{index}]: {message}")),
                Said::Ignore(message) => {
                    let message = format!("items[{index}]: {message}");
                    let ignored = Problem::new(self.first_line(), message);
                    self.parsed.ignored.push(ignored);
                }
            }
        }
        items
    }

    fn refuse(&mut self, message: String) {
        let problem = Problem::new(self.first_line(), message);
        self.parsed.problems.push(problem);
    }

    fn refuse_item(&mut self, fault: &Fault, item: Item, urgent: &[Urgent]) {
        let urgent = urgent.get(item.index).cloned().unwrap_or_default();
        self.refuse_object(fault, item.shape, item.about, urgent);
    }

    fn refuse_object(&mut self, fault: &Fault, shape: Shape, about: About, urgent: Urgent) {
        let values = match shape {
            Shape::Secret => Values::Hidden,
            _ => Values::Shown,
        };
        let worded = word(fault, &self.document, &self.file, values);
        // Of two with one name nobody knows which is meant.
        let twice = self.parsed.urgent.contains_key(&about.id);
        let urgent = if twice { Urgent::default() } else { urgent };
        self.parsed.urgent.insert(about.id.clone(), urgent);
        self.parsed.problems.push(Problem {
            place: worded.place,
            message: with_required(worded.message, &about.id),
            about: Some(about),
        });
    }

    /// A document of which not even the head can be read; it could be a Secret.
    fn refuse_head(&mut self, fault: &Fault) {
        let syntax = self.syntax.read::<IgnoredAny>(self.document.text).err();
        let fault = syntax.as_ref().unwrap_or(fault);
        let worded = word(fault, &self.document, &self.file, Values::Hidden);
        let message = if syntax.is_some() {
            format!("not {}: {}", self.syntax.name(), worded.message)
        } else if worded.message.starts_with("found something else") {
            "found no Kubernetes object; allowed is a map with apiVersion, kind and metadata"
                .to_owned()
        } else {
            worded.message
        };
        let problem = Problem::new(worded.place, message);
        self.parsed.problems.push(problem);
    }

    fn first_line(&self) -> Place {
        self.file.at(self.document.first_line, None)
    }
}

fn say(head: Head) -> Said {
    if is_snapshot(&head) {
        let message = "a compiled snapshot is not read here; weighbridge-dataplane serves it";
        return Said::Ignore(message.to_owned());
    }
    let (version, kind) = match (head.api_version, head.kind) {
        (Some(version), Some(kind)) => (version, kind),
        (None, _) => return Said::Refuse(no_object("apiVersion")),
        (_, None) => return Said::Refuse(no_object("kind")),
    };
    let metadata = head.metadata.unwrap_or_default();
    let shape = match (version.as_str(), kind.as_str()) {
        ("v1", "List") => return Said::List,
        ("v1", "Secret") => Shape::Secret,
        ("v1", "Namespace") => Shape::Namespace,
        (version, kind) => match version.split_once('/') {
            Some((GROUP, VERSION)) => match kind {
                "Provider" => Shape::Provider,
                "Route" => Shape::Route,
                "VirtualKey" => Shape::VirtualKey,
                _ => {
                    return Said::Refuse(format!(
                        "found kind {kind:?} in {GROUP}/{VERSION}; allowed are Provider, Route, VirtualKey"
                    ));
                }
            },
            Some((GROUP, _)) => {
                return Said::Refuse(format!(
                    "found apiVersion {version:?}; allowed is {GROUP}/{VERSION}"
                ));
            }
            _ => {
                return Said::Ignore(format!(
                    "kind {kind} of {version} is not read here; Provider, Route and VirtualKey of {GROUP}/{VERSION}, and Secret, Namespace and List of v1 are"
                ));
            }
        },
    };
    match about(shape, metadata) {
        Ok(about) => Said::Read(shape, about),
        Err(message) => Said::Refuse(message),
    }
}

/// Whether it is what `check --snapshot` writes, in this form or one to come.
fn is_snapshot(head: &Head) -> bool {
    let name = |format: &str| format.rsplit_once('/').map(|(name, _)| name.to_owned());
    match (&head.api_version, &head.kind, &head.format) {
        (None, None, Some(Scalar::Text(format))) => name(format) == name(FORMAT),
        _ => false,
    }
}

/// Of a missing spec, what it can't do without.
fn with_required(message: String, id: &Id) -> String {
    match id {
        Id::Judged(id) if message == "found no field `spec`" => {
            let required = required_fields(&id.kind.to_string()).join(", ");
            format!("{message}; allowed is a map with at least {required}")
        }
        _ => message,
    }
}

fn no_object(field: &str) -> String {
    format!(
        "found no field {field}; allowed is a Kubernetes object with apiVersion, kind and metadata"
    )
}

fn about(shape: Shape, metadata: HeadMetadata) -> Result<About, String> {
    let name = text("name", metadata.name)?.ok_or(
        "metadata.name: found none; allowed is a name (a generated one needs an API server)",
    )?;
    let namespace = text("namespace", metadata.namespace)?;
    let object = ObjectName::new(namespace.unwrap_or_else(|| "default".to_owned()), name);
    let judged = |kind| Ok(Id::Judged(ObjectId::new(kind, object.clone())));
    let id = match shape {
        Shape::Provider => judged(Kind::Provider),
        Shape::Route => judged(Kind::Route),
        Shape::VirtualKey => judged(Kind::VirtualKey),
        // Nobody else checks the names of these two.
        Shape::Secret => check_part_name(&object.namespace)
            .map_err(|misfit| ("namespace", misfit))
            .and_then(|_| check_object_name(&object.name).map_err(|misfit| ("name", misfit)))
            .map(|_| Id::Secret(object.clone())),
        Shape::Namespace => check_part_name(&object.name)
            .map_err(|misfit| ("name", misfit))
            .map(|name| Id::Namespace(name.to_owned())),
    };
    let id = id.map_err(|(field, misfit)| {
        let (found, allowed) = (misfit.found, misfit.allowed);
        format!("metadata.{field}: found {found}; allowed is {allowed}")
    })?;
    Ok(About {
        id,
        uid: metadata.uid,
        generation: metadata.generation,
    })
}

/// A field of the metadata that must be text; `None` when there is nothing in it.
fn text(field: &str, value: Option<Scalar>) -> Result<Option<String>, String> {
    match value {
        Some(Scalar::Text(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        Some(Scalar::Other(found)) => Err(format!("metadata.{field}: found {found}; {QUOTED}")),
        None => Ok(None),
    }
}

fn found(about: About, place: Place, object: Object) -> Found {
    Found {
        id: about.id,
        place,
        uid: about.uid,
        generation: about.generation,
        object,
    }
}
