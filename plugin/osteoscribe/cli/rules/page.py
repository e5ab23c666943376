# ruff: noqa: E501 (HTML and CSS stand as they are)
"""One self-contained page that a clinician can read, print and sign."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from osteoscribe.cli.rules.picture import COLOURS, picture
from osteoscribe.cli.rules.terminal import numbered
from osteoscribe.core.rules.decide import citation_line
from osteoscribe.core.rules.show import ShownRow
from osteoscribe.core.rules.table import Column, RuleTable

STYLE = """\
:root { --ink: #1c2430; --soft: #5b6575; --line: #d5dbe3; --pale: #f7f9fb; --accent: #1f4e79; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff; font: 15px/1.5 Helvetica, Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 36px 28px 60px; }
h1 { font-size: 28px; margin: 0 0 4px; }
h2 { font-size: 20px; margin: 44px 0 12px; padding-bottom: 6px; border-bottom: 2px solid var(--accent); }
p { margin: 8px 0; max-width: 78ch; }
.meta { color: var(--soft); }
.hash { font: 12px/1.4 ui-monospace, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.notice { border: 1px solid #e0c36a; background: #fdf8e5; border-radius: 6px; padding: 10px 14px; max-width: none; }
.facts { display: flex; flex-wrap: wrap; gap: 12px; margin: 20px 0; padding: 0; list-style: none; }
.facts li { flex: 1 1 200px; border: 1px solid var(--line); border-radius: 6px; padding: 10px 14px; background: var(--pale); }
.facts b { display: block; font-size: 19px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; color: var(--soft); font-weight: 600; border-bottom: 2px solid var(--line); padding: 6px 10px; }
td { vertical-align: top; border-bottom: 1px solid var(--line); padding: 8px 10px; }
code { font: 12.5px ui-monospace, Menlo, Consolas, monospace; background: var(--pale); padding: 1px 4px; border-radius: 3px; }
.rule { border: 1px solid var(--line); border-left-width: 8px; border-radius: 6px; padding: 14px 18px; margin: 14px 0; break-inside: avoid; }
.rule header { display: flex; gap: 14px; align-items: baseline; }
.rule h3 { font-size: 18px; margin: 0; min-width: 34px; }
.rule .count { margin-left: auto; color: var(--soft); font-size: 13px; white-space: nowrap; }
.rule blockquote { margin: 10px 0; padding: 8px 14px; background: var(--pale); border-radius: 4px; font-size: 16px; }
.rule dl { display: grid; grid-template-columns: 215px 1fr; gap: 3px 14px; margin: 0; font-size: 14px; }
.rule dt { color: var(--soft); }
.rule dd { margin: 0; }
.or { color: var(--soft); font-style: italic; }
.flow h2 { text-align: left; }
.flow svg { width: 100%; height: auto; border: 1px solid var(--line); border-radius: 6px; }
.approval { break-inside: avoid; }
.sign { display: grid; grid-template-columns: 1fr 1fr; gap: 34px 40px; margin-top: 40px; }
.sign div { border-top: 1px solid var(--ink); padding-top: 5px; color: var(--soft); font-size: 13px; }
.sign div.wide { grid-column: 1 / -1; }
ol.open li { margin: 8px 0; }
.box { display: inline-block; width: 13px; height: 13px; border: 1px solid var(--ink); margin: 0 6px 0 16px; vertical-align: -2px; }
@page { size: A4; margin: 14mm; }
@media print {
  main { padding: 0; max-width: none; }
  body { font-size: 9.5pt; }
  h2, h2 + p { break-after: avoid; }
  table, .rule dl { font-size: 8.5pt; }
  .rule { padding: 8px 12px; margin: 8px 0; }
  .rule blockquote { font-size: 10.5pt; margin: 6px 0; padding: 5px 10px; }
  .rule .count { font-size: 8pt; }
  .facts li { flex-basis: 120px; }
  tr, li { break-inside: avoid; }
  .flow { break-before: page; text-align: center; }
  .flow h2 { margin-top: 0; }
  .flow svg { width: auto; max-width: 100%; max-height: 225mm; }
}
@media (max-width: 640px) { .rule dl { grid-template-columns: 1fr; } .sign { grid-template-columns: 1fr; } }
"""


def page(table: RuleTable, rows: Sequence[ShownRow]) -> str:
    """The whole page: no script, nothing loaded from elsewhere."""
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(table.title)}: management rules</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{STYLE}</style></head><body><main>",
        *_head(table, rows),
        f'<div class="flow"><h2>Decision flow</h2>{picture(table, rows)}</div>',
        "<h2>Inputs</h2>",
        "<p>What is not recorded is <code>unknown</code>, never <code>no</code>. Attenuation (HU) is no input.</p>",
        "<table><thead><tr><th>Input</th><th>Values</th><th>Meaning</th></tr></thead><tbody>",
        *(_input(column) for column in table.columns),
        "</tbody></table>",
        "<h2>Rows</h2>",
        "<p>Asked from top to bottom; the first that holds wins. <code>{d}</code> is the size in whole mm; what "
        "stands in [brackets] depends on the inputs.</p>",
        *(_row(row) for row in rows),
        *_words(table),
        *_sources(table),
        *_signature(table),
        "</main></body></html>",
        "",
    ]
    return "\n".join(parts)


def _head(table: RuleTable, rows: Sequence[ShownRow]) -> Iterable[str]:
    total = numbered(sum(row.combinations for row in rows))
    yield f"<h1>{escape(table.title)}</h1>"
    yield f'<p class="meta">Management rules: table {escape(table.id)}, version {escape(table.version)}</p>'
    yield f'<p class="hash">SHA-256 {table.sha256}</p>'
    yield (
        '<p class="notice"><b>For research use, not for diagnostic use.</b> The table suggests a documentation '
        "phrase; the radiologist decides. The category printed is the nearest one of SSR Bone-RADS, as an "
        "analogue: the software assigns none, and SSR 2 means &ldquo;another modality&rdquo;, not &ldquo;low "
        "risk&rdquo;.</p>"
    )
    yield '<ul class="facts">'
    for number, meaning in (
        (len(rows), "rows; each is reached"),
        (total, "combinations of inputs; each meets exactly one row"),
        ("0", "steps to a worse input that lower the urgency"),
        (table.status, "status of this version"),
    ):
        yield f"<li><b>{number}</b>{meaning}</li>"
    yield "</ul>"


def _input(column: Column) -> str:
    words = " / ".join(escape(word) for word in column.words)
    return f"<tr><td>{escape(column.label)}</td><td>{words}</td><td>{escape(column.meaning)}</td></tr>"


def _row(row: ShownRow) -> str:
    colour = COLOURS[row.urgency][1]
    holds = '<br><span class="or">or</span> '.join(escape(text) for text in row.conditions)
    facts = [
        ("Adds", row.adds),
        ("Recommendation", row.recommendations),
        ("Nearest category", row.analogue),
        ("In front where not recorded", (", ".join(row.conditional_on),)),
        ("At the end where not recorded", (", ".join(row.listed),)),
        ("Why", (row.why,)),
        ("Sources", row.sources),
    ]
    shown = "".join(
        f"<dt>{name}</dt><dd>{'<br>'.join(escape(text) for text in texts)}</dd>"
        for name, texts in facts
        if any(texts)
    )
    count = f"{numbered(row.combinations)} combinations, one phrase for each {escape(row.scope)}"
    return (
        f'<section class="rule" style="border-left-color: {colour}"><header><h3>{escape(row.id)}</h3>'
        f'<span>{holds}</span><span class="count">{count}</span></header>'
        f"<blockquote>{escape(row.phrase)}</blockquote><dl>{shown}</dl></section>"
    )


def _words(table: RuleTable) -> Iterable[str]:
    yield "<h2>Where something is not recorded</h2>"
    yield f"<p>The condition stands first: <i>{escape(table.frame.condition)}</i></p>"
    yield f"<p>E rows name it at the end: <i>{escape(table.frame.not_recorded)}</i></p>"
    yield "<table><thead><tr><th>Input</th><th>The condition says</th><th>The list says</th></tr></thead><tbody>"
    labels = {column.name: column.label for column in table.columns}
    for clause in table.clauses:
        yield (
            f"<tr><td>{escape(labels[clause.column])}</td><td>{escape(clause.text)}</td>"
            f"<td>{escape(clause.short)}</td></tr>"
        )
    yield "</tbody></table>"
    yield f"<p>Beside the phrase, without any effect on the row: <i>{escape(table.frame.borderline)}</i></p>"


def _sources(table: RuleTable) -> Iterable[str]:
    yield "<h2>Sources</h2><ul>"
    for source in table.sources:
        number = f" doi {escape(source.doi)}" if source.doi else ""
        number += f" PMID {escape(source.pmid)}" if source.pmid else ""
        title = f". {escape(source.title)}" if source.title else ""
        yield f"<li>{escape(source.reference)}{title}.{number}</li>"
    yield "</ul><p>For the table as a whole:</p><ul>"
    for citation in table.cite:
        yield f"<li>{escape(citation_line(table, citation))}</li>"
    yield "</ul>"


def _signature(table: RuleTable) -> Iterable[str]:
    yield "<h2>To be settled by the radiologist who signs</h2>"
    yield '<ol class="open">'
    for question in table.open_questions:
        choice = '<br><span class="box"></span>as it stands <span class="box"></span>to be changed'
        yield f"<li>{escape(question)}{choice}</li>"
    yield '</ol><section class="approval"><h2>Approval</h2>'
    yield (
        f"<p>I have read this table, version {escape(table.version)}, with the SHA-256 printed at the top, and approve "
        "its use as a documentation aid at the site named below. A changed table is another version with another "
        "SHA-256, and needs another approval.</p>"
    )
    yield (
        '<div class="sign"><div>Name, qualification</div><div>Site</div><div>Place, date</div><div>Signature</div>'
        '<div class="wide">Remarks</div></div></section>'
    )
