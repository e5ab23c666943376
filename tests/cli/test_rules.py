"""``osteoscribe rules``, as a person or a script runs it."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from osteoscribe.app.practice import RULE_TABLE
from osteoscribe.cli.main import main

Run = Callable[..., tuple[int, str, str]]
L1 = "5 mm sclerotic focus, likely bone island, no further imaging recommended"
BENIGN = (
    "density=sclerotic",
    "morphology=typical",
    "multiplicity=solitary",
    "malignancy_history=no",
    "known_metastasis=no",
    "symptoms=no",
    "growth=no_prior",
    "soft_tissue_mass=no",
    "cortical_destruction=no",
    "other_aggressive=no",
    "location_risk=none",
    "age=adult",
)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run_it(*arguments: str) -> tuple[int, str, str]:
        code = main(["rules", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run_it


@pytest.fixture
def shipped(project: Path) -> Path:
    return project / "config" / "rules" / RULE_TABLE


@pytest.fixture
def edited(shipped: Path, tmp_path: Path) -> Callable[[str, str], Path]:
    """The shipped table with one text replaced."""

    def edit(old: str, new: str) -> Path:
        text = shipped.read_text(encoding="utf-8")
        assert text.count(old) == 1
        path = tmp_path / "edited.toml"
        path.write_text(text.replace(old, new), encoding="utf-8")
        return path

    return edit


def tried(run: Run, *inputs: str) -> dict[str, Any]:
    code, out, _ = run("try", *inputs, "--json")
    assert code == 0
    answer = json.loads(out)
    assert isinstance(answer, dict)
    return answer


def test_try_gives_the_phrase_character_for_character(run: Run) -> None:
    answer = tried(run, "size_mm=5", *BENIGN)
    assert list(answer)[:6] == ["rule", "conditional", "phrase", "recommendation", "analogue", "unknown"]
    assert {key: answer[key] for key in list(answer)[:6]} == {
        "rule": "L1",
        "conditional": False,
        "phrase": L1,
        "recommendation": "none",
        "analogue": "SSR Bone-RADS 1 (analogue)",
        "unknown": [],
    }


@pytest.mark.parametrize(
    ("size", "whole"),
    [
        ("4.49", "4 mm"),
        ("4.4999999999999999999999", "4 mm"),
        ("4.5", "5 mm"),
        ("5.46", "5 mm"),
        ("5.49", "5 mm"),
    ],
)
def test_try_rounds_the_unrounded_length_half_up(run: Run, size: str, whole: str) -> None:
    assert tried(run, f"size_mm={size}", *BENIGN)["phrase"].startswith(whole)


def test_try_says_what_is_not_recorded_in_front(run: Run) -> None:
    answer = tried(run, "size_mm=5", *(one for one in BENIGN if not one.startswith(("malig", "symp"))))
    assert (answer["rule"], answer["conditional"]) == ("L1-C", True)
    assert answer["unknown"] == ["malignancy_history", "symptoms"]
    assert answer["phrase"] == (
        f"If no history of malignancy, no attributable symptoms (not recorded): {L1}. "
        "Otherwise this suggestion does not apply."
    )


@pytest.mark.parametrize(
    ("lesions", "more", "rule", "part"),
    [
        ("3,4", (), "M1", "all under 5 mm"),
        ("3,5", (), "M2", "largest 5 mm"),
        ("3,5", ("size_mm=3",), "M2", "largest 5 mm"),
        ("3,5", ("malignancy_history=yes",), "M3", "largest 5 mm"),
    ],
)
def test_try_several_lesions(run: Run, lesions: str, more: tuple[str, ...], rule: str, part: str) -> None:
    names = {one.partition("=")[0] for one in more} | {"multiplicity"}
    others = [one for one in BENIGN if one.partition("=")[0] not in names]
    answer = tried(run, f"lesions_mm={lesions}", *more, *others)
    assert answer["rule"] == rule
    assert part in answer["phrase"]


def test_try_prints_a_conflict_and_takes_the_less_reassuring(run: Run) -> None:
    answer = tried(run, "lesions_mm=3,4", *BENIGN)
    assert answer["rule"] == "M1"
    assert "recorded as solitary" in answer["conflicts"][0]


def test_try_without_a_size(run: Run) -> None:
    assert tried(run, "size=not_measurable", *BENIGN)["rule"] == "X4"
    assert tried(run, "size=not_measurable", "symptoms=yes")["phrase"].startswith("Bone lesion with")


def test_try_tells_why_the_rows_above_did_not_hold(run: Run) -> None:
    path = tried(run, "size_mm=5", *BENIGN)["path"]
    assert [miss["rule_id"] for miss in path][:3] == ["X1", "E1", "E2"]
    assert [miss["rule_id"] for miss in path][-1] == "K2"
    assert path[0]["reasons"] == ["known metastasis: asks for yes, is no"]
    code, out, _ = run("try", "size_mm=5", *BENIGN)
    assert code == 0
    assert out.startswith(L1)
    assert re.search(r"K2 +history of malignancy: asks for yes, is no", out)


def test_try_in_german(run: Run) -> None:
    answer = tried(run, "size_mm=5", *BENIGN, "--language", "de")
    assert answer["phrase"] == (
        "5 mm großer sklerotischer Herd, am ehesten Kompaktainsel, keine weitere Bildgebung empfohlen"
    )
    assert "+de." in answer["table"]["version"]


def test_try_adds_the_borderline_remark_beside_the_phrase(run: Run) -> None:
    assert tried(run, "size_mm=5.99", *BENIGN)["remark"].startswith("Borderline size")
    assert tried(run, "size_mm=4.99", *BENIGN)["remark"] == ""
    assert tried(run, "size_mm=6", *BENIGN)["remark"] == ""


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (("size_mm=5", "mean_hu=1200"), "there is no input 'mean_hu'"),
        (("size_mm=five",), "expected a length in mm"),
        (("size_mm=-1",), "expected a length in mm"),
        (("size_mm=nan",), "expected a length in mm"),
        (("size_mm=5", "size=5"), "not both"),
        (("size_mm=5", "size_mm=6"), "given twice"),
        (("size_mm=5", "symptoms=maybe"), "expected one of no, yes, unknown"),
        (("size_mm=5", "symptoms"), "expected NAME=VALUE"),
        (("size_mm=9", "lesions_mm=3,5"), "not among lesions_mm=3,5"),
        (("lesions_mm=3,5", "largest=<5"), "not both"),
        (("size_mm=5", "prior_date=yesterday"), "expected YYYY-MM-DD"),
        (("size_mm=5", "--language", "../de"), "unknown-language"),
        (("size_mm=5", "--language", "xx"), "cannot be read"),
    ],
)
def test_try_refuses_what_it_does_not_know(run: Run, inputs: tuple[str, ...], said: str) -> None:
    code, out, err = run("try", *inputs)
    assert (code, out) == (2, "")
    assert said in err


def test_show_is_what_it_was(run: Run, project: Path) -> None:
    """A change of one cell shows in review as clinicians would see it.

    After a wanted change: ``osteoscribe rules show > tests/golden/rules_show.txt``.
    """
    code, out, _ = run("show")
    assert code == 0
    assert out == (project / "tests" / "golden" / "rules_show.txt").read_text(encoding="utf-8")


def test_the_page_of_the_documentation_is_up_to_date(run: Run, project: Path) -> None:
    """After a wanted change: ``osteoscribe rules show --markdown > docs/rules.md``."""
    code, out, _ = run("show", "--markdown")
    assert code == 0
    assert out == (project / "docs" / "rules.md").read_text(encoding="utf-8")


def test_the_picture_of_the_documentation_is_up_to_date(run: Run, project: Path, tmp_path: Path) -> None:
    """After a wanted change: ``osteoscribe rules show --picture docs/rules-flow.svg``."""
    code, _, _ = run("show", "--picture", str(tmp_path / "flow.svg"))
    assert code == 0
    drawn = (tmp_path / "flow.svg").read_text(encoding="utf-8")
    assert drawn == (project / "docs" / "rules-flow.svg").read_text(encoding="utf-8")


def test_the_picture_shows_every_row_in_order(run: Run, tmp_path: Path) -> None:
    run("show", "--picture", str(tmp_path / "flow.svg"))
    texts = [node.text for node in ET.parse(tmp_path / "flow.svg").iter() if node.text]
    ids = [text for text in texts if re.fullmatch(r"[A-Z]\d", text)]
    assert " ".join(ids) == "X1 E1 E2 E3 E4 X2 X3 X4 E5 M3 U2 M1 M2 K1 K2 L1 L4 L3 L2 U1 F1"


class Outside(HTMLParser):
    """Whatever a page would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "link", "img", "iframe"} or any(name in {"src", "href"} for name, _ in attrs):
            self.found.append(tag)


