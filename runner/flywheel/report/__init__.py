"""Presentation: rows in, one frozen `Report` out; from it a page, an overview, a summary and a JUnit file."""

from flywheel.report.assemble import assemble
from flywheel.report.facts import GeneratorFact, JudgeFact, ModeFact, ReportFacts, SuiteFact, TaskFact, TeacherFact
from flywheel.report.html import render, render_index
from flywheel.report.index import IndexEntry, index_entry
from flywheel.report.model import Report
from flywheel.report.summary import render_junit, render_summary

__all__ = [
    "GeneratorFact",
    "IndexEntry",
    "JudgeFact",
    "ModeFact",
    "Report",
    "ReportFacts",
    "SuiteFact",
    "TaskFact",
    "TeacherFact",
    "assemble",
    "index_entry",
    "render",
    "render_index",
    "render_junit",
    "render_summary",
]
