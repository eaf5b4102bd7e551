"""Edits to the files apply while requests are served."""

import itertools

import pytest
from openai import NotFoundError, OpenAI

from stack import Lane, Stack

QUESTION = [{"role": "user", "content": "What does the scale say?"}]


def ask(client: OpenAI, model: str):
    return client.chat.completions.with_raw_response.create(model=model, messages=QUESTION)


def test_a_new_file_is_served_and_a_removed_one_is_not(client: OpenAI, stack: Stack):
    lane = Lane(95)
    with pytest.raises(NotFoundError):
        ask(client, lane.model)
    stack.write_lane(lane)
    stack.await_model(lane.model)
    assert ask(client, lane.model).headers["x-weighbridge-route"] == f"default/{lane.model}"
    stack.remove_lane(lane)
    stack.await_model(lane.model, there=False)
    with pytest.raises(NotFoundError):
        ask(client, lane.model)


def test_an_edit_applies_without_a_failed_request(client: OpenAI, stack: Stack):
    lane = Lane(96)
    stack.write_lane(lane)
    stack.await_model(lane.model)
    providers = set()
    for number in itertools.count():
        raw = ask(client.with_options(max_retries=0), lane.model)
        providers.add(raw.headers["x-weighbridge-provider"])
        if number == 20:
            stack.write_lane(lane, swapped=True)
        if len(providers) == 2:
            break
        assert number < 5000, "the edit never applied"
    assert providers == {f"default/{lane.model}-main", f"default/{lane.model}-spare"}
    stack.remove_lane(lane)


def test_a_broken_edit_is_reported_and_the_last_good_form_stays(client: OpenAI, stack: Stack):
    lane = Lane(97)
    path = stack.write_lane(lane)
    stack.await_model(lane.model)
    path.write_text("kind: Route\nspec: [")
    stack.gateway.await_line(path.name)
    for _ in range(5):
        assert ask(client.with_options(max_retries=0), lane.model).parse().choices[0].message.content
    stack.remove_lane(lane)
