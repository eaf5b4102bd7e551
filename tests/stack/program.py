"""One running program. It is ended by its process id, whatever happens, and never outlives its owner."""

import os
import re
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 30.0
STOP_SECONDS = 20.0


def built(name: str) -> Path:
    """The path of a program that `make build` made."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    path = target / os.environ.get("WEIGHBRIDGE_PROFILE", "debug") / name
    if not path.exists():
        msg = f"{path} is not there: run `make build`"
        raise FileNotFoundError(msg)
    return path


class Program:
    """A started program whose output, both streams together, is read as it comes."""

    def __init__(self, command: Sequence[str | Path], environment: dict[str, str] | None = None) -> None:
        """Start `command`; `environment` is added to ours."""
        self.command = [str(part) for part in command]
        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            text=True,
            errors="replace",
        )
        self._lines: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        """End the program with the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the program with the block."""
        self.stop()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def output(self) -> str:
        """Everything written so far."""
        with self._changed:
            return "".join(self._lines)

    def await_line(self, pattern: str, seconds: float = START_SECONDS) -> re.Match[str]:
        """Wait for a line in which `pattern` is found, also one that was written before.

        Without one the program is ended, and the error quotes what it wrote.
        """
        seen = 0

        def find() -> re.Match[str] | bool:
            nonlocal seen
            for line in self._lines[seen:]:
                seen += 1
                if match := re.search(pattern, line):
                    return match
            return self._ended

        with self._changed:
            found = self._changed.wait_for(find, seconds)
        if isinstance(found, re.Match):
            return found
        reason = "ended" if self._ended else f"has not within {seconds:.0f} s"
        # Whoever was starting it will not come to end it.
        self.kill()
        msg = f"{self.command} was to write {pattern!r} and {reason}; it wrote:\n{self.output()}"
        raise AssertionError(msg)

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        self._process.terminate()

    def stop(self) -> int:
        """Ask it to end, make it (SIGKILL) when it doesn't; the exit code."""
        self.terminate()
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            msg = f"{self.command} has not ended within {STOP_SECONDS:.0f} s of SIGTERM:\n{self.output()}"
            raise AssertionError(msg) from None
        self._reader.join()
        return code

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        stream = self._process.stdout
        if stream is None:
            return
        for line in stream:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
