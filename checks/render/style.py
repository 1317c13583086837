"""How a page looks: on a wide screen and a narrow one, light, dark, and on paper."""

from checks.render.chart import SHADES

_SHADED = 5
"""The shade from which on text in a cell is written in the page's own colour."""

STYLE = """
:root { color-scheme: light dark; --bg: #f6f7f9; --card: #fff; --ink: #1b2430; --quiet: #5c6776;
  --line: #e2e6ec; --passed: #18794e; --failed: #c62a2f; --error: #ad5700; --none: #6b7685;
  --first: #1f66b8; --right: 31 102 184; --wrong: 200 84 0; --strong: #fff;
  --c0: #1f66b8; --c1: #c85400; --c2: #00805c; --c3: #a43f83; }
@media screen and (prefers-color-scheme: dark) { :root { --bg: #11151b; --card: #191f28;
  --ink: #e6eaf0; --quiet: #98a3b3; --line: #2b3440; --passed: #4cc38a; --failed: #ff6369;
  --error: #ffa057; --none: #98a3b3; --first: #6cb2ff; --right: 108 178 255;
  --wrong: 255 160 87; --strong: #0b0e12; --c0: #6cb2ff; --c1: #ffa057; --c2: #3dd3a5;
  --c3: #e592c9; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
.page { max-width: 1180px; margin: 0 auto; padding: 0 28px; }
header { background: var(--card); border-bottom: 1px solid var(--line);
  border-top: 6px solid var(--verdict); padding: 26px 0 24px; overflow-wrap: anywhere; }
header.passed { --verdict: var(--passed); } header.failed { --verdict: var(--failed); }
header.error { --verdict: var(--error); }
header p { margin: 6px 0 0; }
.kicker { color: var(--quiet); letter-spacing: .04em; }
h1 { display: flex; align-items: center; gap: 14px; margin: 4px 0 6px; color: var(--verdict);
  font-size: 38px; line-height: 1.15; letter-spacing: -.02em; }
h1 .icon { width: 36px; height: 36px; flex: none; }
h2 { margin: 38px 0 10px; font-size: 19px; letter-spacing: -.01em; overflow-wrap: anywhere; }
h3 { margin: 22px 0 8px; font-size: 15px; }
section > .quiet { margin: 0 0 12px; }
.lead { font-size: 17px; }
.champion { font-size: 16px; }
.override { padding: 8px 12px; border: 1px solid var(--error); border-radius: 6px; }
.look { color: var(--error); }
.reasons { margin: 14px 0 0; padding: 0; list-style: none; }
.reasons li { margin: 6px 0; padding: 8px 12px; border-left: 3px solid var(--verdict);
  background: var(--bg); border-radius: 0 6px 6px 0; }
code { font: 600 13px/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.reasons code, .beside code { margin-right: 6px; }
.beside { margin: 12px 0 0; padding: 0; list-style: none; }
.beside li { margin: 4px 0; color: var(--quiet); font-size: 14px; overflow-wrap: anywhere; }
.quiet { color: var(--quiet); }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 10px 14px; text-align: left; vertical-align: top; }
.n { text-align: right; white-space: nowrap; }
caption { padding: 12px 14px 2px; text-align: left; font-weight: 600; overflow-wrap: anywhere; }
thead th { color: var(--quiet); font-weight: 600; font-size: 13px; white-space: nowrap; }
.checks tbody tr, .plain tbody tr { border-top: 1px solid var(--line); }
.checks td:nth-child(2) { min-width: 230px; overflow-wrap: anywhere; }
.checks td:nth-child(5) { min-width: 250px; overflow-wrap: anywhere; }
.checks td.n { min-width: 90px; white-space: normal; overflow-wrap: anywhere; }
.checks td:nth-child(3) { white-space: nowrap; } .checks td:nth-child(4) { min-width: 146px; }
.checks .quiet, .plain .quiet { font-size: 13px; }
.plain td:first-child { min-width: 170px; overflow-wrap: anywhere; }
.checks tr.failed { background: color-mix(in srgb, var(--failed) 7%, transparent); }
.checks tr.error { background: color-mix(in srgb, var(--error) 9%, transparent); }
.status { white-space: nowrap; font-weight: 600; }
.status .icon { width: 18px; height: 18px; margin: -3px 8px 0 0; vertical-align: middle; }
tr.passed .status { color: var(--passed); } tr.failed .status { color: var(--failed); }
tr.error .status { color: var(--error); } tr.first-model .status { color: var(--first); }
.icon circle { fill: currentColor; }
.icon path { fill: none; stroke: var(--card); stroke-width: 2.4; stroke-linecap: round;
  stroke-linejoin: round; }
svg text { fill: var(--quiet); font-size: 11px; }
svg .axis { fill: var(--ink); font-size: 12px; } svg .tiny { font-size: 9px; }
svg path { fill: none; }
.plane { fill: var(--card); stroke: var(--line); } .grid { stroke: var(--line); }
.limit { stroke: var(--ink); stroke-width: 1.5; } .rule { stroke: var(--quiet); }
.whisker { stroke: var(--ink); stroke-width: 1.4; } .chance { stroke: var(--quiet);
  stroke-dasharray: 3 4; }
.track { stroke: var(--line); stroke-width: 4; }
.blue { fill: var(--c0); background: var(--c0); }
.orange { fill: var(--c1); background: var(--c1); }
.key { display: inline-block; width: 9px; height: 9px; margin-right: 6px; }
.round { border-radius: 50%; }
.between { stroke: var(--c1); stroke-width: 2; }
.bar { fill: var(--c0); opacity: .45; } .dot { fill: var(--c0); }
.curve { stroke-width: 2; }
.c0 { stroke: var(--c0); } .c1 { stroke: var(--c1); stroke-dasharray: 8 3; }
.c2 { stroke: var(--c2); stroke-dasharray: 2 3; }
.c3 { stroke: var(--c3); stroke-dasharray: 10 3 2 3; }
.gauge { display: block; width: 124px; margin: 5px 0 0 auto; }
.gauge .refused { stroke: color-mix(in srgb, var(--ink) 30%, var(--card)); stroke-width: 4; }
tr.failed .gauge .refused { stroke: color-mix(in srgb, var(--failed) 45%, var(--card)); }
.gauge circle { fill: var(--passed); stroke: var(--card); stroke-width: 1.2; }
tr.failed .gauge circle { fill: var(--failed); } tr.error .gauge circle { fill: var(--error); }
.strip { display: block; width: 190px; height: 21px; }
.strip circle { stroke: var(--card); }
.flips { width: 100%; max-width: 440px; display: block; }
.examples { margin: 4px 0; overflow-wrap: anywhere; }
.scores { display: flex; flex-wrap: wrap; gap: 10px; margin: 0; }
.scores div { padding: 8px 14px; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; }
.scores dt { color: var(--quiet); font-size: 13px; } .scores dd { margin: 0; font-weight: 600;
  font-variant-numeric: tabular-nums; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(300px, 100%), 1fr));
  gap: 20px; margin-bottom: 20px; }
figure { margin: 0; padding: 14px; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; }
figure .quiet { margin: 6px 0 0; font-size: 13px; }
figcaption { margin-bottom: 8px; font-weight: 600; overflow-wrap: anywhere; }
.plot { width: 100%; max-width: 430px; display: block; margin: 0 auto; }
.wide { width: 100%; max-width: 620px; display: block; margin: 0 auto; }
.heat { shape-rendering: crispEdges; } .heat path { stroke-width: 1; }
.legend { margin: 8px 0 0; padding: 0; list-style: none; font-size: 13px; }
.legend li { overflow-wrap: anywhere; }
.sample { width: 30px; height: 10px; margin-right: 8px; }
.matrices { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr));
  gap: 20px; }
.matrices.small { grid-template-columns: minmax(0, 1fr); font-size: 11px; margin-top: 12px; }
.matrices.small th, .matrices.small td { padding: 2px 4px; }
.matrix th { color: var(--ink); font-weight: 600; font-size: .92em; white-space: nowrap; }
.matrix td { text-align: right; }
.matrix th:first-child { position: sticky; left: 0; background: var(--card); }
.matrix .corner { color: var(--quiet); font-weight: 400; vertical-align: bottom; }
.matrix th { overflow: hidden; text-overflow: ellipsis; max-width: 150px; }
.matrix.many { font-size: 12px; } .matrix.many td, .matrix.many th { padding: 5px 3px; }
.matrix.many th:first-child { padding-left: 12px; }
.matrix.many thead th { vertical-align: bottom; }
.matrix.many thead span { display: inline-block; max-height: 120px; overflow: hidden;
  writing-mode: vertical-rl; transform: rotate(180deg); text-overflow: ellipsis; }
.matrix td { border: 1px solid var(--line); }
.matrix .o { color: var(--quiet); }
.matrix tr > :last-child { border-right: 0; } .matrix tr:last-child > td { border-bottom: 0; }
b.right { color: rgb(var(--right)); } b.wrong { color: rgb(var(--wrong)); }
details { margin: 18px 0; } details > .scroll { margin-top: 12px; }
summary { cursor: pointer; color: var(--quiet); }
pre { overflow: auto; max-height: 420px; padding: 14px; background: var(--card);
  border: 1px solid var(--line); border-radius: 10px; font-size: 12.5px; }
main { padding-bottom: 50px; }
@media screen and (max-width: 760px) {
  .page { padding: 0 16px; } h1 { font-size: 28px; } h1 .icon { width: 28px; height: 28px; }
  th, td { padding: 8px; }
  .checks thead { display: none; }
  .checks tr { display: grid; grid-template-columns: 1fr 1fr; padding: 10px 14px; gap: 4px 14px; }
  .checks td { padding: 0; min-width: 0 !important; }
  .checks td:nth-child(1), .checks td:nth-child(2), .checks td:nth-child(5) {
    grid-column: 1 / -1; }
  .checks td.n { text-align: left; } .gauge { margin-left: 0; }
  .checks td.n::before { display: block; color: var(--quiet); font-size: 12px; }
  .checks td:nth-child(3)::before { content: "limit"; }
  .checks td:nth-child(4)::before { content: "observed"; }
}
@media print {
  body { background: #fff; font-size: 13px; print-color-adjust: exact;
    -webkit-print-color-adjust: exact; }
  .page { max-width: none; padding: 0; } .scroll { overflow: visible; }
  .matrices:not(.small) { grid-template-columns: repeat(auto-fit, minmax(280px, 1fr)); }
  th, td { padding: 6px 8px; } .checks td { min-width: 0 !important; }
  tr, figure, .reasons li, .matrices > div { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
  pre { max-height: none; }
}
""" + "".join(
    f".{kind}{shade} {{ background: rgb(var(--{name}) / {shade / SHADES:.2f});"
    f"{' color: var(--strong); font-weight: 600;' if shade > _SHADED else ''} }} "
    f".heat .{kind}{shade} {{ stroke: rgb(var(--{name}) / {shade / SHADES:.2f}); }}\n"
    for kind, name in (("r", "right"), ("w", "wrong"))
    for shade in range(1, SHADES + 1)
)
