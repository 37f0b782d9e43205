from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.artifact_destination import ArtifactDestination
from ..types import UNSET, Unset

T = TypeVar("T", bound="ArtifactView")


@_attrs_define
class ArtifactView:
    """A file that a step has left behind.

    Attributes:
        bytes_ (int):
        name (str): Its path below the workspace. Values of secrets are taken out of it.
        to (ArtifactDestination): Where an artifact goes.

            - `project`: To the project's outputs, unless its worker keeps those to itself.

            - `local`: To the host of its worker alone.
        contains_secret (list[str] | Unset): The names of the secrets whose values are in it.
        sha256 (str | Unset): SHA-256 of content, in lower-case hexadecimal digits.
        url (str | Unset): Where it is got by `GET`, if it is among the project's outputs.
        withheld (bool | Unset): Whether it has stayed in the sandbox, and so ended with it.
    """

    bytes_: int
    name: str
    to: ArtifactDestination
    contains_secret: list[str] | Unset = UNSET
    sha256: str | Unset = UNSET
    url: str | Unset = UNSET
    withheld: bool | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        bytes_ = self.bytes_

        name = self.name

        to = self.to.value

        contains_secret: list[str] | Unset = UNSET
        if not isinstance(self.contains_secret, Unset):
            contains_secret = self.contains_secret

        sha256 = self.sha256

        url = self.url

        withheld = self.withheld

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "bytes": bytes_,
                "name": name,
                "to": to,
            }
        )
        if contains_secret is not UNSET:
            field_dict["contains_secret"] = contains_secret
        if sha256 is not UNSET:
            field_dict["sha256"] = sha256
        if url is not UNSET:
            field_dict["url"] = url
        if withheld is not UNSET:
            field_dict["withheld"] = withheld

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        bytes_ = d.pop("bytes")

        name = d.pop("name")

        to = ArtifactDestination(d.pop("to"))

        contains_secret = cast(list[str], d.pop("contains_secret", UNSET))

        sha256 = d.pop("sha256", UNSET)

        url = d.pop("url", UNSET)

        withheld = d.pop("withheld", UNSET)

        artifact_view = cls(
            bytes_=bytes_,
            name=name,
            to=to,
            contains_secret=contains_secret,
            sha256=sha256,
            url=url,
            withheld=withheld,
        )

        artifact_view.additional_properties = d
        return artifact_view

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
