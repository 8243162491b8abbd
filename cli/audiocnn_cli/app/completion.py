"""Shell completion for bash, zsh and fish: the scripts and the completion candidates.

The scripts call `audiocnn` with `_AUDIOCNN_COMPLETE` set and the words typed so far. Candidates are printed one per
line. If nothing is printed, the shell completes file names. No start-up file of a shell is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from audiocnn.errors import UsageError, did_you_mean
from audiocnn_cli.app.typer_internals import choices_of

COMPLETION_VARIABLE = "_AUDIOCNN_COMPLETE"
MADE = "# Completion of audiocnn, made by `audiocnn --install-completion`"
BASH = f"""{MADE}
_audiocnn() {{
    local IFS=$'\\n'
    COMPREPLY=($({COMPLETION_VARIABLE}=1 audiocnn "${{COMP_WORDS[@]:1:COMP_CWORD}}" 2>/dev/null))
}}
complete -o bashdefault -o default -F _audiocnn audiocnn
"""
ZSH = f"""#compdef audiocnn
{MADE}
_audiocnn() {{
    local -a found
    found=("${{(@f)$({COMPLETION_VARIABLE}=1 audiocnn "${{(@)words[2,$CURRENT]}}" 2>/dev/null)}}")
    if [[ -n "${{found[1]}}" ]]; then compadd -- $found; else _files; fi
}}
if [[ "${{funcstack[1]}}" == _audiocnn ]]; then _audiocnn "$@"; else compdef _audiocnn audiocnn; fi
"""
FISH = f"""{MADE}
function __audiocnn_complete
    set -l words (commandline -opc) (commandline -ct)
    {COMPLETION_VARIABLE}=1 audiocnn $words[2..-1] 2>/dev/null
end
complete -c audiocnn -a '(__audiocnn_complete)'
"""
TOP_OPTIONS = ("--help", "--version", "--show-completion", "--install-completion")
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
# Options and arguments whose values are names of models, of specs, or of both.
_MODELS, _SPECS = ("model", "names"), ("spec", "names")


def script_for(shell: str) -> str:
    """The completion script of a shell. Raises UsageError for an unknown shell."""
    if shell not in SCRIPTS:
        raise UsageError(f'no completion for the shell "{shell}"; {did_you_mean(shell, SCRIPTS)}')
    return SCRIPTS[shell]


def _completion_path(shell: str, environ: Mapping[str, str]) -> Path:
    home = Path(environ.get("HOME") or Path.home())
    if shell == "bash":
        data = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
        return data / "bash-completion" / "completions" / "audiocnn"
    if shell == "fish":
        return Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "fish" / "completions" / "audiocnn.fish"
    return home / ".zfunc" / "_audiocnn"


def install(shell: str, environ: Mapping[str, str]) -> str:
    """Write the script where the shell looks for it and return a message. Raises UsageError if that fails or if
    another file is in the way."""
    from audiocnn.files import write_whole

    script, path = script_for(shell), _completion_path(shell, environ)
    try:
        if path.exists() and MADE not in path.read_text(encoding="utf-8", errors="replace"):
            raise UsageError(f"{path}: already exists and was not created by audiocnn; move it away")
        write_whole(path, script.encode())
    except OSError as problem:
        remedy = f"print the script with --show-completion {shell}"
        raise UsageError(f"{path}: cannot be written ({problem.strerror}); {remedy}") from None
    how = {
        "bash": "new shells load it if the package bash-completion is installed; otherwise source it in ~/.bashrc",
        "zsh": "add `fpath+=~/.zfunc; autoload -Uz compinit; compinit` to ~/.zshrc if it is missing",
        "fish": "new shells load it",
    }
    return f"{path}: written; {how[shell]}"


def complete(words: Sequence[str], commands: Iterable[str], command_of: Callable[[str], Any]) -> list[str]:
    """Candidates for the last word, most useful first. Empty if the last word is a file name."""
    known = list(commands)
    before, last = list(words[:-1]), words[-1] if words else ""
    name = next((word for word in before if word in known), None)
    if name is None:
        if before and before[-1] in ("--show-completion", "--install-completion"):
            return _matching(SCRIPTS, last)
        return _matching(TOP_OPTIONS if last.startswith("-") else known, last)
    params = [param for param in command_of(name).params if not param.hidden]
    taking = next((p for p in params if before[-1] in p.opts and not getattr(p, "is_flag", False)), None)
    if taking is not None:
        return _matching(_values_of(taking), last)
    if last.startswith("-"):
        return _matching([option for p in params for option in p.opts if option.startswith("-")] + ["--help"], last)
    arguments = [p for p in params if p.param_type_name == "argument"]
    return _matching(_values_of(arguments[0]), last) if arguments else []


def _matching(choices: Iterable[str], start: str) -> list[str]:
    return [choice for choice in choices if choice.startswith(start)]


def _values_of(param: Any) -> list[str]:
    if choices := choices_of(param):
        return choices
    if param.name == "device":
        return ["auto", "cpu", "cuda", "mps"]
    if param.name == "channel":
        return ["mix", "each", "0", "1"]
    if param.name == "raw":
        from audiocnn.audio.pcm import ENCODINGS

        return list(ENCODINGS)
    found = [*(_model_names() if param.name in _MODELS else []), *(_spec_names() if param.name in _SPECS else [])]
    return list(dict.fromkeys(found))


def _model_names() -> list[str]:
    from audiocnn.model.model import shipped_models

    return [folder.name for folder in shipped_models()]


def _spec_names() -> list[str]:
    from audiocnn.model.model import spec_folders

    return sorted(path.stem for folder in spec_folders() for path in folder.glob("*.toml"))
