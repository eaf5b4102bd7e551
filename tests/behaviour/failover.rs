//! The order of a plan, and how far a call goes in it: the drawn backend and its next accounts, its
//! siblings, the next targets; only after what `failover.on` names, and only within `maxAttempts` and
//! `window`.

use serde_json::json;
use weighbridge_mock::Rule;

use crate::stack::{Answer, KEY, Stack, fault, key, provider, route, targets};

/// Never the same backend twice: what follows is the order alone.
const NO_REPEATS: &str = "  retry: {maxRetries: 0}\n";

/// Providers `p0`, `p1`, … over as many mocks, each with one account, and the Route `chat` over `targets`,
/// with further YAML of its spec.
fn providers(count: usize, targets: &str, spec: &str) -> String {
    let names: Vec<String> = (0..count).map(|index| format!("p{index}")).collect();
    let list = names.iter().enumerate();
    let providers: String = list
        .map(|(index, name)| provider(name, index, &[(name, 1)], NO_REPEATS))
        .collect();
    let chat = route("chat", "chat", &[targets, spec].concat());
    [providers, chat, key("team", KEY)].concat()
}

/// One target after the other.
fn in_order(count: usize, spec: &str) -> String {
    let names: Vec<String> = (0..count).map(|index| format!("p{index}")).collect();
    let backends: Vec<[(&str, u32); 1]> = names.iter().map(|name| [(name.as_str(), 1)]).collect();
    let list: Vec<&[(&str, u32)]> = backends.iter().map(<[_; 1]>::as_slice).collect();
    providers(count, &targets(&list), spec)
}

fn seen(stack: &Stack) -> Vec<u64> {
    (0..stack.providers.len())
        .map(|index| stack.seen(index))
        .collect()
}

fn served_by(answer: &Answer) -> (&str, &str) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let provider = answer.header("x-weighbridge-provider");
    (provider, answer.header("x-weighbridge-attempts"))
}

#[tokio::test]
async fn next_accounts_come_before_siblings_and_siblings_before_the_next_target() {
    // So unequal that the first to be drawn is certain.
    let order = targets(&[&[("near", 1_000_000), ("sibling", 1)], &[("far", 1)]]);
    let resources = [
        provider("near", 0, &[("key1", 1), ("key2", 1)], NO_REPEATS),
        provider("sibling", 1, &[("key3", 1)], NO_REPEATS),
        provider("far", 2, &[("key4", 1)], NO_REPEATS),
        route("chat", "chat", &order),
        key("team", KEY),
    ];
    let limited = || Rule::always(fault("status=429,retry-after=60"));
    let broken = || Rule::always(fault("status=500"));
    let cases = [
        (
            vec![limited().times(1)],
            vec![],
            ("default/near", "2"),
            [2, 0, 0],
        ),
        (vec![limited()], vec![], ("default/sibling", "3"), [2, 1, 0]),
        (
            vec![limited()],
            vec![broken()],
            ("default/far", "4"),
            [2, 1, 1],
        ),
        (
            vec![limited()],
            vec![limited()],
            ("default/far", "4"),
            [2, 1, 1],
        ),
        // A failure of the server's own isn't the account's: its next account is spared.
        (vec![broken()], vec![], ("default/sibling", "2"), [1, 1, 0]),
        (
            vec![broken()],
            vec![broken()],
            ("default/far", "3"),
            [1, 1, 1],
        ),
    ];
    for (near, sibling, expected, asked) in cases {
        let stack = Stack::start(3, &resources.concat()).await;
        stack.providers[0].script(near);
        stack.providers[1].script(sibling);
        assert_eq!(served_by(&stack.chat("chat").await), expected);
        assert_eq!(seen(&stack), asked);
    }
}

#[tokio::test]
async fn an_ordered_list_fails_over_by_default() {
    let stack = Stack::start(4, &in_order(4, "")).await;
    stack.providers[0].script(fault("status=503"));
    stack.providers[1].stop().await;
    stack.providers[2].script(fault("cut=before-head"));
    let answer = stack.chat("chat").await;
    assert_eq!(served_by(&answer), ("default/p3", "4"));
    assert_eq!(answer.header("x-weighbridge-account"), "p3");
}

#[tokio::test]
async fn whatever_is_no_answer_fails_over() {
    let broken = [
        "status=500",
        "status=502,style=html",
        "status=529",
        "status=408",
        "cut=before-head",
        "cut=after-head",
        "cut=mid-body",
        "end=mid-body",
        "garbage=bytes",
        "garbage=head",
        "garbage=chunk-size",
        "status=200,style=html",
        "status=200,style=binary",
        "status=200,error=server-error",
        "status=302,header.location=/elsewhere,style=empty",
    ];
    for broken in broken {
        let stack = Stack::start(2, &in_order(2, "")).await;
        stack.providers[0].script(fault(broken));
        let answer = stack.chat("chat").await;
        assert_eq!(served_by(&answer), ("default/p1", "2"), "{broken}");
        assert_eq!(seen(&stack), [1, 1], "{broken}");
    }
}

