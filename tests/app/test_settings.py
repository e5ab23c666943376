"""Settings: unknown keys, wrong values, and the commented example that explains each of them."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from osteoscribe.app.settings import Destination, Settings, load_settings, parse_destination, parse_settings
from osteoscribe.errors import SetupError


def uncommented(text: str) -> str:
    """The example with every setting switched on."""
    lines = [re.sub(r"^# (?=[a-z_]+ = |\[\[)", "", line) for line in text.splitlines()]
    return "\n".join(lines)


def test_the_example_as_it_is_gives_the_defaults(project: Path) -> None:
    assert load_settings(project / "config" / "osteoscribe.toml") == Settings()


def test_every_setting_stands_in_the_example_with_its_default(project: Path) -> None:
    shown = tomllib.loads(uncommented((project / "config" / "osteoscribe.toml").read_text("utf-8")))
    for section in dataclasses.fields(Settings):
        kind = get_type_hints(Settings)[section.name]
        table = shown[section.name]
        if not dataclasses.is_dataclass(kind):
            (kind, *_), (table, *_) = get_args(kind), table
        names = {one.name for one in dataclasses.fields(kind)}
        assert set(table) == names, section.name
    defaults = dict(shown, peer=[])
    assert parse_settings(defaults) == Settings()


def test_every_setting_says_who_changes_it(project: Path) -> None:
    text = (project / "config" / "osteoscribe.toml").read_text("utf-8")
    entries = re.split(r"\n(?=# [a-z_]+ = |\[)", text.split("\n# One table for each sender")[0])
    silent = [one.split(" = ")[0] for one in entries if re.match(r"# [a-z_]+ = ", one) and "Who: " not in one]
    assert silent == []


def test_an_unknown_key_names_the_nearest_one() -> None:
    with pytest.raises(SetupError, match=r"settings.unknown-key.*'jobs.quiet'.*'jobs.quiet_s'"):
        parse_settings({"jobs": {"quiet": 1}})


@pytest.mark.parametrize(
    "plain",
    [
        {"node": {"port": "104"}},
        {"node": {"port": 70000}},
        {"node": {"port": True}},
        {"node": {"ae_title": "LONGER THAN SIXTEEN CHARACTERS"}},
        {"node": {"ae_title": "BACK\\SLASH"}},
        {"node": 3},
        {"jobs": {"quiet_s": -1}},
        {"jobs": {"quiet_s": float("nan")}},
        {"delivery": {"destinations": ["PACS:104"]}},
        {"delivery": {"destinations": "PACS@host:104"}},
        {"peer": [{"ae_title": "PACS", "host": "h"}]},
    ],
)
def test_a_wrong_value_is_refused(plain: dict[str, object]) -> None:
    with pytest.raises(SetupError, match=r"settings.wrong-value"):
        parse_settings(plain)


def test_a_destination_is_read() -> None:
    assert parse_destination("PACS@10.0.0.5:104") == Destination(ae_title="PACS", host="10.0.0.5", port=104)
    assert str(parse_destination("MY PACS@host:104")) == "MY PACS@host:104"


def test_reports_go_back_to_a_known_sender_when_no_destination_is_set() -> None:
    settings = parse_settings({"peer": [{"ae_title": "PACS", "host": "h", "port": 104}]})
    assert [str(one) for one in settings.destinations_for("PACS")] == ["PACS@h:104"]
    assert settings.destinations_for("OTHER") == ()
    fixed = parse_settings({"delivery": {"destinations": ["A@b:1"]}})
    assert [str(one) for one in fixed.destinations_for("PACS")] == ["A@b:1"]
