from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.labels import Labels


T = TypeVar("T", bound="PoolSettings")


@_attrs_define
class PoolSettings:
    """What an operator chose for a pool, as the trail keeps it. A pool of workers has only its kind.

    Attributes:
        kind (str): As a project shows it.
        backend (str | Unset): The sandbox backend that runs its steps.
        cpu (int | Unset): CPU units of a task.
        image (str | Unset): The image of its tasks by digest.
        labels (Labels | Unset): Labels by key. Keys that start with `sealfleet:` are reserved; so are those that start
            with `sandbox.`, which a step can require as `sandbox.backend` and `sandbox.image`, and each worker tells of
            itself.
        max_concurrent (int | Unset): How many tasks may run at the same time.
        memory_mib (int | Unset): Memory of a task in MiB.
        models (list[str] | Unset): Models that its tasks can reach.
    """

    kind: str
    backend: str | Unset = UNSET
    cpu: int | Unset = UNSET
    image: str | Unset = UNSET
    labels: Labels | Unset = UNSET
    max_concurrent: int | Unset = UNSET
    memory_mib: int | Unset = UNSET
    models: list[str] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind

        backend = self.backend

        cpu = self.cpu

        image = self.image

        labels: dict[str, Any] | Unset = UNSET
        if not isinstance(self.labels, Unset):
            labels = self.labels.to_dict()

        max_concurrent = self.max_concurrent

        memory_mib = self.memory_mib

        models: list[str] | Unset = UNSET
        if not isinstance(self.models, Unset):
            models = self.models

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "kind": kind,
            }
        )
        if backend is not UNSET:
            field_dict["backend"] = backend
        if cpu is not UNSET:
            field_dict["cpu"] = cpu
        if image is not UNSET:
            field_dict["image"] = image
        if labels is not UNSET:
            field_dict["labels"] = labels
        if max_concurrent is not UNSET:
            field_dict["max_concurrent"] = max_concurrent
        if memory_mib is not UNSET:
            field_dict["memory_mib"] = memory_mib
        if models is not UNSET:
            field_dict["models"] = models

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.labels import Labels

        d = dict(src_dict)
        kind = d.pop("kind")

        backend = d.pop("backend", UNSET)

        cpu = d.pop("cpu", UNSET)

        image = d.pop("image", UNSET)

        _labels = d.pop("labels", UNSET)
        labels: Labels | Unset
        if isinstance(_labels, Unset):
            labels = UNSET
        else:
            labels = Labels.from_dict(_labels)

        max_concurrent = d.pop("max_concurrent", UNSET)

        memory_mib = d.pop("memory_mib", UNSET)

        models = cast(list[str], d.pop("models", UNSET))

        pool_settings = cls(
            kind=kind,
            backend=backend,
            cpu=cpu,
            image=image,
            labels=labels,
            max_concurrent=max_concurrent,
            memory_mib=memory_mib,
            models=models,
        )

        pool_settings.additional_properties = d
        return pool_settings

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
