"""What anatomical sites and sides are called in the sentence, in the language of the phrases."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from osteoscribe.app.shipped import data_folder
from osteoscribe.core.codes import BONE, LATERALITIES, SITES, Code
from osteoscribe.errors import SetupError

SIDES: Mapping[str, Code] = {code.meaning.lower(): code for code in LATERALITIES}
"""Sides by their English names."""

_KNOWN = {(code.value, code.scheme): code for code in (*SITES.values(), *LATERALITIES)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteNames:
    """Names of sites and sides.

    Parameters
    ----------
    language
        Of the names.
    names
        By code value and scheme; English needs none.
    """

    language: str
    names: Mapping[tuple[str, str], str]

    def of(self, code: Code | None) -> str:
        """The name of a site or side; empty where there is none.

        A site that is not in our list is named by its own code meaning in English, and not at all in another
        language. "Bone" is no site.
        """
        if code is None or code.same_as(BONE):
            return ""
        key = (code.value, code.scheme)
        if self.language == "en":
            return _KNOWN.get(key, code).meaning
        return self.names.get(key, "")


def is_known_site(code: Code) -> bool:
    """Whether a code is one of our list of sites, and more than "bone"."""
    return not code.same_as(BONE) and any(code.same_as(site) for site in SITES.values())


def load_site_names(language: str) -> SiteNames:
    """The names of ``config/sites/<language>.toml``, proved complete; those of English are the codes' own.

    Raises
    ------
    SetupError
        ``sites.unreadable``: there is no such file. ``sites.names-differ``: a site or side has no name, or a
        name has no site.
    """
    if language == "en":
        return SiteNames(language=language, names={})
    if not re.fullmatch("[a-z]{2,3}", language):
        raise SetupError("sites.unreadable", f"language {language!r}: expected a code such as 'de'")
    path = data_folder() / "config" / "sites" / f"{language}.toml"
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(
            "sites.unreadable",
            f"sites/{path.name} cannot be read ({type(error).__name__}); add it, or set "
            "practice.site_in_phrase to false",
        ) from error
    return SiteNames(language=language, names=_names(plain, path.name))


def _names(plain: Mapping[str, Any], file: str) -> dict[tuple[str, str], str]:
    names: dict[tuple[str, str], str] = {}
    wanted = {"site": {name: code for name, code in SITES.items() if not code.same_as(BONE)}, "side": SIDES}
    if set(plain) != set(wanted):
        raise SetupError("sites.names-differ", f"{file}: expected the tables {', '.join(wanted)}")
    for table, known in wanted.items():
        given = plain[table]
        differing = sorted(set(given) ^ set(known))
        wrong = sorted(name for name, text in given.items() if not isinstance(text, str) or not text.strip())
        if differing or wrong:
            raise SetupError(
                "sites.names-differ",
                f"{file}, {table}: {', '.join(differing or wrong)}; expected one name for each of the list",
            )
        names |= {(code.value, code.scheme): given[name] for name, code in known.items()}
    return names
