"""The benchmark of growing inputs on tiny models; its speeds are not tested."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers.tiny_inference import save_tiny_model
from helpers.tiny_models import WAVLM_CONF

from espnet_mtasr.errors import UserError
from tools.bench import scaling, side_by_side

ROOT = Path(__file__).resolve().parents[3]
SIZE = 64 * 2**20
KEEP = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


@pytest.fixture
def config(tmp_path):
    """A model that needs no published one."""
    path = tmp_path / "train_tiny.yaml"
    encoder = dict(num_trunk_layers=1, wavlm_conf=WAVLM_CONF, load_pretrained=False)
    conf = dict(
        input_size=1,
        encoder_conf=encoder,
        separator_conf=dict(hidden_size=8, num_layers=1),
        count_head_conf=dict(hidden_size=8, attention_size=4),
    )
    path.write_text(yaml.safe_dump(conf))
    return path


def in_this_process(monkeypatch):
    monkeypatch.setattr(scaling, "measure_apart", scaling.measure_cell)


def test_main(config, tmp_path, capsys):
    """With the processes of its own that a CPU gets."""
    out = tmp_path / "out.json"
    words = f"--config {config} --lengths 1 0.5 --batch_sizes 2 --max_audio_seconds 1"
    scaling.main([*words.split(), "--json", str(out)])
    printed = capsys.readouterr().out
    results = json.loads(out.read_text())
    measured, left_out = results["figures"]["cells"]
    why = "2 s of audio, over the limit of 1 s"
    expected = {"batch": 2, "length": 1.0, "status": "left out", "why": why}
    assert left_out == expected
    times = results["seconds"]["batch of 2, 0.5 s"]
    assert len(times) == 2
    assert measured["seconds_per_second"] == pytest.approx(sum(times) / 2)
    assert measured["peak_bytes"] > 0
    assert results["figures"]["stops"]["2"]["time"] is None
    assert f"    2         1   left out: {why}\n" in printed
    assert "batch of 2: time linear up to 0.5 s, the longest measured" in printed


def test_a_trained_model(tmp_path, monkeypatch, capsys):
    in_this_process(monkeypatch)
    model = save_tiny_model(tmp_path / "exp")
    words = f"--model {model} --lengths 0.5 1 --batch_sizes 1 --num_talkers 3"
    scaling.main(words.split())
    printed = capsys.readouterr().out
    assert printed.startswith(f"{model}, 3 talkers, float32, ")
    with pytest.raises(UserError, match="--num_talkers 5: the model knows .2, 3."):
        scaling.main(f"--model {model} --num_talkers 5".split())


def test_too_little_memory_is_told(config, monkeypatch, capsys):
    def decoder(waves):
        if len(waves[0]) > 8000:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes")

    in_this_process(monkeypatch)
    monkeypatch.setattr(scaling, "load_decoder", lambda args: decoder)
    words = f"--config {config} --lengths 0.5 1 --batch_sizes 1"
    scaling.main(words.split())
    assert "    1         1   out of memory\n" in capsys.readouterr().out


def test_other_failures_are_no_lack_of_memory(config, monkeypatch):
    def decoder(waves):
        raise RuntimeError("shapes don't match")

    in_this_process(monkeypatch)
    monkeypatch.setattr(scaling, "load_decoder", lambda args: decoder)
    with pytest.raises(RuntimeError, match="shapes don't match"):
        scaling.main(["--config", str(config), "--lengths", "1"])


def cell(batch, length, cost=None, peak=None):
    if cost is None:
        return {"batch": batch, "length": length, "status": "left out"}
    return {
        **{"batch": batch, "length": length, "status": "measured"},
        **{"seconds_per_second": cost, "peak_bytes": peak, "times": [cost]},
    }


def test_where_it_stops_being_linear(capsys):
    cells = [
        *(cell(1, 2, 3.0, 20), cell(1, 5, 1.0, 50), cell(1, 10, 1.25, 101)),
        *(cell(1, 20, 1.26, 250), cell(1, 40, 2.0, 900), cell(1, 80)),
        *(cell(4, 2, 1.0, None), cell(4, 5, 1.1, None), cell(16, 2)),
    ]
    growth = scaling.describe_growth(cells)
    assert growth == {
        1: {"longest": 40, "time": 20, "memory": 40},
        4: {"longest": 5, "time": None},
    }
    assert capsys.readouterr().out.splitlines() == [
        "batch of 1: time stops being linear at 20 s (within 25%)",
        "batch of 1: memory stops being linear at 40 s (within 25%)",
        "batch of 4: time linear up to 5 s, the longest measured (within 25%)",
    ]


needs_linux = pytest.mark.skipif(
    not side_by_side.CLEAR_REFS.exists(), reason="Linux tells"
)


def peaks(code, keep):
    """What `code` prints, in a process whose C library keeps freed memory or not."""
    env = {name: value for name, value in os.environ.items() if name not in KEEP}
    # As path.sh has it.
    env.update(dict.fromkeys(KEEP, "4294967296") if keep else {})
    begin = "import torch\nfrom tools.bench.side_by_side import measure_peak\n"
    done = subprocess.run(
        [sys.executable, "-c", begin + code],
        env=env,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    return [int(peak) for peak in done.stdout.split()]


@needs_linux
def test_peak_memory():
    take = f"len(torch.ones({SIZE} // 4)), len(torch.ones({SIZE} // 4))"
    code = (
        f"peak = measure_peak(lambda: ({take}), 'cpu')\n"
        f"print(peak, measure_peak(lambda: None, 'cpu'))"
    )
    peak, after = peaks(code, keep=False)
    # One after the other is freed.
    assert 0.9 * SIZE < peak < 1.5 * SIZE
    # The peak begins anew.
    assert after < 0.1 * SIZE


@needs_linux
def test_peak_of_a_new_process_is_its_own():
    """And not what the process that started it once had."""
    code = (
        f"most = bytearray({SIZE}); del most\n"
        "from tools.bench.side_by_side import in_own_process, peak_memory, GIB\n"
        "if __name__ == '__main__':\n"
        "    print(round(in_own_process(peak_memory, 'cpu') * GIB))"
    )
    (own,) = peaks(code, keep=True)
    (least,) = peaks(code.replace(str(SIZE), "0"), keep=True)
    assert own < least + 0.5 * SIZE


@needs_linux
def test_peak_counts_memory_that_was_freed_before_and_kept():
    code = (
        f"take = lambda: len([bytearray(2**20) for _ in range({SIZE} // 2**20)])\n"
        f"take()\n"
        f"print(measure_peak(take, 'cpu'))"
    )
    (peak,) = peaks(code, keep=True)
    assert peak > 0.9 * SIZE


@pytest.mark.parametrize(
    "words, message",
    [
        ("--lengths 2 0", "--lengths 0.0: give more than 0"),
        ("--rounds -1", "--rounds -1: give more than 0"),
        ("--config no.yaml", "--config no.yaml: no such file"),
        ("--device cuda", "--device cuda: torch finds no GPU"),
    ],
)
def test_wrong_arguments(words, message, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match=message):
        scaling.main(words.split())
