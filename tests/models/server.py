"""A llama.cpp server as a program."""

import re
import sys
import urllib.request
from pathlib import Path

from stack import Program

SLOTS = 2
"""Requests that one server answers at once; further ones are deferred."""


class ModelServer(Program):
    """`serve.py` on a free port."""

    def __init__(self, model: Path) -> None:
        """Start it and wait until it answers."""
        script = Path(__file__).with_name("serve.py")
        super().__init__([sys.executable, script, model, "--slots", str(SLOTS)])
        self.url = self.await_line(r"listening on (http://127\.0\.0\.1:\d+)").group(1)

    def metric(self, name: str) -> float:
        """One of the server's own metrics, for example `tokens_predicted_total`."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        match = re.search(rf"^llamacpp:{name} (\S+)$", text, re.MULTILINE)
        if match is None:
            msg = f"llama.cpp shows no {name}:\n{text}"
            raise AssertionError(msg)
        return float(match.group(1))
