"""Runs a command with a stack beside it: `python -m stack -- COMMAND…`.

The command finds in its environment `WEIGHBRIDGE_URL`, `WEIGHBRIDGE_KEY`, `MAIN_URL` and `SPARE_URL` (the
fake providers, with their control endpoints), and lanes as `stack.resources` describes them.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from stack import TOKEN, Stack


def main() -> int:
    """Run the command; its exit code."""
    command = sys.argv[1:]
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack:
        environment = {
            **os.environ,
            "WEIGHBRIDGE_URL": stack.url,
            "WEIGHBRIDGE_KEY": TOKEN,
            "MAIN_URL": stack.main.url,
            "SPARE_URL": stack.spare.url,
        }
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
