"""The page: everything that a run's files say, filled into one template that needs nothing from elsewhere."""

import logging
from pathlib import Path

from slowfast_mvit.build.run import RunFolder
from slowfast_mvit.config.load import dump_config
from slowfast_mvit.config.schema import Config
from slowfast_mvit.evaluation.predictions import write_whole
from slowfast_mvit.report.accuracy import certainty, figures, other_values
from slowfast_mvit.report.boxes import objects_of, people_of
from slowfast_mvit.report.chart import chart
from slowfast_mvit.report.classes import bars_of, confusions_of
from slowfast_mvit.report.clips import clips_of
from slowfast_mvit.report.files import RunFiles, read_run
from slowfast_mvit.report.looping import Budget
from slowfast_mvit.report.summary import command_of, summary_of, test_rows
from slowfast_mvit.report.templates import NAME, filled
from slowfast_mvit.report.training import training_of

_LOG = logging.getLogger(__name__)

MOST_UNREADABLE = 200  # rows; the CSV file has all


def write_report(root: Path, config: Config | None = None) -> Path | None:
    """Write ``report.html`` into a run's folder, whole or not at all; returns its path, None where there is nothing to show.

    Args:
        root: OUTPUT_DIR of the run.
        config: of the run, if it is at hand; else the folder's.

    Raises:
        UserError: there is no such folder, or it cannot be written in.
    """
    run = read_run(root, config)
    if not run.has_something:
        return None
    path = root / NAME
    write_whole(path, page_of(run).encode("utf-8", errors="replace"))
    _LOG.info("%s shows this run", path)
    return path


def page_of(run: RunFiles) -> str:
    """The page as HTML."""
    folder, budget = RunFolder(run.root), Budget()
    training = training_of(run)
    content = {
        "name": run.root.resolve().name,
        "summary": summary_of(run),
        "command": command_of(run, {"training": folder.config, "test": folder.test_config}),
        "config_text": "" if run.config is None else dump_config(run.config),
        "training": training,
        "charts": [
            (curve, chart(curve, f"curve-{number}")) for number, curve in enumerate(training.curves if training else ())
        ],
        "test": run.test,
        "tests": test_rows(run.tests),
        "figures": figures(run.test),
        "certainty": certainty(run),
        "other_values": other_values(run.test),
        "reasons": [str(reason) for reason in run.test.get("reasons") or ()],
        "bars": bars_of(run),
        "confusions": confusions_of(run),
        "clips": clips_of(run, budget),
        "people": people_of(run, budget),
        "objects": objects_of(run, budget),
        "unreadable": [
            (title, table.to_dict("records")[:MOST_UNREADABLE], len(table))
            for title, table in (("Test", run.unreadable), ("Training", run.unreadable_train))
            if table is not None and len(table)
        ],
        "notes": list(dict.fromkeys(run.notes)),
        "refused": budget.refused,
    }
    return filled("page.html", content)
