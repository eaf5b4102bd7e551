"""The Responses API, embeddings and the list of models with the official SDK."""

import json
import struct

import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI
from pydantic import BaseModel

from stack import Lane, Stack

INPUT = "What does the scale say?"


class Reading(BaseModel):
    """What a structured answer holds."""

    unit: str
    kilograms: float


def test_a_response_is_answered(client: OpenAI, lane: Lane, stack: Stack):
    response = client.responses.create(model=lane.model, input=INPUT)
    assert response.status == "completed"
    assert response.output_text
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert json.loads(stack.only_entry(lane)["body"]) == {"input": INPUT, "model": "gpt-5-mini"}


def test_a_response_streams_its_events_in_order(client: OpenAI, lane: Lane):
    events = list(client.responses.create(model=lane.model, input=INPUT, stream=True))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    numbers = [event.sequence_number for event in events]
    assert numbers == list(range(numbers[0], numbers[0] + len(events)))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(deltas) > 1
    assert "".join(deltas) == events[-1].response.output_text
    assert events[-1].response.usage.total_tokens > 0


async def test_a_response_streams_asynchronously(async_client: AsyncOpenAI, lane: Lane):
    async with async_client.responses.stream(model=lane.model, input=INPUT) as stream:
        kinds = [event.type async for event in stream]
        response = await stream.get_final_response()
    assert kinds[-1] == "response.completed"
    assert response.output_text


def test_a_function_call_names_its_item_and_its_call(client: OpenAI, lane: Lane):
    tool = {
        "type": "function",
        "name": "weigh",
        "parameters": {
            "type": "object",
            "properties": {"load": {"type": "string"}},
            "required": ["load"],
            "additionalProperties": False,
        },
        "strict": True,
    }
    response = client.responses.create(model=lane.model, input=INPUT, tools=[tool], tool_choice="required")
    (call,) = [item for item in response.output if item.type == "function_call"]
    assert call.name == "weigh"
    assert call.id != call.call_id
    assert isinstance(json.loads(call.arguments)["load"], str)


def test_a_structured_response_is_parsed(client: OpenAI, lane: Lane):
    response = client.responses.parse(model=lane.model, input=INPUT, text_format=Reading)
    assert isinstance(response.output_parsed, Reading)


@pytest.mark.parametrize(
    "state", [{"previous_response_id": "resp_1"}, {"conversation": "conv_1"}, {"background": True}], ids=str
)
def test_state_that_only_one_account_has_is_refused(client: OpenAI, lane: Lane, stack: Stack, state):
    with pytest.raises(BadRequestError) as caught:
        client.responses.create(model=lane.model, input=INPUT, **state)
    assert caught.value.code == "unsupported_parameter"
    assert caught.value.param == next(iter(state))
    assert stack.requests(lane) == {"large": 0, "small": 0, "spare": 0}


def test_embeddings_come_as_numbers_and_cross_the_wire_as_base64(client: OpenAI, lane: Lane, stack: Stack):
    vectors = client.embeddings.create(model=lane.model, input=["one", "two"]).data
    assert [vector.index for vector in vectors] == [0, 1]
    assert all(isinstance(number, float) for vector in vectors for number in vector.embedding)
    assert vectors[0].embedding != vectors[1].embedding
    assert json.loads(stack.only_entry(lane)["body"])["encoding_format"] == "base64"


def test_embeddings_are_the_same_numbers_in_either_encoding(client: OpenAI, lane: Lane):
    plain = client.embeddings.create(model=lane.model, input="one", encoding_format="float").data[0].embedding
    packed = client.embeddings.create(model=lane.model, input="one").data[0].embedding
    as_32_bit = [struct.unpack("<f", struct.pack("<f", number))[0] for number in plain]
    assert packed == pytest.approx(as_32_bit, rel=1e-6)


def test_the_models_are_those_that_the_key_may_use(client: OpenAI, lane: Lane):
    models = {model.id for model in client.models.list()}
    assert lane.model in models
    assert all(model.startswith("lane-") for model in models)


def test_one_model_is_described(client: OpenAI, lane: Lane):
    assert client.models.retrieve(lane.model).id == lane.model
    with pytest.raises(NotFoundError) as caught:
        client.models.retrieve("no-such-model")
    assert caught.value.code == "model_not_found"
