"""The resources that the tests serve, as plain dictionaries in the shape a user writes.

It owns the *lane*: a model name with accounts that nobody else uses, so that a test which makes a provider
fail disturbs no other one, and can count its own requests.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Resource = dict[str, Any]

API_VERSION = "weighbridge.dev/v1alpha1"
NAMESPACE = "default"
KEY_NAME = "tests"
TOKEN = "wb-tests-0123456789abcdefghijklmnopqrstuvwxyz"  # noqa: S105 (of fake providers)

ENDS = {"large": "a", "small": "b", "spare": "c"}
"""A lane's accounts, and how their keys end."""


@dataclass(frozen=True)
class Lane:
    """One model name and what is behind it.

    The target `main` is one Provider with the accounts `large` and `small`, 70 to 30; the target `spare` is
    another Provider with the account `spare`.
    """

    number: int

    @property
    def model(self) -> str:
        """The name that callers ask for, and the Route's name."""
        return f"lane-{self.number:02}"

    def account(self, name: str) -> str:
        """How the fake providers call an account: the last four characters of its key."""
        return f"{self.number:02}-{ENDS[name]}"

    @property
    def accounts(self) -> list[str]:
        """All accounts, as the fake providers call them."""
        return [self.account(name) for name in ENDS]

    def resources(self, main: str, spare: str, **spec: Any) -> list[Resource]:  # noqa: ANN401
        """The lane's resources; `main` and `spare` are base URLs, `spec` goes into both Providers."""
        name = self.model
        keys = {part: f"sk-lane-{self.account(part)}" for part in ENDS}
        return [
            secret(name, **keys),
            provider(f"{name}-main", main, [account(name, "large", 70), account(name, "small", 30)], **spec),
            provider(f"{name}-spare", spare, [account(name, "spare", 1)], **spec),
            route(
                name,
                [name],
                {
                    "main": [backend(f"{name}-main", "gpt-5-mini")],
                    "spare": [backend(f"{name}-spare", "gpt-5")],
                },
            ),
        ]


def resource(kind: str, name: str, spec: dict[str, Any]) -> Resource:
    """Any of the gateway's own kinds."""
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def secret(name: str, labels: dict[str, str] | None = None, **data: str) -> Resource:
    """A plain Secret."""
    metadata = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}


def account(secret_name: str, name: str, weight: int) -> dict[str, Any]:
    """An account whose credential is under its own name in a Secret."""
    return {"name": name, "secretRef": {"name": secret_name, "key": name}, "weight": weight}


def provider(name: str, url: str, accounts: list[dict[str, Any]], **spec: Any) -> Resource:  # noqa: ANN401
    """A Provider at a base URL without a path."""
    fixed = {"dialect": "OpenAI", "endpoint": f"{url}/v1", "accounts": accounts}
    return resource("Provider", name, {**fixed, **spec})


def backend(provider_name: str, model: str, weight: int = 1) -> dict[str, Any]:
    """A backend named after its Provider."""
    return {
        "name": provider_name,
        "providerRef": {"name": provider_name},
        "model": model,
        "weight": weight,
    }


def route(
    name: str,
    models: list[str],
    targets: dict[str, list[dict[str, Any]]],
    **spec: Any,  # noqa: ANN401
) -> Resource:
    """A Route; the targets' order counts."""
    listed = [{"name": target, "backends": backends} for target, backends in targets.items()]
    return resource("Route", name, {"models": models, "targets": listed, **spec})


def virtual_key(name: str = KEY_NAME, token: str = TOKEN, **spec: Any) -> list[Resource]:  # noqa: ANN401
    """A VirtualKey with a brought token, for every Route of the namespace."""
    fixed = {"routeRefs": [{"namespace": NAMESPACE, "name": "*"}], "secretName": f"{name}-key"}
    return [
        secret(f"{name}-key", {"weighbridge.dev/virtual-key": name}, token=token),
        resource("VirtualKey", name, {**fixed, **spec}),
    ]


def write(path: Path, resources: Iterable[Resource]) -> None:
    """Write a file of resources at once: a reader sees the old file or the new one."""
    text = yaml.safe_dump_all(resources, sort_keys=False)
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.replace(path)
