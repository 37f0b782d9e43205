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

from ..models.create_pool_fargate_cpu import CreatePoolFargateCpu
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.labels import Labels


T = TypeVar("T", bound="CreatePoolFargate")


@_attrs_define
class CreatePoolFargate:
    """Each step of this pool runs as a Fargate task.

    Attributes:
        image (str): The sandbox image by digest: `REPOSITORY@sha256:DIGEST`.
        kind (Literal['fargate']):
        cpu (CreatePoolFargateCpu | Unset): CPU units of a task. 1024 are one vCPU. Default:
            CreatePoolFargateCpu.VALUE_256.
        labels (Labels | Unset): Labels by key. Keys that start with `sealfleet:` are reserved; so are those that start
            with `sandbox.`, which a step can require as `sandbox.backend` and `sandbox.image`, and each worker tells of
            itself.
        max_concurrent (int | Unset): How many tasks may run at the same time. Default: 100.
        memory_mib (int | Unset): Memory of a task in MiB. Default: 512.
        models (list[str] | Unset): Models that its tasks can reach.
    """

    image: str
    kind: Literal["fargate"]
    cpu: CreatePoolFargateCpu | Unset = CreatePoolFargateCpu.VALUE_256
    labels: Labels | Unset = UNSET
    max_concurrent: int | Unset = 100
    memory_mib: int | Unset = 512
    models: list[str] | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        image = self.image

        kind = self.kind

        cpu: int | Unset = UNSET
        if not isinstance(self.cpu, Unset):
            cpu = self.cpu.value

        labels: dict[str, Any] | Unset = UNSET
        if not isinstance(self.labels, Unset):
            labels = self.labels.to_dict()

        max_concurrent = self.max_concurrent

        memory_mib = self.memory_mib

        models: list[str] | Unset = UNSET
        if not isinstance(self.models, Unset):
            models = self.models

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "image": image,
                "kind": kind,
            }
        )
        if cpu is not UNSET:
            field_dict["cpu"] = cpu
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
        image = d.pop("image")

        kind = cast(Literal["fargate"], d.pop("kind"))
        if kind != "fargate":
            raise ValueError(f"kind must match const 'fargate', got '{kind}'")

        _cpu = d.pop("cpu", UNSET)
        cpu: CreatePoolFargateCpu | Unset
        if isinstance(_cpu, Unset):
            cpu = UNSET
        else:
            cpu = CreatePoolFargateCpu(_cpu)

        _labels = d.pop("labels", UNSET)
        labels: Labels | Unset
        if isinstance(_labels, Unset):
            labels = UNSET
        else:
            labels = Labels.from_dict(_labels)

        max_concurrent = d.pop("max_concurrent", UNSET)

        memory_mib = d.pop("memory_mib", UNSET)

        models = cast(list[str], d.pop("models", UNSET))

        create_pool_fargate = cls(
            image=image,
            kind=kind,
            cpu=cpu,
            labels=labels,
            max_concurrent=max_concurrent,
            memory_mib=memory_mib,
            models=models,
        )

        return create_pool_fargate
