"""What the process that trains does with the machine: memory that goes back, and what is said of bfloat16."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rnnlab.paths import HOME
from rnnlab.training import process

HOLDING = """
import psutil, torch
from rnnlab.training.process import give_memory_back, tune_process
tune_process(1)
held = psutil.Process().memory_info
parts = [torch.ones(2_000_000) for _ in range(40)]
last = torch.ones(2_000_000)  # above the others, so that the heap cannot simply end earlier
full = held().rss
del parts
kept = held().rss
give_memory_back()
print(full, kept, held().rss)
"""


def test_a_process_keeps_what_it_frees_until_it_gives_memory_back() -> None:
    if sys.platform != "linux":
        pytest.skip("glibc's allocator is Linux's")
    environment = os.environ | {"PYTHONPATH": str(HOME / "src")}
    done = subprocess.run([sys.executable, "-c", HOLDING], capture_output=True, text=True, check=True, env=environment)
    full, kept, given = map(int, done.stdout.split())
    num_bytes = 40 * 8_000_000
    assert full - kept < 0.1 * num_bytes
    assert kept - given > 0.9 * num_bytes


def test_bfloat16_is_commented_on_only_where_the_processor_has_no_units(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for has_units, precision, is_said in ((False, "bf16-mixed", True), (True, "bf16-mixed", False), (False, "32-true", False)):
        monkeypatch.setattr(process, "has_bfloat16_units", lambda has_units=has_units: has_units)
        process.say_precision(precision, "cpu")
        said = capsys.readouterr().err
        assert ("no units for bfloat16" in said) == is_said
        assert ("trainer.precision=32-true" in said) == is_said


def test_what_the_kernel_says_of_the_processor_is_what_we_say() -> None:
    cpus = Path("/proc/cpuinfo")
    if not cpus.is_file() or "flags" not in cpus.read_text(encoding="utf-8"):
        pytest.skip("this system does not list its processor's flags")
    flags = cpus.read_text(encoding="utf-8").split("flags", 1)[1].splitlines()[0].split()
    assert process.has_bfloat16_units() == bool({"avx512_bf16", "amx_bf16"} & {*flags})
