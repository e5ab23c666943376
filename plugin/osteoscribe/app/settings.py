"""Settings of a site: frozen dataclasses, parsed from one TOML file.

Each is explained in ``config/osteoscribe.toml``.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from osteoscribe.errors import SetupError

_AE_TITLE = re.compile(r"[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?")
_ADDRESS = re.compile(r"(?P<ae>[^@]+)@(?P<host>[^@]+):(?P<port>[0-9]{1,5})")
_URL = re.compile(r"https?://[^\s/?#@]+(?:/[^\s?#@]*)?")
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_OBJECTS_URL = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[A-Za-z0-9._/-]*)?")
_NAME = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?")


Form = tuple[str, str]
"""Profile and role (``sr``, ``text``, ``key-image``, ``notice``) of an object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secured:
    """How a connection to one place is secured (PS3.15 B.12).

    Parameters
    ----------
    tls
        Whether DIMSE goes over TLS; a URL says so itself.
    ca_file
        Certificates (PEM) that sign the other side's; empty: those that this machine trusts.
    tls_certificate, tls_key
        Files (PEM) of the certificate that is shown to the other side, and of its key; empty: none is shown,
        and the key stands with the certificate.
    check_host_name
        Whether the other side's certificate must be made out to its host.
    """

    tls: bool = False
    ca_file: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    check_host_name: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered(Secured):
    """What is sent to one place, and what is asked of it.

    Parameters
    ----------
    name
        What the place is called in ledger, logs and faces; empty: its address.
    profile
        Form of the reports; empty: the practice's.
    text_companion, key_image, notice
        Objects beside the measurement report; None: as the practice has it.
    ask_commitment
        Whether it is asked to take over the safekeeping (PS3.4 J); None: as for all deliveries.
    prove_by_query
        Whether it is asked afterwards if it really has the objects.
    """

    name: str = ""
    profile: str = ""
    text_companion: bool | None = None
    key_image: bool | None = None
    notice: bool | None = None
    ask_commitment: bool | None = None
    prove_by_query: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination(Delivered):
    """Where reports are sent: an application entity and its address, or the URL of a STOW-RS service.

    Parameters
    ----------
    ae_title, host, port
        Of a C-STORE destination.
    url, token_file
        Base URL of a DICOMweb service (PS3.18), and the file of its bearer token.
    senders
        Calling AE titles whose marks are reported here; empty: all.
    """

    ae_title: str = ""
    host: str = ""
    port: int = 0
    url: str = ""
    token_file: str = ""
    senders: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.address)

    @property
    def address(self) -> str:
        """``AE@HOST:PORT``, or the URL."""
        return self.url or f"{self.ae_title}@{self.host}:{self.port}"

    def __str__(self) -> str:
        return self.name

    @property
    def forms(self) -> frozenset[Form]:
        """What goes here, of a destination that `Settings` completed."""
        wanted = {
            "sr": True,
            "text": self.text_companion,
            "key-image": self.key_image,
            "notice": self.notice,
        }
        return frozenset((self.profile, role) for role, sent in wanted.items() if sent)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """How the node is called and where it listens."""

    name: str = ""
    dead_after_s: float = 20.0
    ae_title: str = "OSTEOSCRIBE"
    host: str = "127.0.0.1"
    port: int = 11112
    check_called_ae: bool = False
    allowed_calling_aes: tuple[str, ...] = ()
    allowed_addresses: tuple[str, ...] = ()
    max_associations: int = 32
    receivers: int = 2
    idle_timeout_s: float = 60.0
    largest_object_mb: float = 4096.0
    health_port: int = 0
    fast_receive: bool = True
    tls_certificate: str = ""
    tls_key: str = ""
    tls_ca: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where received instances and the ledger are kept."""

    folder: Path = Path("data")
    shared_folder: str = ""
    objects_url: str = ""
    objects_endpoint_url: str = ""
    keep_days: float = 0.0
    keep_below_mb: float = 0.0
    ledger_url: str = ""
    reserve_mb: float = 1024.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings:
    """When a job begins and how many run at a time."""

    quiet_s: float = 1.0
    quiet_after_release_s: float = 0.0
    give_up_after_s: float = 900.0
    workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """Whether reports go back to the sender, and how often it is tried."""

    back_to_sender: bool = True
    timeout_s: float = 30.0
    keep_association_s: float = 5.0
    first_pause_s: float = 5.0
    longest_pause_s: float = 600.0
    give_up_after_h: float = 168.0
    refusals: int = 5
    ask_commitment: bool = False
    commitment_wait_h: float = 24.0
    commitment_asks: int = 3
    proof_wait_h: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSettings(Delivered):
    """A sender whose address is known, so that reports can go back to it."""

    ae_title: str
    host: str
    port: int

    def as_destination(self) -> Destination:
        """Where reports go that go back to it."""
        same = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return Destination(**same, senders=(self.ae_title,))


@dataclass(frozen=True, slots=True, kw_only=True)
class PracticeSettings:
    """What a site decides about marks, rules and words; an empty path takes the file that comes with us."""

    rule_table: str = ""
    labels: str = ""
    site_in_phrase: bool = False
    profile: str = "standard"
    text_companion: bool = True
    key_image: bool = False
    notice: bool = True
    language: str = "en"
    reference_panel: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of a node."""

    node: NodeSettings = field(default_factory=NodeSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    jobs: JobSettings = field(default_factory=JobSettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    practice: PracticeSettings = field(default_factory=PracticeSettings)
    destination: tuple[Destination, ...] = ()
    peer: tuple[PeerSettings, ...] = ()

    def destinations_for(self, calling_ae: str) -> tuple[Destination, ...]:
        """Where reports on marks of this sender go: the configured places, else back to the sender.

        What they leave to the practice is filled in.
        """
        chosen = [one for one in self.destination if not one.senders or calling_ae in one.senders]
        if not chosen and self.delivery.back_to_sender:
            chosen = [peer.as_destination() for peer in self.peer if peer.ae_title == calling_ae]
        return tuple(self._completed(one) for one in chosen)

    def destination_named(self, name: str) -> Destination:
        """The destination of a name, as `destinations_for` gives it.

        Raises
        ------
        SetupError
            ``delivery.unknown-destination``: the settings name it no longer.
        """
        for one in (*self.destination, *(peer.as_destination() for peer in self.peer)):
            if one.name == name:
                return self._completed(one)
        raise SetupError(
            "delivery.unknown-destination",
            f"found no destination {name!r} in the settings; add it again, or run osteoscribe jobs resend to "
            "send to those that are there now",
        )

    def peer_named(self, ae_title: str) -> Destination:
        """The address of a peer.

        Raises
        ------
        SetupError
            ``safekeeping.unknown-peer``: the settings name it no longer.
        """
        for peer in self.peer:
            if peer.ae_title == ae_title:
                return peer.as_destination()
        raise SetupError("safekeeping.unknown-peer", f"found no [[peer]] {ae_title!r}; add it again")

    def _completed(self, destination: Destination) -> Destination:
        practice = self.practice

        def chosen(value: bool | None, default: bool) -> bool:
            return default if value is None else value

        return dataclasses.replace(
            destination,
            profile=destination.profile or practice.profile,
            text_companion=chosen(destination.text_companion, practice.text_companion),
            key_image=chosen(destination.key_image, practice.key_image),
            notice=chosen(destination.notice, practice.notice),
            ask_commitment=chosen(destination.ask_commitment, self.delivery.ask_commitment),
        )


def load_settings(path: Path) -> Settings:
    """Read the settings of a TOML file.

    Raises
    ------
    SetupError
        ``settings.unreadable``, ``settings.unknown-key``, ``settings.wrong-value``.
    """
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SetupError(
            "settings.unreadable", f"found no readable settings file (error {error.errno}); check --config"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError("settings.unreadable", f"found settings that are no TOML: {error}") from error
    return parse_settings(plain)


def parse_settings(plain: Mapping[str, Any]) -> Settings:
    """Make settings of plain data, as a TOML file gives it.

    Raises
    ------
    SetupError
        ``settings.unknown-key`` names the nearest known key; ``settings.wrong-value`` what was expected.

    Examples
    --------
    >>> parse_settings({"node": {"port": 104}}).node.port
    104
    """
    settings: Settings = _parse(Settings, plain, "")
    check_settings(settings)
    return settings


def parse_destination(text: str) -> Destination:
    """Destination of ``AE@HOST:PORT``.

    Raises
    ------
    SetupError
        ``settings.wrong-value``.

    Examples
    --------
    >>> parse_destination("PACS@10.0.0.5:104").port
    104
    """
    parts = _ADDRESS.fullmatch(text.strip())
    if parts is None or not 0 < int(parts["port"]) < 65536:
        raise SetupError("settings.wrong-value", f"found destination {text!r}, expected AE@HOST:PORT")
    _check_ae_title(parts["ae"], "destination")
    return Destination(ae_title=parts["ae"], host=parts["host"].strip("[]"), port=int(parts["port"]))


def _parse(kind: type[Any], plain: object, where: str) -> Any:
    if not isinstance(plain, Mapping):
        raise _wrong(where, plain, "a table")
    hints = get_type_hints(kind)
    for key in plain:
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, n=1, cutoff=0.0)
            raise SetupError(
                "settings.unknown-key",
                f"found unknown key {_join(where, str(key))!r}; the nearest known key is "
                f"{_join(where, near[0])!r}; correct or remove it",
            )
    for known in dataclasses.fields(kind):
        required = known.default is dataclasses.MISSING and known.default_factory is dataclasses.MISSING
        if required and known.name not in plain:
            raise SetupError("settings.wrong-value", f"found no {_join(where, known.name)!r}; add it")
    return kind(**{key: _value(hints[key], value, _join(where, key)) for key, value in plain.items()})


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _wrong(where: str, value: object, expected: str) -> SetupError:
    return SetupError("settings.wrong-value", f"found {value!r} for {where!r}, expected {expected}")


def _value(hint: Any, value: object, where: str) -> Any:
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise _wrong(where, value, "a list")
        return tuple(_value(get_args(hint)[0], one, f"{where}[{n}]") for n, one in enumerate(value))
    if get_origin(hint) is types.UnionType:
        (hint,) = (one for one in get_args(hint) if one is not types.NoneType)
    if dataclasses.is_dataclass(hint):
        return _parse(hint, value, where)  # type: ignore[arg-type]
    if hint is Path:
        return Path(_plain(str, value, where))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _plain(hint, value, where)


_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def _plain(hint: type[Any], value: object, where: str) -> Any:
    if type(value) is not hint:
        raise _wrong(where, value, _NAMES[hint])
    return value


def check_settings(settings: Settings) -> None:
    """Refuse values that have the right type but cannot be meant.

    Raises
    ------
    SetupError
        ``settings.wrong-value``.
    """
    _check_ae_title(settings.node.ae_title, "node.ae_title")
    for number, peer in enumerate(settings.peer):
        _check_address(peer.as_destination(), f"peer[{number}]")
        _check_secured(peer, peer.tls, f"peer[{number}]")
    for number, one in enumerate(settings.destination):
        _check_destination(one, f"destination[{number}]")
    _check_names(settings)
    _check_range(settings.node.port, 0, 65535, "node.port")
    if (settings.node.tls_key or settings.node.tls_ca) and not settings.node.tls_certificate:
        raise _wrong("node.tls_certificate", "", "a file, where node.tls_key or node.tls_ca is set")
    _check_range(settings.node.health_port, 0, 65535, "node.health_port")
    _check_range(settings.node.max_associations, 1, 1000, "node.max_associations")
    _check_range(settings.node.receivers, 1, 16, "node.receivers")
    _check_range(settings.jobs.workers, 1, 64, "jobs.workers")
    _check_store(settings.store)
    for section in (settings.node, settings.store, settings.jobs, settings.delivery):
        for name in (one.name for one in dataclasses.fields(section)):
            value = getattr(section, name)
            if isinstance(value, float) and not 0 <= value < 1e9:
                raise _wrong(name, value, "a number from 0 to 1e9")


def _check_destination(one: Destination, where: str) -> None:
    node = bool(one.ae_title or one.host or one.port)
    if node == bool(one.url):
        found = "both" if node else "neither"
        raise SetupError(
            "settings.wrong-value",
            f"found {found} of ae_title, host and port, and url in {where!r}, expected either; correct it",
        )
    for ae_title in one.senders:
        _check_ae_title(ae_title, f"{where}.senders")
    if node:
        _check_address(one, where)
        if one.token_file:
            raise _wrong(f"{where}.token_file", one.token_file, "none without an url")
    else:
        _check_url(one, where)
        if one.tls:
            raise _wrong(f"{where}.tls", one.tls, "none with an url, which says it by https://")
    _check_secured(one, one.tls or one.url.startswith("https:"), where)
    if not _NAME.fullmatch(one.name):
        raise _wrong(f"{where}.name", one.name, "1 to 128 printable characters")


def _check_secured(one: Secured, is_secured: bool, where: str) -> None:
    """Nobody is to believe a connection secured that is not."""
    if not is_secured:
        for key in ("ca_file", "tls_certificate", "tls_key"):
            if getattr(one, key):
                raise _wrong(f"{where}.{key}", getattr(one, key), "none without tls = true or https://")
    if one.tls_key and not one.tls_certificate:
        raise _wrong(f"{where}.tls_certificate", "", "a file, where tls_key is set")
    if not (one.check_host_name or one.ca_file):
        # Any certificate that anybody can buy would do.
        raise _wrong(f"{where}.check_host_name", False, "true, or a ca_file of the authority to trust")


def _check_url(one: Destination, where: str) -> None:
    expected = "http(s)://HOST:PORT/PATH without user, query and fragment"
    if not _URL.fullmatch(one.url):
        raise _wrong(f"{where}.url", one.url, expected)
    parts = urlsplit(one.url)
    try:
        port_is_usable = parts.port is None or parts.port > 0
    except ValueError:
        port_is_usable = False
    if not port_is_usable or not parts.hostname:
        raise _wrong(f"{where}.url", one.url, expected)
    if one.token_file and parts.scheme == "http" and parts.hostname not in _THIS_MACHINE:
        raise _wrong(f"{where}.url", one.url, "https://, for the token of token_file is sent there")


def _check_address(one: Destination, where: str) -> None:
    _check_ae_title(one.ae_title, f"{where}.ae_title")
    if not one.host or any(character.isspace() for character in one.host):
        raise _wrong(f"{where}.host", one.host, "a host name or address")
    _check_range(one.port, 1, 65535, f"{where}.port")
    if not _NAME.fullmatch(one.name):
        raise _wrong(f"{where}.name", one.name, "1 to 128 printable characters")


def _check_names(settings: Settings) -> None:
    """One name, one place: a delivery is found by it. A peer may be a destination too, under one name."""
    addresses: dict[str, str] = {}
    for places in (settings.destination, [peer.as_destination() for peer in settings.peer]):
        seen = set()
        for one in places:
            if one.name in seen or addresses.setdefault(one.name, one.address) != one.address:
                raise SetupError(
                    "settings.wrong-value",
                    f"found the name {one.name!r} twice among destinations and peers; give each its own",
                )
            seen.add(one.name)


def _check_store(store: StoreSettings) -> None:
    if store.objects_url and not _OBJECTS_URL.fullmatch(store.objects_url):
        raise _wrong("store.objects_url", store.objects_url, "s3://BUCKET or s3://BUCKET/PREFIX")
    if store.objects_endpoint_url and not _URL.fullmatch(store.objects_endpoint_url):
        raise _wrong("store.objects_endpoint_url", store.objects_endpoint_url, "http(s)://HOST without user")
    if store.objects_url and store.shared_folder:
        raise _wrong("store.objects_url", store.objects_url, "either it or store.shared_folder")


def _check_range(value: int, lowest: int, highest: int, where: str) -> None:
    if not lowest <= value <= highest:
        raise _wrong(where, value, f"a number from {lowest} to {highest}")


def _check_ae_title(text: str, where: str) -> None:
    if not _AE_TITLE.fullmatch(text):
        raise _wrong(where, text, "an AE title: 1 to 16 printable characters without backslash")
