"""What callers see, and providers get, when something fails."""

import asyncio
import time

import pytest
from openai import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AsyncOpenAI,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    OpenAI,
    RateLimitError,
)

from stack import EXPIRED_TOKEN, SUSPENDED_TOKEN, Lane

QUESTION = [{"role": "user", "content": "What does the scale say?"}]
LIMITED = {"status": 429, "retry-after": 30}


def ask(client: OpenAI, lane: Lane, **options):
    return client.chat.completions.create(model=lane.model, messages=QUESTION, **options)


def text_of(stream) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


# The caller's own faults.


@pytest.mark.parametrize("token", ["wb-unknown", SUSPENDED_TOKEN, EXPIRED_TOKEN])
def test_a_key_that_is_not_valid_is_an_authentication_error(client, lane, stack, token):
    with pytest.raises(AuthenticationError) as caught:
        ask(client.with_options(api_key=token), lane)
    assert caught.value.code == "invalid_api_key"
    assert token not in str(caught.value)
    assert stack.attempts(lane) == 0


def test_a_model_that_nobody_serves_is_not_found(client):
    with pytest.raises(NotFoundError) as caught:
        client.chat.completions.create(model="no-such-model", messages=QUESTION)
    assert caught.value.code == "model_not_found"
    assert "no-such-model" in str(caught.value)


def test_a_body_without_a_model_is_a_bad_request(client):
    with pytest.raises(BadRequestError) as caught:
        client.post("/chat/completions", body={"messages": QUESTION}, cast_to=object)
    assert "model" in str(caught.value)


def test_what_the_provider_calls_a_bad_request_is_not_repeated(client, lane, stack):
    with pytest.raises(BadRequestError) as caught:
        ask(client, lane, extra_headers={"x-mock-fault": "error=context-length"})
    assert caught.value.code == "context_length_exceeded"
    assert stack.attempts(lane) == 1


# One provider or account fails, and nobody notices.


def test_a_limited_account_is_left_alone_by_every_request(client, lane, stack):
    stack.script(lane, {"large": LIMITED})
    for _ in range(5):
        assert ask(client, lane).choices[0].message.content
    assert stack.requests(lane) == {"large": 1, "small": 5, "spare": 0}


def test_when_both_accounts_are_limited_the_next_target_serves(client, lane, stack):
    stack.script(lane, {"large": LIMITED, "small": LIMITED})
    raw = client.chat.completions.with_raw_response.create(model=lane.model, messages=QUESTION)
    assert raw.headers["x-weighbridge-provider"] == f"default/{lane.model}-spare"
    assert raw.headers["x-weighbridge-attempts"] == "3"
    assert stack.requests(lane) == {"large": 1, "small": 1, "spare": 1}


@pytest.mark.parametrize("status", [500, 502, 503, 504, 529])
def test_a_failing_provider_is_replaced_before_the_caller_sees_it(client, lane, stack, status):
    stack.script(lane, {"large": {"status": status}, "small": {"status": status}})
    assert ask(client, lane).choices[0].message.content
    assert stack.requests(lane)["spare"] == 1
    assert stack.retry_counts(lane) == {"0"}


@pytest.mark.parametrize(
    "fault",
    [
        {"cut": "before-head"},
        {"cut": "after-head"},
        {"cut": "before-content"},
        {"end": "before-content"},
        {"error-event": "before-content", "error": "overloaded"},
        {"garbage": "bytes"},
    ],
    ids=lambda fault: "-".join(fault.values()),
)
def test_a_stream_that_breaks_before_its_first_content_is_replaced(client, lane, stack, fault):
    stack.script(lane, {"large": fault, "small": fault})
    assert text_of(ask(client, lane, stream=True))
    assert stack.requests(lane)["spare"] == 1


def test_a_stream_without_content_in_time_is_replaced(client, impatient_lane, stack):
    fault = {"stall": "before-content"}
    stack.script(impatient_lane, {"large": fault, "small": fault})
    assert text_of(ask(client, impatient_lane, stream=True))
    assert stack.requests(impatient_lane)["spare"] == 1
    stack.await_outcomes(impatient_lane, {"cancelled", "answered"})


def test_accounts_that_recover_soon_are_waited_for(client, lane, stack):
    soon = {"status": 429, "retry-after": 1}
    stack.script(lane, {"large": soon, "small": soon, "spare": soon}, times=1)
    begin = time.monotonic()
    assert ask(client, lane).choices[0].message.content
    assert time.monotonic() - begin >= 0.9
    # One request of the SDK's: the waiting was the gateway's.
    assert stack.retry_counts(lane) == {"0"}
    assert stack.attempts(lane) == 4


# Everything fails, and the caller is told the truth.


def test_limited_everywhere_is_a_rate_limit_error_with_the_time_to_wait(client, lane, stack):
    stack.script(lane, {"large": LIMITED, "small": LIMITED, "spare": LIMITED})
    with pytest.raises(RateLimitError) as caught:
        ask(client.with_options(max_retries=0), lane)
    headers = caught.value.response.headers
    assert 25 <= int(headers["retry-after"]) <= 30
    # It will be served later, so the SDK may come back.
    assert "x-should-retry" not in headers
    assert stack.requests(lane) == {"large": 1, "small": 1, "spare": 1}


