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

from ..models.pool_view_fargate_cpu import PoolViewFargateCpu

if TYPE_CHECKING:
    from ..models.labels import Labels


T = TypeVar("T", bound="PoolViewFargate")


@_attrs_define
class PoolViewFargate:
    """Each step of this pool runs as a Fargate task.

    Attributes:
        cpu (PoolViewFargateCpu): CPU units of a task. 1024 are one vCPU. Default: PoolViewFargateCpu.VALUE_256.
        image (str): The sandbox image by digest: `REPOSITORY@sha256:DIGEST`.
        kind (Literal['fargate']):
        labels (Labels): Labels by key. Keys that start with `sealfleet:` are reserved; so are those that start with
            `sandbox.`, which a step can require as `sandbox.backend` and `sandbox.image`, and each worker tells of itself.
        max_concurrent (int): How many tasks may run at the same time. Default: 100.
        memory_mib (int): Memory of a task in MiB. Default: 512.
        models (list[str]): Models that its tasks can reach.
        worker_id (str): The id of a worker: a `sealfleet-worker` process, or a pool that launches its own sandboxes.
    """

    image: str
    kind: Literal["fargate"]
    labels: Labels
    models: list[str]
    worker_id: str
    cpu: PoolViewFargateCpu = PoolViewFargateCpu.VALUE_256
    max_concurrent: int = 100
    memory_mib: int = 512
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        cpu = self.cpu.value

        image = self.image

        kind = self.kind

        labels = self.labels.to_dict()

        max_concurrent = self.max_concurrent

        memory_mib = self.memory_mib

        models = self.models

        worker_id = self.worker_id

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "cpu": cpu,
                "image": image,
                "kind": kind,
                "labels": labels,
                "max_concurrent": max_concurrent,
                "memory_mib": memory_mib,
                "models": models,
                "worker_id": worker_id,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.labels import Labels

        d = dict(src_dict)
        cpu = PoolViewFargateCpu(d.pop("cpu"))

        image = d.pop("image")

        kind = cast(Literal["fargate"], d.pop("kind"))
        if kind != "fargate":
            raise ValueError(f"kind must match const 'fargate', got '{kind}'")

        labels = Labels.from_dict(d.pop("labels"))

        max_concurrent = d.pop("max_concurrent")

        memory_mib = d.pop("memory_mib")

        models = cast(list[str], d.pop("models"))

        worker_id = d.pop("worker_id")

        pool_view_fargate = cls(
            cpu=cpu,
            image=image,
            kind=kind,
            labels=labels,
            max_concurrent=max_concurrent,
            memory_mib=memory_mib,
            models=models,
            worker_id=worker_id,
        )

        pool_view_fargate.additional_properties = d
        return pool_view_fargate

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
