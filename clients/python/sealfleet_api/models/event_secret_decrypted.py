from __future__ import annotations

from collections.abc import Mapping
from typing import (
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="EventSecretDecrypted")


@_attrs_define
class EventSecretDecrypted:
    """A sandbox holds one secret in plaintext.

    Attributes:
        fence (int): The number of a claim. Only the newest claim of a step counts.
        key (str):
        profile (str): The name of a profile of the project, or `system/NAME` for one of the system scope.
        step_id (str): The id of a step, unique in its run.
        type_ (Literal['secret.decrypted']):
        uri (str):
        store_request_id (str | Unset):
        version (str | Unset):
    """

    fence: int
    key: str
    profile: str
    step_id: str
    type_: Literal["secret.decrypted"]
    uri: str
    store_request_id: str | Unset = UNSET
    version: str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        fence = self.fence

        key = self.key

        profile = self.profile

        step_id = self.step_id

        type_ = self.type_

        uri = self.uri

        store_request_id = self.store_request_id

        version = self.version

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "fence": fence,
                "key": key,
                "profile": profile,
                "step_id": step_id,
                "type": type_,
                "uri": uri,
            }
        )
        if store_request_id is not UNSET:
            field_dict["store_request_id"] = store_request_id
        if version is not UNSET:
            field_dict["version"] = version

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        fence = d.pop("fence")

        key = d.pop("key")

        profile = d.pop("profile")

        step_id = d.pop("step_id")

        type_ = cast(Literal["secret.decrypted"], d.pop("type"))
        if type_ != "secret.decrypted":
            raise ValueError(f"type must match const 'secret.decrypted', got '{type_}'")

        uri = d.pop("uri")

        store_request_id = d.pop("store_request_id", UNSET)

        version = d.pop("version", UNSET)

        event_secret_decrypted = cls(
            fence=fence,
            key=key,
            profile=profile,
            step_id=step_id,
            type_=type_,
            uri=uri,
            store_request_id=store_request_id,
            version=version,
        )

        event_secret_decrypted.additional_properties = d
        return event_secret_decrypted

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
