"""The page's style sheet: system fonts, light and dark, one column on a phone and several on a desk, and on paper."""

CSS = """
:root {
  color-scheme: light dark;
  --ground: #fdfdfc; --ink: #1b1e21; --soft: #59616b; --rule: #d8dce0; --tint: #f1f3f4; --mark: #fff3cd;
  --train: #0b6bb0; --validation: #c04a08; --test: #12805c; --paper: #fff; --shade: #0003;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #15181b; --ink: #e3e6e8; --soft: #9da6b0; --rule: #343a40; --tint: #1e2226; --mark: #453a12;
    --train: #62aeea; --validation: #f0904f; --test: #5fc99b; --paper: #eceeef; --shade: #fff3;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 1.5rem clamp(1rem, 3vw, 2.5rem) 4rem; max-width: 76rem; background: var(--ground);
  color: var(--ink); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
body.several { max-width: 120rem; }
h1, h2, h3, h4 { line-height: 1.25; overflow-wrap: anywhere; text-wrap: balance; }
h1 { font-size: 1.75rem; margin: 0 0 .25rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; }
h3 { font-size: 1.0625rem; margin: 1.75rem 0 .5rem; }
h4 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
article > header h2 { font-size: 1.375rem; margin: 2.5rem 0 .25rem; padding-top: .75rem; border-top: 2px solid; }
p { margin: .5rem 0; max-width: 75ch; overflow-wrap: anywhere; }
.note, .facts { color: var(--soft); font-size: .875rem; }
.lead { font-size: 1.0625rem; }
a { color: inherit; }
code, pre { font: .8125rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre {
  white-space: pre-wrap; overflow-wrap: anywhere; background: var(--tint); padding: .625rem .75rem; margin: .5rem 0;
}
.scroll { /* a shade at the edge where there is more to see */
  overflow-x: auto; margin: .75rem 0;
  background:
    linear-gradient(to right, var(--ground) 50%, transparent) left / 2.5rem 100% no-repeat local,
    linear-gradient(to left, var(--ground) 50%, transparent) right / 2.5rem 100% no-repeat local,
    linear-gradient(to right, var(--shade), transparent) left / .75rem 100% no-repeat scroll,
    linear-gradient(to left, var(--shade), transparent) right / .75rem 100% no-repeat scroll;
}
.scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--train); outline-offset: 2px; }
table {
  min-width: min(100%, 24rem); border-collapse: collapse; font-size: .9375rem;
  font-variant-numeric: tabular-nums lining-nums;
}
caption { overflow-wrap: anywhere; text-align: left; font-weight: 600; padding-bottom: .375rem; }
th, td { padding: .25rem 1.25rem .25rem 0; text-align: left; vertical-align: baseline; }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--soft); font-weight: 500; font-size: .8125rem; border-bottom: 1px solid var(--rule); }
tbody th { font-weight: 400; }
tbody tr + tr > * { border-top: 1px solid var(--tint); }
td, thead th { min-width: 6ch; overflow-wrap: anywhere; }
.number { text-align: right; white-space: nowrap; }
td.words, thead th.number { text-align: right; white-space: normal; }
.settings td { overflow-wrap: anywhere; }
pre span { display: inline-block; max-width: 100%; }
.differ th + th { padding-left: .5rem; }
.differ td { background: var(--mark); padding-left: .5rem; }
.columns { display: grid; gap: 0 3rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
.columns > * { min-width: 0; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: .875rem; }
.curves {
  display: grid; gap: 1.25rem 2rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr));
}
.curves svg {
  display: block; width: 100%; height: auto; margin-top: .25rem; stroke-linejoin: round;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
.key { white-space: nowrap; color: var(--soft); margin-right: 1.25rem; font-size: .875rem; }
.key::before {
  content: ""; display: inline-block; width: 1.1em; height: 3px; margin-right: .375em; vertical-align: .25em;
  background: var(--validation);
}
.key.train::before { background: var(--train); }
.key.test::before { background: var(--test); }
.strips th {
  padding: 0 .75rem 0 0; vertical-align: middle; max-width: 9rem; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis;
}
.strips td { padding: 1px 0; width: 100%; line-height: 0; }
.strips tbody tr + tr > * { border-top: 0; }
img { max-width: 100%; height: auto; display: block; }
.strips img { width: 100%; }
.strips { font-size: .875rem; width: 100%; max-width: 34rem; margin: .75rem 0; }
.sheet { width: 100%; max-width: 34rem; }
.pictures { display: grid; gap: 1.5rem; }
.pictures img { background: var(--paper); border-radius: 4px; }
.pictures .scroll { margin: .375rem 0 0; }
.pictures .wide { width: 100%; min-width: 40rem; }
details { margin: .75rem 0; }
summary { cursor: pointer; }
.runs { display: grid; gap: 0 3rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
.runs > article { display: grid; grid-row: span 9; grid-template-rows: subgrid; min-width: 0; }
.runs > article > * { min-width: 0; }
@media (max-width: 30rem) {
  th, td { padding-right: .75rem; }
  table { font-size: .875rem; }
}
@media print {
  :root {
    --ground: #fff; --ink: #000; --soft: #444; --rule: #bbb; --tint: #eee; --mark: #fff3cd; --train: #0b6bb0;
    --validation: #c04a08; --test: #12805c; --paper: #fff; --shade: transparent;
  }
  body { max-width: none; padding: 0; font-size: 10pt; }
  .scroll { overflow: visible; }
  .pictures .wide { min-width: 0; }
  figure, tr { break-inside: avoid; }
  h2, h3, caption { break-after: avoid; }
  .differ td, .key::before { print-color-adjust: exact; }
}
"""
