//! The admin port: alive, ready, counted, shown; and nothing of it secret or without bounds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::Full;
use serde_json::json;
use weighbridge_mock::{Fault, Rule, Script};

use crate::socket::{Socket, within};
use crate::stack::{Answer, KEY, Stack, chat_stream, key, provider, route, two_accounts};

/// An exposition in the OpenMetrics format, by family.
struct Metrics(BTreeMap<String, Family>);

#[derive(Default)]
struct Family {
    kind: String,
    /// Suffix and labels as written, and the value.
    samples: Vec<(String, String, f64)>,
}

impl Metrics {
    async fn of(stack: &Stack) -> Self {
        let answer = stack.admin("/metrics").await;
        assert_eq!(answer.status, 200);
        assert!(
            answer
                .header("content-type")
                .starts_with("application/openmetrics-text")
        );
        Self::parse(&answer.text())
    }

    /// Reads the format strictly: families whole and once, samples with the suffixes of their type, no
    /// series twice, the end marked.
    fn parse(text: &str) -> Self {
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        let mut current = String::new();
        let text = text.strip_suffix("# EOF\n").expect("no end");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# ") {
                let (keyword, rest) = rest.split_once(' ').unwrap();
                let (name, told) = rest.split_once(' ').unwrap();
                match keyword {
                    "TYPE" => {
                        if current != name {
                            assert!(!families.contains_key(name), "{name} twice");
                        }
                        name.clone_into(&mut current);
                        told.clone_into(&mut families.entry(current.clone()).or_default().kind);
                    }
                    "HELP" => {
                        assert!(!told.is_empty());
                        if current != name {
                            assert!(!families.contains_key(name), "{name} twice");
                        }
                        name.clone_into(&mut current);
                        families.entry(current.clone()).or_default();
                    }
                    "UNIT" => assert!(name.ends_with(told)),
                    other => panic!("{other}"),
                }
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let suffix = name
                .strip_prefix(&current)
                .expect("a sample of another family");
            let family = families.get_mut(&current).unwrap();
            let suffixes: &[&str] = match family.kind.as_str() {
                "counter" => &["_total"],
                "gauge" => &[""],
                "histogram" => &["_bucket", "_sum", "_count"],
                "info" => &["_info"],
                other => panic!("{other}"),
            };
            assert!(suffixes.contains(&suffix), "{line}");
            let known =
                |(other, theirs, _): &(String, String, f64)| other == suffix && theirs == labels;
            assert!(!family.samples.iter().any(known), "twice: {line}");
            let sample = (suffix.to_owned(), labels.to_owned(), value.parse().unwrap());
            family.samples.push(sample);
        }
        families.values().for_each(Family::check);
        Self(families)
    }

    /// The sum of the samples of `name` (with its suffix) whose labels hold all of `labels`.
    fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let families = self.0.iter();
        let found: Vec<f64> = families
            .filter_map(|(family, content)| Some((name.strip_prefix(family.as_str())?, content)))
            .flat_map(|(suffix, family)| family.samples.iter().filter(move |one| one.0 == suffix))
            .filter(|one| labels.iter().all(|label| one.1.contains(label)))
            .map(|one| one.2)
            .collect();
        assert!(!found.is_empty(), "no {name} with {labels:?}");
        found.iter().sum()
    }

    /// Every series' name and labels.
    fn series(&self) -> BTreeSet<String> {
        let families = self.0.iter();
        let named = families.flat_map(|(name, family)| {
            let samples = family.samples.iter();
            samples.map(move |(suffix, labels, _)| format!("{name}{suffix}{{{labels}"))
        });
        named.collect()
    }
}

impl Family {
    /// Buckets are cumulative, and the last is the count.
    fn check(&self) {
        let mut before: BTreeMap<String, f64> = BTreeMap::new();
        for (suffix, labels, value) in &self.samples {
            if suffix == "_bucket" {
                let (_, rest) = labels.split_once("le=\"").expect("a bucket without le");
                let (le, _) = rest.split_once('"').unwrap();
                let series = labels.replace(&format!("le=\"{le}\""), "");
                let last = before.entry(series).or_default();
                assert!(*value >= *last, "{labels}");
                *last = *value;
            }
            assert!(*value >= 0.0);
        }
        let infinite = self
            .samples
            .iter()
            .filter(|one| one.1.contains("le=\"+Inf\""));
        let counted = self.samples.iter().filter(|one| one.0 == "_count");
        let sum = |all: Vec<f64>| all.iter().sum::<f64>();
        if self.kind == "histogram" {
            let (infinite, counted) = (
                sum(infinite.map(|one| one.2).collect()),
                sum(counted.map(|one| one.2).collect()),
            );
            assert!((infinite - counted).abs() < 0.5, "{infinite} {counted}");
        }
    }
}

