"""Chat completions with the official SDK: whole, streamed, with tools, with a schema."""

import json

from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from stack import Lane, Stack

QUESTION = [{"role": "user", "content": "What does the scale say?"}]
WEIGH = {
    "type": "function",
    "function": {
        "name": "weigh",
        "description": "Weighs a load.",
        "parameters": {
            "type": "object",
            "properties": {"load": {"type": "string"}},
            "required": ["load"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}


class Reading(BaseModel):
    """What a structured answer holds."""

    unit: str
    kilograms: float


def test_a_chat_completion_is_answered(client: OpenAI, lane: Lane, stack: Stack):
    completion = client.chat.completions.create(model=lane.model, messages=QUESTION)
    assert completion.choices[0].message.content
    assert completion.choices[0].finish_reason == "stop"
    assert (
        completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    )
    entry = stack.only_entry(lane)
    assert entry["model"] == "gpt-5-mini"
    assert json.loads(entry["body"])["messages"] == QUESTION


def test_the_answer_says_who_served_it(client: OpenAI, lane: Lane):
    raw = client.chat.completions.with_raw_response.create(model=lane.model, messages=QUESTION)
    assert raw.headers["x-weighbridge-route"] == f"default/{lane.model}"
    assert raw.headers["x-weighbridge-provider"] == f"default/{lane.model}-main"
    assert raw.headers["x-weighbridge-account"] in ("large", "small")
    assert raw.headers["x-weighbridge-attempts"] == "1"
    assert raw.parse().choices[0].message.content


def test_ten_requests_share_two_accounts_seven_to_three(client: OpenAI, lane: Lane, stack: Stack):
    for _ in range(10):
        client.chat.completions.create(model=lane.model, messages=QUESTION)
    assert stack.requests(lane) == {"large": 7, "small": 3, "spare": 0}


def test_a_stream_arrives_in_pieces_and_makes_the_same_text(client: OpenAI, lane: Lane):
    stream = client.chat.completions.create(
        model=lane.model,
        messages=QUESTION,
        stream=True,
        extra_headers={"x-mock-fault": "text=one two three four"},
    )
    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(piece or "" for piece in pieces) == "one two three four"
    assert len([piece for piece in pieces if piece]) > 1
    assert chunks[-1].choices[0].finish_reason == "stop"
    # Asked for by the gateway, not by the caller: it must not show.
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_ends_with_usage_when_that_is_asked_for(client: OpenAI, lane: Lane):
    stream = client.chat.completions.create(
        model=lane.model, messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    *others, last = list(stream)
    assert last.choices == []
    assert last.usage.total_tokens > 0
    assert all(chunk.usage is None for chunk in others)


async def test_a_stream_arrives_asynchronously(async_client: AsyncOpenAI, lane: Lane):
    stream = await async_client.chat.completions.create(model=lane.model, messages=QUESTION, stream=True)
    text = ""
    async for chunk in stream:
        text += chunk.choices[0].delta.content or ""
    assert text


async def test_the_stream_helper_accumulates_a_whole_completion(async_client: AsyncOpenAI, lane: Lane):
    async with async_client.chat.completions.stream(model=lane.model, messages=QUESTION) as stream:
        kinds = [event.type async for event in stream]
        completion = await stream.get_final_completion()
    assert "content.delta" in kinds
    assert kinds[-1] == "content.done" or "content.done" in kinds
    assert completion.choices[0].message.content
    assert completion.choices[0].finish_reason == "stop"


def test_a_tool_call_comes_with_arguments_that_are_json(client: OpenAI, lane: Lane):
    completion = client.chat.completions.create(
        model=lane.model, messages=QUESTION, tools=[WEIGH], tool_choice="required"
    )
    call = completion.choices[0].message.tool_calls[0]
    assert completion.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "weigh"
    assert isinstance(json.loads(call.function.arguments)["load"], str)


def test_a_streamed_tool_call_is_put_together_again(client: OpenAI, lane: Lane):
    arguments = []
    with client.chat.completions.stream(
        model=lane.model, messages=QUESTION, tools=[WEIGH], tool_choice="required"
    ) as stream:
        for event in stream:
            if event.type == "tool_calls.function.arguments.delta":
                arguments.append(event.arguments_delta)
        completion = stream.get_final_completion()
    call = completion.choices[0].message.tool_calls[0]
    assert call.function.name == "weigh"
    assert len(arguments) > 1
    assert "".join(arguments) == call.function.arguments
    assert isinstance(json.loads(call.function.arguments)["load"], str)


def test_a_conversation_with_a_tool_result_goes_through_unchanged(client: OpenAI, lane: Lane, stack: Stack):
    messages = [
        *QUESTION,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "weigh", "arguments": '{"load": "ü"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "12 t"},
    ]
    client.chat.completions.create(model=lane.model, messages=messages)
    assert json.loads(stack.only_entry(lane)["body"])["messages"] == messages


def test_a_structured_answer_is_parsed(client: OpenAI, lane: Lane):
    completion = client.chat.completions.parse(model=lane.model, messages=QUESTION, response_format=Reading)
    assert isinstance(completion.choices[0].message.parsed, Reading)


def test_a_refusal_is_passed_on_as_one(client: OpenAI, lane: Lane):
    completion = client.chat.completions.create(
        model=lane.model, messages=QUESTION, extra_headers={"x-mock-fault": "voice=refusal"}
    )
    assert completion.choices[0].message.refusal
    assert completion.choices[0].message.content is None


def test_fields_that_nobody_knows_pass_through(client: OpenAI, lane: Lane, stack: Stack):
    client.chat.completions.create(
        model=lane.model, messages=QUESTION, extra_body={"top_k": 7, "x-future": {"deep": [1.50, None]}}
    )
    entry = stack.only_entry(lane)
    body = json.loads(entry["body"])
    assert body["top_k"] == 7
    assert body["x-future"] == {"deep": [1.5, None]}


def test_a_plain_completion_is_answered_and_streamed(client: OpenAI, lane: Lane):
    completion = client.completions.create(model=lane.model, prompt="The scale says")
    assert completion.choices[0].text
    stream = client.completions.create(model=lane.model, prompt="The scale says", stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream if chunk.choices)


def test_several_choices_keep_their_places(client: OpenAI, lane: Lane):
    stream = client.chat.completions.create(model=lane.model, messages=QUESTION, n=2, stream=True)
    texts = {0: "", 1: ""}
    for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert all(texts.values())
