"""What a site decides about marks, rules and words, read from its files."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osteoscribe.app.references import load_reference_panel
from osteoscribe.app.rule_tables import load_table
from osteoscribe.app.settings import PracticeSettings, Settings
from osteoscribe.app.shipped import data_folder
from osteoscribe.app.sites import SiteNames, load_site_names
from osteoscribe.core.labels import LabelRules, parse_label_rules
from osteoscribe.core.labels.malignancy import MalignancyCodes, parse_malignancy_codes
from osteoscribe.core.reference import ReferencePanel
from osteoscribe.core.rules.table import RuleTable
from osteoscribe.errors import SetupError
from osteoscribe.writers.profiles import STANDARD, Profile, chosen_profile

RULE_TABLE = "incidental-sclerotic-lesion-2026.1.toml"
"""The rule table that is used where the settings name none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Practice:
    """What a site decides about marks, rules and words.

    Parameters
    ----------
    table
        The rule table, proved complete.
    labels
        Which ROIs are marks, what labels and codes say, the policy for each calling AE.
    malignancies
        Codes and words of malignancies, for what DICOM attributes say.
    profile
        The form of what is written.
    panel
        The reference panel for known metastases; its sentence on serial measurements is always printed with
        them.
    panel_in_report
        Whether the whole panel is printed in the report of a known metastasis.
    site_names
        What sites and sides are called in the sentence; None where it names none.
    """

    table: RuleTable
    labels: LabelRules
    malignancies: MalignancyCodes
    panel: ReferencePanel
    panel_in_report: bool = False
    profile: Profile = STANDARD
    site_names: SiteNames | None = None


def load_practice(settings: PracticeSettings) -> Practice:
    """Read and prove what the settings name.

    Raises
    ------
    SetupError
        ``rules.*``, ``labels.*``, ``sites.*``, ``reference.*``: the file is absent, or not what it should be;
        ``settings.unknown-profile``, ``settings.nothing-to-send``.
    """
    config = data_folder() / "config"
    return Practice(
        table=load_table(
            _path(settings.rule_table) or config / "rules" / RULE_TABLE, language=settings.language
        ),
        labels=parse_label_rules(_read_toml(_path(settings.labels) or config / "labels.toml")),
        malignancies=parse_malignancy_codes(_read_toml(config / "codes-malignancy.toml")),
        profile=chosen_profile(
            settings.profile,
            text_companion=settings.text_companion,
            key_image=settings.key_image,
            notice=settings.notice,
        ),
        panel=load_reference_panel(),
        panel_in_report=settings.reference_panel,
        site_names=load_site_names(settings.language) if settings.site_in_phrase else None,
    )


def check_profiles(settings: Settings) -> None:
    """Check that every destination has a profile that there is, and is sent the suggestion.

    Raises
    ------
    SetupError
        ``settings.unknown-profile``, ``settings.nothing-to-send``.
    """
    for name in (
        *(one.name for one in settings.destination),
        *(one.as_destination().name for one in settings.peer),
    ):
        one = settings.destination_named(name)
        chosen_profile(
            one.profile,
            text_companion=bool(one.text_companion),
            key_image=bool(one.key_image),
            notice=bool(one.notice),
            where=f"destination {name!r}",
        )


def _path(name: str) -> Path | None:
    return Path(name) if name else None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SetupError("labels.unreadable", f"{path.name} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError("labels.not-toml", f"{path.name} is not TOML: {error}") from error
