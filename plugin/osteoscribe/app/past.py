"""Past findings as cases, on which a changed rule table is tried before it is used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from osteoscribe.app.rule_cases import case_line
from osteoscribe.core.codes import LATERALITIES, SITES
from osteoscribe.core.report import Finding
from osteoscribe.core.rules.table import Scope

NO_DATE = date(1900, 1, 1)
"""Stands for the date of an earlier examination: cases hold no date of a patient."""

_LISTED = {code.meaning for code in (*SITES.values(), *LATERALITIES)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedCases:
    """What the ledger keeps of one report.

    Parameters
    ----------
    job_key
        The job that made it.
    study_instance_uid
        Its examination; it is not exported.
    findings
        From its summary, each with its `case_of`.
    """

    job_key: str
    study_instance_uid: str
    findings: tuple[Mapping[str, Any], ...]


def case_of(finding: Finding) -> dict[str, Any]:
    """The inputs of a finding as plain data: facts and words of the rule table, nothing of the patient."""
    if finding.basis is None:
        return {}
    values = finding.basis.values
    values = replace(
        values,
        prior_date=None if values.prior_date is None else NO_DATE,
        site=_listed(values.site),
        laterality=_listed(values.laterality),
    )
    plain: dict[str, Any] = json.loads(case_line("", finding.basis.facts, values))
    del plain["case"]
    return plain | {"scope": finding.decision.scope}


def _listed(name: str) -> str:
    """A site or side of our own list; other names are free text of whoever wrote the mark."""
    return name if name in _LISTED else "named" if name else ""


def case_lines(reports: Iterable[ReportedCases]) -> Iterator[str]:
    """JSON lines for ``rules diff --cases``, each named by its job and its lesion.

    A phrase that speaks for a whole examination is one case, however many lesions and series carry it.
    """
    examinations: set[tuple[str, str]] = set()
    for report in reports:
        for finding in report.findings:
            case = dict(finding.get("case") or {})
            if not case:
                continue
            scope = case.pop("scope", "")
            name = f"{report.job_key[:12]}, {finding.get('name', '')}"
            if scope == Scope.EXAMINATION.value:
                spoken = (report.study_instance_uid, json.dumps(case, sort_keys=True))
                if spoken in examinations:
                    continue
                examinations.add(spoken)
                name = f"{report.job_key[:12]}, examination"
            yield json.dumps({"case": name, **case}, ensure_ascii=False)
