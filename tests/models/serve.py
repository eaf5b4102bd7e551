"""Serves a GGUF file with llama.cpp's own HTTP server on loopback, until SIGTERM.

It owns the server's settings. Prints one line, `listening on URL`, once the server answers.
"""

import argparse
import os
import signal

import xllamacpp


def parameters(model: str, port: int, slots: int) -> xllamacpp.CommonParams:
    """One thread, `slots` requests at once (further ones are deferred), metrics on."""
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.port = port
    params.n_parallel = slots
    params.n_ctx = 2048 * slots
    params.cpuparams.n_threads = 1
    params.endpoint_metrics = True
    params.endpoint_slots = True
    return params


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="path of the GGUF file")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--slots", type=int, default=2, help="requests served at once")
    options = parser.parse_args()
    server = xllamacpp.Server(parameters(options.model, options.port, options.slots))
    # The server's threads don't end by themselves: leave without waiting for them.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print(f"listening on {server.listening_address}", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