#[tokio::test]
async fn only_what_failover_names_moves_on() {
    let reasons = [
        ("Connect", "refused"),
        ("Timeout", "stall=before-head"),
        ("RateLimited", "status=429,retry-after=60"),
        ("Overloaded", "status=503"),
        ("ServerError", "status=500"),
        ("ServerError", "garbage=bytes"),
    ];
    let all = [
        "Connect",
        "Timeout",
        "RateLimited",
        "Overloaded",
        "ServerError",
    ];
    for (reason, failure) in reasons {
        for named in [true, false] {
            let on: Vec<&str> = all
                .into_iter()
                .filter(|one| (*one == reason) == named)
                .collect();
            let spec = format!("  failover: {{on: [{}]}}\n", on.join(", "));
            let patience = "  timeouts: {request: 150ms}\n";
            let resources =
                in_order(2, &spec).replace(NO_REPEATS, &[NO_REPEATS, patience].concat());
            let stack = Stack::start(2, &resources).await;
            if failure == "refused" {
                stack.providers[0].stop().await;
            } else {
                stack.providers[0].script(fault(failure));
            }
            let answer = stack.chat("chat").await;
            let found = (answer.status.is_success(), stack.seen(1));
            assert_eq!(found, (named, u64::from(named)), "{failure} on {on:?}");
        }
    }
}

#[tokio::test]
async fn a_limit_that_may_not_move_on_still_tries_the_next_accounts_and_is_told() {
    let order = targets(&[&[("one", 1)], &[("two", 1)]]);
    let resources = [
        provider("one", 0, &[("key1", 1), ("key2", 1)], NO_REPEATS),
        provider("two", 1, &[("key3", 1)], NO_REPEATS),
        route(
            "chat",
            "chat",
            &(order + "  failover: {on: [ServerError]}\n"),
        ),
        key("team", KEY),
    ];
    let stack = Stack::start(2, &resources.concat()).await;
    stack.providers[0].script(fault("status=429,retry-after=60"));
    let answer = stack.chat("chat").await;
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_ne!(answer.header("retry-after"), "");
    assert_eq!(seen(&stack), [2, 0]);
}

#[tokio::test]
async fn our_failed_credential_moves_on_whatever_failover_names() {
    for refusal in [
        "error=invalid-key",
        "error=billing",
        "error=forbidden",
        "error=insufficient-quota",
    ] {
        let stack = Stack::start(2, &in_order(2, "  failover: {on: []}\n")).await;
        stack.providers[0].script(fault(refusal));
        let answer = stack.chat("chat").await;
        assert_eq!(served_by(&answer), ("default/p1", "2"), "{refusal}");
    }
}

#[tokio::test]
async fn the_callers_own_fault_ends_at_the_first_answer_in_the_providers_words() {
    let faults = [
        ("error=bad-request,message=your fault", 400),
        ("error=context-length,message=your fault", 400),
        ("error=content-policy,message=your fault", 400),
        ("status=404,message=your fault", 404),
        ("status=413,message=your fault", 413),
        ("status=422,message=your fault,style=vllm", 422),
    ];
    let stack = Stack::start(2, &in_order(2, "")).await;
    for (index, (text, status)) in (1..).zip(faults) {
        stack.providers[0].script(fault(text));
        let answer = stack.chat("chat").await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.json()["error"]["message"], "your fault");
        assert_eq!(answer.header("x-weighbridge-provider"), "default/p0");
        assert_eq!(seen(&stack), [index, 0], "{text}");
    }
}

#[tokio::test]
async fn max_attempts_counts_only_what_a_provider_took_on() {
    for (most, served) in [(2, false), (3, true)] {
        let spec = format!("  failover: {{maxAttempts: {most}}}\n");
        let stack = Stack::start(6, &in_order(6, &spec)).await;
        stack.providers[0].script(fault("error=invalid-key"));
        stack.providers[1].script(fault("status=429,retry-after=60"));
        stack.providers[2].stop().await;
        stack.providers[3].script(fault("status=500,message=first"));
        stack.providers[4].script(fault("status=500,message=second"));
        let answer = stack.chat("chat").await;
        assert_eq!(seen(&stack), [1, 1, 0, 1, 1, u64::from(served)]);
        if served {
            assert_eq!(served_by(&answer), ("default/p5", "6"));
        } else {
            assert_eq!(answer.status, 500);
            assert_eq!(answer.json()["error"]["message"], "second");
            assert_eq!(answer.header("x-weighbridge-attempts"), "5");
        }
    }
}

#[tokio::test]
async fn no_attempt_starts_after_the_window() {
    let stack = Stack::start(2, &in_order(2, "  failover: {window: 200ms}\n")).await;
    stack.providers[0].script(fault("status=500,delay=250ms"));
    assert_eq!(stack.chat("chat").await.status, 500);
    assert_eq!(seen(&stack), [1, 0]);
}