def test_the_page_to_sign_is_whole_and_loads_nothing(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("show", "--html", str(tmp_path / "rules.html"))
    text = (tmp_path / "rules.html").read_text(encoding="utf-8")
    outside = Outside()
    outside.feed(text)
    assert (code, out, outside.found) == (0, "", [])
    assert L1.replace("5 mm", "{d} mm") in text
    for part in (
        "35 429 400",
        "Signature",
        "10.1007/s00256-022-04022-8",
        "L4: the limit of 20 mm.",
        "SHA-256",
    ):
        assert part in text
    assert not re.search(r"\b(885|1060)\b", text)


def test_show_as_json(run: Run) -> None:
    code, out, _ = run("show", "--json")
    shown = json.loads(out)
    assert code == 0
    assert sum(row["combinations"] for row in shown["rows"]) == 35_429_400


def test_check_of_the_shipped_table(run: Run) -> None:
    code, out, _ = run("check")
    assert code == 0
    assert "21 rows take 35 429 400 combinations, each exactly one" in " ".join(out.split())


def test_check_finds_a_gap_and_says_where(run: Run, edited: Callable[[str, str], Path]) -> None:
    path = edited(
        'when = { density = ["sclerotic"], size = { below_mm = 6 }, morphology = ["typical", "unknown"] }',
        'when = { density = ["sclerotic"], size = { below_mm = 6 }, morphology = ["typical"] }',
    )
    code, out, _ = run("check", str(path), "--json")
    (result,) = json.loads(out)
    assert (code, result["ok"], result["code"]) == (1, False, "rules.gap")
    assert "size: 5 mm or less, density: sclerotic, morphology: not recorded" in result["message"]


def test_check_of_a_file_that_is_not_there(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("check", str(tmp_path / "none.toml"))
    assert code == 2
    assert "rules.unreadable" in out


def test_diff_of_a_table_with_itself(run: Run, shipped: Path) -> None:
    code, out, _ = run("diff", str(shipped), str(shipped))
    assert code == 0
    assert "No difference: all 35 429 400 combinations say the same" in out


K1_LIMIT = 'when = { malignancy_history = ["yes"], density = ["sclerotic"], size = { below_mm = 6 } }'


def test_diff_of_a_moved_limit_counts_and_groups(
    run: Run, shipped: Path, edited: Callable[[str, str], Path]
) -> None:
    path = edited(K1_LIMIT, K1_LIMIT.replace("below_mm = 6", "below_mm = 5"))
    code, out, _ = run("diff", str(shipped), str(path), "--json")
    found = json.loads(out)
    (change,) = found["rows"]
    assert code == 1
    assert (change["old"], change["new"], change["urgency"]) == ("K1", "K2", "more urgent")
    assert change["combinations"] == 27_648 // 2
    assert change["where"][0].startswith("size: 5 mm, density: sclerotic")
    assert run("diff", str(path), str(shipped))[1].count("K2 -> K1: 13 824 combinations, less urgent") == 1


def test_diff_of_a_new_band_compares_in_the_bands_of_both(
    run: Run, shipped: Path, edited: Callable[[str, str], Path]
) -> None:
    path = edited("cuts_mm = [0, 5, 6, 10, 21]     #", "cuts_mm = [0, 4, 5, 6, 10, 21]  #")
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace(K1_LIMIT, K1_LIMIT.replace("below_mm = 6", "below_mm = 4")), encoding="utf-8"
    )
    code, out, _ = run("diff", str(shipped), str(path), "--json")
    found = json.loads(out)
    assert code == 1
    assert found["combinations"] == 35_429_400 // 6 * 7
    assert [(change["old"], change["new"]) for change in found["rows"]] == [("K1", "K2")]
    assert "size: 4 to 5 mm" in found["rows"][0]["where"][0]


def test_diff_of_a_phrase_names_the_row_and_both_texts(
    run: Run, shipped: Path, edited: Callable[[str, str], Path]
) -> None:
    path = edited("likely bone island, no further imaging recommended", "bone island")
    code, out, _ = run("diff", str(shipped), str(path))
    assert code == 1
    assert "0 of 35 429 400 combinations reach another row" in out
    assert "row L1, phrase (36 864 combinations)" in out
    assert "+ {d} mm sclerotic focus, bone island" in out


def test_diff_on_stored_cases_lists_what_would_change(
    run: Run, shipped: Path, edited: Callable[[str, str], Path], tmp_path: Path
) -> None:
    benign = dict(one.split("=") for one in BENIGN)
    cases = [{"case": f"case {mm}", "size": mm, **benign} for mm in (3, 5, 8, None)]
    (tmp_path / "cases.jsonl").write_text("\n".join(json.dumps(case) for case in cases) + "\n\n")
    path = edited("likely bone island, no further imaging recommended", "bone island")
    code, out, _ = run("diff", str(shipped), str(path), "--cases", str(tmp_path / "cases.jsonl"))
    assert code == 1
    assert "2 of 4 phrases would change." in out
    assert "case 3: L1 -> L1" in out
    assert "case 8" not in out
    assert "  + 5 mm sclerotic focus, bone island" in out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2 is not JSON"),
        ("[" * 100_000, "line 2 is not JSON"),
        ("[]", "line 2: expected an object"),
        ('{"size": 5, "mean_hu": 900}', "line 2: there is no input 'mean_hu'"),
    ],
)
def test_diff_refuses_a_stored_case_that_it_cannot_read(
    run: Run, shipped: Path, tmp_path: Path, line: str, said: str
) -> None:
    (tmp_path / "cases.jsonl").write_text(f'{{"size": 5}}\n{line}\n')
    code, _, err = run("diff", str(shipped), str(shipped), "--cases", str(tmp_path / "cases.jsonl"))
    assert code == 2
    assert said in err


@pytest.mark.parametrize("form", ["--html", "--picture"])
def test_show_says_where_it_cannot_write(run: Run, tmp_path: Path, form: str) -> None:
    code, _, err = run("show", form, str(tmp_path / "none" / "page"))
    assert code == 2
    assert "rules.unwritable" in err
    assert "No such file or directory" in err
