from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.profile_key import ProfileKey


T = TypeVar("T", bound="Revoke")


@_attrs_define
class Revoke:
    """The keys to revoke: all of them or none.

    Attributes:
        keys (list[ProfileKey]):
        reason (str): Why, for people.
        hard (bool | Unset): Whether to abort runs in flight that hold one of the keys. Default: False.
    """

    keys: list[ProfileKey]
    reason: str
    hard: bool | Unset = False

    def to_dict(self) -> dict[str, Any]:
        keys = []
        for keys_item_data in self.keys:
            keys_item = keys_item_data.to_dict()
            keys.append(keys_item)

        reason = self.reason

        hard = self.hard

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "keys": keys,
                "reason": reason,
            }
        )
        if hard is not UNSET:
            field_dict["hard"] = hard

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.profile_key import ProfileKey

        d = dict(src_dict)
        keys = []
        _keys = d.pop("keys")
        for keys_item_data in _keys:
            keys_item = ProfileKey.from_dict(keys_item_data)

            keys.append(keys_item)

        reason = d.pop("reason")

        hard = d.pop("hard", UNSET)

        revoke = cls(
            keys=keys,
            reason=reason,
            hard=hard,
        )

        return revoke
