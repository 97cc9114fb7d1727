"""JSON Schema of what administrators write and read, made of the very classes that it is read into.

The text of a key is what its class says of it. What is asked for by which route is not known here.
"""

from __future__ import annotations

import datetime
import enum
import inspect
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from ..config._forms import keptOf
from ..config.codec import unstructure
from ..config.document import NAME_PATTERN, SECTIONS, Component, Mount, Secret, Settings
from ..config.written import SECTION_ORDER

Schema = dict[str, Any]
Kinds = Mapping[str, Mapping[str, type]]

LARGEST = 2**63 - 1
NAME: Schema = {"type": "string", "pattern": f"^{NAME_PATTERN.pattern}$"}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def mapping(
    properties: Mapping[str, Any], required: Iterable[str] | None = None, text: str = "", others: bool = False
) -> Schema:
    """An object.

    :param required: the keys that are always there; all of them unless said.
    :param others: whether it may have more keys.
    """
    always = list(properties if required is None else required)
    return {
        "type": "object",
        **({"description": text} if text else {}),
        "properties": dict(properties),
        **({"required": always} if always else {}),
        "additionalProperties": others,
    }


def listOf(item: Mapping[str, Any]) -> Schema:
    return {"type": "array", "items": dict(item)}


def orNull(schema: Mapping[str, Any]) -> Schema:
    kind = schema.get("type")
    if isinstance(kind, str) and "enum" not in schema:
        return {**schema, "type": [kind, "null"]}
    return {"anyOf": [dict(schema), {"type": "null"}]}


# --- from classes


def schemaOf(hint: Any) -> Schema:
    """What a value of this type is in JSON, as administrators write it."""
    simple: dict[Any, Schema] = {
        str: {"type": "string"},
        bool: {"type": "boolean"},
        int: {"type": "integer", "minimum": -LARGEST, "maximum": LARGEST},
        float: {"type": "number", "minimum": -LARGEST, "maximum": LARGEST},
        datetime.datetime: {"type": "string", "format": "date-time"},
        Secret: mapping({"secret": {"type": "string", "minLength": 1, "description": "In PEM."}}),
        types.NoneType: {"type": "null"},
        Any: {},
    }
    if hint in simple:
        return dict(simple[hint])
    if hint is Mount:
        return ref("Mount")
    origin = get_origin(hint) or hint
    if isinstance(origin, type) and issubclass(origin, enum.Enum):
        return {"type": "string", "enum": [each.value for each in origin]}
    if attrs.has(origin):
        return classSchema(origin)
    return _compound(hint, origin)


def _compound(hint: Any, origin: Any) -> Schema:
    if origin is Literal:
        return {"type": "string", "enum": list(get_args(hint))}
    if origin in {types.UnionType, Union}:
        members = [schemaOf(each) for each in get_args(hint) if each is not types.NoneType]
        schema = members[0] if len(members) == 1 else {"anyOf": members}
        return orNull(schema) if types.NoneType in get_args(hint) else schema
    if isinstance(origin, type) and issubclass(origin, Mapping):
        inner = (get_args(hint) or (str, Any))[1]
        return {"type": "object", "additionalProperties": schemaOf(inner) or True}
    return listOf(schemaOf(next(iter(get_args(hint)), Any)))


def classSchema(cls: type, names: Sequence[str] | None = None, others: bool = False) -> Schema:
    """An object with the attributes of ``cls``.

    :param names: the attributes; all but ``extra`` unless said.
    """
    hints, texts, fields = get_type_hints(cls), attributeTexts(cls), attrs.fields_dict(cls)
    wanted = names if names is not None else [name for name in fields if name != "extra"]
    properties = {}
    for name in wanted:
        schema = schemaOf(hints[name])
        told = {"description": texts[name]} if name in texts else {}
        # Beside a reference nothing else is heeded by all.
        properties[name] = schema if "$ref" in schema else {**schema, **told, **_default(fields[name])}
    required = [name for name in wanted if fields[name].default is attrs.NOTHING]
    return mapping(properties, required, firstParagraph(cls), others)


def _default(attribute: Any) -> Schema:
    if attribute.default is attrs.NOTHING:
        return {}
    factory = getattr(attribute.default, "factory", None)
    return {"default": unstructure(factory() if factory else attribute.default)}


def firstParagraph(thing: Any) -> str:
    first = (inspect.getdoc(thing) or "").partition("\n\n")[0]
    return "" if first.startswith((":", f"{getattr(thing, '__name__', '')}(")) else plain(first)


def attributeTexts(cls: type) -> dict[str, str]:
    """What ``:ivar name:`` says, by name, of a class and those it inherits from."""
    found: dict[str, str] = {}
    for each in cls.__mro__:
        text = inspect.cleandoc(each.__dict__.get("__doc__") or "")
        for name, said in re.findall(r":ivar (\w+):((?:.*\n?(?!\s*:ivar|\s*:param|\s*\n))*.*)", text):
            found.setdefault(name, plain(said))
    return found


