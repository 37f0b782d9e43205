from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

from ..models.artifact_destination import ArtifactDestination
from ..models.on_secret import OnSecret
from ..types import UNSET, Unset

T = TypeVar("T", bound="ClaimArtifactsItemType1")


@_attrs_define
class ClaimArtifactsItemType1:
    """
    Attributes:
        path (str):
        on_secret (OnSecret | Unset): What becomes of a file in which a value of the step's secrets is found.

            - `withhold`: It stays in the sandbox, and ends with it.

            - `tell`: It is taken as it is, and the trail says so.
        to (ArtifactDestination | Unset): Where an artifact goes.

            - `project`: To the project's outputs, unless its worker keeps those to itself.

            - `local`: To the host of its worker alone.
    """

    path: str
    on_secret: OnSecret | Unset = UNSET
    to: ArtifactDestination | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        path = self.path

        on_secret: str | Unset = UNSET
        if not isinstance(self.on_secret, Unset):
            on_secret = self.on_secret.value

        to: str | Unset = UNSET
        if not isinstance(self.to, Unset):
            to = self.to.value

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "path": path,
            }
        )
        if on_secret is not UNSET:
            field_dict["on_secret"] = on_secret
        if to is not UNSET:
            field_dict["to"] = to

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        path = d.pop("path")

        _on_secret = d.pop("on_secret", UNSET)
        on_secret: OnSecret | Unset
        if isinstance(_on_secret, Unset):
            on_secret = UNSET
        else:
            on_secret = OnSecret(_on_secret)

        _to = d.pop("to", UNSET)
        to: ArtifactDestination | Unset
        if isinstance(_to, Unset):
            to = UNSET
        else:
            to = ArtifactDestination(_to)

        claim_artifacts_item_type_1 = cls(
            path=path,
            on_secret=on_secret,
            to=to,
        )

        return claim_artifacts_item_type_1
