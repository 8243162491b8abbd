"""ffmpeg, which reads what libsndfile does not: where it is, what it is asked, and whose names it is wanted for."""

from __future__ import annotations

from collections import Counter

PROGRAM = "ffmpeg"
INSTALL = "install ffmpeg, which reads m4a, aac, wma, amr and the sound of videos, or convert it elsewhere"
# Names to look for in folders. Others have the same suffix for other things: .ts and .mts programs, .dts devices.
OUTSIDE_SUFFIXES = frozenset(
    {".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".aac", ".mka", ".mkv", ".webm", ".wma", ".wmv", ".asf"}
    | {".avi", ".flv", ".amr", ".wv", ".ape", ".tta", ".tak", ".mpc", ".ac3", ".eac3", ".mpg", ".mpeg", ".vob", ".m2ts"}
    | {".mxf", ".ra", ".rm", ".dsf", ".oma", ".spx"}
)
# Containers of sound and video; none that name other files, as playlists do.
FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,gsm,ivf,loas,matroska,webm,mlp,"
    "mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,mxf,nut,ogg,oma,rm,shn,tak,truehd,tta,voc,w64,wav,wtv,wv,xwma"
)
MOST_ALLOC_BYTES = 1 << 28  # of one block of memory: it believes headers otherwise


def find_program() -> str | None:
    """Where ffmpeg is; None where it is not on the PATH."""
    import shutil

    return shutil.which(PROGRAM)


def command(program: str, source: str) -> list[str]:
    """What is run: the first audio track as WAV of floats on standard output, with silence where the track has gaps or
    begins late, so that times are those of a player."""
    given = ["-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+info", "-max_alloc", str(MOST_ALLOC_BYTES)]
    given += ["-protocol_whitelist", "file", "-format_whitelist", FORMATS, "-i", source]
    made = ["-map", "0:a:0", "-map_metadata", "-1", "-af", "aresample=async=1:first_pts=0", "-c:a", "pcm_f32le"]
    return [program, *given, *made, "-f", "wav", "pipe:1"]


def left_out_line(counts: Counter[str]) -> str:
    """What is said of files, counted by suffix, that are not looked at without ffmpeg."""
    files = "1 file is" if counts.total() == 1 else f"{counts.total()} files are"
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
    return f"{files} left out ({kinds}): only ffmpeg reads them, and it is not on the PATH; install it"
