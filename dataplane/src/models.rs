//! `GET /v1/models`: what a virtual key may ask for. For a pattern, the names that the catalogues of its
//! Providers give it. Must never show a name that a call with it would be refused for.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::fault::Fault;
use crate::runtime::{Key, Route, UpstreamModel};

#[derive(Serialize)]
struct List {
    object: &'static str,
    data: Vec<Model>,
}

#[derive(Serialize)]
struct Model {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

impl Model {
    fn new(id: String) -> Self {
        Self {
            id,
            object: "model",
            // Required by the SDKs' types; a Route has no meaningful date.
            created: 0,
            owned_by: "weighbridge",
        }
    }
}

/// Everything the key may ask for, by name.
pub(crate) fn list(key: &Key) -> Response<Bytes> {
    let data = names(key).into_iter().map(Model::new).collect();
    answer(&List {
        object: "list",
        data,
    })
}

/// One model.
///
/// # Errors
/// When the key may not ask for it.
pub(crate) fn one(key: &Key, name: String) -> Result<Response<Bytes>, Fault> {
    if key.may_ask(&name) {
        Ok(answer(&Model::new(name)))
    } else {
        Err(Fault::ModelNotFound { model: name })
    }
}

fn names(key: &Key) -> BTreeSet<String> {
    let exact = key.models.exact().map(|(name, _)| name.to_owned());
    let by_pattern = key
        .models
        .prefixes()
        .flat_map(|(prefix, route)| by_pattern(prefix, route));
    let names = exact.chain(by_pattern);
    names.filter(|name| key.may_ask(name)).collect()
}

/// The names that a pattern's Route has in its Providers' catalogues.
fn by_pattern<'a>(prefix: &'a str, route: &'a Route) -> impl Iterator<Item = String> + 'a {
    let backends = route.targets.iter().flat_map(|target| &target.backends);
    backends
        .filter_map(|backend| Some((backend, backend.provider.as_deref()?)))
        .flat_map(move |(backend, provider)| {
            let catalogue = provider.catalogue.keys();
            catalogue.filter_map(move |name| match &backend.model {
                UpstreamModel::Caller => name.starts_with(prefix).then(|| name.clone()),
                UpstreamModel::Wildcard => Some([prefix, name].concat()),
                // Any name at all leads to the one model: there is nothing to list.
                UpstreamModel::Named { .. } => None,
            })
        })
}

fn answer(value: &impl Serialize) -> Response<Bytes> {
    let json = serde_json::to_vec(value).expect("strings and numbers always serialise");
    let mut response = Response::new(Bytes::from(json));
    *response.status_mut() = StatusCode::OK;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests;
