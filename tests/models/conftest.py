"""Two real model servers and the gateway before them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from openai import OpenAI

from models import tiny_model
from models.server import ModelServer
from stack import TOKEN, Gateway, resources


@dataclass
class Servers:
    """What one test talks to. Both servers may be ended by the test."""

    left: ModelServer
    right: ModelServer
    gateway: Gateway
    client: OpenAI


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's file."""
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    tiny_model.write(path)
    return path


@pytest.fixture
def servers(model: Path, tmp_path: Path) -> Iterator[Servers]:
    """`pair` is served by both servers, 70 to 30; `left` by one of them alone."""
    with ModelServer(model) as left, ModelServer(model) as right:
        both = [resources.backend("left", "tiny", 70), resources.backend("right", "tiny", 30)]
        documents = [
            *resources.virtual_key(),
            resources.provider("left", left.url, accounts=[]),
            resources.provider("right", right.url, accounts=[]),
            resources.route("pair", ["pair"], {"both": both}),
            resources.route("left", ["left"], {"only": [resources.backend("left", "tiny")]}),
        ]
        resources.write(tmp_path / "servers.yaml", documents)
        with (
            Gateway(tmp_path) as gateway,
            OpenAI(base_url=f"{gateway.url}/v1", api_key=TOKEN, max_retries=0) as client,
        ):
            yield Servers(left, right, gateway, client)
