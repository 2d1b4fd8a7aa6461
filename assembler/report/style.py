"""The report's style sheet: system fonts, one column, both colour schemes, from 380 px to paper."""

from __future__ import annotations

from assembler.report.svg import FONT, SVG_CSS, variables

PAGE = (
    """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 """
    + FONT
    + """;font-variant-numeric:tabular-nums}
main{max-width:1080px;margin:0 auto;padding:40px 24px 64px}
h1{font-size:30px;line-height:1.2;letter-spacing:-.015em;margin:0 0 6px;overflow-wrap:anywhere}
h2{font-size:20px;letter-spacing:-.01em;margin:0 0 4px}
h3{font-size:14px;margin:0 0 6px;overflow-wrap:anywhere}
h3 .soft{font-weight:400;margin-left:6px}
p{margin:0 0 10px;max-width:72ch;overflow-wrap:anywhere}
section{margin-top:48px;padding-top:20px;border-top:1px solid var(--line)}
.soft,figcaption,.missing{color:var(--soft)}
.soft{font-weight:400}
.verdict{font-size:19px;line-height:1.45;margin:14px 0 22px;max-width:60ch}
.warn{color:var(--c1)}
.bad{color:var(--bad)}
.strong{font-weight:600}
.missing{font-style:italic}
figure{margin:14px 0 0}
figcaption{font-size:14px;line-height:1.5;margin-top:12px;max-width:96ch;overflow-wrap:anywhere}
svg.draw{display:block;max-width:100%;height:auto}
.halo{paint-order:stroke;stroke:var(--paper);stroke-width:4px;stroke-linejoin:round}
.scroll{overflow-x:auto}
.narrow{display:none}
.graph svg{margin:0 auto}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(148px,1fr));gap:12px;margin:0}
.facts div{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 14px;min-width:0}
.facts dt{font-size:13px;color:var(--soft)}
.facts dd{margin:2px 0 0;font-size:21px;font-weight:600;line-height:1.25;letter-spacing:-.01em}
.facts dd span{display:block;font-size:12.5px;font-weight:400;color:var(--soft);letter-spacing:0;line-height:1.4}
.timeline{list-style:none;margin:14px 0 0;padding:0}
.timeline li{padding:10px 0;border-bottom:1px solid var(--faint)}
.timeline li:last-child{border-bottom:0}
.timeline p{margin:4px 0 0;font-size:14.5px;max-width:100ch}
.panels.beside{display:flex;flex-wrap:wrap;align-items:center;margin-top:24px}
.aside{font-size:15px;max-width:44ch}
.row{display:flex;justify-content:space-between;gap:16px;flex-wrap:wrap}
.row .soft{font-size:14px}
.bar{height:4px;border-radius:2px;background:var(--faint);margin-top:6px}
.bar i{display:block;height:4px;min-width:2px;border-radius:2px;background:var(--c0)}
.key{display:inline-flex;align-items:center;gap:6px;margin-right:14px;font-size:13px;color:var(--soft);max-width:100%;
overflow-wrap:anywhere}
.key i{width:11px;height:11px;border-radius:3px;flex:none}
.panels,.slots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(320px,100%),1fr));gap:28px 24px}
.panels>div,.slots>div{min-width:0}
table{border-collapse:collapse;width:100%;font-size:13.5px}
th{font-weight:400;color:var(--soft);text-align:right;padding:4px 6px;border-bottom:1px solid var(--line)}
td{text-align:right;padding:4px 6px;border-bottom:1px solid var(--faint);vertical-align:top}
th:first-child,td:first-child{text-align:left;padding-left:0}
td.name{white-space:nowrap;overflow:hidden;text-overflow:ellipsis;max-width:160px}
table.figures td:first-child{overflow-wrap:anywhere}
table.heat{font-size:13px}.heat td,.heat th{padding:4px}.heat td:first-child,.heat th:first-child{padding-left:0}
td.tint{background:rgb(var(--heat)/var(--a))}
td.chosen{font-weight:600;color:var(--c0)}
table.figures{margin-top:18px}
.more{font-size:13px;margin-top:6px}
ul.bad{font-size:13px;margin:8px 0 0;padding-left:18px;overflow-wrap:anywhere}
em{font-style:normal;font-size:12px;color:var(--paper);background:var(--c1);border-radius:8px;padding:1px 7px}
pre{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px;overflow:auto;
max-height:460px;font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;margin:12px 0 0}
summary{cursor:pointer;color:var(--c0)}
footer{margin-top:48px;padding-top:16px;border-top:1px solid var(--line);font-size:13px;color:var(--soft);
overflow-wrap:anywhere}
@media(max-width:760px){
main{padding:24px 16px 48px}
h1{font-size:25px}
.verdict{font-size:17px}
.wide{display:none}.narrow{display:block}
.facts{grid-template-columns:repeat(2,minmax(0,1fr))}
.facts dd{font-size:18px}
table{font-size:12.5px}
th,td{padding:4px}
}
@media print{main{max-width:none;padding:0}section{break-inside:avoid}pre{max-height:none}}
"""
)


def sheet() -> str:
    """The whole style sheet."""
    return variables() + SVG_CSS + PAGE.replace("\n", "")
