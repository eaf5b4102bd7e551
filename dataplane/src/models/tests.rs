//! What the list holds, and in which form.

use weighbridge_snapshot::Operation;

use super::*;
use crate::runtime::example::{
    add_provider, backend, built, key, model, name, provider, route, snapshot,
};

fn listed(response: &Response<Bytes>) -> serde_json::Value {
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    serde_json::from_slice(response.body()).unwrap()
}

#[test]
fn a_model_has_the_form_of_the_dialect() {
    let runtime = built(&snapshot());
    let key = runtime.key_of("token");
    let model = r#"{"id":"chat","object":"model","created":0,"owned_by":"weighbridge"}"#;
    assert_eq!(one(key, "chat".to_owned()).unwrap().body(), model);
    let list = format!(r#"{{"object":"list","data":[{model}]}}"#);
    assert_eq!(list_of(key), list);
}

fn list_of(key: &Key) -> String {
    String::from_utf8(list(key).body().to_vec()).unwrap()
}

#[test]
fn a_key_without_routes_has_an_empty_list() {
    let mut snapshot = snapshot();
    snapshot.routes.clear();
    let runtime = built(&snapshot);
    let key = runtime.key_of("token");
    assert_eq!(list_of(key), r#"{"object":"list","data":[]}"#);
    let fault = one(key, "chat".to_owned()).unwrap_err();
    assert!(matches!(fault, Fault::ModelNotFound { model } if model == "chat"));
}

#[test]
fn patterns_are_filled_from_catalogues_each_name_once_and_in_order() {
    let mut snapshot = snapshot();
    let mut catalogue = provider(&[("a", 1)]);
    catalogue.models = vec![model("z", &[]), model("b", &[Operation::Embeddings])];
    add_provider(&mut snapshot, "one", catalogue);
    let star = [backend("one", "*"), backend("one", "z")];
    snapshot
        .routes
        .insert(name("star"), route("v/*", &[&star, &star]));
    snapshot
        .routes
        .insert(name("same"), route("b*", &[&[backend("one", "")]]));
    let runtime = built(&snapshot);
    let list = listed(&super::list(runtime.key_of("token")));
    let ids: Vec<&str> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["b", "chat", "v/b", "v/z"]);
}

#[test]
fn what_no_account_may_serve_for_the_key_is_neither_listed_nor_there() {
    let mut snapshot = snapshot();
    let mut few = provider(&[("a", 1)]);
    few.accounts[0].models = vec!["m*".to_owned().into()];
    few.models = vec![model("m", &[]), model("n", &[])];
    add_provider(&mut snapshot, "few", few);
    snapshot
        .routes
        .insert(name("star"), route("v/*", &[&[backend("few", "*")]]));
    snapshot
        .routes
        .insert(name("gone"), route("gone", &[&[backend("nowhere", "x")]]));
    let mut nobody = key("nobody");
    nobody.accounts = ["one", "few"]
        .map(|provider| weighbridge_snapshot::AccountNarrowing {
            provider: name(provider),
            names: std::collections::BTreeSet::new(),
        })
        .into();
    snapshot.virtual_keys.insert(name("nobody"), nobody);
    let runtime = built(&snapshot);
    let ids = |token| names(runtime.key_of(token)).into_iter().collect::<Vec<_>>();
    assert_eq!(ids("token"), ["chat", "v/m"]);
    assert!(ids("nobody").is_empty());
    for name in ["v/n", "gone"] {
        assert!(
            one(runtime.key_of("token"), name.to_owned()).is_err(),
            "{name}"
        );
    }
}
