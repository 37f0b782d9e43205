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
    from ..models.secret_ref import SecretRef


T = TypeVar("T", bound="EventSecretReleased")


@_attrs_define
class EventSecretReleased:
    """Credentials were released to a claim: its holder's sandbox may now resolve these references.

    Attributes:
        fence (int): The number of a claim. Only the newest claim of a step counts.
        secrets (list[SecretRef]):
        step_id (str): The id of a step, unique in its run.
        type_ (Literal['secret.released']):
    """

    fence: int
    secrets: list[SecretRef]
    step_id: str
    type_: Literal["secret.released"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        fence = self.fence

        secrets = []
        for secrets_item_data in self.secrets:
            secrets_item = secrets_item_data.to_dict()
            secrets.append(secrets_item)

        step_id = self.step_id

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "fence": fence,
                "secrets": secrets,
                "step_id": step_id,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.secret_ref import SecretRef

        d = dict(src_dict)
        fence = d.pop("fence")

        secrets = []
        _secrets = d.pop("secrets")
        for secrets_item_data in _secrets:
            secrets_item = SecretRef.from_dict(secrets_item_data)

            secrets.append(secrets_item)

        step_id = d.pop("step_id")

        type_ = cast(Literal["secret.released"], d.pop("type"))
        if type_ != "secret.released":
            raise ValueError(f"type must match const 'secret.released', got '{type_}'")

        event_secret_released = cls(
            fence=fence,
            secrets=secrets,
            step_id=step_id,
            type_=type_,
        )

        event_secret_released.additional_properties = d
        return event_secret_released

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
