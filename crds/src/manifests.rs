//! The CRD manifests, generated from the types.
//!
//! Must never be edited by hand where they are copied to (`charts/weighbridge-crds/templates`).

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::{Provider, Route, VirtualKey};

/// The manifests of every kind, in the order Provider, Route, VirtualKey.
pub fn manifests() -> Vec<CustomResourceDefinition> {
    [Provider::crd(), Route::crd(), VirtualKey::crd()]
        .into_iter()
        .map(tidied)
        .collect()
}

/// The manifests as one YAML stream.
pub fn manifests_yaml() -> String {
    manifests().iter().map(document).collect()
}

/// The fields that a spec of this kind can't do without; none of an unknown kind.
pub fn required_fields(kind: &str) -> Vec<String> {
    let of_kind = |manifest: &CustomResourceDefinition| manifest.spec.names.kind == kind;
    let required = manifests().into_iter().find(of_kind).and_then(|manifest| {
        let version = manifest.spec.versions.into_iter().next()?;
        let mut fields = version.schema?.open_api_v3_schema?.properties?;
        fields.remove("spec")?.required
    });
    required.unwrap_or_default()
}

/// One manifest as a YAML document, its separator included.
pub(crate) fn document(manifest: &CustomResourceDefinition) -> String {
    let yaml = serde_yaml::to_string(manifest).expect("a manifest is plain data with string keys");
    format!("---\n{yaml}")
}

fn tidied(mut manifest: CustomResourceDefinition) -> CustomResourceDefinition {
    manifest
        .spec
        .versions
        .iter_mut()
        .filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut())
        .for_each(tidy);
    manifest
}

/// Takes out what Rust's types say and the API doesn't: an optional field may be absent but not
/// `null`, and an absent field has no default of `null`.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if schema
        .default
        .as_ref()
        .is_some_and(|default| default.0.is_null())
    {
        schema.default = None;
    }
    schema
        .properties
        .iter_mut()
        .flat_map(|all| all.values_mut())
        .for_each(tidy);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        tidy(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy(values);
    }
}

#[cfg(test)]
mod tests;
