"""Training on two machines, rehearsed in two network namespaces joined by a virtual cable: one dies, both go on."""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.commands_by_name import ROOT

Settings = Callable[..., list[str]]
NAMESPACES = Path("/etc/netns")
CHANGES = {
    "model__backbone": "test_convnext",  # no batch statistics: these alone see a machine's half of the batch
    "model__projection_dropout": 0.0,
    "train__optimizer": "sgd",
    "train__lr": 0.01,
    "train__epochs": 3,
    "train__save_steps": 1,
}


@pytest.fixture
def machines() -> Iterator[list[list[str]]]:
    """What a command is put behind to run on each of two machines, 10.77.0.1 and 10.77.0.2."""
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("network namespaces need root and iproute2")
    names = [f"m{uuid.uuid4().hex[:8]}" for _ in range(2)]
    lines = [
        *(f"netns add {name}" for name in names),
        f"link add {names[0]} type veth peer name {names[1]}",
        *(f"link set {name} netns {name}" for name in names),
    ]
    for number, name in enumerate(names, start=1):
        lines += [f"-n {name} addr add 10.77.0.{number}/24 dev {name}", f"-n {name} link set {name} up"]
        lines.append(f"-n {name} link set lo up")
    hosts = "".join(f"10.77.0.{number} {name}\n" for number, name in enumerate(names, start=1))
    try:
        for name in names:  # which `ip netns exec` lays over /etc/hosts
            (NAMESPACES / name).mkdir(parents=True)
            (NAMESPACES / name / "hosts").write_text(f"127.0.0.1 localhost\n{hosts}")
        for line in lines:
            made = subprocess.run(["ip", *line.split()], capture_output=True, text=True, check=False)
            if made.returncode:
                pytest.skip(f"no network namespaces here: {made.stderr.strip()}")
        own_name = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"']  # c10d tells the others a host's name
        yield [["ip", "netns", "exec", name, *own_name, name] for name in names]
    finally:
        for name in names:
            shutil.rmtree(NAMESPACES / name, ignore_errors=True)
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def start(machines: list[list[str]], backend: str, arguments: list[str], log: Path) -> list[subprocess.Popen[bytes]]:
    """The launcher on each machine."""
    started = []
    for rank, machine in enumerate(machines):
        interface = machine[-1]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT / "src")}
        environment |= {"ACCELERATE_USE_CPU": "true", "GLOO_SOCKET_IFNAME": interface}
        launcher = [
            *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines=2"),
            *("--num_processes=2", f"--machine_rank={rank}", "--main_process_ip=10.77.0.1"),
            *("--main_process_port=29577", f"--rdzv_backend={backend}", "--mixed_precision=no"),
        ]
        if backend == "c10d":  # a namespace has no host name by which it knows its own address
            launcher.append(f"--rdzv_conf=is_host={1 - rank}")
        with log.with_suffix(f".{rank}").open("wb") as output:
            started.append(
                subprocess.Popen(
                    [*machine, *launcher, str(ROOT / "scripts" / "train.py"), *arguments],
                    env=environment,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )
    return started


def end(running: list[subprocess.Popen[bytes]]) -> None:
    """Kill whatever is left of each machine."""
    for machine in running:
        if machine.poll() is None:
            os.killpg(machine.pid, signal.SIGKILL)
        machine.wait()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["static", "c10d"])
def test_a_machine_dies_and_both_go_on_to_the_weights_of_one(
    backend: str, machines: list[list[str]], settings: Settings, tmp_path: Path, forked: object
) -> None:
    train = getattr(forked, "train")  # noqa: B009 - a fixture without a type
    assert train(settings(tmp_path / "one", **CHANGES), tmp_path / "one.log") == 0
    running = start(machines, backend, settings(tmp_path / "two", **CHANGES), tmp_path / "first")
    try:
        until = time.monotonic() + 900
        while not list(tmp_path.glob("two/checkpoints/step-*[0-9]")):
            assert time.monotonic() < until, (tmp_path / "first.0").read_text()
            assert running[0].poll() is None, (tmp_path / "first.0").read_text()
            time.sleep(0.05)
        end(running[1:])  # the second machine is gone
        running[0].wait(900)  # the first one notices
        assert running[0].returncode != 0
    finally:
        end(running)
    again = start(machines, backend, [*settings(tmp_path / "two", **CHANGES), "--resume", "auto"], tmp_path / "second")
    try:
        assert [machine.wait(900) for machine in again] == [0, 0], (tmp_path / "second.0").read_text()
    finally:
        end(again)
    expected, got = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name, weight in expected.items():
        torch.testing.assert_close(got[name], weight, rtol=1e-4, atol=1e-5)
