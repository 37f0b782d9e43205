from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..models.mode import Mode
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.labels import Labels


T = TypeVar("T", bound="RegisterWorker")


@_attrs_define
class RegisterWorker:
    """A worker to register. With an enrolment key as `Bearer` it is approved at once; without one an admin decides.

    Attributes:
        modes (list[Mode]): Execution modes that it can run.
        name (str): A name for people.
        pool (str): The name of a pool, which is a queue of a project.
        project (str): The name of a project, which is a tenant. Never `system`.
        labels (Labels | Unset): Labels by key. Keys that start with `sealfleet:` are reserved; so are those that start
            with `sandbox.`, which a step can require as `sandbox.backend` and `sandbox.image`, and each worker tells of
            itself.
        max_concurrent (int | Unset): How many steps it may hold at the same time: 1 if absent. Default: 1.
        models (list[str] | Unset): Models that it can reach.
    """

    modes: list[Mode]
    name: str
    pool: str
    project: str
    labels: Labels | Unset = UNSET
    max_concurrent: int | Unset = 1
    models: list[str] | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        modes = []
        for modes_item_data in self.modes:
            modes_item = modes_item_data.value
            modes.append(modes_item)

        name = self.name

        pool = self.pool

        project = self.project

        labels: dict[str, Any] | Unset = UNSET
        if not isinstance(self.labels, Unset):
            labels = self.labels.to_dict()

        max_concurrent = self.max_concurrent

        models: list[str] | Unset = UNSET
        if not isinstance(self.models, Unset):
            models = self.models

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "modes": modes,
                "name": name,
                "pool": pool,
                "project": project,
            }
        )
        if labels is not UNSET:
            field_dict["labels"] = labels
        if max_concurrent is not UNSET:
            field_dict["max_concurrent"] = max_concurrent
        if models is not UNSET:
            field_dict["models"] = models

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.labels import Labels

        d = dict(src_dict)
        modes = []
        _modes = d.pop("modes")
        for modes_item_data in _modes:
            modes_item = Mode(modes_item_data)

            modes.append(modes_item)

        name = d.pop("name")

        pool = d.pop("pool")

        project = d.pop("project")

        _labels = d.pop("labels", UNSET)
        labels: Labels | Unset
        if isinstance(_labels, Unset):
            labels = UNSET
        else:
            labels = Labels.from_dict(_labels)

        max_concurrent = d.pop("max_concurrent", UNSET)

        models = cast(list[str], d.pop("models", UNSET))

        register_worker = cls(
            modes=modes,
            name=name,
            pool=pool,
            project=project,
            labels=labels,
            max_concurrent=max_concurrent,
            models=models,
        )

        return register_worker
