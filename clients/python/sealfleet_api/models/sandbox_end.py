from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.report_step import ReportStep


T = TypeVar("T", bound="SandboxEnd")


@_attrs_define
class SandboxEnd:
    """How the step of a Fargate sandbox ended. It counts once ECS shows that the sandbox is gone.

    Attributes:
        project (str): The name of a project, which is a tenant. Never `system`.
        report (ReportStep): How a step ended, or that its sandbox is lost.
    """

    project: str
    report: ReportStep

    def to_dict(self) -> dict[str, Any]:
        project = self.project

        report = self.report.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "project": project,
                "report": report,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.report_step import ReportStep

        d = dict(src_dict)
        project = d.pop("project")

        report = ReportStep.from_dict(d.pop("report"))

        sandbox_end = cls(
            project=project,
            report=report,
        )

        return sandbox_end
