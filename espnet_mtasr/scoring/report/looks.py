"""CSS and JavaScript of the pages.

The colors are by Okabe and Ito; color-blind people can tell them apart.
"""

STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1b1b1b; --pale: #6b6b6b;
  --line: #d6d6d6; --sub: #b45f00; --del: #c0262d; --ins: #1668b0; }
@media (prefers-color-scheme: dark) { :root { --back: #16181b; --text: #e8e8e8;
  --pale: #a0a0a0; --line: #3a3d41; --sub: #f0a33a; --del: #ff7a76; --ins: #6bb6f2; } }
body { margin: 0; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 1rem; }
h2 { margin: 2.5rem 0 .5rem; border-bottom: 1px solid var(--line); }
h3 { margin: 1.5rem 0 .3rem; }
h1, h2, h3 { overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; }
dt { color: var(--pale); } dd { margin: 0; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
p.note, .pale { color: var(--pale); font-size: .87rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: bottom; }
td, tbody th { white-space: nowrap; }
th:first-child { text-align: left; } thead th { color: var(--pale); font-weight: 500; }
.charts { display: grid; gap: 1rem 2rem;
  grid-template-columns: repeat(auto-fill, minmax(min(26rem, 100%), 1fr)); }
.charts > * { min-width: 0; } figure { margin: 0; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--text); font: 12px system-ui, sans-serif; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .mark { stroke-width: 2; fill: none; }
svg .train { stroke-dasharray: 2 4; }
svg .cursor { stroke: var(--text); stroke-width: 1.5; }
.s0 { --c: #0072b2; } .s1 { --c: #d55e00; } .s2 { --c: #009e73; }
.s3 { --c: #cc79a7; } .s4 { --c: #e69f00; } .s5 { --c: #56b4e9; }
.s6 { --c: #8c6bb1; } .s7 { --c: #999999; }
svg .stroke { stroke: var(--c); } svg .fill { fill: var(--c); }
svg .ctc text { font-size: 10.5px; text-anchor: middle; }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .87rem; }
.key span::before { content: ""; display: inline-block; width: .8em; height: .8em;
  margin-right: .4em; background: var(--c); }
.heat { display: inline-block; padding: 0 .5rem; border-radius: 3px;
  background: color-mix(in srgb, var(--ins) calc(var(--p) * 55%), transparent); }
.mixture { margin: 1rem 0 2rem; padding-left: .8rem;
  border-left: 3px solid var(--line); }
.mixture audio { width: 100%; max-width: 34rem; display: block; margin: .4rem 0; }
.words { display: flex; flex-wrap: wrap; gap: .1rem .5rem; margin: .2rem 0 .6rem; }
.words span { display: inline-flex; flex-direction: column; }
.words span > b { font-weight: 400; min-height: 1.5em; }
.words i { font-style: normal; font-size: .72rem; min-height: 1.2em; }
.words .S { color: var(--sub); } .words .D { color: var(--del); }
.words .I { color: var(--ins); } .words .D > b:last-of-type { opacity: .6; }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
@media (max-width: 45rem) { .two { grid-template-columns: 1fr; } }
summary { cursor: pointer; font-weight: 600; margin: .6rem 0; }
"""

# A line moves with the sound, and a click on the time line moves the sound.
SCRIPT = """
for (const mixture of document.querySelectorAll(".mixture")) {
  const audio = mixture.querySelector("audio");
  const time = mixture.querySelector("svg[data-seconds]");
  if (!audio || !time) continue;
  const cursor = time.querySelector(".cursor");
  const wide = time.parentElement;
  const {seconds, left, right} = time.dataset;
  const width = right - left;
  const show = () => {
    const x = +left + width * audio.currentTime / seconds;
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    const at = x / time.viewBox.baseVal.width * time.getBoundingClientRect().width;
    if (at < wide.scrollLeft || at > wide.scrollLeft + wide.clientWidth)
      wide.scrollLeft = at - wide.clientWidth / 4;
    if (!audio.paused) requestAnimationFrame(show);
  };
  audio.addEventListener("play", show);
  audio.addEventListener("seeked", show);
  time.addEventListener("click", event => {
    const box = time.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * time.viewBox.baseVal.width;
    audio.currentTime = Math.max(0, Math.min((x - left) / width * seconds, seconds));
    audio.play();
  });
}
document.addEventListener("play", event => {
  for (const other of document.querySelectorAll("audio"))
    if (other !== event.target) other.pause();
}, true);
"""
