"""The format of a policy file, made from the dataclasses that the watch runs on; its JSON schema for editors. Pure."""

from __future__ import annotations

import typing
from functools import cache
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from stream.detectors.behaviour import ChangePolicy
from stream.detectors.limits import Rule
from stream.detectors.policy import WatchPolicy
from stream.detectors.registry import SECTIONS, Section
from stream.policy_file.shape import hints, model_of, shape_of, stated
from stream.policy_file.staffed import Staffed
from stream.watch.plan import Plan
from vitals.catalogue import METRICS

MAX_BYTES: Final = 1 << 20
MAX_LINE: Final = 4_000
MAX_DEPTH: Final = 8
MAX_VERSION: Final = 999_999
MAX_WARDS: Final = 256
MAX_PATIENTS: Final = 5_000
MAX_MEMBERS: Final = 10_000
MAX_RULES: Final = 256
SCHEMA_URL: Final = "https://json-schema.org/draft/2020-12/schema"

RULES: Final[dict[str, type[Any]]] = {
    f"{one.__name__.removesuffix('Rule').lower()}s": one for one in typing.get_args(Rule)
}
"""The sections of rules, by the name of their class: `[limits.NAME.METRIC]`, `[signals.NAME.METRIC]`."""
OF_PATH: Final = frozenset({"name", "metric", "version", "individualised"})
"""What a rule has from where it stands, or from the code: no key."""
_ENGINE: Final = frozenset({"label", "version", "rules", "limits", "technical", "detectors", "staffed", "ceiling"})
"""What is no key of `[engine]`; `ceiling`: what a device may raise at most is said by the registry."""

Word = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
Ident = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]
Label = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,40}$")]
_METRIC: Any = Literal[tuple(one.code for one in METRICS)]
_STRICT: Final = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_ENABLED: Final = (("enabled", bool),)


def engine_fields(cls: type[Any]) -> dict[str, Any]:
    """Return the keys of `[engine]` that go to WatchPolicy or to Plan, with their types; some go to both."""
    return {one.name: hints(cls)[one.name] for one in stated(cls, _ENGINE)}


@cache
def rule_model(section: str) -> type[BaseModel]:
    """Return the model of one rule."""
    return model_of(RULES[section], OF_PATH, _ENABLED)


@cache
def _engine_model() -> type[BaseModel]:
    parts = [model_of(cls, _ENGINE) for cls in (WatchPolicy, Plan)]
    told: dict[str, Any] = {name: (one.annotation, one) for part in parts for name, one in part.model_fields.items()}
    return create_model(
        "Engine", __config__=_STRICT, __doc__="How patient the watch is, and how often it looks.", **told
    )


@cache
def layer_fields(sections: tuple[Section, ...]) -> dict[str, Any]:
    """Return the keys that deployment, ward and patient have in common."""
    detectors: dict[str, Any] = {one.name: (model_of(one.policy, also=_ENABLED), None) for one in sections}
    doc = "Every detector beside the limits; `enabled = false` takes one out."
    rules: dict[str, Any] = {
        name: (dict[Word, dict[_METRIC, rule_model(name)]], Field(None, max_length=MAX_RULES))  # type: ignore[misc]
        for name in RULES
    }
    return rules | {
        "detectors": (create_model("Detectors", __config__=_STRICT, __doc__=doc, **detectors), None),
        "engine": (_engine_model(), None),
        "staffed": (shape_of(Staffed), None),
        "review": (shape_of(ChangePolicy), None),
    }


@cache
def root_model(sections: tuple[Section, ...] = SECTIONS) -> type[BaseModel]:
    """Return the model of a whole file."""
    layer = layer_fields(sections)
    patient = create_model("Patient", __config__=_STRICT, __doc__="Overrides of one person.", **layer)
    members: Any = (Annotated[list[Ident], Field(max_length=MAX_MEMBERS)], ...)
    ward = create_model("Ward", __config__=_STRICT, __doc__="Overrides of a group.", members=members, **layer)
    whole: dict[str, Any] = {
        "version": (Annotated[int, Field(ge=1, le=MAX_VERSION)], ...),
        "label": (Label, ...),
        **layer,
        "ward": (dict[Ident, ward], Field(None, max_length=MAX_WARDS)),
        "patient": (dict[Ident, patient], Field(None, max_length=MAX_PATIENTS)),
    }
    return create_model("Policy", __config__=_STRICT, __doc__="A policy of Vigil: docs/policies.md.", **whole)


def json_schema(sections: tuple[Section, ...] = SECTIONS) -> dict[str, Any]:
    """Return the JSON schema, for editors (taplo: `#:schema policy.schema.json` in the first line)."""
    schema = root_model(sections).model_json_schema()
    return {"$schema": SCHEMA_URL, **_without_null(schema)}


def _without_null(schema: Any) -> Any:
    """Leave out `"default": null`: TOML has no null, a key that is left out has the default of the layer below."""
    if isinstance(schema, dict):
        return {key: _without_null(one) for key, one in schema.items() if not (key == "default" and one is None)}
    return [_without_null(one) for one in schema] if isinstance(schema, list) else schema
