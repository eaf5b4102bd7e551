//! Answers and errors as providers really send them.

use super::*;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn error(code: Option<&str>, kind: Option<&str>, message: Option<&str>) -> UpstreamError {
    UpstreamError {
        code: code.map(str::to_owned),
        kind: kind.map(str::to_owned),
        message: message.map(str::to_owned),
    }
}

fn look(operation: Operation, body: &Json) -> Inspection {
    inspect(operation, body.to_string().as_bytes())
}

fn good(input_tokens: u64, output_tokens: u64) -> Inspection {
    Inspection::Good {
        usage: Some(Usage {
            input_tokens,
            output_tokens,
        }),
    }
}

const SILENT: Inspection = Inspection::Good { usage: None };

#[test]
fn usage_is_read_from_every_operation() {
    let chat = json!({"id": "c", "choices": [{"message": {"content": "{\"usage\":{\"prompt_tokens\":99}}"}}],
        "usage": {"prompt_tokens": 20, "prompt_tokens_details": {"prompt_tokens": 7, "cached_tokens": 8},
            "completion_tokens": 5, "total_tokens": 25}});
    assert_eq!(look(Operation::ChatCompletions, &chat), good(20, 5));
    assert_eq!(look(Operation::Completions, &chat), good(20, 5));
    let response = json!({"object": "response", "status": "completed", "error": null,
        "tools": [{"parameters": {"properties": {"usage": {"input_tokens": 1}}}}],
        "usage": {"input_tokens": 9, "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 2}}});
    assert_eq!(look(Operation::Responses, &response), good(9, 4));
    let embeddings = json!({"data": [], "usage": {"prompt_tokens": 8, "total_tokens": 8}});
    assert_eq!(look(Operation::Embeddings, &embeddings), good(8, 0));
}

#[test]
fn the_usage_of_an_answer_with_several_is_the_outermost() {
    let body = json!({"choices": [{"message": {"tool_calls": [{"arguments": {"usage": {"prompt_tokens": 1}}}]}}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 5}, "x_groq": {"usage": {"prompt_tokens": 7}}});
    assert_eq!(look(Operation::ChatCompletions, &body), good(20, 5));
}

#[test]
fn usage_that_is_missing_or_absurd_is_none() {
    for usage in [
        json!(null),
        json!({}),
        json!(3),
        json!({"prompt_tokens": null}),
        json!({"prompt_tokens": -1, "completion_tokens": 1.5}),
        json!({"prompt_tokens": "7"}),
        json!({"inner": {"prompt_tokens": 7}}),
    ] {
        let body = json!({"choices": [], "usage": usage, "zother": {"prompt_tokens": 7}});
        assert_eq!(look(Operation::ChatCompletions, &body), SILENT, "{body}");
    }
    assert_eq!(look(Operation::ChatCompletions, &json!({})), SILENT);
}

#[test]
fn what_is_no_json_object_is_garbage() {
    for bytes in [
        &b""[..],
        b"<html>Bad Gateway</html>",
        b"[]",
        b"\"ok\"",
        b"{\"choices\":[",
        b"{}{}",
        b"{\"a\":\"\xFF\"}",
    ] {
        assert_eq!(
            inspect(Operation::ChatCompletions, bytes),
            Inspection::Garbage
        );
    }
}

#[test]
fn an_error_under_a_200_is_failed() {
    let failed = Inspection::Failed;
    let nested = json!({"error": {"message": "no", "type": "server_error", "code": null}});
    for operation in Operation::ALL {
        let expected = failed(error(None, Some("server_error"), Some("no")));
        assert_eq!(look(operation, &nested), expected);
        let flat =
            json!({"object": "error", "message": "no", "type": "BadRequestError", "code": 400});
        let expected = failed(error(Some("400"), Some("BadRequestError"), Some("no")));
        assert_eq!(look(operation, &flat), expected);
    }
    let null = json!({"choices": [], "error": null});
    assert_eq!(look(Operation::ChatCompletions, &null), SILENT);
    let inside = json!({"choices": [{"error": {"message": "x"}}]});
    assert_eq!(look(Operation::ChatCompletions, &inside), SILENT);
}

#[test]
fn the_status_of_a_response_decides() {
    let body = json!({"object": "response", "status": "failed",
        "error": {"code": "rate_limit_exceeded", "message": "slow"}, "output": []});
    let expected = error(Some("rate_limit_exceeded"), None, Some("slow"));
    assert_eq!(
        look(Operation::Responses, &body),
        Inspection::Failed(expected)
    );
    for status in ["completed", "incomplete", "in_progress"] {
        let body = json!({"object": "response", "status": status, "error": null, "output": []});
        assert_eq!(look(Operation::Responses, &body), SILENT);
    }
    let inside = json!({"status": "completed", "output": [{"status": "failed"}]});
    assert_eq!(look(Operation::Responses, &inside), SILENT);
}

#[test]
fn every_shape_of_an_error_is_read() {
    for (body, expected) in [
        (
            json!({"error": {"message": "m", "type": "invalid_request_error", "param": null, "code": "model_not_found"}}),
            error(
                Some("model_not_found"),
                Some("invalid_request_error"),
                Some("m"),
            ),
        ),
        (
            json!({"error": {"message": "m", "type": "BadRequestError", "code": 400}}),
            error(Some("400"), Some("BadRequestError"), Some("m")),
        ),
        (
            json!({"object": "error", "message": "m", "type": "BadRequestError", "param": null, "code": 400}),
            error(Some("400"), Some("BadRequestError"), Some("m")),
        ),
        (
            json!({"error": "Model is overloaded", "error_type": "overloaded"}),
            error(None, Some("overloaded"), Some("Model is overloaded")),
        ),
        (
            json!({"error": "text"}),
            error(Some("500"), None, Some("text")),
        ),
        (
            json!({"detail": [{"loc": ["body"], "msg": "field required", "type": "missing"}]}),
            error(Some("500"), None, Some("field required")),
        ),
        (
            json!({"detail": "Not Found"}),
            error(Some("500"), None, Some("Not Found")),
        ),
        (
            json!({"message": "m", "request_id": "r"}),
            error(Some("500"), None, Some("m")),
        ),
        (
            json!({"type": "error", "error": {"type": "rate_limit_error", "message": "m",
                "details": {"error_code": "enforced_spend_limit_reached"}}, "request_id": "r"}),
            error(
                Some("enforced_spend_limit_reached"),
                Some("rate_limit_error"),
                Some("m"),
            ),
        ),
        (
            json!({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "m"}}}),
            error(Some("server_error"), None, Some("m")),
        ),
        (
            json!({"type": "error", "code": "server_error", "message": "m", "param": null}),
            error(Some("server_error"), None, Some("m")),
        ),
        (
            json!([{"error": {"code": 503, "status": "UNAVAILABLE", "message": "m"}}]),
            error(Some("503"), Some("UNAVAILABLE"), Some("m")),
        ),
        (
            json!({"statusCode": 401, "message": "m"}),
            error(Some("401"), None, Some("m")),
        ),
        (json!({"error": {}}), error(Some("500"), None, None)),
        (json!({}), error(Some("500"), None, None)),
    ] {
        assert_eq!(
            error_of(500, body.to_string().as_bytes()),
            expected,
            "{body}"
        );
    }
}

#[test]
fn garbage_leaves_the_status_to_speak() {
    for bytes in [&b""[..], b"<html>", b"\xFF", b"[]", b"[[[", b"7"] {
        assert_eq!(error_of(503, bytes), error(Some("503"), None, None));
        assert_eq!(error_of(200, bytes), UpstreamError::default());
    }
    assert!(error_of(503, b"<html>").is_overloaded());
    assert!(error_of(413, b"<html>").is_callers_fault());
}

#[test]
fn a_long_message_is_cut_between_characters() {
    let body =
        json!({"error": {"message": "é".repeat(1_000), "code": "x".repeat(1_000)}}).to_string();
    let found = error_of(500, body.as_bytes());
    assert_eq!(found.message.unwrap(), "é".repeat(256));
    assert_eq!(found.code.unwrap().len(), 64);
}

#[test]
fn an_error_is_the_fault_of_one() {
    let faults = |error: UpstreamError| {
        [
            error.is_billing(),
            error.is_auth(),
            error.is_rate_limit(),
            error.is_overloaded(),
            error.is_callers_fault(),
        ]
    };
    let (billing, auth, limit, load, caller, nobody) = (
        [true, false, false, false, false],
        [false, true, false, false, false],
        [false, false, true, false, false],
        [false, false, false, true, false],
        [false, false, false, false, true],
        [false; 5],
    );
    for (code, kind, expected) in [
        (
            Some("insufficient_quota"),
            Some("insufficient_quota"),
            billing,
        ),
        (Some("credit_balance_exhausted"), None, billing),
        (
            Some("enforced_spend_limit_reached"),
            Some("rate_limit_error"),
            billing,
        ),
        (None, Some("billing_error"), billing),
        (Some("402"), None, billing),
        (Some("invalid_api_key"), Some("invalid_request_error"), auth),
        (None, Some("AuthenticationError"), auth),
        (Some("403"), None, auth),
        (Some("rate_limit_exceeded"), Some("tokens"), limit),
        (None, Some("requests"), limit),
        (Some("slow_down"), Some("rate_limit_error"), limit),
        (Some("429"), Some("whatever"), limit),
        (
            Some("server_is_overloaded"),
            Some("service_unavailable_error"),
            load,
        ),
        (None, Some("overloaded"), load),
        (Some("529"), None, load),
        (Some("498"), None, load),
        (Some("invalid_prompt"), None, caller),
        (Some("content_policy_violation"), None, caller),
        (None, Some("BadRequestError"), caller),
        (Some("new_code"), Some("invalid_request_error"), caller),
        (Some("422"), None, caller),
        (Some("408"), None, nobody),
        (Some("424"), None, nobody),
        (Some("500"), None, nobody),
        (Some("server_error"), Some("server_error"), nobody),
        (None, None, nobody),
    ] {
        assert_eq!(
            faults(error(code, kind, None)),
            expected,
            "{code:?} {kind:?}"
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for operation in Operation::ALL {
            let _ = inspect(operation, &bytes);
        }
        let _ = error_of(500, &bytes);
    }

    #[test]
    fn usage_is_what_a_tree_says(
        input in prop::option::of(any::<u64>()),
        output in prop::option::of(any::<u64>()),
        other in "\\PC{0,20}",
    ) {
        let body = json!({"a": other, "usage": {"prompt_tokens": input, "completion_tokens": output}});
        let expected = (input.is_some() || output.is_some()).then(|| Usage {
            input_tokens: input.unwrap_or(0),
            output_tokens: output.unwrap_or(0),
        });
        prop_assert_eq!(usage_of(body["usage"].to_string().as_bytes()), expected);
        prop_assert_eq!(
            look(Operation::ChatCompletions, &body),
            Inspection::Good { usage: expected }
        );
    }
}
