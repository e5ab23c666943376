"""Settings: unknown keys, wrong values, and the commented example that explains each of them."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from osteoscribe.app.settings import (
    Delivered,
    Destination,
    Settings,
    load_settings,
    parse_destination,
    parse_settings,
)
from osteoscribe.errors import SetupError

PACS: dict[str, Any] = {"ae_title": "PACS", "host": "h", "port": 104}


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
            (kind, *_), table = get_args(kind), {key for entry in table for key in entry}
        names = {one.name for one in dataclasses.fields(kind)}
        shared = {one.name for one in dataclasses.fields(Delivered)} if section.name == "peer" else set()
        assert set(table) | shared == names, section.name
    defaults = dict(shown, destination=[], peer=[])
    assert parse_settings(defaults) == Settings()


def test_every_setting_says_who_changes_it(project: Path) -> None:
    text = (project / "config" / "osteoscribe.toml").read_text("utf-8")
    entries = re.split(r"\n(?=# [a-z_]+ = |\[)", text)
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
        {"destination": [{}]},
        {"destination": [{"ae_title": "PACS", "host": "h"}]},
        {"destination": [{"ae_title": "PACS", "host": "a host", "port": 104}]},
        {"destination": [PACS | {"url": "https://pacs/dicom-web"}]},
        {"destination": [{"url": "pacs/dicom-web"}]},
        {"destination": [{"url": "https://user:secret@pacs/dicom-web"}]},
        {"destination": [PACS | {"token_file": "token"}]},
        {"destination": [PACS | {"ca_file": "ca.pem"}]},
        {"destination": [PACS | {"tls": True, "tls_key": "key.pem"}]},
        {"destination": [PACS | {"tls": True, "check_host_name": False}]},
        {"destination": [{"url": "https://pacs/dicom-web", "tls": True}]},
        {"destination": [{"url": "http://pacs/dicom-web", "ca_file": "ca.pem"}]},
        {"peer": [PACS | {"tls_certificate": "node.pem"}]},
        {"destination": [PACS | {"name": "two\nlines"}]},
        {"destination": [PACS | {"senders": ["BACK\\SLASH"]}]},
        {"destination": [PACS, PACS]},
        {"destination": [PACS | {"name": "pacs"}], "peer": [PACS | {"name": "pacs", "port": 105}]},
        {"peer": [PACS, PACS]},
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
    assert [one.name for one in settings.destinations_for("PACS")] == ["PACS@h:104"]
    assert settings.destinations_for("OTHER") == ()
    fixed = parse_settings({"destination": [{"ae_title": "A", "host": "b", "port": 1}], "peer": [PACS]})
    assert [one.name for one in fixed.destinations_for("PACS")] == ["A@b:1"]
    kept = parse_settings({"delivery": {"back_to_sender": False}, "peer": [PACS]})
    assert kept.destinations_for("PACS") == ()


def test_reports_go_back_over_tls_where_the_peer_says_so(project: Path) -> None:
    recipe = (project / "docs" / "recipes" / "pacs.md").read_text("utf-8")
    (shown,) = re.findall(r"(?s)```toml\n(.*?)```", recipe)
    (back,) = parse_settings(tomllib.loads(shown)).destinations_for("PACS")
    assert (back.tls, back.check_host_name, back.port) == (True, True, 2762)
    assert all((back.ca_file, back.tls_certificate, back.tls_key))


def test_a_destination_takes_the_reports_of_its_senders() -> None:
    own, all_others = PACS | {"name": "own", "senders": ["A"]}, {"url": "https://pacs/dicom-web"}
    settings = parse_settings({"destination": [own, all_others], "peer": [PACS]})
    assert [one.name for one in settings.destinations_for("A")] == ["own", "https://pacs/dicom-web"]
    assert [one.name for one in settings.destinations_for("B")] == ["https://pacs/dicom-web"]
    only = parse_settings({"destination": [own], "peer": [PACS]})
    assert [one.name for one in only.destinations_for("PACS")] == ["PACS@h:104"], "back to the sender"


def test_a_destination_has_what_the_practice_has_where_it_says_nothing() -> None:
    plain = {
        "practice": {"profile": "ohif", "key_image": True, "notice": False},
        "delivery": {"ask_commitment": True},
        "destination": [
            PACS,
            PACS | {"name": "b", "profile": "text-only", "key_image": False, "notice": True},
        ],
        "peer": [PACS | {"name": "sender", "profile": "dictation", "ask_commitment": False}],
    }
    settings = parse_settings(plain)
    first, second = settings.destinations_for("ANY")
    assert (first.profile, first.text_companion, first.key_image, first.notice) == ("ohif", True, True, False)
    assert (second.profile, second.key_image, second.notice) == ("text-only", False, True)
    assert first.ask_commitment
    sender = settings.destination_named("sender")
    assert (sender.profile, sender.ask_commitment, sender.address) == ("dictation", False, "PACS@h:104")


def test_a_destination_wants_the_objects_of_its_profile_only() -> None:
    settings = parse_settings({"destination": [PACS | {"profile": "ohif", "notice": False}]})
    assert settings.destinations_for("")[0].forms == {("ohif", "sr"), ("ohif", "text")}


def test_a_destination_that_the_settings_no_longer_name_is_a_clear_error() -> None:
    with pytest.raises(SetupError, match=r"delivery.unknown-destination.*'pacs'"):
        Settings().destination_named("pacs")
