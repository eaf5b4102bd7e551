//! Which Route serves a call, and whether the call may ask for state. Pure: it looks at one Runtime and
//! hands out parts of it.

use std::sync::Arc;

use weighbridge_snapshot::TokenDigest;

use crate::auth;
use crate::fault::Fault;
use crate::probe::Facts;
use crate::runtime::{Key, Route, Runtime};

/// What a call resolves to.
#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) key: Arc<Key>,
    pub(crate) route: Arc<Route>,
    /// Where in the model's name the Route's `*` begins; 0 when it has none.
    pub(crate) wildcard_from: usize,
}

/// Resolves a call.
///
/// # Errors
/// When the key may no longer be used, has no Route for the model, or would leave state behind that
/// isn't its own.
pub(crate) fn select(
    runtime: &Runtime,
    digest: &TokenDigest,
    facts: &Facts,
) -> Result<Selected, Fault> {
    let key = auth::identify(runtime, digest)?;
    let model = facts.model.as_str();
    let Some((route, wildcard)) = key.models.get(model) else {
        return Err(Fault::ModelNotFound {
            model: model.to_owned(),
        });
    };
    match facts.state {
        Some(field) if !runtime.is_exclusive(key, route, (model, wildcard)) => {
            return Err(Fault::StatefulCall { field });
        }
        _ => {}
    }
    Ok(Selected {
        key: Arc::clone(key),
        route: Arc::clone(route),
        wildcard_from: model.len() - wildcard.len(),
    })
}

#[cfg(test)]
mod tests;
