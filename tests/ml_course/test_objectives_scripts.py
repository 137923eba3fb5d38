"""The pretraining script: killed and resumed it ends with equal weights, two processes learn what one does."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from ml_course.objectives import OBJECTIVES, cloze_nats
from ml_course.scripts import pretrain

ROOT = Path(pretrain.__file__).parents[2]
SIZES = {"merges": 20, "d-model": 8, "heads": 2, "d-ff": 16, "layers": 1, "length": 12, "batch": 4}
TINY = ["--quiet", "--device", "cpu", *(f"--{name}={size}" for name, size in SIZES.items())]
TEXT = "the cat sat on the mat, and the dog sat on the log.\n" * 60


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return str(path)


def environment(**more):
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | more


def run(*arguments):
    pretrain.main([*TINY, *map(str, arguments)])


def steps_made(folder):
    """How many steps the folder's checkpoint holds; 0 while there is none."""
    if not (folder / pretrain.CHECKPOINT).exists():
        return 0
    with safe_open(folder / pretrain.CHECKPOINT, "pt") as file:
        return len(file.get_tensor("losses"))


def assert_same_checkpoints(first, second):
    ours, theirs = (load_file(folder / pretrain.CHECKPOINT) for folder in (first, second))
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_it_learns_and_the_model_can_be_read(objective, tmp_path, text, capsys):
    folder = tmp_path / "run"
    run("--folder", folder, "--objective", objective, "--text", text, "--steps", 30, "--rate", 0.02)
    said = capsys.readouterr().out
    assert said.startswith(f"{objective}: ") and "30 steps, loss" in said and str(folder) in said
    losses = load_file(folder / pretrain.CHECKPOINT)["losses"]
    assert len(losses) == 30 and losses[-5:].mean() < losses[:5].mean()
    model, tokenizer, layout = pretrain.read_model(folder)
    assert not model.training and tokenizer.decode(tokenizer.encode("the cat")) == "the cat"
    corpus = pretrain.load_corpus(text, 20)
    nats = cloze_nats(model, objective, corpus.held_out, layout, length=12).mean()
    assert f"held-out cloze {nats:.4f} nats" in said
    assert {path.name for path in folder.iterdir()} == {pretrain.CHECKPOINT, pretrain.SETTINGS, pretrain.TOKENIZER}


def test_stopped_and_resumed_in_steps_it_ends_with_equal_weights(tmp_path, text, monkeypatch, capsys):
    options = ["--text", text, "--steps", 24, "--save-every", 7, "--dropout", 0.3, "--objective", "xlnet"]
    run("--folder", tmp_path / "whole", *options)
    saved = pretrain.save

    def power_cut(folder, model, optimiser, losses):
        saved(folder, model, optimiser, losses)
        if len(losses) == 14:
            raise KeyboardInterrupt

    monkeypatch.setattr(pretrain, "save", power_cut)
    with pytest.raises(SystemExit, match="goes on from the last checkpoint"):
        run("--folder", tmp_path / "cut", *options)
    monkeypatch.setattr(pretrain, "save", saved)
    assert steps_made(tmp_path / "cut") == 14
    run("--folder", tmp_path / "cut", *options)
    assert "(went on from step 14)" in capsys.readouterr().out
    assert_same_checkpoints(tmp_path / "whole", tmp_path / "cut")
    run("--folder", tmp_path / "cut", *options)  # nothing is left to do
    assert "(went on from step 24)" in capsys.readouterr().out
    assert_same_checkpoints(tmp_path / "whole", tmp_path / "cut")


def test_killed_at_any_time_it_ends_with_equal_weights(tmp_path, text):
    options = ["--objective", "bert", "--text", text, "--steps", "200", "--save-every", "3", "--dropout", "0.1"]
    command = [sys.executable, "-m", "ml_course.scripts.pretrain", *TINY, *options, "--folder", str(tmp_path / "cut")]
    process = subprocess.Popen(command, env=environment(), cwd=tmp_path)
    deadline = time.monotonic() + 120
    while steps_made(tmp_path / "cut") < 30 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    reached = steps_made(tmp_path / "cut")
    assert 30 <= reached < 200
    (tmp_path / "cut" / (pretrain.CHECKPOINT + ".new")).write_bytes(b"half a file")  # as a kill while writing leaves it
    run("--folder", tmp_path / "cut", *options)
    run("--folder", tmp_path / "whole", *options)
    assert_same_checkpoints(tmp_path / "whole", tmp_path / "cut")


