from __future__ import annotations

from collections.abc import Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.artifact_with_secret import ArtifactWithSecret


T = TypeVar("T", bound="EventArtifactContainsSecret")


@_attrs_define
class EventArtifactContainsSecret:
    """Files that a step has left hold values of secrets.

    Attributes:
        fence (int): The number of a claim. Only the newest claim of a step counts.
        files (list[ArtifactWithSecret]):
        step_id (str): The id of a step, unique in its run.
        type_ (Literal['artifact.contains_secret']):
    """

    fence: int
    files: list[ArtifactWithSecret]
    step_id: str
    type_: Literal["artifact.contains_secret"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        fence = self.fence

        files = []
        for files_item_data in self.files:
            files_item = files_item_data.to_dict()
            files.append(files_item)

        step_id = self.step_id

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "fence": fence,
                "files": files,
                "step_id": step_id,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.artifact_with_secret import ArtifactWithSecret

        d = dict(src_dict)
        fence = d.pop("fence")

        files = []
        _files = d.pop("files")
        for files_item_data in _files:
            files_item = ArtifactWithSecret.from_dict(files_item_data)

            files.append(files_item)

        step_id = d.pop("step_id")

        type_ = cast(Literal["artifact.contains_secret"], d.pop("type"))
        if type_ != "artifact.contains_secret":
            raise ValueError(
                f"type must match const 'artifact.contains_secret', got '{type_}'"
            )

        event_artifact_contains_secret = cls(
            fence=fence,
            files=files,
            step_id=step_id,
            type_=type_,
        )

        event_artifact_contains_secret.additional_properties = d
        return event_artifact_contains_secret

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