def test_the_sdk_waits_as_long_as_it_is_told_and_is_served(client, lane, stack):
    later = {"status": 429, "retry-after": 6}
    stack.script(lane, {"large": later, "small": later, "spare": later}, times=1)
    begin = time.monotonic()
    assert ask(client, lane).choices[0].message.content
    assert 5 <= time.monotonic() - begin < 12
    # Nobody hammered in the meantime: one attempt per account, one more when it was time.
    assert stack.attempts(lane) == 4
    assert stack.retry_counts(lane) == {"0", "1"}


def test_a_refused_credential_of_ours_is_not_the_callers_authentication_error(client, lane, stack):
    refused = {"status": 401}
    stack.script(lane, {"large": refused, "small": refused, "spare": refused})
    with pytest.raises(InternalServerError) as caught:
        ask(client, lane)
    assert caught.value.status_code == 502
    assert caught.value.code == "upstream_auth"
    assert stack.requests(lane) == {"large": 1, "small": 1, "spare": 1}


def test_retries_of_sdk_and_gateway_do_not_multiply(client, lane, stack):
    stack.script(lane, dict.fromkeys(("large", "small", "spare"), {"status": 500}))
    with pytest.raises(InternalServerError):
        ask(client, lane)  # The SDK's default is two retries.
    assert stack.retry_counts(lane) == {"0"}
    # Either backend once, and one repeat at most (maxRetries' default).
    assert 2 <= stack.attempts(lane) <= 3


def test_a_caller_that_already_retried_gets_no_repeat_from_us(client, lane, stack):
    stack.script(lane, dict.fromkeys(("large", "small", "spare"), {"status": 500}))
    with pytest.raises(InternalServerError):
        ask(client, lane, extra_headers={"x-stainless-retry-count": "1"})
    assert stack.attempts(lane) == 2


@pytest.mark.parametrize(
    "fault",
    [{"cut": 6}, {"end": 6}, {"error-event": 6}, {"cut": "mid-body"}],
    ids=["cut", "clean-end", "error-event", "cut-inside-an-event"],
)
def test_a_stream_that_breaks_after_content_raises(client, lane, stack, fault):
    stack.script(lane, {"large": {**fault, "words": 40}, "small": {**fault, "words": 40}})
    received = []
    with pytest.raises(APIError):
        for chunk in ask(client, lane, stream=True):
            received.append(chunk.choices[0].delta.content or "")
    assert "".join(received)
    assert stack.attempts(lane) == 1


async def test_an_asynchronous_stream_that_breaks_after_content_raises(async_client, lane, stack):
    stack.script(lane, dict.fromkeys(("large", "small"), {"cut": 6, "words": 40}))
    stream = await async_client.chat.completions.create(model=lane.model, messages=QUESTION, stream=True)
    with pytest.raises(APIError):
        async for _ in stream:
            pass


def test_a_response_that_breaks_after_content_raises(client, lane, stack):
    stack.script(lane, dict.fromkeys(("large", "small"), {"cut": 8, "words": 40}))
    with pytest.raises(APIError):
        for _ in client.responses.create(model=lane.model, input="What?", stream=True):
            pass


def test_a_stream_that_falls_silent_raises_in_time(client, impatient_lane, stack):
    fault = {"stall": 6, "words": 40}
    stack.script(impatient_lane, {"large": fault, "small": fault})
    begin = time.monotonic()
    with pytest.raises(APIError):
        text_of(ask(client, impatient_lane, stream=True))
    assert time.monotonic() - begin < 10
    stack.await_outcomes(impatient_lane, {"cancelled"})


# The caller gives up.


def test_the_sdks_timeout_ends_the_call_upstream(client, lane, stack):
    stack.script(lane, dict.fromkeys(("large", "small", "spare"), {"delay": "30s"}))
    with pytest.raises(APITimeoutError):
        ask(client.with_options(timeout=0.5, max_retries=0), lane)
    stack.await_outcomes(lane, {"cancelled"})
    assert stack.attempts(lane) == 1


def test_closing_a_stream_cancels_it_upstream(client, lane, stack):
    stack.script(lane, dict.fromkeys(("large", "small"), {"words": 2000, "event-delay": "20ms"}))
    with ask(client, lane, stream=True) as stream:
        for chunk in stream:
            if chunk.choices[0].delta.content:
                break
    stack.await_outcomes(lane, {"cancelled"}, seconds=2)
    assert stack.entries(lane)[0]["events"] < 200


async def test_cancelling_a_task_cancels_its_stream_upstream(async_client: AsyncOpenAI, lane, stack):
    stack.script(lane, dict.fromkeys(("large", "small"), {"words": 2000, "event-delay": "20ms"}))
    begun = asyncio.Event()

    async def read() -> None:
        stream = await async_client.chat.completions.create(model=lane.model, messages=QUESTION, stream=True)
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                begun.set()

    task = asyncio.create_task(read())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(stack.await_outcomes, lane, {"cancelled"}, seconds=2)


def test_a_provider_that_is_not_there_costs_nothing_but_a_connect(client, stack):
    lane = stack.lane(is_main_absent=True)
    raw = client.chat.completions.with_raw_response.create(model=lane.model, messages=QUESTION)
    assert raw.headers["x-weighbridge-provider"] == f"default/{lane.model}-spare"


def test_no_provider_at_all_is_a_server_error_not_a_lost_connection(client, stack):
    lane = stack.lane(is_main_absent=True)
    stack.script(lane, {"spare": {"cut": "before-head"}})
    with pytest.raises(APIStatusError) as caught:
        ask(client.with_options(max_retries=0), lane)
    assert not isinstance(caught.value, APIConnectionError)
    assert caught.value.status_code in (502, 503)
    stack.heal()