#[tokio::test]
async fn an_attempt_that_runs_when_the_window_ends_is_not_cut() {
    let stack = Stack::start(2, &in_order(2, "  failover: {window: 300ms}\n")).await;
    stack.providers[0].script(fault("status=500"));
    stack.providers[1].script(fault("delay=600ms"));
    assert_eq!(served_by(&stack.chat("chat").await), ("default/p1", "2"));
}

#[tokio::test]
async fn the_next_provider_gets_the_same_bytes() {
    let stack = Stack::start(2, &in_order(2, "")).await;
    stack.providers[0].script(fault("status=500"));
    let body = r#"{ "messages" : [{"role":"user","content":"h\u00e9llo \ud83d\ude00"}] ,"x":[1.0e3,{}], "model":"chat" }"#;
    let request = http::Request::post(stack.url("/v1/chat/completions"))
        .header("authorization", format!("Bearer {KEY}"))
        .body(body.to_owned().into())
        .unwrap();
    let answer = Answer::read(stack.send(request).await).await;
    assert_eq!(served_by(&answer), ("default/p1", "2"));
    let expected = body.replace("\"chat\"", "\"gpt-5-mini\"");
    for provider in &stack.providers {
        assert_eq!(provider.log()[0].body, expected);
    }
}

/// The Route `chat` for embeddings: `models` one target after the other.
fn embeddings(models: &[&str]) -> String {
    let target = |(index, model): (usize, &&str)| {
        format!(
            "  - {{name: t{index}, backends: [{{name: p{index}, providerRef: {{name: p{index}}}, model: {model}}}]}}\n"
        )
    };
    let list: String = models.iter().enumerate().map(target).collect();
    providers(models.len(), &format!("  targets:\n{list}"), "")
}

async fn embed(stack: &Stack) -> Answer {
    let body = json!({"input": "hello", "model": "chat"});
    stack.post("/v1/embeddings", &body).await
}

#[tokio::test]
async fn embeddings_fail_over_to_the_same_model_only() {
    let stack = Stack::start(3, &embeddings(&["small", "large", "small"])).await;
    stack.providers[0].script(fault("status=500"));
    assert_eq!(served_by(&embed(&stack).await), ("default/p2", "2"));
    stack.providers[2].script(fault("status=503,message=no room"));
    let answer = embed(&stack).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["error"]["message"], "no room");
    assert_eq!(seen(&stack), [2, 0, 2]);
    // Other operations go on to any model.
    assert_eq!(served_by(&stack.chat("chat").await), ("default/p1", "2"));
}

#[tokio::test]
async fn embeddings_do_not_change_their_model_while_its_accounts_rest_or_are_refused() {
    for (refusal, status) in [
        ("status=429,retry-after=60", 429),
        ("error=invalid-key", 502),
    ] {
        let stack = Stack::start(2, &embeddings(&["small", "large"])).await;
        stack.providers[0].script(fault(refusal));
        for _ in 0..2 {
            let answer = embed(&stack).await;
            assert_eq!(answer.status, status, "{}", answer.text());
        }
        assert_eq!(seen(&stack), [1, 0]);
    }
}

#[tokio::test]
async fn embeddings_do_not_change_their_model_while_its_credential_is_missing() {
    let resources = embeddings(&["small", "large", "small"]);
    let without = resources.replace("  p0: sk-p0\n", "  other: x\n");
    let stack = Stack::start(3, &without).await;
    assert_eq!(served_by(&embed(&stack).await), ("default/p2", "1"));
    let without = without.replace("  p2: sk-p2\n", "  other: x\n");
    let stack = Stack::start(3, &without).await;
    assert_eq!(embed(&stack).await.status, 503);
    assert_eq!(stack.seen(1), 0);
}

#[tokio::test]
async fn a_drained_or_incapable_target_does_not_fix_the_model_of_embeddings() {
    let first = "{name: p0, providerRef: {name: p0}, model: small}";
    for other in [
        first.replace("small", "small, weight: 0"),
        first.replace("small", "talker"),
    ] {
        let resources = embeddings(&["small", "large"]).replace(first, &other).replace(
            NO_REPEATS,
            "  retry: {maxRetries: 0}\n  models: [{name: talker, operations: [ChatCompletions]}]\n",
        );
        let stack = Stack::start(2, &resources).await;
        assert_eq!(served_by(&embed(&stack).await), ("default/p1", "1"));
    }
}

#[tokio::test]
async fn a_call_that_nobody_serves_still_names_its_route_and_its_attempts() {
    let stack = Stack::start(2, &in_order(2, "")).await;
    for provider in &stack.providers {
        provider.script(fault("garbage=bytes"));
    }
    let answer = stack.chat("chat").await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert_eq!(answer.code(), "bad_upstream_response");
    assert_eq!(answer.header("x-weighbridge-route"), "default/chat");
    assert_eq!(answer.header("x-weighbridge-attempts"), "2");
}
