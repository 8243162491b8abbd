"""Completion: the candidates for the words so far, and the scripts of each shell."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures_cli import CODE, PATH, audiocnn

from audiocnn.errors import UsageError
from audiocnn.model.model import shipped_models
from audiocnn_cli.app.completion import SCRIPTS, TOP_OPTIONS, complete, install, script_for
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import DetectFormat
from audiocnn_cli.main import COMMANDS, command_of

MODELS = [folder.name for folder in shipped_models()]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], list(COMMANDS)),
        (["--"], list(TOP_OPTIONS)),
        (["det"], ["detect"]),
        (["--show-completion", ""], list(SCRIPTS)),
        (["detect", "-m", ""], MODELS),
        (["detect", "--model", "speech_m"], ["speech_music_noise"]),
        (["-q", "detect", "--format", ""], [str(kind) for kind in DetectFormat]),
        (["detect", "x.wav", "--neg"], ["--neg-threshold"]),
        (["split", "--to", ""], ["wav", "flac", "opus"]),
        (["detect", "--channel", "e"], ["each"]),
        (["detect", "--raw", "s24"], ["s24le", "s24be"]),
        (["train", "--spec", "lenet"], ["lenet5"]),
        (["describe", "speech_1d", "speech_2"], ["speech_2d"]),
        (["detect", ""], []),  # files, which the shell knows
        (["detect", "-o", ""], []),
        (["detect", "--threshold", "0"], []),
    ],
)
def test_what_may_come(words, wanted):
    assert complete(words, COMMANDS, command_of) == wanted


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_is_completed(name):
    options = {
        option
        for param in command_of(name).params
        if not param.hidden
        for option in param.opts
        if option.startswith("--")
    }
    assert options | {"--help"} <= set(complete([name, "--"], COMMANDS, command_of)) and "--quiet" in options


@pytest.mark.parametrize("shell", SCRIPTS)
def test_scripts_are_shown_and_installed(shell, tmp_path):
    shown = audiocnn("--show-completion", shell)
    assert (shown.status, shown.out, shown.err) == (ExitStatus.OK, script_for(shell), "")
    done = audiocnn("--install-completion", shell, HOME=str(tmp_path))
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert path.read_text() == shown.out and f"{path}: written; " in done.err
    assert audiocnn("--install-completion", shell, HOME=str(tmp_path)).status is ExitStatus.OK  # its own, again
    path.write_text("somebody else's")
    with pytest.raises(UsageError, match="already exists and was not created"):
        install(shell, {"HOME": str(tmp_path)})
    assert path.read_text() == "somebody else's"


def test_other_shells_are_refused():
    done = audiocnn("--show-completion", "tcsh")
    assert done.status is ExitStatus.USAGE and 'no completion for the shell "tcsh"; known: bash, fish, zsh' in done.err


# How each shell is brought to complete `audiocnn detect --for` without a person at its keys.
DRIVERS = {
    "bash": 'source "$1"; COMP_WORDS=(audiocnn detect --for); COMP_CWORD=2; _audiocnn; '
    'printf "%s\\n" "${COMPREPLY[@]}"',
    "zsh": 'compdef() { }; compadd() { shift; print -l -- "$@" }; source "$1"; '
    "words=(audiocnn detect --for); CURRENT=3; _audiocnn",
    "fish": 'source $argv[1]; complete -C "audiocnn detect --for"',
}


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_shell_completes(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    program = tmp_path / "bin" / "audiocnn"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{CODE}\n")
    program.chmod(0o755)
    script = tmp_path / "script"
    script.write_text(script_for(shell))
    command = [shell, "-c", DRIVERS[shell], *(["x"] if shell != "fish" else []), str(script)]
    environ = {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": PATH, "HOME": str(tmp_path)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert sorted(done.stdout.split()) == ["--force", "--format"], done.stderr
    assert not Path(tmp_path / ".config" / "audiocnn").exists()
