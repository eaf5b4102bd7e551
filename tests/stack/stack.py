"""Two fake providers and the gateway before them, with lanes to test on."""

import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stack import resources
from stack.fake_provider import FakeProvider
from stack.program import Program, built
from stack.resources import Lane

PLAIN_LANES = 70
IMPATIENT_LANES = range(70, 80)
ABSENT_LANES = range(80, 90)
"""Lanes from 90 on are left to tests that write their own files."""

IMPATIENT = {"timeouts": {"connect": "1s", "firstEvent": "1s", "idle": "1s", "request": "20s"}}
POLL_SECONDS = 0.02
NOBODY = "http://127.0.0.1:1"
"""Nothing listens there: connects are refused."""

EXPIRED_TOKEN = "wb-expired-0123456789abcdefghijklmnopqrstuv"  # noqa: S105
SUSPENDED_TOKEN = "wb-suspended-0123456789abcdefghijklmnopqrst"  # noqa: S105


class Gateway(Program):
    """`weighbridge serve` on free ports."""

    def __init__(self, folder: Path) -> None:
        """Start it and wait until it listens."""
        anywhere = "127.0.0.1:0"
        # No endpoints to wait for: the drain may begin at once.
        options = ["--listen", anywhere, "--admin", anywhere, "--drain-delay-seconds", "0"]
        super().__init__([built("weighbridge"), "serve", folder, *options])
        self.url = self.await_line(r"listening on (http://127\.0\.0\.1:\d+)").group(1)
        self.admin_url = self.await_line(r"admin on (http://127\.0\.0\.1:\d+)").group(1)


class Stack:
    """Everything that one run of an SDK's tests needs, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        """Start all of it; resources are written to `folder`."""
        self._programs = ExitStack()
        self._folder = folder
        self._next = {False: iter(range(PLAIN_LANES)), True: iter(IMPATIENT_LANES)}
        self._next_absent = iter(ABSENT_LANES)
        try:
            self.main = self._programs.enter_context(FakeProvider())
            self.spare = self._programs.enter_context(FakeProvider())
            self._write_all()
            self.gateway = self._programs.enter_context(Gateway(folder))
        except BaseException:
            self._programs.close()
            raise

    def __enter__(self) -> Self:
        """End everything with the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything with the block."""
        self._programs.close()

    @property
    def url(self) -> str:
        """Where the gateway serves, without a path."""
        return self.gateway.url

    def lane(self, impatient: bool = False, is_main_absent: bool = False) -> Lane:
        """A lane that nobody has used."""
        return Lane(next(self._next_absent if is_main_absent else self._next[impatient]))

    def write_lane(self, lane: Lane, swapped: bool = False) -> Path:
        """Write a lane's file; `swapped` puts the spare provider's target first."""
        documents = lane.resources(self.main.url, self.spare.url)
        if swapped:
            documents[-1]["spec"]["targets"].reverse()
        return self._write(lane, documents)

    def remove_lane(self, lane: Lane) -> None:
        """Remove what `write_lane` wrote."""
        self._path(lane).unlink()

    def await_model(self, model: str, there: bool = True, seconds: float = 10) -> None:
        """Wait until the gateway serves a model, or serves it no longer."""
        headers = {"authorization": f"Bearer {resources.TOKEN}"}
        request = urllib.request.Request(f"{self.url}/v1/models/{model}", headers=headers)
        deadline = time.monotonic() + seconds
        while _is_answered(request) != there:
            if time.monotonic() > deadline:
                state = "served" if there else "gone"
                msg = f"{model} is not {state} after {seconds} s:\n{self.gateway.output()}"
                raise AssertionError(msg)
            time.sleep(POLL_SECONDS)

    def script(self, lane: Lane, faults: Mapping[str, Mapping[str, Any]], times: int | None = None) -> None:
        """Let the lane's accounts, named `large`, `small`, `spare`, meet these faults from now on."""
        count = {} if times is None else {"times": times}
        rules = {
            name: {"when": {"account": lane.account(name)}, **count, "fault": dict(fault)}
            for name, fault in faults.items()
        }
        self.main.script([rule for name, rule in rules.items() if name != "spare"])
        self.spare.script([rule for name, rule in rules.items() if name == "spare"])

    def heal(self) -> None:
        """Take all faults away."""
        self.main.script([])
        self.spare.script([])

    def requests(self, lane: Lane) -> dict[str, int]:
        """Requests that the providers saw on the lane, by account."""
        seen = {**self.main.by_account(), **self.spare.by_account()}
        return {name: seen.get(lane.account(name), 0) for name in resources.ENDS}

    def attempts(self, lane: Lane) -> int:
        """Requests that the providers saw on the lane."""
        return sum(self.requests(lane).values())

    def entries(self, lane: Lane) -> list[dict[str, Any]]:
        """What the providers logged about the lane, in the order of arrival."""
        both = [*self.main.entries(), *self.spare.entries()]
        return sorted(_of(lane, both), key=lambda entry: entry["at_ms"])

    def only_entry(self, lane: Lane) -> dict[str, Any]:
        """What the providers logged about a lane that was asked once."""
        entries = self.entries(lane)
        assert len(entries) == 1, f"{len(entries)} requests, not one"  # noqa: S101
        return entries[0]

    def retry_counts(self, lane: Lane) -> set[str]:
        """What the SDK said in its requests about its own retries."""
        headers = [header for entry in self.entries(lane) for header in entry["headers"]]
        return {value for name, value in headers if name.lower() == "x-stainless-retry-count"}

    def await_outcomes(self, lane: Lane, outcomes: set[str], seconds: float = 5) -> None:
        """Wait until the lane's requests ended in exactly these ways."""
        deadline = time.monotonic() + seconds
        while (found := {entry["outcome"] for entry in self.entries(lane)}) != outcomes:
            if time.monotonic() > deadline:
                msg = f"requests ended as {found}, not as {outcomes}, after {seconds} s"
                raise AssertionError(msg)
            time.sleep(POLL_SECONDS)

    def _write_all(self) -> None:
        keys = [
            *resources.virtual_key(),
            *resources.virtual_key("expired", EXPIRED_TOKEN, expiresAt="2020-01-01T00:00:00Z"),
            *resources.virtual_key("suspended", SUSPENDED_TOKEN, suspend=True),
        ]
        resources.write(self._folder / "keys.yaml", keys)
        for number in range(PLAIN_LANES):
            self.write_lane(Lane(number))
        for number in IMPATIENT_LANES:
            lane = Lane(number)
            self._write(lane, lane.resources(self.main.url, self.spare.url, **IMPATIENT))
        for number in ABSENT_LANES:
            lane = Lane(number)
            self._write(lane, lane.resources(NOBODY, self.spare.url))

    def _path(self, lane: Lane) -> Path:
        return self._folder / f"{lane.model}.yaml"

    def _write(self, lane: Lane, documents: list[resources.Resource]) -> Path:
        path = self._path(lane)
        resources.write(path, documents)
        return path


def _of(lane: Lane, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for entry in entries if entry["account"] in lane.accounts]


def _is_answered(request: urllib.request.Request) -> bool:
    try:
        with urllib.request.urlopen(request, timeout=10):
            return True
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return False
        raise
