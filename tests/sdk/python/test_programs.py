"""The programs as a person starts them: the demo, and the data plane on its own."""

import subprocess
from pathlib import Path

from openai import OpenAI

from stack import TOKEN, FakeProvider, Lane, Program, built, resources

ANYWHERE = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
QUESTION = [{"role": "user", "content": "What does the scale say?"}]


def providers_of(client: OpenAI, model: str, count: int) -> list[tuple[str, str]]:
    """Who served `count` requests: provider and account, sorted."""
    answers = [
        client.chat.completions.with_raw_response.create(model=model, messages=QUESTION) for _ in range(count)
    ]
    names = ("x-weighbridge-provider", "x-weighbridge-account")
    return sorted(tuple(answer.headers[name] for name in names) for answer in answers)


def test_the_demo_prints_what_the_sdk_needs_and_shares_seven_to_three():
    with Program([built("weighbridge"), "demo", *ANYWHERE]) as demo:
        url = demo.await_line(r"base URL +(\S+)").group(1)
        key = demo.await_line(r"key +(wb-\S+)").group(1)
        model = demo.await_line(r"model +(\S+)").group(1)
        with OpenAI(base_url=url, api_key=key) as client:
            accounts = [account for _, account in providers_of(client, model, 10)]
        assert accounts == ["production"] * 3 + ["research"] * 7


def test_the_data_plane_alone_serves_a_snapshot_and_follows_its_file(tmp_path: Path):
    lane, snapshot, folder = Lane(1), tmp_path / "gateway.snapshot", tmp_path / "resources"
    folder.mkdir()
    with FakeProvider() as main, FakeProvider() as spare:
        documents = [*resources.virtual_key(), *lane.resources(main.url, spare.url)]

        def compile_snapshot() -> None:
            resources.write(folder / "all.yaml", documents)
            command = [built("weighbridge"), "check", "--snapshot", snapshot, folder]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

        compile_snapshot()
        assert snapshot.stat().st_mode & 0o777 == 0o600
        command = [built("weighbridge-dataplane"), "--snapshot", snapshot, *ANYWHERE]
        with Program([*command, "--drain-delay-seconds", "0"]) as dataplane:
            url = dataplane.await_line(r"listening on (http://127\.0\.0\.1:\d+)").group(1)
            with OpenAI(base_url=f"{url}/v1", api_key=TOKEN) as client:
                assert {provider for provider, _ in providers_of(client, lane.model, 3)} == {
                    f"default/{lane.model}-main"
                }
                documents[-1]["spec"]["targets"].reverse()
                compile_snapshot()
                spare_serves = [(f"default/{lane.model}-spare", "spare")]
                for _ in range(5000):
                    if providers_of(client, lane.model, 1) == spare_serves:
                        break
                assert providers_of(client, lane.model, 1) == spare_serves


def test_a_terminated_gateway_ends_well_and_finishes_what_it_began(tmp_path: Path):
    lane = Lane(1)
    with FakeProvider() as main, FakeProvider() as spare:
        main.script([{"fault": {"words": 50, "event-delay": "10ms"}}])
        documents = [*resources.virtual_key(), *lane.resources(main.url, spare.url)]
        resources.write(tmp_path / "all.yaml", documents)
        command = [built("weighbridge"), "serve", tmp_path, *ANYWHERE, "--drain-delay-seconds", "0"]
        with Program(command) as gateway:
            url = gateway.await_line(r"listening on (http://127\.0\.0\.1:\d+)").group(1)
            with OpenAI(base_url=f"{url}/v1", api_key=TOKEN) as client:
                stream = client.chat.completions.create(model=lane.model, messages=QUESTION, stream=True)
                chunks = [next(stream)]
                gateway.terminate()
                chunks += list(stream)
            assert chunks[-1].choices[0].finish_reason == "stop"
            assert gateway.stop() == 0
