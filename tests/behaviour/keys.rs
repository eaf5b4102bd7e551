//! Virtual keys: who is let in, to which models, over which accounts.

use http::Request;
use http_body_util::Full;
use serde_json::Value;

use crate::stack::{Answer, KEY, Stack, chat, key, key_in, provider, route, two_accounts};

const ONLY: &str = "  targets: [{name: only, backends: [{name: one, providerRef: {name: one}}]}]\n";

/// Sends a chat call with these headers and no others that name a caller.
async fn call(stack: &Stack, headers: &[(&str, &str)], model: &str) -> Answer {
    let mut request =
        Request::post(stack.url("/v1/chat/completions")).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Full::from(chat(model).to_string());
    Answer::read(stack.send(request.body(body).unwrap()).await).await
}

/// Gets a path with this token.
async fn get(stack: &Stack, token: &str, path: &str) -> Answer {
    let request = Request::get(stack.url(path))
        .header("x-api-key", token)
        .body(Full::default())
        .unwrap();
    Answer::read(stack.send(request).await).await
}

fn assert_401(answer: &Answer, because: &str) {
    assert_eq!(answer.status, 401, "{because}");
    assert_eq!(answer.header("content-type"), "application/json");
    let error = &answer.json()["error"];
    assert_eq!(error["code"], "invalid_api_key");
    assert_eq!(error["type"], "invalid_request_error");
    assert_eq!(error["param"], Value::Null);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(because), "{because}: {message}");
}

/// The ids that `/v1/models` lists.
async fn listed(stack: &Stack, token: &str) -> Vec<String> {
    let answer = get(stack, token, "/v1/models").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let list = answer.json();
    assert_eq!(list["object"], "list");
    let models = list["data"].as_array().unwrap();
    for model in models {
        assert_eq!(model["object"], "model");
        assert!(model["created"].is_u64() && model["owned_by"].is_string());
    }
    let id = |model: &Value| model["id"].as_str().unwrap().to_owned();
    models.iter().map(id).collect()
}