def plain(text: str | None) -> str:
    """reStructuredText of docstrings as Markdown, within a line."""
    text = re.sub(r":(?:rfc):`(\d+)`", r"RFC \1", text or "")
    text = re.sub(r":[a-z:]+:`~?(?:[^`<]*\.)?([^`<.]+)`", r"`\1`", text)
    return " ".join(text.replace("``", "`").split())


# --- objects of the document


def documentSchemas(kinds: Kinds) -> dict[str, Schema]:
    """How the document and each of its objects are read (``User``), written (``UserWritten``), changed (``UserPatch``)
    and listed (``UserPage``)."""
    settings = classSchema(Settings, [name for name in attrs.fields_dict(Settings) if name != "extra"])
    every = {**settings, "required": list(settings["properties"])}
    found: dict[str, Schema] = {"Mount": classSchema(Mount), "Settings": _settings(), "SettingsShown": every}
    for section in SECTION_ORDER:
        cls = SECTIONS[section].valueClass
        written = _written(section, cls, kinds)
        found[cls.__name__] = _read(cls)
        found[f"{cls.__name__}Written"] = written
        found[f"{cls.__name__}Patch"] = _patch(cls)
        found[f"{cls.__name__}Page"] = page(ref(cls.__name__))
    sections = {one: listOf(ref(f"{SECTIONS[one].valueClass.__name__}Written")) for one in SECTION_ORDER}
    text = "The configuration of the whole cluster. What is absent stays as it is."
    found["Document"] = mapping({"settings": ref("Settings"), **sections}, (), text)
    return found


def page(item: Schema, **more: Schema) -> Schema:
    """A page of a list."""
    following = {"type": ["string", "null"], "description": "To go on after; null where there is nothing more."}
    total = {"type": "integer", "description": "How many there are in all."}
    return mapping({"items": listOf(item), "next": following, "total": total, **more})


def _settings() -> Schema:
    names = [name for name in attrs.fields_dict(Settings) if name not in {"revision", "extra"}]
    schema = classSchema(Settings, names)
    return {**schema, "properties": {key: orNull(one) for key, one in schema["properties"].items()}}


def writtenNames(cls: type) -> list[str]:
    return [name for name in attrs.fields_dict(cls) if name not in keptOf(cls) and name != "options"]


def _written(section: str, cls: type, kinds: Kinds) -> Schema:
    schema = _base(cls)
    if not issubclass(cls, Component):
        return schema
    return {"anyOf": [_ofKind(schema, kind, options) for kind, options in sorted(kinds.get(section, {}).items())]}


def _base(cls: type) -> Schema:
    schema = classSchema(cls, writtenNames(cls))
    properties = {**schema["properties"], "name": NAME}
    if "passwordHash" in properties:
        hidden = {"type": "string", "description": "Argon2id, bcrypt or `$6$` in their usual text forms."}
        clear = {"type": "string", "minLength": 1, "maxLength": 1024, "description": "In the clear; hashed at once."}
        properties |= {"passwordHash": hidden, "password": clear}
    revision = {"type": "integer", "minimum": 0, "description": "A condition: the one that it must still have."}
    # A key that is not written stays; and where the name stands in the path it needs not be written.
    required = [name for name in schema.get("required", ()) if name not in {"name", "key"}]
    return mapping({**properties, "revision": revision}, required, schema.get("description", ""))


def _ofKind(schema: Schema, kind: str, options: type) -> Schema:
    own = classSchema(options)
    properties = {**schema["properties"], **own["properties"], "kind": {"const": kind}}
    required = [*schema.get("required", ()), *own.get("required", ())]
    return mapping(properties, required, firstParagraph(options))


def _patch(cls: type) -> Schema:
    schema = _nullable(_base(cls))
    revision = _base(cls)["properties"]["revision"]
    return {
        **schema,
        "properties": {**schema["properties"], "revision": revision},
        "additionalProperties": issubclass(cls, Component),
    }


def _nullable(schema: Schema) -> Schema:
    """An object of which any part may be left out, and null gives a key back its default."""
    properties = {
        key: orNull(_nullable(one)) if one.get("properties") else one if "$ref" in one else orNull(one)
        for key, one in schema["properties"].items()
    }
    return {**{key: one for key, one in schema.items() if key != "required"}, "properties": properties}


def _read(cls: type) -> Schema:
    hidden = {"passwordHash", "key"}
    names = [name for name in writtenNames(cls) if name not in hidden]
    schema = classSchema(cls, names)
    revision = {"type": "integer", "description": "The revision of its last change; its `ETag`."}
    properties = {**schema["properties"], "revision": revision}
    return mapping(properties, properties, schema.get("description", ""), others=issubclass(cls, Component))