def test_two_processes_reach_the_loss_of_one(tmp_path, text):
    options = ["--objective", "bert", "--text", text, "--steps", "12"]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "ml_course.scripts.pretrain", *TINY, *options, "--folder", str(tmp_path / "two"),
    ]  # fmt: skip
    done = subprocess.run(command, env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("held-out cloze") == 1  # only one of them speaks
    run("--folder", tmp_path / "one", *options)
    ours, theirs = (load_file(tmp_path / name / pretrain.CHECKPOINT) for name in ("one", "two"))
    np.testing.assert_allclose(theirs["losses"], ours["losses"], rtol=0, atol=1e-4)
    for name in ours:
        if name.startswith("model."):
            torch.testing.assert_close(theirs[name], ours[name], rtol=0, atol=1e-3)


def test_bfloat16_is_used_when_asked_and_learns(tmp_path, text, monkeypatch):
    seen = set()
    loss = pretrain.objective_loss

    def noted(model, task):
        seen.add(model.lm.output(torch.zeros(1, 8)).dtype)
        return loss(model, task)

    monkeypatch.setattr(pretrain, "objective_loss", noted)
    for objective in OBJECTIVES:
        folder = tmp_path / objective
        run("--folder", folder, "--objective", objective, "--text", text, "--steps", 20, "--rate", 0.02, "--precision",
            "bfloat16")  # fmt: skip
        stored = load_file(folder / pretrain.CHECKPOINT)
        assert seen == {torch.bfloat16} and stored["losses"][-5:].mean() < stored["losses"][:5].mean()
        assert all(tensor.dtype in (torch.float32, torch.float64) for tensor in stored.values())
    run("--folder", tmp_path / "auto", "--text", text, "--steps", 1)
    assert json.loads((tmp_path / "auto" / pretrain.SETTINGS).read_text())["precision"] == "float32"


# What may go wrong is said in one line


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--objective", "elmo"], "invalid choice: 'elmo'"),
        (["--steps", "0"], "0: expected at least 1"),
        (["--rate", "0"], "--rate 0.0"),
        (["--dropout", "1"], "--dropout 1.0"),
        (["--heads", "3"], "--d-model 8 is not divisible by --heads 3"),
        (["--length", "4"], "--length 4: expected at least 8"),
        (["--text", "nowhere.txt"], "No such file or directory: 'nowhere.txt'"),
        (["--rate", "1e30"], "choose a smaller --rate"),
    ],
)
def test_wrong_arguments(arguments, said, tmp_path, text, capsys):
    line = refused(capsys, "--folder", tmp_path / "run", "--text", text, *arguments).strip().splitlines()[-1]
    assert line.startswith("pretrain: error: ") and said in line


def test_wrong_text_device_and_folder(tmp_path, text, capsys, monkeypatch):
    folder = tmp_path / "run"
    short = tmp_path / "short.txt"
    short.write_text("too short")
    assert "tokens has 9, expected at least length = 12" in refused(capsys, "--folder", folder, "--text", short)
    short.write_bytes(b"\xff\xfe\x00")
    assert "is not utf-8" in refused(capsys, "--folder", tmp_path / "other", "--text", short)
    if not torch.cuda.is_available():
        line = refused(capsys, "--folder", folder, "--text", text, "--device", "cuda")
        assert line == "pretrain: error: --device cuda: torch sees no CUDA device here\n"
    assert "short.txt" in refused(capsys, "--folder", short / "run", "--text", text)
    monkeypatch.setattr(pretrain.Processes, "wait", lambda self: None)
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setattr(pretrain.dist, "init_process_group", lambda backend: None)
    line = refused(capsys, "--folder", folder, "--text", text)
    assert line == "pretrain: error: --batch 4 cannot be shared by 3 processes\n"


def test_another_run_in_the_folder_and_a_damaged_checkpoint(tmp_path, text, capsys):
    folder = tmp_path / "run"
    options = ["--folder", folder, "--text", text, "--steps", 3]
    run(*options)
    line = refused(capsys, *options, "--batch", 6)
    assert f"{folder} holds a run with --batch 4, asked is 6: give the same, or another --folder" in line
    changed = tmp_path / "changed.txt"
    changed.write_text(TEXT.replace("cat", "cow"))
    assert "holds a run with --text" in refused(capsys, *options, "--text", changed)
    with (folder / pretrain.CHECKPOINT).open("r+b") as file:
        file.truncate(500)
    assert "cannot be read" in refused(capsys, *options)
    (folder / pretrain.SETTINGS).write_text("{")
    assert "is damaged; remove the folder to begin anew" in refused(capsys, *options)