#[tokio::test]
async fn a_key_is_taken_from_any_of_the_four_headers() {
    let stack = Stack::start(1, &two_accounts()).await;
    let bearer = format!("Bearer {KEY}");
    let lower = format!("bearer   {KEY}  ");
    for headers in [
        [("authorization", bearer.as_str())],
        [("authorization", lower.as_str())],
        [("x-api-key", KEY)],
        [("api-key", KEY)],
        [("x-goog-api-key", KEY)],
    ] {
        let answer = call(&stack, &headers, "chat").await;
        assert_eq!(answer.status, 200, "{headers:?}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_missing_or_unknown_key_is_refused_in_the_dialect() {
    let stack = Stack::start(1, &two_accounts()).await;
    let missing: [&[(&str, &str)]; 5] = [
        &[],
        &[("authorization", "Bearer ")],
        &[("authorization", "Basic dXNlcjpwYXNz")],
        &[("x-api-key", "")],
        &[("x-other-key", KEY)],
    ];
    for headers in missing {
        assert_401(
            &call(&stack, headers, "chat").await,
            "no virtual key was sent",
        );
    }
    let almost = &KEY[..KEY.len() - 1];
    let unknown: [&[(&str, &str)]; 5] = [
        &[("authorization", "Bearer nobody")],
        &[("x-api-key", almost)],
        &[("api-key", "sk-large")],
        &[("authorization", "Bearer nobody"), ("x-api-key", KEY)],
        &[("x-goog-api-key", "caf\u{e9}")],
    ];
    for headers in unknown {
        assert_401(&call(&stack, headers, "chat").await, "isn't known here");
    }
    // Whoever isn't let in learns nothing else, not even which models there are.
    assert_401(&call(&stack, &[], "no such model").await, "no virtual key");
    assert_401(&get(&stack, "nobody", "/v1/models").await, "isn't known");
    assert_401(
        &get(&stack, "nobody", "/v1/models/chat").await,
        "isn't known",
    );
    assert_eq!(stack.seen(0), 0);
}

#[tokio::test]
async fn a_suspended_or_expired_key_is_refused_from_the_next_request_on() {
    let with = |spec: &str| two_accounts() + spec;
    let stack = Stack::start(1, &with("  suspend: true\n")).await;
    let mine = [("x-api-key", KEY)];
    assert_401(&call(&stack, &mine, "chat").await, "suspended");
    assert_401(&get(&stack, KEY, "/v1/models").await, "suspended");
    stack.apply(&with("  suspend: false\n"));
    assert_eq!(call(&stack, &mine, "chat").await.status, 200);
    stack.apply(&with("  expiresAt: 2001-01-01T00:00:00Z\n"));
    assert_401(&call(&stack, &mine, "chat").await, "expired");
    stack.apply(&with("  expiresAt: 2200-01-01T00:00:00Z\n"));
    assert_eq!(call(&stack, &mine, "chat").await.status, 200);
    stack.apply(&with("").replace(KEY, "wb-another-0123456789abcdef"));
    assert_401(&call(&stack, &mine, "chat").await, "isn't known");
    assert_eq!(stack.seen(0), 2);
}

#[tokio::test]
async fn a_model_that_is_not_granted_reads_like_one_that_is_not_there() {
    let resources = [
        two_accounts(),
        route("secret", "secret", ONLY),
        key("narrow", "wb-narrow-0123456789abcdef").replace("name: \"*\"", "name: chat"),
    ];
    let stack = Stack::start(1, &resources.concat()).await;
    let narrow = [("x-api-key", "wb-narrow-0123456789abcdef")];
    assert_eq!(call(&stack, &narrow, "chat").await.status, 200);
    let of = async |model: &str| {
        let answer = call(&stack, &narrow, model).await;
        assert_eq!(answer.status, 404);
        let error = answer.json()["error"].clone();
        assert_eq!(error["code"], "model_not_found");
        assert_eq!(error["param"], "model");
        error["message"].as_str().unwrap().replace(model, "MODEL")
    };
    assert_eq!(of("secret").await, of("nosuch").await);
    assert_eq!(stack.chat("secret").await.status, 200);
    assert_eq!(stack.seen(0), 2);
}

#[tokio::test]
async fn a_key_that_keeps_to_an_account_never_uses_another() {
    let narrow = "wb-narrow-0123456789abcdef";
    let resources = [
        two_accounts(),
        key("narrow", narrow),
        "  accounts: [{namespace: default, provider: one, names: [small]}]\n".to_owned(),
        key("nowhere", "wb-nowhere-0123456789abcdef"),
        "  accounts: [{namespace: default, provider: one, names: [nosuch]}]\n".to_owned(),
    ];
    let stack = Stack::start(1, &resources.concat()).await;
    for _ in 0..10 {
        let answer = call(&stack, &[("x-api-key", narrow)], "chat").await;
        assert_eq!(answer.header("x-weighbridge-account"), "small");
    }
    // Narrowing to none leaves none: it never grants.
    let nowhere = [("x-api-key", "wb-nowhere-0123456789abcdef")];
    let answer = call(&stack, &nowhere, "chat").await;
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (503, "no_backend".into())
    );
    // What one key keeps to bends nobody else's split.
    for _ in 0..10 {
        stack.chat("chat").await;
    }
    assert_eq!(stack.by_account(0)["arge"], 7);
    assert_eq!(stack.by_account(0)["mall"], 13);
}

#[tokio::test]
async fn a_failure_does_not_lead_a_narrowed_key_to_other_accounts() {
    let narrowed = "  accounts: [{namespace: default, provider: one, names: [small]}]\n";
    let stack = Stack::start(1, &(two_accounts() + narrowed)).await;
    let limited: weighbridge_mock::Fault = "status=429,retry-after=60".parse().unwrap();
    stack.providers[0].script(weighbridge_mock::Rule::always(limited).account("mall"));
    for _ in 0..3 {
        assert_eq!(stack.chat("chat").await.status, 429);
    }
    assert_eq!(stack.by_account(0).len(), 1);
}

#[tokio::test]
async fn namespaces_are_let_in_by_their_labels() {
    let namespace = |name: &str, tier: &str| {
        format!(
            "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{tier: {tier}}}}}\n"
        )
    };
    let gold = "  allowedVirtualKeys: {namespaces: {from: Selector, selector: {matchLabels: {tier: gold}}}}\n";
    let all = "  allowedVirtualKeys: {namespaces: {from: All}}\n";
    let accounts = provider("one", 0, &[("rich", 1), ("poor", 1)], "").replace(
        "key: rich}, weight: 1",
        "key: rich}, weight: 1, allowedVirtualKeys: {namespaces: {from: Selector, selector: {matchLabels: {tier: gold}}}}",
    );
    let tokens = ["wb-gold-0123456789abcdef", "wb-iron-0123456789abcdef"];
    let resources = |iron: &str| {
        [
            namespace("gold", "gold"),
            namespace("iron", iron),
            accounts.clone(),
            route("gold-only", "gold-only", &[ONLY, gold].concat()),
            route("open", "open", &[ONLY, all].concat()),
            route("same", "same", ONLY),
            key_in("gold", "team", tokens[0], ""),
            key_in("iron", "team", tokens[1], ""),
            key("home", KEY),
        ]
        .concat()
    };
    let stack = Stack::start(1, &resources("iron")).await;
    assert_eq!(listed(&stack, tokens[0]).await, ["gold-only", "open"]);
    assert_eq!(listed(&stack, tokens[1]).await, ["open"]);
    assert_eq!(listed(&stack, KEY).await, ["open", "same"]);
    let iron = [("x-api-key", tokens[1])];
    assert_eq!(call(&stack, &iron, "gold-only").await.status, 404);
    for _ in 0..4 {
        // The account for gold alone stays so on a Route for all.
        let answer = call(&stack, &iron, "open").await;
        assert_eq!(answer.header("x-weighbridge-account"), "poor");
    }
    stack.apply(&resources("gold"));
    assert_eq!(call(&stack, &iron, "gold-only").await.status, 200);
    stack.apply(&resources("iron"));
    assert_eq!(call(&stack, &iron, "gold-only").await.status, 404);
}

/// Routes of every kind, and catalogues to fill patterns from.
fn catalogues() -> String {
    let models = "  models: [{name: gpt-5}, {name: gpt-5-mini}, {name: text-embedding-3, operations: [Embeddings]}]\n";
    let backend = |provider: &str, rest: &str| {
        format!(
            "  targets: [{{name: only, backends: [{{name: b, providerRef: {{name: {provider}}}{rest}}}]}}]\n"
        )
    };
    // The account of this one serves only a part of the catalogue.
    let narrow = provider(
        "narrow",
        0,
        &[("few", 1)],
        "  models: [{name: m-1}, {name: n-1}]\n",
    )
    .replace("weight: 1", "weight: 1, models: [\"m-*\"]");
    [
        provider("one", 0, &[("large", 1)], models),
        provider("bare", 0, &[("bare", 1)], ""),
        provider("off", 0, &[("off", 0)], "  models: [{name: dark}]\n"),
        narrow,
        route("exact", "exact", &backend("bare", ", model: gpt-5")),
        route("star", "vendor/*", &backend("one", ", model: \"*\"")),
        route("prefix", "gpt-*", &backend("one", "")),
        route("fixed", "any/*", &backend("bare", ", model: gpt-5")),
        route("few", "few/*", &backend("narrow", ", model: \"*\"")),
        route("few-exact", "n-1", &backend("narrow", "")),
        route("dark", "dark/*", &backend("off", ", model: \"*\"")),
        route("dark-exact", "dark", &backend("off", "")),
        key("team", KEY),
    ]
    .concat()
}

#[tokio::test]
async fn the_list_of_models_holds_what_works_and_nothing_else() {
    let stack = Stack::start(1, &catalogues()).await;
    let models = listed(&stack, KEY).await;
    assert_eq!(
        models,
        [
            "exact",
            "few/m-1",
            "gpt-5",
            "gpt-5-mini",
            "vendor/gpt-5",
            "vendor/gpt-5-mini",
            "vendor/text-embedding-3",
        ]
    );
    for model in &models {
        let path = format!("/v1/models/{model}");
        let one = get(&stack, KEY, &path).await;
        assert_eq!(
            (one.status.as_u16(), &one.json()["id"]),
            (200, &model.as_str().into())
        );
        let escaped = path.replacen("/v1/models/", "", 1).replace('/', "%2F");
        let same = get(&stack, KEY, &format!("/v1/models/{escaped}")).await;
        assert_eq!(same.body, one.body, "{model}");
        let embeds = model.contains("embedding");
        let answer = if embeds {
            let body = serde_json::json!({"model": model, "input": "x"});
            stack.post("/v1/embeddings", &body).await
        } else {
            stack.chat(model).await
        };
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
    }
    for model in ["few/n-1", "n-1", "dark", "dark/dark", "nosuch", "vendor"] {
        let answer = get(&stack, KEY, &format!("/v1/models/{model}")).await;
        assert_eq!(answer.status, 404, "{model}");
        assert_eq!(answer.code(), "model_not_found");
        assert!(!stack.chat(model).await.status.is_success(), "{model}");
    }
}

#[tokio::test]
async fn a_model_that_only_a_pattern_knows_is_there_when_it_is_asked_for() {
    let stack = Stack::start(1, &catalogues()).await;
    for model in ["vendor/unheard-of", "any/thing/at/all", "gpt-4"] {
        let answer = get(&stack, KEY, &format!("/v1/models/{model}")).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["id"]),
            (200, &model.into())
        );
        assert_eq!(stack.chat(model).await.status, 200, "{model}");
    }
}

