"""Every command, with and without a terminal, with valid and invalid input."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fixtures_cli import (
    CODE,
    HERTZ,
    PATH,
    RATE,
    TONE,
    audiocnn,
    audiocnn_process,
    tone,
    tone_model,  # noqa: F401
    write_tones,
)
from sounds import noise, sine, wav_bytes, write

from audiocnn.segments.segment import Segment
from audiocnn.spec.features import FEATURES
from audiocnn_cli import main
from audiocnn_cli.app import command as command_module
from audiocnn_cli.app.draw import draw_ruler, draw_track, format_moment
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.main import COMMANDS

BLOCKS = "▁▂▃▄▅▆▇█"

# A network that trains in a moment; what it learns is not the point.
RECIPE = """
name = "small"
seed = 3
[data]
source = "labels"
sample_rate = 8000
[mix]
seconds = 0.5
[train]
epochs = 1
examples_per_epoch = 4
batch_size = 2
workers = 0
[spec.input]
features = "log_mel"
sample_rate = 8000
mels = 8
[[spec.groups]]
name = "A"
layers = [{ conv = 4, kernel = 3 }]
[spec.f]
window_seconds = 0.2
output = "softmax"
"""


@pytest.fixture
def here(tmp_path, monkeypatch, tone_model):  # noqa: F811
    """A working folder with recordings, labels, a recipe and a model."""
    write_tones(tmp_path)
    (tmp_path / "small.toml").write_text(RECIPE)
    (tmp_path / "bad.toml").write_text(RECIPE.replace("mels = 8", "melz = 8"))
    (tmp_path / "space.toml").write_text(RECIPE + "[tune]\nseed = { low = 1, high = 2 }\n")
    (tmp_path / "trials.toml").write_text(RECIPE + '[tune]\n"train.weight_decay" = { choices = [0.1, 0.2] }\n')
    (tmp_path / "text.wav").write_text("no audio at all\n" * 100)
    (tmp_path / "silent").mkdir()
    (tmp_path / "silent" / "notes.txt").write_text("nothing here")
    shutil.copytree(tone_model, tmp_path / "tone")
    shutil.copytree(tone_model, tmp_path / "broken")
    (tmp_path / "broken" / "model.onnx").unlink()
    (tmp_path / "broken" / "model.safetensors").unlink()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def json_lines(text):
    return [json.loads(line) for line in text.splitlines()]


def table_of(text, delimiter=","):
    return list(csv.DictReader(io.StringIO(text), delimiter=delimiter))


# command -> (arguments, what stdout is in a pipe, a word that is on a terminal)
GOOD = {
    "detect": ("detect one.wav two.wav none.wav -m tone", json_lines, "3 recordings"),
    "score": ("score one.wav -m tone", table_of, "one.wav,0,0.0,0.01"),
    "classify": ("classify one.wav two.wav -m tone", json_lines, "two.wav  "),
    "evaluate": ("evaluate tones.tsv -m tone --resamples 20", json_lines, "AUROC"),
    "doubtful": ("doubtful labels -m tone --top 2 --force -q", json_lines, "clip"),
    "ingest": ("ingest tones.tsv -o tones", json_lines, "tone 3"),
    "train": ("train --recipe small.toml -o run --device cpu", str, "--model run"),
    "runs": ("runs .", json_lines, "no runs in ."),
    "tune": ("tune tones.tsv -m tone --threshold 0.5", json_lines, "gain"),
    "search": ("search trials.toml --trials 1 -o tuned --device cpu --resume -q", json_lines, "trial"),
    "models": ("models", json_lines, "speech_2d"),
    "describe": ("describe speech_1d tone", json_lines, "hears 1 kHz"),
    "filters": ("filters tone -o filters.png --strongest one.wav --force", json_lines, "Hz"),
    "explain": ("explain one.wav -m tone --at 0.7 -o why.png --gradient-points 2 --force", json_lines, "patch 1"),
    "plot": ("plot one.wav -m tone -o one.html --force", json_lines, "one.html: 1 segment by tone"),
    "ensemble": ("ensemble tone tone -o both --force", json_lines, "share"),
    "convert": ("convert tones.tsv --to jsonl", json_lines, "3 segments in 3 recordings"),
    "split": ("split one.wav two.wav -m tone --output-dir cuts --force", json_lines, "cuts/one-0001-tone.wav"),
    "export": ("export tone", json_lines, "largest difference to PyTorch"),
    "info": ("info", json_lines, "onnxruntime"),
}

# command -> [(arguments, exit code, what stderr says)]
BAD = {
    "detect": [
        ("detect gone.wav -m tone", 2, r"gone\.wav: no such file; check the name"),
        ("detect - /dev/stdin -m tone", 2, "standard input is given twice"),
        (f"detect one.wav -m tone --channel {'1' * 5000}", 2, "--channel cannot be"),
        (f"detect one.wav -m tone --shard 1/{'1' * 5000}", 2, "--shard cannot be"),
        (f"detect one.wav -m tone --shard 1/{10**20}", 2, "give part and number of parts"),
        (
            "detect one.wav -m tone -o x.jsonl.gz",
            2,
            r'no format has the suffix "\.gz"; known: \.csv, \.eaf, [^z]*; or give',
        ),
        (f"detect {'a' * 300}.wav -m tone", 2, r"a\.wav: cannot be opened \(File name too long\); check the name"),
        ("detect one.wav/x.wav -m tone", 2, r"cannot be opened \(Not a directory\); check the name"),
        ("detect --raw s16le --rate 8000 . -m tone", 2, r"\.: is a folder; with --raw, give each file"),
        (
            "detect one.wav text.wav -m tone",
            3,
            r"text\.wav: not a supported audio format; check the file, or copy it again",
        ),
        ("detect silent one.wav -m tone", 3, r"silent: no recordings in this folder"),
        ("detect one.wav -m tone --channel 1", 2, r"one\.wav: no channel 1; it has 1"),
        ("detect one.wav -m tone --channel left", 2, r'--channel cannot be "left"; use mix, each'),
        ("detect one.wav -m tone --threshold 1.5", 2, r"--threshold 1\.5: not between 0 and 1"),
        ("detect one.wav -m tone --threshold nan", 2, r"--threshold nan: not between 0 and 1"),
        ("detect one.wav -m tone --min-duration x", 2, r"--min-duration: give a number.* see `audiocnn detect --help`"),
        ("detect one.wav -m tone --treshold 0.5", 2, r'unknown option --treshold; did you mean "--threshold"\?'),
        ("detect one.wav -m tone --device gpu", 2, r'--device: "gpu" is not .*; use auto'),
        ("detect one.wav -m tone -f rtm", 2, r"'rtm' is not one of"),
        ("detect one.wav two.wav -m tone -f srt", 2, r"-f srt: .* holds one recording; .* with --output-dir"),
        ("detect - -m tone --follow -f elan", 2, r"--follow cannot write elan, .*; use table, jsonl, csv, tsv"),
        ("detect one.wav -m tone --resume", 2, r"--resume needs an output file"),
        ("detect one.wav -m tone -o x.csv --resume", 2, r"--resume: csv does not record which recordings are done"),
        (
            "detect one.wav -m tone -o x.jsonl --output-dir x",
            2,
            r"-o writes one file and --output-dir one file per recording",
        ),
        ("detect one.wav -m tone --output-dir two.wav", 2, r"--output-dir two\.wav: is a file; give a folder"),
        ("detect one.wav -m tone --shard 3/2", 2, r'--shard cannot be "3/2"; give part and number of parts'),
        ("detect one.wav -m tone --glob *.wav", 2, r"--glob selects files in a folder; give a folder"),
        ("detect silent -m tone --glob *.flac", 2, r"silent: no file in this folder matches \*\.flac"),
        ("detect - -m tone --follow --output-dir x", 2, r"--follow is a single stream"),
        ("detect one.wav -m tone -o x.foo", 2, r'-o x\.foo: no format has the suffix "\.foo"'),
        ("detect one.wav -m tone -o two.wav", 2, r"-o two\.wav: already exists; overwrite it with --force"),
        ("detect one.wav -m tone -o silent", 2, r"-o silent: is a folder; give a file"),
        ("detect one.wav -m broken", 2, r"broken: model\.onnx is missing; make it again with `audiocnn export broken`"),
        ("detect one.wav -m silent", 2, r"silent: not a model folder \(no model\.toml\)"),
        ("detect one.wav -m nope", 2, r'no model is called "nope"'),
        ("detect -m tone", 2, r"no recording given; give files, folders, or - for standard input$"),
        ("detect -m tone --files-from gone.txt", 2, r"--files-from gone\.txt: cannot be read"),
        ("detect -m tone - --files-from -", 2, r"both read standard input"),
        ("detect one.wav -m tone --ray local", 2, r"--ray writes parts to a folder; give it with -o FOLDER"),
        (
            "detect one.wav -m tone --ray localhost:1 -o x",
            2,
            r"--ray localhost:1: nothing answers at this address \(.*ray start",
        ),
        ("detect - -m tone --ray local -o x", 2, r"-: standard input cannot be sent to a cluster"),
        ("detect one.wav -m broken --ray local -o x", 2, r"broken: model\.onnx is missing"),
        (
            "detect s3://a/b.wav -m tone",
            2,
            r"s3://a/b\.wav: (s3:// needs s3fs.*: pip install s3fs|cannot be read|no access)",
        ),
        (
            "detect one.wav -m tone --summary -f srt",
            2,
            r"--summary needs one of the formats jsonl, csv, tsv, table; omit -f srt",
        ),
        ("detect -m tone -", 2, r"-: empty \(0 bytes\); check the program that writes it"),
    ],
    "score": [
        ("score gone.wav -m tone", 2, r"gone\.wav: no such file"),
        ("score text.wav one.wav -m tone", 3, r"text\.wav: not a supported audio format"),
        ("score one.wav two.wav -m tone -o x.npz", 2, r"an \.npz file holds one recording"),
        ("score one.wav -m tone -f npz", 2, r"-f npz: binary data is not written to stdout; use -o"),
        ("score one.wav -m tone --skip-existing", 2, r"--skip-existing needs an output file"),
        ("score gone.wav one.wav -m tone --output-dir x", 3, r"gone\.wav: no such file"),
        ("score one.wav -m tone --shard 1", 2, r'--shard cannot be "1"'),
        ("score gone.wav -m tone -o x.npz", 2, r"gone\.wav: no such file"),
    ],
    "classify": [
        ("classify gone.wav -m tone", 2, r"gone\.wav: no such file; check the name"),
        ("classify text.wav one.wav -m tone", 3, r"text\.wav: not a supported audio format"),
        ("classify silent one.wav -m tone", 3, r"silent: no recordings in this folder"),
        ("classify one.wav -m tone --threshold 1.5", 2, r"--threshold 1\.5: not between 0 and 1"),
        ("classify one.wav -m tone --threshold nan", 2, r"--threshold nan: not between 0 and 1"),
        ("classify one.wav -m tone --every 0", 2, r"--every 0: not a valid duration; give a number"),
        ("classify one.wav -m tone --every nan", 2, r"--every nan: not a valid duration"),
        ("classify one.wav -m tone --every inf", 2, r"--every inf: not a valid duration"),
        ("classify one.wav -m tone --every 0.001", 2, r"--every 0\.001: tone gives one score every 0\.01 s; give more"),
        ("classify one.wav -m tone --top 0", 2, r"--top: give \d+ or more"),
        ("classify one.wav -m tone --channel 1", 2, r"one\.wav: no channel 1; it has 1"),
        ("classify one.wav -m tone -f rttm", 2, r"'rttm' is not one of"),
        ("classify one.wav -m tone -o x.rttm", 2, r'-o x\.rttm: no format has the suffix "\.rttm"'),
        ("classify one.wav -m tone --resume", 2, r"--resume needs an output file"),
        ("classify one.wav -m tone -o x.csv --resume", 2, r"--resume: csv does not record which recordings are done"),
        ("classify one.wav -m tone -o two.wav", 2, r"-o two\.wav: already exists; overwrite it with --force"),
        ("classify one.wav -m nope", 2, r'no model is called "nope"'),
        ("classify one.wav -m broken", 2, r"broken: model\.onnx is missing"),
        ("classify -m tone", 2, r"no recording given; give files, folders, or - for standard input$"),
        ("classify one.wav -m tone --ray local -o x -f csv", 2, r"--ray writes JSON Lines; omit -f csv"),
        ("classify - -m tone", 2, r"-: empty \(0 bytes\)"),
    ],
    "evaluate": [
        ("evaluate gone -m tone", 2, r"gone: no such file or folder"),
        ("evaluate silent -m tone", 2, r"silent: no recordings in this folder"),
        ("evaluate tones.tsv -m tone --split dev", 2, r'no recordings in split "dev"'),
        ("evaluate tones.tsv -m tone --by nosuch", 2, r'--by: no column "nosuch" in tones\.tsv'),
        ("evaluate tones.tsv -m tone --resamples -1", 2, r"--resamples"),
        ("evaluate tones.tsv -m tone --collar nan", 2, r"--collar nan: give a number"),
        ("evaluate tones.tsv -m tone --smooth 0.2 --smooth 0", 2, r"--smooth 0: give a number of seconds above 0"),
        ("evaluate small.toml --split x -m tone", 2, r"keep, drop, split, whole and label = .folder. need a table"),
        ("evaluate -m tone", 2, r"Missing argument 'DATA'"),
    ],
    "doubtful": [
        ("doubtful gone -m tone", 2, r"gone: no such file or folder"),
        ("doubtful labels", 2, r"the model knows none of the labels \(none, tone\); use a model"),
        ("doubtful tones.tsv -m tone", 2, r"needs clips with a label for the whole clip; tones\.tsv only has segments"),
        ("doubtful labels -m tone --top 0", 2, r"--top: give \d+ or more"),
        ("doubtful labels -m tone -o x.csv", 2, r"-o x\.csv: not the name of a table; .* ends in \.tsv"),
        ("doubtful labels -m tone -o tones.tsv", 2, r"-o tones\.tsv: already exists; overwrite it with --force"),
        ("doubtful labels -m tone --split x", 2, r'no recordings in split "x"'),
        ("doubtful labels -m nope", 2, r'no model is called "nope"'),
    ],
    "ingest": [
        ("ingest gone -o ds", 2, r"gone: no such file or folder"),
        ("ingest silent -o ds", 2, r"silent: no recordings in this folder"),
        ("ingest labels -o ds --features sound2d", 2, r'no spec is called "sound2d"; did you mean "sound_2d"\?'),
        (
            "ingest labels -o ds --features speech_wave",
            2,
            "speech_wave: its input is the waveform, which a dataset stores anyway",
        ),
        ("ingest labels -o ds --features none.toml", 2, "none.toml"),
        *((f"ingest labels -o ds --features {kind}", 2, f"--features {kind}: bands and frames") for kind in FEATURES),
        ("ingest labels", 2, r"'--output' / '-o'"),
        ("ingest named.tsv -o ds", 3, r"gone\.wav"),
        ("ingest labels -o ds --ray ray://head", 2, r"Ray Data does not work through Ray Client"),
        ("ingest late.tsv -o ds", 3, r"one\.wav: .*after the end of the recording at 2\.000 s"),
    ],
    "train": [
        ("train --recipe small.toml -b 0", 2, r'--batch-size: "0" is not .*; give a number from 1 .*or auto'),
        ("train --recipe small.toml -b all", 2, r'--batch-size: "all" is not .*; give a number'),
        ("train --recipe small.toml --dry-run --overfit 2", 2, "--dry-run and --overfit cannot be combined"),
        ("train --recipe small.toml --overfit 2 --folds 2", 2, "--overfit needs a single training; omit --folds"),
        (
            "train --recipe small.toml -b 100000000 -o x",
            2,
            r"batch_size 100000000 needs about [\d.]+ GB of memory.*; use --batch-size \d",
        ),
        ("train", 2, r"nothing to train on: .*Start with `audiocnn train FOLDER`"),
        ("train gone", 2, r"gone: no such file or folder"),
        ("train labels --folds 1", 2, r"--folds: give \d+ or more"),
        ("train labels --folds 2 --learning-curve 0.5", 2, r"each train several times"),
        ("train labels --group a --group-pattern (a)", 2, r"both say which clips belong together"),
        ("train labels --corrections gone.tsv", 2, r"--corrections gone\.tsv: no such file; check the name"),
        ("train bad.toml", 2, r'unknown key "melz"; did you mean "mels"\?'),
        ("train labels --spec nope", 2, r'no spec is called "nope"'),
        ("train small.toml --recipe bad.toml", 2, r"are both recipes; give only one"),
        ("train small.toml -o labels --device cpu", 2, r"labels: contains other files; choose a new folder"),
        ("train small.toml -o labels --resume --device cpu", 2, r"labels: contains other files; choose a new folder"),
        ("train -o nowhere --resume", 2, r"nowhere: contains no run to resume; name the data to start one"),
        ("train small.toml --device gpu", 2, r'--device: "gpu" is not'),
        ("train small.toml --epochs 0", 2, r"--epochs: give \d+ or more"),
        ("train labels --sample-rate 10", 2, r"--sample-rate: give \d+ or more"),
        ("train silent", 2, r"silent: no recordings in this folder"),
        ("train labels/tone", 2, r"labels/tone: no labels; make a subfolder for each label"),
    ],
    "runs": [
        ("runs gone", 2, r"gone: no such folder; give a folder that `audiocnn train` created"),
        ("runs one.wav", 2, r"one\.wav: not a folder"),
        ("runs . --sort loss", 2, r"'loss' is not one of"),
        ("runs . --format xml", 2, r"'xml' is not one of"),
    ],
    "tune": [
        ("tune", 2, r"Missing argument 'DATA"),
        ("tune gone -m tone", 2, r"gone: no such file or folder"),
        ("tune tones.tsv -m nope", 2, r'no model is called "nope"'),
        ("tune tones.tsv -m tone --label Tone", 2, r'--label: tone has no label "Tone"; did you mean "tone"'),
        ("tune tones.tsv", 2, r"no label that speech_1d knows \(speech\), only tone"),
        ("tune tones.tsv -m tone --for auroc", 2, r"'auroc' is not one of"),
        ("tune tones.tsv -m tone --split x", 2, r'no recordings in split "x"'),
        ("tune tones.tsv -m tone --threshold 2", 2, r"--threshold 2: not between 0 and 1"),
        ("tune tones.tsv -m tone --plot one.wav", 2, r"one\.wav: not a picture file name; end it in \.png"),
        ("tune tones.tsv -m tone --scores x.wav", 2, r"--scores x\.wav: scores are stored in an \.npz file"),
        ("tune tones.tsv -m tone --trials 3", 2, r"unknown option --trials"),
        ("tune tones.tsv --save", 2, r"--save: speech_1d is a released model .*--save-as FOLDER"),
        ("tune labels -m tone --for segment_f1", 2, r"--for segment_f1: the data has whole clips"),
    ],
    "search": [
        ("search", 2, r"Missing argument 'RECIPE'; see `audiocnn search --help`"),
        ("search gone.toml", 2, r"gone\.toml: cannot be read"),
        ("search small.toml gone", 2, r"gone: no such file or folder"),
        ("search small.toml --save", 2, r"unknown option --save"),
        ("search small.toml -m tone", 2, r"unknown option -m"),
        ("search small.toml -o labels", 2, r"labels: contains other files; give a new folder"),
        ("search small.toml -o labels --resume", 2, r"labels: contains other files; give a new folder"),
        ("search small.toml --trials 0", 2, r"--trials: give \d+ or more"),
        ("search space.toml", 2, r'space\.toml: \[tune\]: "seed" cannot be searched; start keys with mix'),
        ("tune --recipe gone.toml", 2, r"gone\.toml: cannot be read"),
    ],
    "models": [("models --format xml", 2, r"'xml' is not one of"), ("models extra", 2, r"extra")],
    "describe": [
        ("describe nope", 2, r'no spec is called "nope"; known: alexnet, .* more; see `audiocnn models`'),
        ("describe nope speech_1d", 3, r'no spec is called "nope"'),
        ("describe bad.toml", 2, r'bad\.toml: \[input\]: "features" is missing'),
        ("describe speech_1d --input 1x2x3x4", 2, r'--input cannot be "1x2x3x4"'),
        ("describe speech_2d --input 1x100", 2, r"speech_2d: is 2-D; give the input as CxHxW"),
        (
            "describe speech_2d --input 1x8x8",
            2,
            r'speech_2d: group "A": layer 2: bands = 64 does not divide the 8 positions',
        ),
        ("describe resnet152 --input 3x99999x99999", 2, r"resnet152: .*3x99999x99999"),
        ("describe lenet5 --classes 9999999", 2, r"'--classes'"),
        ("describe silent", 2, r"silent: not a model folder"),
    ],
    "filters": [
        ("filters nope", 2, r'no model is called "nope"'),
        ("filters tone -o one.wav", 2, r"one\.wav: not a picture file name; end it in \.png"),
        ("filters tone --strongest gone", 2, r"gone: no such file or folder"),
        ("filters tone --strongest one.wav --group B", 2, r'no group "B"'),
    ],
    "explain": [
        ("explain gone.wav -m tone", 2, r"gone\.wav: no such file; check the name"),
        ("explain one.wav -m tone --label x", 2, r'--label "x": tone has no such label'),
        ("explain one.wav -m tone --at 9", 2, r"--at 9: the recording is"),
        ("explain one.wav -m tone --group B", 2, r'--group "B": tone has no such group'),
        ("explain one.wav -m tone -o one.wav", 2, r"one\.wav: not a picture file name; end it in \.png"),
    ],
    "plot": [
        ("plot gone.wav -m tone -o x.html", 2, r"gone\.wav: no such file; check the name"),
        ("plot text.wav -m tone -o x.png", 2, r"text\.wav: not a supported audio format"),
        ("plot silent -m tone -o x.png", 2, r"silent: no recordings in this folder"),
        ("plot labels -m tone -o x.png", 2, r"labels: contains several recordings; give one of them"),
        ("plot one.wav -m tone", 2, r"-o is missing; give a page, as in -o plot\.html, or a picture"),
        ("plot one.wav -m tone -o x.gif", 2, r"x\.gif: not a picture file name; end it in \.html, \.png"),
        ("plot one.wav -m tone -o nowhere/x.html", 2, r"x\.html: the folder nowhere does not exist"),
        ("plot one.wav -m tone -o x.html --from 2.5", 2, r"--from 2\.5: the recording is 2\.00 s long"),
        ("plot one.wav -m tone -o x.html --from 1 --to 1", 2, r"--from 1 --to 1: ends before it starts"),
        ("plot one.wav -m tone -o x.html --to nan", 2, r"--to nan: not a time in a recording"),
        ("plot one.wav -m tone -o x.html --channel 1", 2, r"one\.wav: no channel 1; it has 1"),
        ("plot one.wav -m nope -o x.html", 2, r'no model is called "nope"'),
        ("plot one.wav two.wav -m tone -o x.html", 2, r"two\.wav"),
    ],
    "ensemble": [
        ("ensemble tone nope -o both", 2, r'no model is called "nope"'),
        ("ensemble tone speech_1d -o both", 2, r"both need|labels"),
        ("ensemble tone -o both", 2, r"two"),
        ("ensemble tone tone -o silent", 2, r"silent"),
    ],
    "convert": [
        ("convert gone.rttm", 2, r"gone\.rttm: no such file; check the name"),
        ("convert tones.tsv gone.rttm -o x.csv --force", 3, r"gone\.rttm: no such file; check the name"),
        ("convert one.wav", 2, r"one\.wav: \.wav is not the suffix of a label format; known: \.rttm"),
        (
            "convert silent",
            2,
            r"silent: .* is not the suffix of a label format|notes\.txt:1: found .nothing here., expected onset",
        ),
        ("convert labels", 2, r"labels: no label files in this folder; they must end in \.rttm"),
        ("convert tones.tsv --from rttm", 2, r'tones\.tsv:1: found "filename.*, expected SPEAKER file'),
        ("convert tones.tsv --from rtm", 2, r"'rtm' is not one of"),
        ("convert tones.tsv --to table", 2, r"--to table: not an annotation format; use one of jsonl"),
        ("convert tones.tsv -o x.foo", 2, r'-o x\.foo: no format has the suffix "\.foo"'),
        ("convert tones.tsv -o one.wav", 2, r"-o one\.wav: already exists; overwrite it with --force"),
        ("convert tones.tsv --to textgrid", 2, r"--to textgrid: .* there are 3; write one file .* --output-dir"),
        ("convert tones.tsv --recordings gone", 2, r"--recordings gone: no such folder; check the name"),
        ("convert tones.tsv -o x.csv --output-dir x", 2, r"-o writes one file and --output-dir one file per recording"),
        ("convert - -", 2, r"standard input is given twice"),
    ],
    "split": [
        ("split gone.wav -m tone --output-dir cuts", 2, r"gone\.wav: no such file; check the name"),
        ("split one.wav text.wav -m tone --output-dir cuts", 3, r"text\.wav: not a supported audio format"),
        ("split one.wav -m tone", 2, r"no folder for the pieces; give one with --output-dir"),
        ("split one.wav -m tone --output-dir one.wav", 2, r"--output-dir one\.wav: is a file; give a folder"),
        (
            "split labels -m tone --output-dir labels",
            2,
            r"pieces would mix with the recordings in labels; choose another",
        ),
        ("split one.wav -m nope --output-dir cuts", 2, r'no model is called "nope"'),
        (
            "split one.wav -m tone --output-dir cuts --only Tone",
            2,
            r'--only: unknown label "Tone"; did you mean "tone"',
        ),
        ("split one.wav --labels tones.tsv -m tone --output-dir cuts", 2, r"--model applies to a model"),
        ("split none.wav --labels gone.tsv --output-dir cuts", 2, r"gone\.tsv: no such file"),
        (
            "split two.wav one.wav --labels small.toml --output-dir cuts",
            2,
            r"small\.toml: \.toml is not the suffix of a label format",
        ),
        ("split one.wav -m tone --output-dir cuts --to mp3", 2, r"'mp3' is not one of"),
    ],
    "export": [
        ("export nope", 2, r'no model is called "nope"'),
        ("export broken", 2, r"broken: model\.safetensors is missing; copy the folder again, or train again"),
    ],
    "info": [("info --format xml", 2, r"'xml' is not one of")],
}
EVERY_BAD = [(name, *case) for name, cases in BAD.items() for case in cases]


@pytest.fixture
def tables(here):
    """Tables that name what is not there."""
    header = "filename\tonset\toffset\tevent_label\n"
    (here / "named.tsv").write_text(header + "one.wav\t0.5\t1.0\ttone\ngone.wav\t0.5\t1.0\ttone\n")
    (here / "late.tsv").write_text(header + "one.wav\t0.5\t1.0\ttone\none.wav\t3.0\t4.0\ttone\n")
    return here


def test_every_command_is_in_these_lists():
    assert list(GOOD) == list(BAD) != []
    assert set(GOOD) == set(COMMANDS) - {"review"}  # which serves until it is stopped: tests/cli/test_review.py


@pytest.mark.parametrize(
    "terminal", [pytest.param(False, id="pipe"), pytest.param(True, id="terminal", marks=pytest.mark.long)]
)
@pytest.mark.parametrize("name", GOOD)
def test_good_input(here, name, terminal):
    args, parse, word = GOOD[name]
    done = audiocnn(*args.split(), terminal=terminal)
    assert done.status is ExitStatus.OK, done.err
    assert "Traceback" not in done.err
    if terminal:
        assert word in done.out + done.err
        return
    assert "\x1b" not in done.out + done.err
    assert parse(done.out) or name in ("train", "runs")
    if name in ("evaluate", "tune"):  # they say which labels they read
        assert "labels from" in done.err and "error:" not in done.err
    elif name not in ("train", "runs"):
        assert done.err == ""


@pytest.mark.parametrize(
    "terminal", [pytest.param(False, id="pipe"), pytest.param(True, id="terminal", marks=pytest.mark.long)]
)
@pytest.mark.parametrize(("name", "args", "status", "message"), EVERY_BAD, ids=[case[1] for case in EVERY_BAD])
def test_bad_input(tables, name, args, status, message, terminal):
    done = audiocnn(*args.split(), terminal=terminal)
    assert done.status == status, done.err
    assert re.search(message, done.err), done.err
    assert "Traceback" not in done.err and "internal error" not in done.err
    said = [line for line in done.err.splitlines() if line.startswith("audiocnn: error: ")]
    assert len(said) == 1 or status == ExitStatus.SOME_FAILED, done.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("args", ["describe lenet5", "models", "score one.wav -m tone"])
def test_a_full_disk_is_one_line(here, args):
    with Path("/dev/full").open("w") as full:
        done = audiocnn_process(*args.split(), capture_output=False, stdout=full, stderr=subprocess.PIPE, cwd=here)
    assert done.returncode == ExitStatus.USAGE
    assert re.fullmatch(rb"audiocnn: error: standard output: cannot be written \(No space left .*\n", done.stderr)


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name):
    done = audiocnn_process(name, "--help", env={"COLUMNS": "100"})
    text = done.stdout.decode()
    assert (done.returncode, done.stderr) == (0, b"")
    assert COMMANDS[name] in " ".join(text.split())
    assert "{" not in text and "--help-all" in text


def test_help_of_all_and_version():
    done = audiocnn_process("-h")
    assert done.returncode == 0
    assert all(name in done.stdout.decode() for name in COMMANDS)
    assert re.fullmatch(r"audiocnn \S+\n", audiocnn("--version").out)
    assert audiocnn().status is ExitStatus.USAGE
    assert 'unknown command "detct"; did you mean "detect"?' in audiocnn("detct").err


# What detect says


def test_detect_finds_the_tones(here):
    records = json_lines(audiocnn("detect", "one.wav", "two.wav", "none.wav", "-m", "tone", "--pad", "0").out)
    kinds = [(record["type"], record["file"]) for record in records]
    assert kinds == [
        ("segment", "one.wav"), ("file", "one.wav"),
        ("segment", "two.wav"), ("segment", "two.wav"), ("file", "two.wav"),
        ("file", "none.wav"),
    ]  # fmt: skip
    spans = [(record["start"], record["end"]) for record in records if record["type"] == "segment"]
    assert spans == [pytest.approx(span, abs=0.011) for span in [(0.5, 1.0), (0.3, 0.8), (1.2, 1.9)]]
    assert records[-1]["segments"] == 0 and records[-1]["status"] == "ok"
    assert all(record["schema"] == 1 for record in records)


@pytest.mark.parametrize(("kind", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_detect_writes_rows(here, kind, delimiter):
    rows = table_of(audiocnn("detect", "two.wav", "-m", "tone", "-f", kind).out, delimiter)
    assert [list(row) for row in rows] == [["file", "channel", "start", "end", "label", "score"]] * 2
    assert rows[0]["label"] == "tone" and float(rows[1]["start"]) == pytest.approx(1.17, abs=0.011)


def test_bad_files_do_not_stop_the_others(here):
    bad = {
        "empty.wav": b"",
        "header.wav": wav_bytes(b"")[:30],
        "channels.wav": wav_bytes(bytes(800), channels=0),
        "nothing.wav": wav_bytes(b""),
    }
    for name, content in bad.items():
        Path(name).write_bytes(content)
    write(Path("nan.wav"), np.full(8000, np.nan, np.float32), RATE, "FLOAT")
    unusual = {
        "zeros.wav": wav_bytes(bytes(16000)),
        "short.wav": wav_bytes(bytes(20)),
        "slow.wav": wav_bytes(bytes(20), sample_rate=1),
        "fast.wav": wav_bytes(noise(0.1, 384000).tobytes(), sample_rate=384000),
    }
    for name, content in unusual.items():
        Path(name).write_bytes(content)
    names = [*bad, "nan.wav", *unusual, "one.wav"]
    for command, kind in (("detect", "file"), ("score", "score")):
        done = audiocnn(command, *names, "-m", "tone", *["-f", "jsonl"])
        records = json_lines(done.out)
        assert done.status is ExitStatus.SOME_FAILED
        failed = [record["file"] for record in records if record["type"] == "error"]
        assert failed == [*bad, "nan.wav"]
        assert {record["file"] for record in records if record["type"] == kind} == {*unusual, "one.wav"}
        assert len(done.err.splitlines()) == len(failed)
        for name, line in zip(failed, done.err.splitlines(), strict=True):
            assert re.match(rf"audiocnn: error: {re.escape(name)}: .+; .+", line)


def test_a_recording_that_is_cut_short_is_done_as_far_as_it_goes(here):
    write(Path("whole.flac"), tone((0.5, 1.0), seconds=20.0) + 0.01 * noise(20.0, RATE) / 32768, RATE)
    content = Path("whole.flac").read_bytes()
    Path("cut.flac").write_bytes(content[: len(content) // 2])
    done = audiocnn("detect", "cut.flac", "-m", "tone")
    segment, file = json_lines(done.out)
    assert done.status is ExitStatus.SOME_FAILED
    assert segment["start"] == pytest.approx(0.47, abs=0.011)
    assert file["status"] == "damaged" and "decoded up to" in file["note"]
    assert re.match(r"audiocnn: warning: cut\.flac: .*decoded up to .*; copy it again", done.err)


def test_strict_stops_at_the_first_bad_file(here):
    done = audiocnn("detect", "one.wav", "text.wav", "two.wav", "-m", "tone", "--strict")
    assert done.status is ExitStatus.SOME_FAILED
    assert {record["file"] for record in json_lines(done.out)} == {"one.wav", "text.wav"}


def test_exit_status_says_that_nothing_was_found(here):
    assert audiocnn("detect", "none.wav", "-m", "tone").status is ExitStatus.OK
    assert audiocnn("detect", "none.wav", "-m", "tone", "--exit-status").status is ExitStatus.NOTHING_FOUND
    assert audiocnn("detect", "none.wav", "one.wav", "-m", "tone", "--exit-status").status is ExitStatus.OK
    assert audiocnn("detect", "none.wav", "gone.wav", "-m", "tone", "--exit-status").status is ExitStatus.SOME_FAILED


def test_folders_lists_and_standard_input(here):
    def names(*args, stdin=b""):
        done = audiocnn("detect", "-m", "tone", *args, stdin=stdin)
        assert done.status is ExitStatus.OK, done.err
        return [record["file"] for record in json_lines(done.out) if record["type"] == "file"]

    assert names("labels/tone") == [f"labels/tone/{number}.wav" for number in range(4)]
    assert names("--files-from", "-", stdin=b"one.wav\n\ntwo.wav") == ["one.wav", "two.wav"]
    Path("odd\nname.wav").write_bytes(Path("one.wav").read_bytes())
    assert names("-0", "--files-from", "-", stdin=b"odd\nname.wav\0one.wav\0") == ["odd\nname.wav", "one.wav"]
    Path("list.txt").write_bytes(b"two.wav\n")
    assert names("one.wav", "--files-from", "list.txt") == ["one.wav", "two.wav"]
    assert names("-", stdin=Path("one.wav").read_bytes()) == ["-"]


def test_a_name_that_is_not_utf8_keeps_its_bytes(here):
    name = b"caf\xe9.wav"
    Path(os.fsdecode(name)).write_bytes(Path("one.wav").read_bytes())
    lines = json_lines(audiocnn("detect", os.fsdecode(name), "-m", "tone").out)
    assert lines[0]["file_base64"]
    done = audiocnn_process("detect", "-f", "csv", "-m", "tone", os.fsdecode(name))
    assert done.stdout.splitlines()[1].startswith(name + b",0,")


def test_channels(here):
    write(Path("both.wav"), np.stack([tone((0.5, 1.0)), tone((1.2, 1.6))], axis=1), RATE)
    for channel, expected in {"each": [(0, 0.5), (1, 1.2)], "1": [(1, 1.2)]}.items():
        rows = table_of(audiocnn("detect", "both.wav", "-m", "tone", "-f", "csv", "--channel", channel, "--pad", 0).out)
        found = [(int(row["channel"]), float(row["start"])) for row in rows]
        assert found == [(channel, pytest.approx(start, abs=0.011)) for channel, start in expected]


def test_options_reach_the_rule(here):
    def spans(*args):
        rows = table_of(audiocnn("detect", "two.wav", "-m", "tone", "-f", "csv", *args).out)
        return [(float(row["start"]), float(row["end"])) for row in rows]

    assert len(spans("--min-duration", "0.6")) == 1
    assert len(spans("--min-silence", "0.6")) == 1
    assert len(spans("--max-duration", "0.3")) == 5
    padded, bare = spans("--pad", "0.1"), spans("--pad", "0")
    assert padded[0][0] == pytest.approx(bare[0][0] - 0.1, abs=1e-6)
    assert spans("--threshold", "1", "--neg-threshold", "1") == []


# Where output goes


def test_output_is_whole_and_nothing_is_overwritten(here):
    assert audiocnn("detect", "one.wav", "-m", "tone", "-o", "new/found.csv").out == ""
    assert Path("new/found.csv").read_text().startswith("file,channel,start,end,label,score\none.wav,0,")
    again = audiocnn("detect", "two.wav", "-m", "tone", "-o", "new/found.csv")
    assert again.status is ExitStatus.USAGE
    assert "two.wav" not in Path("new/found.csv").read_text()
    assert audiocnn("detect", "two.wav", "-m", "tone", "-o", "new/found.csv", "--force").status is ExitStatus.OK
    assert "two.wav" in Path("new/found.csv").read_text()
    assert [path.name for path in Path("new").iterdir()] == ["found.csv"]
    assert audiocnn("detect", "one.wav", "-m", "tone", "-o", "/dev/null").status is ExitStatus.OK


def test_score_rows_tile_the_recording(here):
    write(Path("odd.wav"), tone((0.5, 1.0), seconds=1.2345), RATE)
    rows = table_of(audiocnn("score", "odd.wav", "-m", "tone").out)
    assert list(rows[0]) == ["file", "channel", "start", "end", "tone"]
    assert [float(row["start"]) for row in rows] == [round(k * 0.01, 4) for k in range(124)]
    assert [float(row["end"]) for row in rows] == [round(min((k + 1) * 0.01, 1.2345), 4) for k in range(124)]
    scores = np.array([float(row["tone"]) for row in rows])
    assert (scores[55:95] > 0.9).all() and (scores[:40] < 0.1).all()
    records = json_lines(audiocnn("score", "odd.wav", "-m", "tone", "-f", "jsonl").out)
    assert [record["scores"]["tone"] for record in records] == scores.tolist()
    assert audiocnn("score", "odd.wav", "-m", "tone", "-o", "odd.npz").status is ExitStatus.OK
    arrays = np.load("odd.npz")
    assert arrays["scores"].shape == (1, 124, 1) and arrays["scores"].dtype == np.float32
    assert np.allclose(arrays["scores"][0, :, 0], scores, atol=1e-6)
    assert (float(arrays["hop_seconds"]), arrays["labels"].tolist(), str(arrays["recording"])) == (
        0.01, ["tone"], "odd.wav",
    )  # fmt: skip


# The other commands


def test_evaluate_compares_models_and_writes_a_report(here):
    done = audiocnn("evaluate", "tones.tsv", "-m", "tone", "-m", "tone", "--resamples", "20", "-o", "report.json")
    assert done.status is ExitStatus.OK, done.err
    reports = json.loads(Path("report.json").read_text())
    assert [report["model"] for report in reports] == ["tone", "tone"]
    figures = reports[0]["labels"]["tone"]["figures"]
    assert figures["auroc"]["value"] > 0.99
    assert figures["detection_error_rate"]["value"] < 0.15
    assert reports[0]["tuned_on"] == "paper"
    assert Path("report.dataset").is_dir()
    table = audiocnn(
        "evaluate", "report.dataset", "-m", "tone", "-f", "table", "--threshold", "0.4", "--all-figures"
    ).out
    for words in ("AUROC", "TPR at 5 % FPR", "EER", "detection error rate", "threshold", "0.4", "given", "["):
        assert words in table


def test_evaluate_says_how_the_second_differs_from_the_first(here):
    first, *rows = Path("tones.tsv").read_text().splitlines()
    Path("by.tsv").write_text("\n".join([f"{first}\tx", *(f"{row}\ty" for row in rows)]) + "\n")
    args = ["evaluate", "by.tsv", "-m", "tone", "-m", "tone", "--resamples", "20", "--smooth", "0.1", "--by", "x"]
    first, second = json_lines(audiocnn(*args, "--collar", "0.2").out)
    assert "difference_to" not in first
    difference = second["difference_to"]
    assert difference["model"] == "tone"
    assert list(difference["labels"]["tone"]["figures"]) == list(second["labels"]["tone"]["figures"])
    assert difference["labels"]["tone"]["figures"]["auroc"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert list(difference["groups"]["x"]) == list(second["groups"]["x"])
    assert (second["collar"], second["smoothing"]) == (0.2, [0.1])
    assert list(second["labels"]["tone"]["smoothed"]) == list(difference["labels"]["tone"]["smoothed"]) == ["0.1"]
    table = audiocnn(*args, "-f", "table").out
    assert table.count("+0.0000") > 10
    for words in ("difference", "smoothed", "0.1 s", "collar", "0.5 s", "tuned on", "pad", "0 s"):
        assert words in table


def test_evaluate_judges_segments_without_a_pad(here):
    def judged(*args):
        done = audiocnn("evaluate", "tones.tsv", "-m", "tone", "--resamples", "0", *args)
        return json.loads(done.out)["labels"]["tone"]

    bare, padded = judged(), judged("--pad", "0.3")
    assert (bare["pad"], padded["pad"]) == (0.0, 0.3)
    figures = [part["figures"]["false_alarm_rate"]["value"] for part in (bare, padded)]
    assert figures[0] < 0.2 < figures[1]
    assert (bare["threshold"], bare["tuned_on"]) == (judged("--threshold", "0.5")["threshold"], "paper")
    assert judged("--threshold", "0.4")["tuned_on"] == "given"


def test_ingest_again_takes_what_changed(here):
    write(Path("labels/tone/bad.wav"), tone(), RATE).write_text("no audio")
    first = audiocnn("ingest", "labels", "-o", "ds", "--features", "sound_2d", "--sample-rate", RATE)
    assert first.status is ExitStatus.SOME_FAILED
    summary = json.loads(first.out)
    assert (summary["recordings"], summary["refused"], summary["labels"]) == (8, 1, {"none": 4, "tone": 4})
    assert re.match(r"audiocnn: refused: tone/bad\.wav: not a supported audio format", first.err)
    Path("labels/tone/bad.wav").unlink()
    again = audiocnn("ingest", "labels", "-o", "ds", "--features", "sound_2d", "--sample-rate", RATE)
    assert again.status is ExitStatus.OK
    assert json.loads(again.out)["done"] == {"added": 0, "updated": 0, "kept": 8, "removed": 0, "refused": 0}


def test_ingest_says_what_only_ffmpeg_reads(here, monkeypatch):
    monkeypatch.setattr("audiocnn.audio.find.find_program", lambda: None)
    for name in ("tone/video.mp4", "tone/x.m4a", "none/y.m4a", "none/notes.doc"):
        (here / "labels" / name).touch()
    Path("recipe.toml").write_text('[data]\nsource = "labels"\n')
    for source in ("labels", "recipe.toml"):
        done = audiocnn("ingest", source, "-o", f"{source}.dataset")
        said = "audiocnn: warning: 3 files are skipped (2 .m4a, 1 .mp4): only ffmpeg reads them"
        assert (done.status, done.err.count(said), done.err.count("\n")) == (ExitStatus.OK, 1, 1)


@pytest.mark.long
def test_train_resumes_and_force_removes_only_what_a_run_makes(here):
    def train(*args):
        return audiocnn("train", "--recipe", "small.toml", "-o", "run", "--device", "cpu", *args)

    done = train()
    assert done.status is ExitStatus.OK, done.err
    assert "audiocnn classify --model run " in done.err
    assert audiocnn("detect", "one.wav", "-m", "run").status is ExitStatus.OK
    assert "continue it with --resume, start again with --force" in train().err
    assert audiocnn("train", "-o", "run", "--resume", "--device", "cpu").status is ExitStatus.OK
    Path("run/notes.txt").write_text("mine")
    done = train("--force")
    assert Path("run/notes.txt").read_text() == "mine"
    assert done.status is ExitStatus.USAGE and "run: contains other files, such as notes.txt" in done.err
    assert Path("run/recipe.toml").exists() and Path("run/model/model.toml").exists()
    Path("run/notes.txt").unlink()
    assert train("--force").status is ExitStatus.OK


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (MemoryError(), "out of memory"),
        (ImportError("x.so: failed to map segment from shared object"), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), "out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (OSError(errno.EMFILE, "Too many open files", "a.wav"), "too many open files"),
        (RuntimeError("unable to open: Too many open files (24)"), "too many open files"),
        (RuntimeError("can't start new thread"), "too many processes or threads"),
        (OSError(errno.ENOSPC, "No space left on device", "a\x1b"), r"a\\x1b: cannot be written"),
        (PermissionError(errno.EACCES, "Permission denied", "a.json"), "a.json: access denied"),
        (OSError(errno.EROFS, "Read-only file system", "a.json"), "a.json: access denied"),
    ],
    ids=str,
)
def test_what_the_system_is_short_of_is_one_line_and_no_bug(monkeypatch, problem, words):
    def broken(terminal):
        raise problem

    monkeypatch.setattr("audiocnn_cli.commands.info.info", broken)
    done = audiocnn("info")
    assert done.status is ExitStatus.USAGE
    assert re.fullmatch(rf"audiocnn: error: {words}.*; .*\n", done.err)


def test_a_bug_is_one_line_and_the_traceback_only_with_v(here, monkeypatch):
    def broken(terminal):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("audiocnn_cli.commands.info.info", broken)
    done = audiocnn("info")
    assert done.status is ExitStatus.BUG
    assert re.fullmatch(r"audiocnn: internal error: ZeroDivisionError: by zero; .*please report .*\n", done.err)
    assert "Traceback" in audiocnn("info", "-v").err
    assert main.COMMANDS and command_module.CONTEXT


# Terminals


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
def test_a_table_with_a_timeline_fits_the_terminal(here, columns, term):
    done = audiocnn("detect", "two.wav", "-m", "tone", terminal=True, COLUMNS=str(columns), TERM=term)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", done.out)
    line = next(line for line in plain.splitlines() if line.startswith("tone "))
    assert len(line) <= columns
    track = line.split("│" if term != "dumb" else "|")[1]
    drawn = [character != " " for character in track]
    expected = [0.27 <= 2 * (cell + 0.5) / len(track) < 0.83 or 1.17 <= 2 * (cell + 0.5) / len(track) < 1.93
                for cell in range(len(track))]  # fmt: skip
    assert np.mean(np.array(drawn) == np.array(expected)) > 0.85
    assert ("\x1b[" in done.out) == (term != "dumb")
    assert any(block in done.out for block in BLOCKS) == (term != "dumb")
    assert plain.isascii() == (term == "dumb")


def test_no_color(here):
    assert "\x1b[32m" in audiocnn("detect", "two.wav", "-m", "tone", terminal=True).out
    assert "\x1b[" not in audiocnn("detect", "two.wav", "-m", "tone", terminal=True, NO_COLOR="1").out


def test_quiet_is_quiet(here):
    assert audiocnn("detect", "two.wav", "-m", "tone", "-q", terminal=True).err == ""
    assert audiocnn("detect", "two.wav", "gone.wav", "-m", "tone", "-q").err.count("\n") == 1


def test_a_real_terminal(here):
    """A pseudo-terminal of 60 columns: the table is drawn for it."""
    control, line = pty.openpty()
    os.set_blocking(control, False)
    env = {"PYTHONPATH": PATH, "PATH": "/usr/bin:/bin", "TERM": "xterm", "COLUMNS": "60", "LC_ALL": "C.UTF-8"}
    command = [sys.executable, "-c", CODE, "detect", "two.wav", "-m", "tone"]
    with subprocess.Popen(command, stdin=line, stdout=line, stderr=line, env=env) as process:
        os.close(line)
        drawn, end = b"", time.monotonic() + 60
        while time.monotonic() < end:
            try:
                drawn += os.read(control, 65536)
            except BlockingIOError:
                time.sleep(0.02)
            except OSError:
                break
        assert process.wait() == 0
    os.close(control)
    assert "│" in drawn.decode() and b"2 segments of tone" in drawn and b"real time on cpu" in drawn


# Signals and pipes


def slow_process(here, *args):
    """A command that is in the middle of its work, and says so."""
    write(here / "long.wav", np.tile(tone((0.5, 1.0)), 3000), RATE)
    settings = {"env": {"PYTHONPATH": PATH}, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", CODE, *args], **settings)
    assert process.stdout.readline().startswith(b"file,channel")
    return process


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_signals_end_a_command_cleanly(here, name, status):
    with slow_process(here, "score", "long.wav", "-m", "tone") as process:
        process.send_signal(getattr(signal, name))
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (status, b"")


def test_a_reader_that_leaves_ends_a_command_quietly(here):
    with slow_process(here, "score", "long.wav", "-m", "tone") as process:
        process.stdout.close()
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == b""


def in_shell(line, **more):
    """A line of a shell, in which $A is the command."""
    line = f'a() {{ "{sys.executable}" -c "{CODE}" "$@"; }}; {line}'
    env = {"PYTHONPATH": PATH, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", line], env=env, capture_output=True, timeout=120, check=False, **more)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full", "2> >(exec 0<&-; true)"], ids=["closed", "full", "left"])
def test_messages_that_nobody_takes_do_not_stop_the_work(here, where):
    bad = " ".join(f"gone{number}.wav" for number in range(5))
    assert in_shell(f"a detect {bad} one.wav -m tone -o found.jsonl {where}") == (3, "", "")
    assert [one["file"] for one in map(json.loads, Path("found.jsonl").read_text().splitlines())][-1] == "one.wav"


def test_without_a_standard_output(here):
    wanted = audiocnn("detect", "one.wav", "-m", "tone").out
    for number, more in enumerate(("", "2>&-", "2>&- <&-")):
        assert in_shell(f"a detect one.wav -m tone -o {number}.jsonl >&- {more}") == (0, "", "")
        assert Path(f"{number}.jsonl").read_text() == wanted
    for args in ("--version", "--help", "detect --help", "detect one.wav -m tone", "detect one.wav -m tone -f table"):
        status, _, said = in_shell(f"a {args} >&-")
        assert (status, said.count("\n")) == (2, 1), said
        assert said.startswith("audiocnn: error: standard output is closed; ")


@pytest.mark.parametrize("args", ["--help", "detect --help", "--version", "models", "--show-completion bash"])
def test_a_reader_that_leaves_at_once(args):
    assert in_shell(f"set -o pipefail; a {args} | true") == (0, "", "")


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 143)])
@pytest.mark.parametrize("module", ["typer", "onnxruntime", "audiocnn_cli.commands.detect"])
def test_a_signal_during_an_import_is_no_bug(here, name, status, module):
    """Modules that are written in C make an ImportError of what comes meanwhile."""
    code = f"""
