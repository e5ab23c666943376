"""What is written for a destination, as data: one finding, in the form its viewer really shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from osteoscribe.core import codes
from osteoscribe.core.codes import Code
from osteoscribe.errors import SetupError
from osteoscribe.writers.document import COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR

OHIF_TRACKING_IDENTIFIER = "Cornerstone3DTools@^0.1.0:PlanarFreehandROI"
"""The Tracking Identifier by which OHIF takes a region as one of its own, to edit it."""


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
    tracking_identifier
        Instead of the lesion's name, or empty.
    """

    name: str
    measurement_report: bool = True
    text_companion: bool = True
    notice: bool = True
    key_image: bool = False
    sop_class_uid: str = COMPREHENSIVE_3D_SR
    phrase_code: Code = codes.PHRASE
    recommendation_code: Code = codes.RECOMMENDATION_TEXT
    tracking_identifier: str = ""

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
            Profile(name="ohif", tracking_identifier=OHIF_TRACKING_IDENTIFIER),
            Profile(name="text-only", measurement_report=False),
            Profile(name="comprehensive", sop_class_uid=COMPREHENSIVE_SR),
            Profile(name="dictation", phrase_code=codes.CONCLUSION, recommendation_code=codes.RECOMMENDATION),
        )
    }
)
"""The profiles by the name that settings use."""


def chosen_profile(name: str, *, text_companion: bool, key_image: bool, notice: bool) -> Profile:
    """The profile of a name, with the objects beside the measurement report switched on or off.

    Raises
    ------
    SetupError
        ``settings.unknown-profile``; ``settings.nothing-to-send`` where no object would carry the suggestion.
    """
    if name not in PROFILES:
        raise SetupError(
            "settings.unknown-profile",
            f"found practice.profile = {name!r}, expected one of {', '.join(PROFILES)}; correct the settings",
        )
    profile = replace(PROFILES[name], text_companion=text_companion, key_image=key_image, notice=notice)
    if not (profile.measurement_report or profile.text_companion):
        raise SetupError(
            "settings.nothing-to-send",
            f"practice.profile {name!r} has no measurement report and practice.text_companion is false: no "
            "suggestion would be sent; set one of them",
        )
    return profile