#[tokio::test]
async fn an_operation_that_the_catalogue_excludes_is_not_served() {
    let stack = Stack::start(1, &catalogues()).await;
    let answer = stack.chat("vendor/text-embedding-3").await;
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (503, "no_backend".into())
    );
    assert_eq!(stack.seen(0), 0);
}

#[tokio::test]
async fn exact_names_win_over_patterns_and_longer_prefixes_over_shorter() {
    let to = |model: &str| {
        format!(
            "  targets: [{{name: only, backends: [{{name: b, providerRef: {{name: one}}, model: {model}}}]}}]\n"
        )
    };
    let resources = [
        provider("one", 0, &[("large", 1)], ""),
        route("a-all", "*", &to("all")),
        route("b-short", "gpt-*", &to("short")),
        route("c-long", "gpt-5*", &to("long")),
        route("d-exact", "gpt-5-mini", &to("exact")),
        key("team", KEY),
    ];
    let stack = Stack::start(1, &resources.concat()).await;
    for (asked, route, model) in [
        ("gpt-5-mini", "default/d-exact", "exact"),
        ("gpt-5-minix", "default/c-long", "long"),
        ("gpt-4", "default/b-short", "short"),
        ("claude", "default/a-all", "all"),
    ] {
        let answer = stack.chat(asked).await;
        assert_eq!(answer.header("x-weighbridge-route"), route, "{asked}");
        let log = stack.providers[0].log();
        assert_eq!(log.last().unwrap().model.as_deref(), Some(model));
    }
}
