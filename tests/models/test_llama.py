"""A real model server (llama.cpp) behind the gateway."""

import re
import threading
import urllib.request
from collections import Counter

from openai import OpenAI

QUESTION = [{"role": "user", "content": "What does the scale say?"}]


def stream_of(client: OpenAI, model: str, tokens: int):
    """The chunks of one stream with usage."""
    stream = client.chat.completions.create(
        model=model,
        messages=QUESTION,
        max_tokens=tokens,
        stream=True,
        stream_options={"include_usage": True},
    )
    return list(stream)


def test_a_chat_completion_is_answered(servers):
    completion = servers.client.chat.completions.create(model="left", messages=QUESTION, max_tokens=8)
    assert completion.choices[0].message.content
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage.completion_tokens == 8
    assert servers.left.metric("tokens_predicted_total") == 8


def test_fields_of_llama_cpps_own_come_through(servers):
    completion = servers.client.chat.completions.create(model="left", messages=QUESTION, max_tokens=4)
    assert completion.model_extra["timings"]["predicted_n"] == 4


def test_every_chunk_of_a_stream_arrives_and_the_usage_after_them(servers):
    *chunks, usage = stream_of(servers.client, "left", 100)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len([chunk for chunk in chunks if chunk.choices[0].delta.content]) == 100
    assert chunks[-1].choices[0].finish_reason == "length"
    assert usage.choices == []
    assert usage.usage.completion_tokens == 100


def test_a_stream_without_usage_asked_for_shows_none(servers):
    stream = servers.client.chat.completions.create(
        model="left", messages=QUESTION, max_tokens=20, stream=True
    )
    chunks = list(stream)
    assert all(chunk.choices for chunk in chunks)
    assert len([chunk for chunk in chunks if chunk.choices[0].delta.content]) == 20


def test_twenty_requests_share_two_servers_fourteen_to_six(servers):
    providers = Counter()
    for _ in range(20):
        raw = servers.client.chat.completions.with_raw_response.create(
            model="pair", messages=QUESTION, max_tokens=4
        )
        providers[raw.headers["x-weighbridge-provider"]] += 1
        assert raw.parse().usage.completion_tokens == 4
    assert providers == {"default/left": 14, "default/right": 6}
    # The servers count for themselves.
    assert servers.left.metric("tokens_predicted_total") == 14 * 4
    assert servers.right.metric("tokens_predicted_total") == 6 * 4


def test_a_killed_server_is_replaced_without_a_failed_request(servers):
    stream_of(servers.client, "pair", 4)
    servers.left.kill()
    for _ in range(10):
        *_, usage = stream_of(servers.client, "pair", 4)
        assert usage.usage.completion_tokens == 4
    assert servers.right.metric("tokens_predicted_total") >= 10 * 4


def test_a_saturated_server_defers_streams_and_breaks_none(servers):
    results = {}

    def run(number: int) -> None:
        results[number] = stream_of(servers.client, "left", 1000)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    deferred = 0.0
    while any(thread.is_alive() for thread in threads):
        deferred = max(deferred, servers.left.metric("requests_deferred"))
    for thread in threads:
        thread.join()
    assert deferred > 0, "eight streams on two slots, and none waited"
    assert [results[number][-1].usage.completion_tokens for number in range(8)] == [1000] * 8


def test_the_gateways_metrics_count_the_requests(servers):
    for _ in range(3):
        stream_of(servers.client, "left", 4)
    with urllib.request.urlopen(f"{servers.gateway.admin_url}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    counts = re.findall(
        r'^weighbridge_requests_total\{[^}]*route="default/left"[^}]*\} (\d+)', text, re.MULTILINE
    )
    assert sum(map(int, counts)) == 3, text
