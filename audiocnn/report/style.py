"""The style sheet of pages, for light and dark backgrounds.

Each column of a report has one of six colours that can be distinguished with colour blindness (Okabe and Ito 2008;
lighter on a dark background), and its own line pattern.
"""

from __future__ import annotations

LIGHT = ("#0072b2", "#d55e00", "#009e73", "#b0609a", "#a87b00", "#5b5fc7")
DARK = ("#56b4e9", "#ff8a4c", "#2dc49a", "#e39bc5", "#f0c04a", "#a5a8ff")
_DASHES = ("none", "7 3", "2 3", "9 3 2 3", "4 2", "1 2")
_GROUND = """
:root { color-scheme: light dark; --paper: #ffffff; --card: #f6f7f8; --ink: #1c2024; --soft: #60686f; --rule: #dde1e4;
  --plain: #8b949b; --warn: #8a5a00; %(light)s }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --card: #1c2024; --ink: #e6e9ec; --soft: #9aa4ac;
  --rule: #343b41; --plain: #7d8790; --warn: #e0b050; %(dark)s } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1340px; padding: 28px 20px 60px; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 25px; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 20px; margin: 44px 0 4px; padding-top: 14px; border-top: 2px solid var(--rule); }
h3 { font-size: 16px; margin: 28px 0 8px; }
p { margin: 4px 0 12px; max-width: 78ch; }
.soft, figcaption, .interval { color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 8px 0 4px; }
th, td { padding: 4px 14px 4px 0; text-align: left; vertical-align: baseline; border-bottom: 1px solid var(--rule); }
th { font-weight: 600; }
tbody th { font-weight: 400; white-space: nowrap; }
td { white-space: nowrap; }
.interval { font-size: 12.5px; margin-left: 5px; }
.sure { font-weight: 700; }
.name { color: var(--c); font-weight: 600; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(440px, 100%%), 1fr)); gap: 18px;
  margin-top: 12px; align-items: start; }
figure { margin: 0; background: var(--card); border-radius: 8px; padding: 12px 14px; overflow-x: auto; }
figcaption { font-size: 13.5px; margin-bottom: 6px; }
figcaption b { color: var(--ink); font-size: 15px; }
figure > svg { display: block; width: 100%%; max-width: 620px; height: auto; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 10px 0; padding: 0; }
.legend li { display: flex; align-items: center; gap: 7px; }
.grid { stroke: var(--rule); fill: none; }
.tick, .axis { fill: var(--soft); font-size: 11.5px; }
.axis { font-size: 12.5px; }
.line { fill: none; stroke: var(--c, var(--plain)); stroke-width: 2; stroke-dasharray: var(--d, none);
  stroke-linejoin: round; }
.guide { stroke-width: 1; stroke-dasharray: 3 4; }
.threshold { stroke: var(--ink); stroke-width: 1; stroke-dasharray: 5 3; }
.dot { fill: var(--c); stroke: var(--card); stroke-width: 1; }
.stretch { stroke: var(--c); stroke-width: 3; opacity: 0.55; fill: none; stroke-linecap: round; }
.area { stroke-width: 1.5; }
.positive { fill: var(--c); fill-opacity: 0.28; stroke: var(--c); }
.negative { fill: var(--plain); fill-opacity: 0.28; stroke: var(--plain); }
details { margin: 4px 0; }
summary { cursor: pointer; color: var(--soft); }
.note { color: var(--warn); }
.cell.right { fill: var(--c2); }
.cell.wrong { fill: var(--c1); }
.count { fill: var(--ink); font-size: 11.5px; }
.interval-line { stroke-width: 1; stroke-dasharray: none; opacity: 0.7; }
summary h3 { display: inline; color: var(--ink); }
.clips { display: flex; flex-wrap: wrap; gap: 4px 18px; min-width: 320px; }
.heard { display: inline-flex; align-items: center; gap: 8px; }
.heard audio { width: 220px; height: 32px; }
.file { overflow-wrap: anywhere; white-space: normal; }
@media print { body { max-width: none; } figure { break-inside: avoid; } }
"""


def column_class(column: int) -> str:
    """The class that gives a column of a report its colour. A seventh column reuses the first colour."""
    return f"m{column % len(_DASHES)}"


def style_sheet() -> str:
    light, dark = (" ".join(f"--c{k}: {colour};" for k, colour in enumerate(colours)) for colours in (LIGHT, DARK))
    sides = "\n".join(f".m{k} {{ --c: var(--c{k}); --d: {dash}; }}" for k, dash in enumerate(_DASHES))
    return _GROUND % {"light": light, "dark": dark} + sides + "\n"
