"""`audiocnn info`: versions, devices and folders, for bug reports."""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from audiocnn.errors import UsageError, printable, show_name
from audiocnn.packages import DETECT_PACKAGES, TRAIN_PACKAGES
from audiocnn_cli.app.exits import ExitStatus
from audiocnn_cli.app.options import INPUT, OUTPUT, Force, ReportFormat, TableFormat, flag, option
from audiocnn_cli.app.terminal import Terminal
from audiocnn_cli.io.output import check_new_file

DEFAULT_BUNDLE = "audiocnn-info.zip"
_PACKAGES = (*DETECT_PACKAGES.values(), *TRAIN_PACKAGES.values())


@dataclass(frozen=True)
class _BundleOptions:
    bundle: Annotated[bool, flag("--bundle", "Write a zip file for a bug report.", OUTPUT)] = False
    model: Annotated[
        str | None,
        option("--model", "MODEL", "With --bundle: include the metadata and SHA-256 of this model.", INPUT, short="-m"),
    ] = None
    log: Annotated[
        str | None,
        option("--log", "FILE", "With --bundle: include this file, with the output of the command with -v.", INPUT),
    ] = None
    output: Annotated[
        str | None,
        option("--output", "FILE", f"The zip file. [default: {DEFAULT_BUNDLE}]", OUTPUT, short="-o"),
    ] = None
    force: Force = False


_Recording = Annotated[
    str | None,
    typer.Argument(
        metavar="RECORDING",
        help="With --bundle: include the header of this recording, without samples.",
        show_default=False,
    ),
]


def info(
    terminal: Terminal,
    recording: _Recording = None,
    bundle: _BundleOptions = _BundleOptions(),
    format: TableFormat = ReportFormat.auto,
) -> ExitStatus:
    """Nothing is sent anywhere. With --bundle, a zip file to attach to a bug report is written: versions, devices, and
    the files that are given, without samples, passwords or the name of your home folder.

    \b
    audiocnn info
    audiocnn info --format json | jq -r .libsndfile
    audiocnn info --bundle recording.wav -m runs/mine --log error.txt
    """
    if bundle.bundle:
        return _write_bundle(terminal, recording, bundle, format)
    named = {"RECORDING": recording, "--model": bundle.model, "--log": bundle.log, "--output": bundle.output}
    for name, value in named.items():
        if value is not None:
            raise UsageError(f"{name} {show_name(value)}: applies to --bundle; give --bundle too, or omit it")
    facts = collect_facts()
    if terminal.wants_table(format):
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for key, value in _flatten(facts):
            for number, one in enumerate(value if isinstance(value, list) else [value]):
                table.add_row("" if number else key, Text(printable(str(one))))
        terminal.out.print(table)
    else:
        terminal.write(json.dumps({"schema": 1, "type": "info", **facts}, ensure_ascii=False) + "\n")
    return ExitStatus.OK


def _write_bundle(
    terminal: Terminal, recording: str | None, options: _BundleOptions, format: ReportFormat
) -> ExitStatus:
    """Write the zip file, and list its contents."""
    from audiocnn.files import write_whole
    from audiocnn_cli.commands.info.bundle import collect_bundle, pack

    path = Path(options.output or DEFAULT_BUNDLE)
    if path.is_dir():
        raise UsageError(f"-o {show_name(path)}: is a folder; give a file in it")
    check_new_file("-o", path, options.force)
    files = collect_bundle(collect_facts(), terminal.environ, options.model, recording, options.log)
    content = pack(files)
    try:
        write_whole(path, content)
    except OSError as problem:
        raise UsageError(f"-o {show_name(path)}: cannot be written ({problem.strerror}); choose another file") from None
    if terminal.wants_table(format):
        table = terminal.new_table()
        for title in ("file", "bytes", "contents"):
            table.add_column(title, justify="right" if title == "bytes" else "left")
        for file in files:
            table.add_row(file.name, f"{len(file.content):,}", file.about)
        terminal.out.print(table)
    else:
        listed = [{"file": file.name, "bytes": len(file.content), "about": file.about} for file in files]
        record = {"schema": 1, "type": "bundle", "file": show_name(path), "bytes": len(content), "files": listed}
        terminal.write(json.dumps(record, ensure_ascii=False) + "\n")
    terminal.say(f"audiocnn: {show_name(path)}: written, nothing was sent; check it and attach it to your report")
    return ExitStatus.OK


def collect_facts() -> dict[str, Any]:
    """Versions, devices and folders. torch is not imported: its version is read from the package metadata."""
    import audiocnn
    from audiocnn.audio.ffmpeg import FFMPEG_SUFFIXES, find_program
    from audiocnn.audio.find import AUDIO_SUFFIXES
    from audiocnn.inference.engine import usable_cores
    from audiocnn.model.model import DEFAULT_MODEL, shipped_folder, shipped_models

    return {
        "audiocnn": audiocnn.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: _package_version(name) for name in _PACKAGES},
        "libsndfile": _sndfile_version(),
        "ffmpeg": _ffmpeg_version(),
        "devices": ["cpu", *_cuda_devices()],
        "threads": usable_cores(),
        "installed in": str(Path(audiocnn.__file__).parent),
        "models in": str(shipped_folder()),
        "models": [folder.name for folder in shipped_models()],
        "default model": DEFAULT_MODEL,
        "specs": len(list((shipped_folder() / "specs").glob("*.toml"))),
        "audio": sorted(AUDIO_SUFFIXES - FFMPEG_SUFFIXES),
        "audio by ffmpeg": sorted(FFMPEG_SUFFIXES) if find_program() else [],
    }


def _flatten(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    """The rows of the table: one per nested value; a list of suffixes is one row."""
    rows: list[tuple[str, Any]] = []
    for key, value in facts.items():
        if isinstance(value, dict):
            rows += [(name, text or "not installed") for name, text in value.items()]
        elif key == "ffmpeg":
            rows.append((key, value or "not on the PATH: m4a, aac, wma and videos cannot be read"))
        else:
            rows.append((key, " ".join(value) if key.startswith("audio") and isinstance(value, list) else value))
    return rows


def _package_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _sndfile_version() -> str | None:
    try:
        import soundfile
    except (ImportError, OSError):
        return None
    return str(soundfile.__libsndfile_version__)


def _ffmpeg_version() -> str | None:
    """Version and path; None if ffmpeg is not on the PATH."""
    import subprocess

    from audiocnn.audio.ffmpeg import find_program

    program = find_program()
    if program is None:
        return None
    try:
        done = subprocess.run([program, "-version"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return f"{program} (does not start)"
    words = done.stdout.decode("utf-8", "replace").split()
    return f"{words[2] if words[:2] == ['ffmpeg', 'version'] and len(words) > 2 else 'unknown'} ({program})"


def _cuda_devices() -> list[str]:
    """The names of NVIDIA GPUs, from the driver."""
    library = ctypes.util.find_library("cuda")
    try:
        cuda = ctypes.CDLL(library or "libcuda.so.1")
    except OSError:
        return []
    count = ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
        return []
    names = []
    for number in range(count.value):
        device, name = ctypes.c_int(), ctypes.create_string_buffer(100)
        if not cuda.cuDeviceGet(ctypes.byref(device), number) and not cuda.cuDeviceGetName(name, 100, device):
            names.append(f"cuda:{number} {name.value.decode(errors='replace')}")
    return names
