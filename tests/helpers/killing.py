"""A process that runs commands in child processes, which tests can kill at a given place or time.

The server process imports all modules before it forks, so that each child starts fast.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from fixtures_cli import PATH

SERVER = """
import json, os, signal, sys, time
import numpy, onnxruntime, soundfile, soxr
import audiocnn.inference.engine, audiocnn.inference.detect, audiocnn.inference.scores
from audiocnn_cli import main
from audiocnn_cli.commands import detect, score
from audiocnn_cli.commands.detect import follow, writers
from audiocnn_cli.io import atomic, batch, inputs, mirror, output, results, resume
NOTHING = os.open(os.devnull, os.O_RDWR)

def child(job):
    for number, name in ((0, None), (1, job["out"]), (2, job["err"])):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666) if name else NOTHING, number)
    status = 99
    try:
        exec(job["hook"], globals())
        status = main.run(job["args"])
        sys.stdout.flush()
    finally:
        os._exit(int(status))

for line in sys.stdin:
    job = json.loads(line)
    began = time.monotonic()
    pid = os.fork()
    if not pid:
        child(job)
    if job["after"] is not None:
        time.sleep(job["after"])
        os.kill(pid, job["signal"])
    _, status = os.waitpid(pid, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), time.monotonic() - began]), flush=True)
"""


@dataclass(frozen=True)
class Ended:
    """The exit status of a child (-9: killed), its duration, and its output."""

    status: int
    seconds: float
    out: bytes
    err: str


class Children:
    """Runs commands in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            env={"PYTHONPATH": PATH, "PATH": "/usr/bin:/bin"},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *args, hook="", after=None, signal=9):
        """Run a command. hook: code to run before it. after: seconds after which to send the signal."""
        out, err = self.folder / ".stdout", self.folder / ".stderr"
        job = {"args": [str(arg) for arg in args], "hook": hook, "after": after, "signal": int(signal)}
        self.process.stdin.write(json.dumps(job | {"out": str(out), "err": str(err)}) + "\n")
        self.process.stdin.flush()
        status, seconds = json.loads(self.process.stdout.readline())
        return Ended(status, seconds, out.read_bytes(), err.read_text(errors="replace"))

    def close(self):
        """End the server process."""
        self.process.stdin.close()
        assert self.process.wait(30) == 0
        self.process.stdout.close()


def killed_at(owner, name, call, action):
    """Code that ends the process at the given call of a function: before, in or after it, depending on the action."""
    return f"""
real, seen = {owner}.{name}, [0]
def killing(*args, **more):
    seen[0] += 1
    if seen[0] == {call}:
        {action}
    return real(*args, **more)
{owner}.{name} = killing
"""
