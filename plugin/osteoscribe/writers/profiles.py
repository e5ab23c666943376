"""What is written for a destination, as data: one finding, in the form its viewer really shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from types import MappingProxyType

from osteoscribe.core import codes
from osteoscribe.core.codes import Code
from osteoscribe.errors import SetupError
from osteoscribe.writers.document import COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR

OHIF_TOOLS = "Cornerstone3DTools@^0.1.0"
"""How a Tracking Identifier begins by which OHIF takes a measurement as one of its own, to edit it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The form of what is written for one kind of destination.

    Parameters
    ----------
    measurement_report, text_companion, notice, key_image
        Which objects are sent.
    sop_class_uid
        Of the measurement report: the same tree is legal in both SOP classes.
    phrase_code, recommendation_code
        Concept names of the suggestion's texts; standard ones for a dictation system that maps them.
    tools
        Begin of the Tracking Identifier of what a viewer is to edit: its drawing tool and the lesion's name
        follow. Such an outline carries its area, inferred from it. Empty: the lesion's name alone.
    series_offset
        Added to the series numbers, so that two profiles that meet in one archive do not mix.
    """

    name: str
    measurement_report: bool = True
    text_companion: bool = True
    notice: bool = True
    key_image: bool = False
    sop_class_uid: str = COMPREHENSIVE_3D_SR
    phrase_code: Code = codes.PHRASE
    recommendation_code: Code = codes.RECOMMENDATION_TEXT
    tools: str = ""
    series_offset: int = 0

    @property
    def variant(self) -> str:
        """What tells the documents of this profile from the standard ones: they need UIDs of their own."""
        return "" if self.name == "standard" else self.name


STANDARD = Profile(name="standard")

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            STANDARD,
            Profile(name="ohif", tools=OHIF_TOOLS, series_offset=10),
            Profile(name="text-only", measurement_report=False, series_offset=20),
            Profile(name="comprehensive", sop_class_uid=COMPREHENSIVE_SR, series_offset=30),
            Profile(
                name="dictation",
                phrase_code=codes.CONCLUSION,
                recommendation_code=codes.RECOMMENDATION,
                series_offset=40,
            ),
        )
    }
)
"""The profiles by the name that settings use."""


def chosen_profile(
    name: str, *, text_companion: bool, key_image: bool, notice: bool, where: str = "practice"
) -> Profile:
    """The profile of a name, with the objects beside the measurement report switched on or off.

    Parameters
    ----------
    where
        What chose it in the settings, for the error.

    Raises
    ------
    SetupError
        ``settings.unknown-profile``; ``settings.nothing-to-send`` where no object would carry the suggestion.
    """
    if name not in PROFILES:
        raise SetupError(
            "settings.unknown-profile",
            f"found {where} profile = {name!r}, expected one of {', '.join(PROFILES)}; correct the settings",
        )
    profile = replace(PROFILES[name], text_companion=text_companion, key_image=key_image, notice=notice)
    if not (profile.measurement_report or profile.text_companion):
        raise SetupError(
            "settings.nothing-to-send",
            f"{where} profile {name!r} has no measurement report, and text_companion is false there: no "
            "suggestion would be sent; set one of them",
        )
    return profile


def profiles_of(forms: Set[tuple[str, str]]) -> tuple[Profile, ...]:
    """The profiles that are named in pairs of profile and role, each with the objects that are.

    Examples
    --------
    >>> (one,) = profiles_of({("ohif", "sr"), ("ohif", "text")})
    >>> one.name, one.text_companion, one.notice
    ('ohif', True, False)
    """
    return tuple(
        replace(
            profile,
            text_companion=(name, "text") in forms,
            key_image=(name, "key-image") in forms,
            notice=(name, "notice") in forms,
        )
        for name, profile in PROFILES.items()
        if any(named == name for named, _ in forms)
    )


def forms_of(profiles: Iterable[Profile]) -> frozenset[tuple[str, str]]:
    """The pairs of profile and role that profiles make where there is cause."""
    return frozenset(
        (profile.name, role)
        for profile in profiles
        for role, made in (
            ("sr", True),
            ("text", profile.text_companion),
            ("key-image", profile.key_image),
            ("notice", profile.notice),
        )
        if made
    )