import builtins, os, signal, sys
imported = builtins.__import__
def slow(name, *more, **named):
    if name == {module!r}:
        try:
            os.kill(os.getpid(), signal.{name})
            sum(range(1000))
        except BaseException as problem:
            raise ImportError("initialization failed") from problem
    return imported(name, *more, **named)
builtins.__import__ = slow
import importlib
find = importlib.import_module
importlib.import_module = lambda name, *more: (slow(name), find(name, *more))[1]
from audiocnn_cli.entry import start
sys.exit(start())
"""
    command = [sys.executable, "-c", code, "detect", "one.wav", "-m", "tone"]
    done = subprocess.run(command, env={"PYTHONPATH": PATH}, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (status, b"", b"")


def test_the_tone_is_what_the_model_hears(here):
    write(Path("other.wav"), sine(2 * HERTZ, 1.0, RATE), RATE)
    assert TONE["summary"] == "hears 1 kHz"
    assert table_of(audiocnn("detect", "other.wav", "-m", "tone", "-f", "csv").out) == []


@pytest.mark.parametrize("seconds", [0.001, 0.7, 7.0, 59.9, 61.0, 3599.0, 3600.0, 360000.0])
@pytest.mark.parametrize("cells", [20, 60, 200])
def test_the_ruler_has_round_times_where_they_lie(seconds, cells):
    ruler = draw_ruler(seconds, cells)
    assert len(ruler) <= cells + 2
    for found in re.finditer(r"\d[\d:.]*", ruler):
        parts = [float(part) for part in found[0].split(":")]
        at = sum(part * 60**power for power, part in enumerate(reversed(parts)))
        assert found.start() == pytest.approx(at / seconds * cells, abs=0.51)


def test_times_in_tables():
    assert [format_moment(7.256, longest) for longest in (10, 100, 10000)] == ["7.26", "0:07.26", "0:00:07.26"]
    assert format_moment(3667.004, 4000) == "1:01:07.00"
    assert format_moment(59.999, 90) == "1:00.00"


def test_what_is_covered_at_all_is_drawn():
    short = [Segment(1000.0, 1000.2, "speech", 1.0)]
    assert draw_track(short, 3600.0, 36) == " " * 10 + "▁" + " " * 25
    assert draw_track(short, 3600.0, 36, unicode=False).strip() == "."
    assert draw_track([Segment(0.0, 2.5, "speech", 1.0)], 5.0, 4) == "██  "
    assert draw_track([], 0.0, 4) == "    "
