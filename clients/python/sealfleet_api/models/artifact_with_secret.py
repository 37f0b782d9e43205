from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

T = TypeVar("T", bound="ArtifactWithSecret")


@_attrs_define
class ArtifactWithSecret:
    """A file of a step in which values of its secrets were found.

    Attributes:
        keys (list[str]): The environment variables that hold the secrets.
        name (str):
        withheld (bool): Whether it has stayed in the sandbox.
    """

    keys: list[str]
    name: str
    withheld: bool

    def to_dict(self) -> dict[str, Any]:
        keys = self.keys

        name = self.name

        withheld = self.withheld

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "keys": keys,
                "name": name,
                "withheld": withheld,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        keys = cast(list[str], d.pop("keys"))

        name = d.pop("name")

        withheld = d.pop("withheld")

        artifact_with_secret = cls(
            keys=keys,
            name=name,
            withheld=withheld,
        )

        return artifact_with_secret