fn assert_count(found: f64, expected: u64, what: &str) {
    // Whole numbers are written as such.
    assert_eq!(found.to_string(), expected.to_string(), "{what}");
}

fn fault(text: &str) -> Fault {
    text.parse().unwrap()
}

#[tokio::test]
async fn it_is_alive_and_ready_and_says_where_else_to_look() {
    let stack = Stack::start(1, &two_accounts()).await;
    for path in ["/livez", "/readyz"] {
        let answer = stack.admin(path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text().as_str()),
            (200, "ok\n")
        );
    }
    for path in ["/", "/metricsx", "/v1/models", "/config/secret"] {
        let answer = stack.admin(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.text().contains("/metrics"));
    }
    let url = format!("http://{}/livez", stack.gateway.admin_address());
    let posted = Request::post(url).body(Full::default()).unwrap();
    assert_eq!(Answer::read(stack.send(posted).await).await.status, 405);
}

#[tokio::test]
async fn requests_and_attempts_are_counted_as_they_ended() {
    let stack = Stack::start(1, &two_accounts()).await;
    for _ in 0..10 {
        assert_eq!(stack.chat("chat").await.status, 200);
    }
    let streamed = stack
        .post("/v1/chat/completions", &chat_stream("chat"))
        .await;
    assert!(streamed.is_whole);
    stack.providers[0].script(Rule::always(fault("status=400")).times(2));
    for _ in 0..2 {
        assert_eq!(stack.chat("chat").await.status, 400);
    }
    stack.providers[0].script(Rule::always(fault("cut=5")).times(1));
    let cut = stack
        .post("/v1/chat/completions", &chat_stream("chat"))
        .await;
    assert!(!cut.is_whole);
    stack.providers[0].script(Script::default());
    assert_eq!(stack.chat("nosuch").await.status, 404);

    let metrics = Metrics::of(&stack).await;
    let requests = |outcome: &str| {
        let labels = ["route=\"default/chat\"", &format!("outcome=\"{outcome}\"")];
        metrics.sum("weighbridge_requests_total", &labels)
    };
    for (outcome, expected) in [
        ("success", 11),
        ("client_error", 2),
        ("cut", 1),
        ("cancelled", 0),
        ("server_error", 0),
        ("rate_limited", 0),
    ] {
        assert_count(requests(outcome), expected, outcome);
    }
    // What each account was sent, by its own count.
    for (account, key) in [("large", "arge"), ("small", "mall")] {
        let label = format!("account=\"{account}\"");
        let attempts = metrics.sum("weighbridge_attempts_total", &[&label]);
        assert_count(attempts, stack.by_account(0)[key], account);
    }
    assert_count(
        metrics.sum("weighbridge_refusals_total", &["code=\"model_not_found\""]),
        1,
        "refusals",
    );
    assert_count(
        metrics.sum("gen_ai_server_request_duration_seconds_count", &["chat\""]),
        14,
        "durations",
    );
    assert_count(
        metrics.sum(
            "gen_ai_server_time_to_first_token_seconds_count",
            &["default/chat"],
        ),
        2,
        "first content",
    );
}

#[tokio::test]
async fn cool_downs_and_failovers_are_counted() {
    let stack = Stack::start(1, &two_accounts()).await;
    stack.providers[0].script(Rule::always(fault("status=429,retry-after=60")).account("arge"));
    for _ in 0..5 {
        assert_eq!(stack.chat("chat").await.status, 200);
    }
    let metrics = Metrics::of(&stack).await;
    let of = |name: &str, labels: &[&str]| metrics.sum(name, labels);
    let large = "account=\"large\"";
    assert_count(of("weighbridge_cooldowns_total", &[large]), 1, "cool-downs");
    assert_count(
        of("weighbridge_cooldowns_total", &["small"]),
        0,
        "cool-downs",
    );
    assert_count(
        of("weighbridge_attempts_total", &[large, "rate_limited"]),
        1,
        "limited",
    );
    assert_count(of("weighbridge_account_usable", &[large]), 0, "usable");
    assert_count(of("weighbridge_account_usable", &["small"]), 1, "usable");
    assert_count(
        of("weighbridge_failovers_total", &["default/chat"]),
        1,
        "failovers",
    );
    let config = stack.admin("/config").await.text();
    assert!(config.contains("CoolingDown"), "{config}");
}

