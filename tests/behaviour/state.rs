//! State stays where it is: what needs it is refused unless the key's only candidate is an account of
//! its own.

use serde_json::{Value, json};

use crate::stack::{KEY, Stack, chat, key, key_in, provider, route, two_accounts};

const ONLY: &str = "  targets: [{name: only, backends: [{name: one, providerRef: {name: one}}]}]\n";

/// A body with one more field.
fn with(field: &str, value: Value) -> Value {
    let mut body = json!({"model": "chat", "input": "hello"});
    body[field] = value;
    body
}

/// The usual account narrowing of a key.
fn narrowed(account: &str) -> String {
    format!("  accounts: [{{namespace: default, provider: one, names: [{account}]}}]\n")
}

async fn is_served(stack: &Stack) -> bool {
    let body = with("previous_response_id", json!("resp_1"));
    let answer = stack.post("/v1/responses", &body).await;
    match answer.status.as_u16() {
        200 => true,
        400 => {
            assert_eq!(answer.code(), "unsupported_parameter");
            false
        }
        other => panic!("{other}: {}", answer.text()),
    }
}

/// Whether a key over these accounts of Provider `one`, beside `others`, may use state.
async fn may_use_state(accounts: &[(&str, u32)], mine: &str, others: &str) -> bool {
    let resources = [
        provider("one", 0, accounts, ""),
        route("chat", "chat", ONLY),
        key("team", KEY) + mine,
        others.to_owned(),
    ];
    is_served(&Stack::start(1, &resources.concat()).await).await
}

#[tokio::test]
async fn what_needs_state_is_refused_by_the_name_of_its_field() {
    let stack = Stack::start(1, &two_accounts()).await;
    let file = json!([{"role": "user", "content": [{"type": "input_file", "file_id": "file_1"}]}]);
    let image = json!([{"content": [{"type": "image_file", "image_file": {"file_id": "file_1"}}]}]);
    let cases = [
        (
            "previous_response_id",
            json!("resp_1"),
            "previous_response_id",
        ),
        ("conversation", json!("conv_1"), "conversation"),
        ("conversation", json!({"id": "conv_1"}), "conversation"),
        ("background", json!(true), "background"),
        ("input", file, "file_id"),
        ("messages", image, "file_id"),
    ];
    for path in ["/v1/responses", "/v1/chat/completions"] {
        for (field, value, param) in &cases {
            let answer = stack.post(path, &with(field, value.clone())).await;
            assert_eq!(answer.status, 400, "{path} {field}");
            let error = &answer.json()["error"];
            assert_eq!(error["code"], "unsupported_parameter");
            assert_eq!(error["type"], "invalid_request_error");
            assert_eq!(error["param"], *param);
            assert!(error["message"].as_str().unwrap().contains(param));
        }
    }
    assert_eq!(stack.seen(0), 0);
}

#[tokio::test]
async fn what_needs_no_state_passes() {
    let stack = Stack::start(1, &two_accounts()).await;
    let schema = json!([{"type": "function", "name": "f", "parameters":
        {"properties": {"file_id": {"type": "string"}, "conversation": {"type": "string"}}}}]);
    let cases = [
        ("previous_response_id", Value::Null),
        ("conversation", Value::Null),
        ("background", json!(false)),
        ("tools", schema),
        ("metadata", json!({"previous_response_id": "resp_1"})),
        ("input", json!("my conversation with file_id 7")),
    ];
    for (field, value) in cases {
        let answer = stack.post("/v1/responses", &with(field, value)).await;
        assert_eq!(answer.status, 200, "{field}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_key_whose_only_account_is_its_own_may_use_state() {
    assert!(may_use_state(&[("mine", 1)], "", "").await);
}

#[tokio::test]
async fn two_accounts_may_not_hold_state_but_a_key_that_keeps_to_one_may_use_it() {
    let two = [("mine", 1), ("other", 1)];
    assert!(!may_use_state(&two, "", "").await);
    assert!(may_use_state(&two, &narrowed("mine"), "").await);
    // One without a weight is never asked.
    assert!(may_use_state(&[("mine", 1), ("other", 0)], "", "").await);
}

#[tokio::test]
async fn another_key_on_the_same_account_forbids_state() {
    let two = [("mine", 1), ("other", 1)];
    let other = |spec: &str| key("other", "wb-other-0123456789abcdef") + spec;
    assert!(!may_use_state(&two, &narrowed("mine"), &other("")).await);
    assert!(!may_use_state(&two, &narrowed("mine"), &other(&narrowed("mine"))).await);
    assert!(may_use_state(&two, &narrowed("mine"), &other(&narrowed("other"))).await);
}

#[tokio::test]
async fn a_key_of_a_namespace_that_is_not_let_in_does_not_count() {
    let stranger = key_in("elsewhere", "stranger", "wb-stranger-0123456789", "");
    assert!(may_use_state(&[("mine", 1)], "", &stranger).await);
}

#[tokio::test]
async fn a_fallback_forbids_state() {
    let two_targets = "  targets:\n\
        \x20 - {name: first, backends: [{name: one, providerRef: {name: one}}]}\n\
        \x20 - {name: second, backends: [{name: two, providerRef: {name: two}}]}\n";
    let resources = |targets: &str| {
        [
            provider("one", 0, &[("mine", 1)], ""),
            provider("two", 0, &[("other", 1)], ""),
            route("chat", "chat", targets),
            key("team", KEY),
        ]
        .concat()
    };
    let stack = Stack::start(1, &resources(two_targets)).await;
    assert!(!is_served(&stack).await);
    // An edit that leaves one candidate counts from the next request on.
    stack.apply(&resources(ONLY));
    assert!(is_served(&stack).await);
}

#[tokio::test]
async fn nothing_that_only_one_account_has_is_served_by_its_id() {
    let stack = Stack::start(1, &two_accounts()).await;
    for path in [
        "/v1/responses/resp_1",
        "/v1/responses/resp_1/input_items",
        "/v1/conversations/conv_1",
        "/v1/files",
        "/v1/files/file_1/content",
        "/v1/batches",
        "/v1/chat/completions/chatcmpl_1",
    ] {
        assert_eq!(stack.get(path).await.status, 404, "{path}");
        assert_eq!(stack.post(path, &chat("chat")).await.status, 404, "{path}");
    }
    assert_eq!(stack.seen(0), 0);
}
