"""How the report looks: on a wide screen and a narrow one, light, dark, and on paper."""

STYLE = """
:root { color-scheme: light dark; --bg: #f6f7f9; --card: #fff; --ink: #1b2430; --quiet: #5c6776;
  --line: #e2e6ec; --blue: #1f66b8; --orange: #c85400; --best: #c2185b; --pale: #c9d8ea;
  --went: #1f66b8; --done: #00805c; --ended: #7fb0a0; --stopped: #b4bdc9; --failed: #c62a2f; }
@media screen and (prefers-color-scheme: dark) { :root { --bg: #11151b; --card: #191f28;
  --ink: #e6eaf0; --quiet: #98a3b3; --line: #2b3440; --blue: #6cb2ff; --orange: #ffa057;
  --best: #ff7eb0; --pale: #2c4461; --went: #6cb2ff; --done: #3dd3a5; --ended: #2c7a66;
  --stopped: #4a5564; --failed: #ff6369; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
.page { max-width: 1180px; margin: 0 auto; padding: 0 28px; }
header { background: var(--card); border-bottom: 1px solid var(--line);
  border-top: 6px solid var(--best); padding: 26px 0 24px; overflow-wrap: anywhere; }
header p { margin: 6px 0 0; }
.kicker { color: var(--quiet); letter-spacing: .04em; }
h1 { margin: 4px 0 6px; font-size: 36px; line-height: 1.15; letter-spacing: -.02em; }
h1 b { color: var(--best); font-variant-numeric: tabular-nums; }
h2 { margin: 40px 0 4px; font-size: 19px; letter-spacing: -.01em; overflow-wrap: anywhere; }
.lead { font-size: 17px; }
.quiet { color: var(--quiet); } section > .quiet { margin: 0 0 12px; max-width: 860px; }
.said { margin: 16px 0 0; padding: 0; list-style: none; max-width: 980px; }
.said li { margin: 6px 0; padding: 8px 12px; border-left: 3px solid var(--blue);
  background: var(--bg); border-radius: 0 6px 6px 0; }
code { font: 600 13px/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(172px, 1fr)); gap: 10px;
  margin: 18px 0 0; }
.tiles div { padding: 8px 16px 9px 14px; background: var(--bg); border: 1px solid var(--line);
  border-radius: 10px; }
.tiles dt { color: var(--quiet); font-size: 13px; }
.tiles dd { margin: 0; font-weight: 600; font-size: 18px; font-variant-numeric: tabular-nums; }
.tiles small { display: block; color: var(--quiet); font-weight: 400; font-size: 13px; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr));
  gap: 16px; align-items: start; }
.uneven { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 2.1fr); gap: 16px;
  align-items: start; }
.strip { width: 120px; margin-top: 4px; }
.two > div { display: grid; gap: 16px; }
.three { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(310px, 100%), 1fr));
  gap: 16px; }
figure { margin: 0; padding: 14px 16px; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; min-width: 0; }
figcaption { margin-bottom: 10px; font-weight: 600; overflow-wrap: anywhere; }
figcaption .quiet { font-weight: 400; font-size: 13px; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { fill: var(--quiet); font-size: 11.5px; font-variant-numeric: tabular-nums; }
svg .axis { fill: var(--ink); font-size: 12px; } svg .strong { font-weight: 600; }
svg .tiny { font-size: 9.5px; }
svg .halo { paint-order: stroke; stroke: var(--card); stroke-width: 3px; stroke-linejoin: round;
  pointer-events: none; }
svg path { fill: none; stroke-linejoin: round; }
.blue { fill: var(--blue); } .pale { fill: var(--pale); }
.grid { stroke: var(--line); } .rule { stroke: var(--quiet); opacity: .55; }
.zero { stroke: var(--quiet); stroke-dasharray: 2 3; }
.beyond { fill: var(--orange); opacity: .08; }
.turn { stroke: var(--orange); stroke-dasharray: 5 3; stroke-width: 1.5; }
.d { fill: var(--quiet); opacity: .38; } circle.best { fill: var(--best); opacity: 1; }
.c0 { stroke: var(--blue); } .c1 { stroke: var(--orange); }
.trend { opacity: .45; stroke-width: 1.2; }
.middle { stroke-width: 3; opacity: .5; } .median { stroke-width: 3; }
.promoted { fill: var(--went); } .stream { fill: var(--went); opacity: .22; }
.finished { fill: var(--done); } .ended { fill: var(--ended); } .stopped { fill: var(--stopped); }
.failed { fill: var(--failed); }
.line { stroke: var(--blue); stroke-width: 1.2; }
.s0 { opacity: .13; } .s1 { opacity: .2; } .s2 { opacity: .3; } .s3 { opacity: .45; }
.s4 { opacity: .75; stroke-width: 1.5; }
.many .s0 { opacity: .05; } .many .s1 { opacity: .08; } .many .s2 { opacity: .12; }
.many .s3 { opacity: .2; } .many .s4 { opacity: .42; stroke-width: 1.3; }
path.best { stroke: var(--best); stroke-width: 2.6; } text.best { fill: var(--best);
  font-weight: 600; font-size: 12.5px; }
path.halved { stroke-dasharray: 5 4; stroke-width: 1.5; opacity: .85; }
.faint { stroke: var(--quiet); opacity: .3; } .faint.point { stroke-width: 1; }
.band { fill: var(--blue); opacity: .16; } path.band { fill: var(--blue); stroke: none; }
.typical { stroke: var(--blue); stroke-width: 2.2; }
.rung { stroke: var(--quiet); opacity: .4; stroke-dasharray: 2 4; }
.grip { fill: transparent; cursor: ns-resize; touch-action: none; }
.brush { fill: var(--orange); opacity: .25; stroke: var(--orange); pointer-events: none; }
[data-t].out { opacity: .04; } tr.out { display: none; }
path[data-t].hot { stroke: var(--orange); stroke-width: 2.8; opacity: 1; }
circle[data-t].hot { fill: var(--orange); opacity: 1; r: 5; stroke: var(--card); }
.key { margin: 10px 0 0; padding: 0; list-style: none; display: flex; flex-wrap: wrap;
  gap: 3px 16px; font-size: 13px; color: var(--quiet); }
.key i { display: inline-block; width: 20px; height: 9px; margin-right: 6px; border-radius: 2px;
  vertical-align: 0; }
.key .l { height: 3px; vertical-align: 3px; }
i.k-blue { background: var(--blue); } i.k-orange { background: var(--orange); }
i.k-best { background: var(--best); } i.k-pale { background: var(--pale); }
i.k-quiet { background: var(--quiet); } i.k-went { background: var(--went); }
i.k-done { background: var(--done); } i.k-ended { background: var(--ended); }
i.k-stopped { background: var(--stopped); } i.k-failed { background: var(--failed); }
i.k-band { background: color-mix(in srgb, var(--blue) 22%, var(--card)); }
i.dash { background: repeating-linear-gradient(90deg, var(--best) 0 5px, transparent 5px 8px); }
.bar { display: flex; flex-wrap: wrap; gap: 8px 22px; align-items: center; margin: 0 0 12px; }
.bar label { display: inline-flex; gap: 7px; align-items: center; cursor: pointer; }
.bar output { font-variant-numeric: tabular-nums; }
.bar [hidden] { display: none; }
input { accent-color: var(--blue); }
button { font: inherit; color: inherit; background: var(--bg); border: 1px solid var(--line);
  border-radius: 7px; padding: 3px 11px; cursor: pointer; }
:focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }
.scroll { overflow: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; }
.tall { max-height: 560px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 12px; text-align: left; vertical-align: top; }
td { border-top: 1px solid var(--line); overflow-wrap: break-word; }
.n { text-align: right; white-space: nowrap; }
thead th { color: var(--quiet); font-weight: 600; font-size: 13px; white-space: nowrap; }
.tall thead th { position: sticky; top: 0; background: var(--card); z-index: 1; padding: 6px 4px;
  box-shadow: 0 1px var(--line); }
th button { border: 0; background: none; padding: 1px 8px; font-weight: 600; color: inherit; }
th[aria-sort=ascending] button::after { content: " ↑"; }
th[aria-sort=descending] button::after { content: " ↓"; }
.trials { font-size: 13.5px; } .trials td:last-child { min-width: 330px; }
.trials tbody tr { cursor: pointer; content-visibility: auto; }
.trials tr:hover, .trials tr.hot { background: color-mix(in srgb, var(--orange) 12%, transparent); }
.trials tr:focus-visible { outline-offset: -2px; }
.trials tr.best td { font-weight: 600; } .trials tr.best td:first-child { color: var(--best);
  box-shadow: inset 3px 0 var(--best); }
.trials .why { color: var(--failed); }
details { margin: 12px 0; } details > .scroll { margin-top: 10px; }
figure details { margin: 10px 0 0; font-size: 13px; }
summary { cursor: pointer; color: var(--quiet); width: fit-content; }
.tip { position: fixed; z-index: 9; max-width: 330px; padding: 9px 12px; font-size: 13px;
  line-height: 1.4; background: var(--card); border: 1px solid var(--line); border-radius: 9px;
  box-shadow: 0 6px 24px rgb(0 0 0 / .22); pointer-events: none; overflow-wrap: anywhere;
  font-variant-numeric: tabular-nums; white-space: pre-line; }
.tip b { display: block; }
.script { display: none; } .scripted .script { display: flex; }
main { padding-bottom: 60px; }
@media screen and (max-width: 900px) { .uneven { grid-template-columns: minmax(0, 1fr); } }
@media screen and (max-width: 760px) { .page { padding: 0 16px; } h1 { font-size: 27px; }
  .wide { overflow-x: auto; } .wide svg { min-width: 720px; } th, td { padding: 6px 8px; } }
@media print { body { background: #fff; font-size: 12px; print-color-adjust: exact;
    -webkit-print-color-adjust: exact; }
  .page { max-width: none; padding: 0; } .tall { max-height: none; } .scroll { overflow: visible; }
  figure, tr { break-inside: avoid; } h2 { break-after: avoid; } .script, .tip { display: none; }
}
"""