#[tokio::test]
async fn tokens_are_those_that_the_answers_say() {
    let stack = Stack::start(1, &two_accounts()).await;
    let (mut input, mut output) = (0, 0);
    let mut add = |usage: &serde_json::Value, names: [&str; 2]| {
        input += usage[names[0]].as_u64().unwrap();
        output += usage[names[1]].as_u64().unwrap();
    };
    let chat_names = ["prompt_tokens", "completion_tokens"];
    for words in [1, 10, 500] {
        stack.providers[0].script(fault(&format!("words={words}")));
        add(&stack.chat("chat").await.json()["usage"], chat_names);
        let mut body = chat_stream("chat");
        body["stream_options"] = json!({"include_usage": true});
        let stream = stack.post("/v1/chat/completions", &body).await;
        let told = stream.events();
        let last = told
            .iter()
            .rev()
            .find(|event| event.contains("\"usage\":{"))
            .unwrap();
        add(
            &serde_json::from_str::<serde_json::Value>(last).unwrap()["usage"],
            chat_names,
        );
        let body = json!({"model": "chat", "input": "hello there"});
        let answer = stack.post("/v1/responses", &body).await;
        add(&answer.json()["usage"], ["input_tokens", "output_tokens"]);
    }
    stack.providers[0].script(Script::default());
    let embedded = stack
        .post(
            "/v1/embeddings",
            &json!({"model": "chat", "input": "some words here"}),
        )
        .await;
    input += embedded.json()["usage"]["prompt_tokens"].as_u64().unwrap();

    let metrics = Metrics::of(&stack).await;
    let sum = |kind: &str| {
        let kind = format!("gen_ai_token_type=\"{kind}\"");
        metrics.sum("gen_ai_client_token_usage_sum", &[&kind, "default/one"])
    };
    assert!(input > 0 && output > 1_000);
    assert_count(sum("input"), input, "input");
    assert_count(sum("output"), output, "output");
}

#[tokio::test]
async fn nothing_that_a_caller_writes_becomes_a_label() {
    let resources = [
        two_accounts(),
        route(
            "any",
            "any/*",
            "  targets: [{name: only, backends: [{name: one, providerRef: {name: one}, model: \"*\"}]}]\n",
        ),
    ];
    let stack = Stack::start(1, &resources.concat()).await;
    stack.chat("chat").await;
    stack.chat("nosuch").await;
    let before = Metrics::of(&stack).await.series();
    for call in 0..50 {
        assert_eq!(stack.chat(&format!("any/caller-{call}")).await.status, 200);
        assert_eq!(stack.chat(&format!("caller-{call}")).await.status, 404);
        let path = format!("/v1/caller-{call}");
        assert_eq!(stack.get(&path).await.status, 404);
        let key = format!("Bearer caller-{call}");
        let headers = [("authorization", key.as_str()), ("user-agent", &path)];
        let refused = stack.post_with("/v1/responses", &json!({}), &headers).await;
        assert_eq!(refused.status, 401);
    }
    assert_eq!(Metrics::of(&stack).await.series(), before);
    assert!(!stack.admin("/metrics").await.text().contains("caller-"));
}

#[tokio::test]
async fn a_thousand_keys_make_no_series() {
    let few = Metrics::of(&Stack::start(1, &two_accounts()).await)
        .await
        .series();
    let keys: String = (0..1_000)
        .map(|place| key(&format!("k{place}"), &format!("wb-many-{place:016}")))
        .collect();
    let stack = Stack::start(1, &(two_accounts() + &keys)).await;
    let many = Metrics::of(&stack).await.series();
    let names = |series: &BTreeSet<String>| -> BTreeSet<String> {
        // The revision is the one label that has to differ.
        let same = |one: &&String| !one.starts_with("weighbridge_configuration");
        series.iter().filter(same).cloned().collect()
    };
    assert_eq!(names(&many), names(&few));
}

