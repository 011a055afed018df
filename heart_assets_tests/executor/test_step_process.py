"""Steps as processes, in both ways to start them."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heart_assets.executor.devices import Devices
from heart_assets.executor.step_process import StepProcess, exit_in_words
from heart_assets.executor.template import Template
from heart_assets_tests.executor.conftest import PROJECT, alive, wait_until

Start = Callable[..., StepProcess]


@pytest.fixture(scope="module")
def template() -> Iterator[Template]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(PROJECT))
        template = Template("no step: warming up fails, which the steps would tell")
    yield template
    template.close()


@pytest.fixture(params=["forked", "new interpreter"])
def start(request: pytest.FixtureRequest, template: Template, tmp_path: Path) -> Iterator[Start]:
    processes = []

    def start(code: str, count: int = 0, imports: tuple[str, ...] = (), **variables: str) -> StepProcess:
        environment = {**os.environ, "SAY": "hello", "PYTHONPATH": str(PROJECT), **variables}
        processes.append(
            StepProcess(
                ("heart_assets_tests.executor.a_step", code),
                environment,
                count=count,
                devices=Devices(("x", "y"), 0, ""),
                lock_folder=tmp_path,
                template=template if request.param == "forked" else None,
                imports=imports,
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        process.wait(0)
        process.close()


def last_line(process: StepProcess) -> str:
    return process.output_tail().splitlines()[-1]


def test_output_environment_and_what_is_left_behind(start: Start) -> None:
    process = start("sys.exit(3)")
    assert process.wait(time.monotonic() + 20) == 3
    lines = process.output_tail().splitlines()
    assert lines[:-1] == [f"line {number}" for number in range(11, 30)]
    visible, said, child = f" {lines[-1]}".split(" ")[1:]
    assert (visible, said) == ("", "hello")
    wait_until(lambda: not alive(int(child)), 5)


def test_a_lease_is_told(start: Start) -> None:
    process = start("pass", count=2)
    assert process.wait(time.monotonic() + 20) == 0
    assert process.news() == [{"leased": ["x", "y"]}]
    assert process.news() == []
    assert last_line(process).startswith("x,y hello")


def test_signals_reach_the_group(start: Start) -> None:
    process = start("import time; time.sleep(60)")
    wait_until(lambda: "hello" in process.output_tail(), 20)
    assert process.end() is None
    process.send(signal.SIGTERM)
    assert process.wait(time.monotonic() + 20) == -signal.SIGTERM
    process.send(signal.SIGTERM)  # after the end: nothing happens
    wait_until(lambda: not alive(int(last_line(process).split()[-1])), 5)


@pytest.mark.parametrize("forked", [False, True], ids=["new interpreter", "forked"])
def test_a_step_answers_to_sigterm_though_its_ancestors_ignore_it(forked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `nohup`-like wrappers, or a shell's `trap '' TERM`, have their whole family do."""
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    usual = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        template = Template("no step") if forked else None
        environment = {**os.environ, "SAY": "hello"}
        process = StepProcess(("heart_assets_tests.executor.a_step", "import time; time.sleep(60)"), environment, template=template)
        wait_until(lambda: "hello" in process.output_tail(), 20)
    finally:
        signal.signal(signal.SIGTERM, usual)
    process.send(signal.SIGTERM)
    code = process.wait(time.monotonic() + 20)
    process.close()
    if template:
        template.close()
    assert code == -signal.SIGTERM


def test_an_exception_ends_with_code_1_and_its_traceback(start: Start) -> None:
    process = start("raise OSError('this went wrong')")
    assert process.wait(time.monotonic() + 20) == 1
    assert last_line(process) == "OSError: this went wrong"


def test_who_does_not_end_in_time_is_killed(start: Start) -> None:
    process = start("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)")
    wait_until(lambda: last_line(process) == "ready" if process.output_tail() else False, 20)
    process.send(signal.SIGTERM)
    assert process.wait(time.monotonic() + 0.2) == -signal.SIGKILL


def test_forked_steps_share_imports(start: Start, request: pytest.FixtureRequest) -> None:
    process = start("print('colorsys' in sys.modules)", imports=("no_such_module", "colorsys"))
    assert process.wait(time.monotonic() + 20) == 0
    forked = request.node.callspec.params["start"] == "forked"
    assert last_line(process) == str(forked)


@pytest.mark.slow
def test_torch_keeps_to_the_threads_of_its_step(start: Start) -> None:
    code = "import torch; print(torch.get_num_threads(), torch.ones(1000, 1000).matmul(torch.ones(1000, 1000)).sum().item())"
    for threads in ("1", "2"):
        process = start(code, imports=("torch",), OMP_NUM_THREADS=threads)
        assert process.wait(time.monotonic() + 60) == 0
        assert last_line(process) == f"{threads} 1000000000.0"


def test_a_template_that_has_ended_is_an_error() -> None:
    template = Template("")
    template.close()
    assert not template.alive()
    with pytest.raises(OSError, match="has ended"):
        StepProcess(("a_step",), {}, template=template)


def test_exits_in_words() -> None:
    assert exit_in_words(0) == "ended with exit code 0"
    assert exit_in_words(-15) == "was killed by SIGTERM"
    assert exit_in_words(-9) == "was killed by SIGKILL (by hand, or by the kernel for want of memory)"
    assert exit_in_words(-77) == "was killed by signal 77"
