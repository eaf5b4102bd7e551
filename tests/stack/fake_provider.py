"""A fake provider as a program, and its control endpoints."""

import json
import urllib.request
from typing import Any

from stack.program import Program, built


class FakeProvider(Program):
    """`weighbridge mock` on a free port."""

    def __init__(self) -> None:
        """Start it and wait until it listens."""
        super().__init__([built("weighbridge"), "mock", "--listen", "127.0.0.1:0"])
        self.url = self.await_line(r"(http://127\.0\.0\.1:\d+)").group(1)

    def by_account(self) -> dict[str, int]:
        """Requests seen, by the last four characters of the key."""
        return self._call("GET", "counters")["by_account"]

    def entries(self) -> list[dict[str, Any]]:
        """The requests seen, oldest first."""
        return self._call("GET", "log")

    def script(self, rules: list[dict[str, Any]]) -> None:
        """Replace the faults in force."""
        self._call("PUT", "faults", {"rules": rules})

    def _call(self, method: str, name: str, body: Any = None) -> Any:  # noqa: ANN401
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_mock/{name}", data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None
