from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.labels import Labels


T = TypeVar("T", bound="EnrolmentKeyView")


@_attrs_define
class EnrolmentKeyView:
    """An enrolment key without its secret.

    Attributes:
        enrolment_key_id (str): An enrolment key's id.
        expires_at (datetime.datetime): A date and time of RFC 3339.
        labels (Labels): Labels by key. Keys that start with `sealfleet:` are reserved; so are those that start with
            `sandbox.`, which a step can require as `sandbox.backend` and `sandbox.image`, and each worker tells of itself.
        max_uses (int): How many workers it may approve.
        models (list[str]): The models that a worker may declare with it.
        pool (str): The name of a pool, which is a queue of a project.
        uses (int): How many workers it has approved.
        revoked_at (datetime.datetime | Unset): A date and time of RFC 3339.
    """

    enrolment_key_id: str
    expires_at: datetime.datetime
    labels: Labels
    max_uses: int
    models: list[str]
    pool: str
    uses: int
    revoked_at: datetime.datetime | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        enrolment_key_id = self.enrolment_key_id

        expires_at = self.expires_at.isoformat()

        labels = self.labels.to_dict()

        max_uses = self.max_uses

        models = self.models

        pool = self.pool

        uses = self.uses

        revoked_at: str | Unset = UNSET
        if not isinstance(self.revoked_at, Unset):
            revoked_at = self.revoked_at.isoformat()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "enrolment_key_id": enrolment_key_id,
                "expires_at": expires_at,
                "labels": labels,
                "max_uses": max_uses,
                "models": models,
                "pool": pool,
                "uses": uses,
            }
        )
        if revoked_at is not UNSET:
            field_dict["revoked_at"] = revoked_at

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.labels import Labels

        d = dict(src_dict)
        enrolment_key_id = d.pop("enrolment_key_id")

        expires_at = datetime.datetime.fromisoformat(d.pop("expires_at"))

        labels = Labels.from_dict(d.pop("labels"))

        max_uses = d.pop("max_uses")

        models = cast(list[str], d.pop("models"))

        pool = d.pop("pool")

        uses = d.pop("uses")

        _revoked_at = d.pop("revoked_at", UNSET)
        revoked_at: datetime.datetime | Unset
        if isinstance(_revoked_at, Unset):
            revoked_at = UNSET
        else:
            revoked_at = datetime.datetime.fromisoformat(_revoked_at)

        enrolment_key_view = cls(
            enrolment_key_id=enrolment_key_id,
            expires_at=expires_at,
            labels=labels,
            max_uses=max_uses,
            models=models,
            pool=pool,
            uses=uses,
            revoked_at=revoked_at,
        )

        enrolment_key_view.additional_properties = d
        return enrolment_key_view

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