#[tokio::test]
async fn counters_survive_an_edit() {
    let stack = Stack::start(1, &two_accounts()).await;
    stack.chat("chat").await;
    stack.apply(&two_accounts().replace("weight: 70", "weight: 60"));
    stack.chat("chat").await;
    let metrics = Metrics::of(&stack).await;
    let requests = metrics.sum("weighbridge_requests_total", &["success"]);
    assert_count(requests, 2, "requests");
    assert_count(
        metrics.sum("weighbridge_attempts_total", &["answered"]),
        2,
        "attempts",
    );
}

#[tokio::test]
async fn the_configuration_is_shown_with_its_revision_and_no_secret() {
    let secrets = [
        "wb-hidden-0123456789abcdef",
        "sk-large",
        "sk-small",
        "sk-other",
        KEY,
    ];
    let resources = [
        two_accounts(),
        provider("two", 0, &[("other", 1)], ""),
        key("hidden", secrets[0]),
    ];
    let stack = Stack::start(1, &resources.concat()).await;
    stack.chat("chat").await;
    let answer = stack.admin("/config").await;
    assert_eq!(answer.header("content-type"), "application/json");
    let config = answer.json();
    let revision = config["revision"].as_str().unwrap();
    assert_eq!(revision.len(), 32);
    assert!(stack.admin("/metrics").await.text().contains(revision));
    assert!(config["routes"]["default/chat"].is_object());
    assert!(config["virtual_keys"]["default/hidden"].is_object());
    let accounts = config["accounts"].as_array().unwrap();
    assert_eq!(accounts.len(), 3);
    assert!(accounts.iter().all(|account| account["state"] == "Usable"));
    for path in ["/config", "/metrics", "/livez", "/readyz", "/"] {
        let text = stack.admin(path).await.text();
        for secret in secrets {
            assert!(!text.contains(secret), "{path} shows {secret}");
            let digest = weighbridge_snapshot::TokenDigest::of(secret.as_bytes()).to_string();
            assert!(
                !text.contains(&digest),
                "{path} shows the digest of {secret}"
            );
        }
        assert!(!text.contains("sk-"), "{path}");
    }
}

#[tokio::test]
async fn a_refused_account_is_shown_as_refused() {
    let stack = Stack::start(1, &two_accounts()).await;
    stack.providers[0].script(Rule::always(fault("error=billing")).account("arge"));
    assert_eq!(stack.chat("chat").await.status, 200);
    within(
        stack.until_metric(
            "weighbridge_account_usable{provider=\"default/one\",account=\"large\"} 0",
        ),
    )
    .await;
    let config = stack.admin("/config").await.json();
    let accounts = config["accounts"].as_array().unwrap();
    let large = accounts
        .iter()
        .find(|one| one["account"] == "large")
        .unwrap();
    assert_eq!(large["state"], "Refused");
}

async fn silent(stack: &Stack) -> Socket {
    Socket::connect_to(stack.gateway.admin_address()).await
}

#[tokio::test]
async fn an_admin_connection_without_a_request_is_closed() {
    let stack = Stack::start(1, &two_accounts()).await;
    let never = silent(&stack).await;
    let mut half = silent(&stack).await;
    half.write("GET /livez HTTP/1.1\r\nhost: ad").await;
    let mut once = silent(&stack).await;
    once.write("GET /livez HTTP/1.1\r\nhost: admin\r\n\r\n")
        .await;
    assert_eq!(once.answer().await.status, 200);
    for connection in [never, half, once] {
        assert_eq!(connection.rest().await, "");
    }
}

#[tokio::test]
async fn silent_admin_connections_are_bounded_and_keep_nobody_out_for_long() {
    let stack = Stack::start(1, &two_accounts()).await;
    let mut crowd = Vec::new();
    for _ in 0..64 {
        crowd.push(silent(&stack).await);
    }
    let since = Instant::now();
    let mut late = silent(&stack).await;
    late.write("GET /livez HTTP/1.1\r\nhost: admin\r\n\r\n")
        .await;
    assert_eq!(within(late.answer()).await.status, 200);
    // Not before one of the others was closed.
    assert!(
        since.elapsed() > Duration::from_secs(2),
        "took {:?}",
        since.elapsed()
    );
    assert_eq!(stack.chat("chat").await.status, 200);
}
