from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.labels import Labels


T = TypeVar("T", bound="CreateEnrolmentKey")


@_attrs_define
class CreateEnrolmentKey:
    """An enrolment key to create.

    Attributes:
        pool (str): The name of a pool, which is a queue of a project.
        expires_in_seconds (int | Unset): Seconds until it expires: an hour if absent, 90 days at most. Default: 3600.
        labels (Labels | Unset): Labels by key. Keys that start with `sealfleet:` are reserved; so are those that start
            with `sandbox.`, which a step can require as `sandbox.backend` and `sandbox.image`, and each worker tells of
            itself.
        max_uses (int | Unset): How many workers it may approve: 1 if absent. Default: 1.
        models (list[str] | Unset): The models that a worker may declare with it.
    """

    pool: str
    expires_in_seconds: int | Unset = 3600
    labels: Labels | Unset = UNSET
    max_uses: int | Unset = 1
    models: list[str] | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        pool = self.pool

        expires_in_seconds = self.expires_in_seconds

        labels: dict[str, Any] | Unset = UNSET
        if not isinstance(self.labels, Unset):
            labels = self.labels.to_dict()

        max_uses = self.max_uses

        models: list[str] | Unset = UNSET
        if not isinstance(self.models, Unset):
            models = self.models

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "pool": pool,
            }
        )
        if expires_in_seconds is not UNSET:
            field_dict["expires_in_seconds"] = expires_in_seconds
        if labels is not UNSET:
            field_dict["labels"] = labels
        if max_uses is not UNSET:
            field_dict["max_uses"] = max_uses
        if models is not UNSET:
            field_dict["models"] = models

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.labels import Labels

        d = dict(src_dict)
        pool = d.pop("pool")

        expires_in_seconds = d.pop("expires_in_seconds", UNSET)

        _labels = d.pop("labels", UNSET)
        labels: Labels | Unset
        if isinstance(_labels, Unset):
            labels = UNSET
        else:
            labels = Labels.from_dict(_labels)

        max_uses = d.pop("max_uses", UNSET)

        models = cast(list[str], d.pop("models", UNSET))

        create_enrolment_key = cls(
            pool=pool,
            expires_in_seconds=expires_in_seconds,
            labels=labels,
            max_uses=max_uses,
            models=models,
        )

        return create_enrolment_key
