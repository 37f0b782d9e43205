from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.profile_key import ProfileKey


T = TypeVar("T", bound="PreviewRevocation")


@_attrs_define
class PreviewRevocation:
    """The keys to preview. The body of a revocation can be previewed as it is.

    Attributes:
        keys (list[ProfileKey]):
        hard (bool | Unset): Ignored.
        reason (None | str | Unset): Ignored.
    """

    keys: list[ProfileKey]
    hard: bool | Unset = UNSET
    reason: None | str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        keys = []
        for keys_item_data in self.keys:
            keys_item = keys_item_data.to_dict()
            keys.append(keys_item)

        hard = self.hard

        reason: None | str | Unset
        if isinstance(self.reason, Unset):
            reason = UNSET
        else:
            reason = self.reason

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "keys": keys,
            }
        )
        if hard is not UNSET:
            field_dict["hard"] = hard
        if reason is not UNSET:
            field_dict["reason"] = reason

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

        hard = d.pop("hard", UNSET)

        def _parse_reason(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        reason = _parse_reason(d.pop("reason", UNSET))

        preview_revocation = cls(
            keys=keys,
            hard=hard,
            reason=reason,
        )

        return preview_revocation
