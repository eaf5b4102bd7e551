//! From a file's bytes to objects and problems.
//!
//! Guarantees: total, whatever the bytes; a document that can't be read costs none of the others; an
//! object in a List that can't be read costs none of its neighbours. Must never touch a file.

use std::path::Path;
use std::sync::Arc;

use serde::de::IgnoredAny;
use weighbridge_compiler::{Kind, ObjectId};
use weighbridge_crds::{GROUP, VERSION, check_object_name, check_part_name};
use weighbridge_snapshot::ObjectName;

use super::documents::{self, Document};
use super::error::{Values, word};
use super::list::Items;
use super::manifest::{Head, HeadMetadata, ListHead};
use super::object::Shape;
use super::{About, Found, Id, Object, Place, Problem};

/// How many objects of one List are reported as unreadable; each costs another pass over the List.
const LIST_PROBLEMS: usize = 16;

/// What a file holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parsed {
    /// The objects that could be read.
    pub(crate) objects: Vec<Found>,
    /// What could not.
    pub(crate) problems: Vec<Problem>,
    /// Objects of kinds that a standalone gateway doesn't read, as sentences.
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
    document: Document<'a>,
    parsed: &'a mut Parsed,
}

/// Reads a file's bytes.
pub(crate) fn parse(file: &Arc<Path>, bytes: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    let file = Place::of(file);
    match documents::decode(bytes) {
        Ok(text) => {
            for document in documents::split(text) {
                let file = file.clone();
                Reader {
                    file,
                    document,
                    parsed: &mut parsed,
                }
                .read();
            }
        }
        Err(unfit) => {
            let place = file.at(unfit.line, Some(unfit.column));
            parsed.problems.push(Problem::new(place, unfit.message));
        }
    }
    parsed
}

impl Reader<'_> {
    fn read(mut self) {
        if let Err(unfit) = self.document.check() {
            let place = self.file.at(unfit.line, Some(unfit.column));
            return self
                .parsed
                .problems
                .push(Problem::new(place, unfit.message));
        }
        let head = match serde_yaml::from_str::<Head>(self.document.text) {
            Ok(head) => head,
            Err(error) => return self.refuse_head(&error),
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
        match shape.read(
            &about,
            serde_yaml::Deserializer::from_str(self.document.text),
        ) {
            Ok(object) => self.parsed.objects.push(found(about, place, object)),
            Err(error) => self.refuse_object(&error, shape, about),
        }
    }

    /// Reads a List pass by pass: an item that can't be read ends a pass, the next one skips it.
    fn read_list(&mut self) {
        let heads = match serde_yaml::from_str::<ListHead>(self.document.text) {
            Ok(list) => list.items,
            Err(error) => return self.refuse_head(&error),
        };
        let mut items = Items::new(self.items(heads));
        let place = self.first_line();
        for _ in 0..LIST_PROBLEMS {
            let pass = items.read(self.document.text);
            for (about, object) in items.take_read() {
                let found = found(about, place.clone(), object);
                self.parsed.objects.push(found);
            }
            let Err(error) = pass else { return };
            match items.give_up() {
                Some((shape, about)) => self.refuse_object(&error, shape, about),
                None => return self.refuse_head(&error),
            }
        }
        self.refuse(format!(
            "found more than {LIST_PROBLEMS} objects that can't be read; the List's others were not looked at"
        ));
    }

    /// What to read of each item; the rest is reported at once.
    fn items(&mut self, heads: Vec<Head>) -> Vec<Option<(Shape, About)>> {
        let mut items = Vec::new();
        for (index, head) in heads.into_iter().enumerate() {
            let item = match say(head) {
                Said::Read(shape, about) => Some((shape, about)),
                Said::List => {
                    self.refuse(format!("items[{index}]: found a List inside a List"));
                    None
                }
                Said::Refuse(message) => {
                    self.refuse(format!("items[{index}]: {message}"));
                    None
                }
                Said::Ignore(message) => {
                    let message = format!("items[{index}]: {message}");
                    let ignored = Problem::new(self.first_line(), message);
                    self.parsed.ignored.push(ignored);
                    None
                }
            };
            items.push(item);
        }
        items
    }

    fn refuse(&mut self, message: String) {
        let problem = Problem::new(self.first_line(), message);
        self.parsed.problems.push(problem);
    }

    fn refuse_object(&mut self, error: &serde_yaml::Error, shape: Shape, about: About) {
        let values = match shape {
            Shape::Secret => Values::Hidden,
            _ => Values::Shown,
        };
        let worded = word(error, &self.document, &self.file, values);
        self.parsed.problems.push(Problem {
            place: worded.place,
            about: Some(about),
            message: worded.message,
        });
    }

    /// A document of which not even the head can be read; it could be a Secret.
    fn refuse_head(&mut self, error: &serde_yaml::Error) {
        let syntax = serde_yaml::from_str::<IgnoredAny>(self.document.text).err();
        let error = syntax.as_ref().unwrap_or(error);
        let worded = word(error, &self.document, &self.file, Values::Hidden);
        let message = if syntax.is_some() {
            format!("not YAML: {}", worded.message)
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

fn no_object(field: &str) -> String {
    format!(
        "found no field {field}; allowed is a Kubernetes object with apiVersion, kind and metadata"
    )
}

fn about(shape: Shape, metadata: HeadMetadata) -> Result<About, String> {
    let name = metadata.name.filter(|name| !name.is_empty()).ok_or(
        "metadata.name: found none; allowed is a name (a generated one needs an API server)",
    )?;
    let namespace = metadata.namespace.filter(|namespace| !namespace.is_empty());
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

fn found(about: About, place: Place, object: Object) -> Found {
    Found {
        id: about.id,
        place,
        uid: about.uid,
        generation: about.generation,
        object,
    }
}
