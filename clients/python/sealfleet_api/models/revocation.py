from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.lifted import Lifted


T = TypeVar("T", bound="Revocation")


@_attrs_define
class Revocation:
    """A revoked key.

    Attributes:
        actor (str): Who revoked it, as `kind:id`.
        at (datetime.datetime): A date and time of RFC 3339.
        hard (bool): Whether runs in flight are also aborted.
        key (str):
        profile (str): The name of a profile of the project, or `system/NAME` for one of the system scope.
        reason (str): Why, in the words of the actor.
        revocation_id (str): A revocation's id.
        uri (str): The address of a secret, never its value.
        fan_out_id (str | Unset): The id of a hard revocation's fan-out.
        lifted (Lifted | Unset): The end of a revocation.
    """

    actor: str
    at: datetime.datetime
    hard: bool
    key: str
    profile: str
    reason: str
    revocation_id: str
    uri: str
    fan_out_id: str | Unset = UNSET
    lifted: Lifted | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        actor = self.actor

        at = self.at.isoformat()

        hard = self.hard

        key = self.key

        profile = self.profile

        reason = self.reason

        revocation_id = self.revocation_id

        uri = self.uri

        fan_out_id = self.fan_out_id

        lifted: dict[str, Any] | Unset = UNSET
        if not isinstance(self.lifted, Unset):
            lifted = self.lifted.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "actor": actor,
                "at": at,
                "hard": hard,
                "key": key,
                "profile": profile,
                "reason": reason,
                "revocation_id": revocation_id,
                "uri": uri,
            }
        )
        if fan_out_id is not UNSET:
            field_dict["fan_out_id"] = fan_out_id
        if lifted is not UNSET:
            field_dict["lifted"] = lifted

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.lifted import Lifted

        d = dict(src_dict)
        actor = d.pop("actor")

        at = datetime.datetime.fromisoformat(d.pop("at"))

        hard = d.pop("hard")

        key = d.pop("key")

        profile = d.pop("profile")

        reason = d.pop("reason")

        revocation_id = d.pop("revocation_id")

        uri = d.pop("uri")

        fan_out_id = d.pop("fan_out_id", UNSET)

        _lifted = d.pop("lifted", UNSET)
        lifted: Lifted | Unset
        if isinstance(_lifted, Unset):
            lifted = UNSET
        else:
            lifted = Lifted.from_dict(_lifted)

        revocation = cls(
            actor=actor,
            at=at,
            hard=hard,
            key=key,
            profile=profile,
            reason=reason,
            revocation_id=revocation_id,
            uri=uri,
            fan_out_id=fan_out_id,
            lifted=lifted,
        )

        revocation.additional_properties = d
        return revocation

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
