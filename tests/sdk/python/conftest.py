"""What the tests with the official SDK share: one stack, one client of each kind, a fresh lane per test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from openai import AsyncOpenAI, OpenAI

from stack import TOKEN, Lane, Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two fake providers behind the gateway."""
    folder: Path = tmp_path_factory.mktemp("resources")
    with Stack(folder) as stack:
        yield stack


@pytest.fixture
def lane(stack: Stack) -> Iterator[Lane]:
    """A model name with accounts of its own; faults scripted for it end with the test."""
    yield stack.lane()
    stack.heal()


@pytest.fixture
def impatient_lane(stack: Stack) -> Iterator[Lane]:
    """A lane whose Providers have timeouts of a second."""
    yield stack.lane(impatient=True)
    stack.heal()


@pytest.fixture(scope="session")
def client(stack: Stack) -> Iterator[OpenAI]:
    """The SDK as a user makes it: only base URL and key."""
    with OpenAI(base_url=f"{stack.url}/v1", api_key=TOKEN) as client:
        yield client


@pytest.fixture
async def async_client(stack: Stack) -> AsyncIterator[AsyncOpenAI]:
    """The SDK's asynchronous client."""
    async with AsyncOpenAI(base_url=f"{stack.url}/v1", api_key=TOKEN) as client:
        yield client
