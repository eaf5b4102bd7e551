"""The whole stack as programs on loopback: fake providers, the gateway, and their ends.

It owns starting and ending them and the resources they serve. It must use nothing that a user doesn't have:
the built programs, YAML, HTTP.
"""

from stack.fake_provider import FakeProvider
from stack.program import REPOSITORY, Program, built
from stack.resources import TOKEN, Lane
from stack.stack import EXPIRED_TOKEN, SUSPENDED_TOKEN, Gateway, Stack

__all__ = [
    "EXPIRED_TOKEN",
    "REPOSITORY",
    "SUSPENDED_TOKEN",
    "TOKEN",
    "FakeProvider",
    "Gateway",
    "Lane",
    "Program",
    "Stack",
    "built",
]
