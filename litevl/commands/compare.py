"""`litevl compare`: runs side by side, accuracy over seeds beside what each model costs."""

import json as json_format
import sys
from pathlib import Path

from tyro.conf import Positional

from litevl.commands.failure import fail


def compare(
    runs: Positional[tuple[str, ...]],
    large: str | None = None,
    cost: bool = True,
    device: str | None = None,
    save: Path | None = None,
    markdown: Path | None = None,
    json: bool = False,
) -> int:
    """Compares finished runs on the same data and protocol: accuracy over seeds, and what each model costs.

    Runs that differ in nothing but their seed are one model: its mean and the 95% interval over seeds (Student's t),
    from three seeds on. The frozen backbone, frame by frame, is a model of its own where a run evaluated it. Costs are
    measured here, side by side, on noise: parameters, GFLOPs (a multiply-add is two), time to encode 1 and 32 clips,
    peak memory, training. Shares against the large model stand beside those that E-ViLM's paper has, and published
    figures in a table apart.

    Runs on other data, of another task or protocol are refused, with the key in which they differ. What a pattern or a
    folder also holds, as the runs that models were pre-trained by, is left out with a note.

    Exit code: 0, or 2 where runs can't be compared.

    As in

    litevl compare runs/msrvtt_retrieval-*

    litevl compare runs/msrvtt_ablation/families --save families.png --markdown families.md

    litevl compare LiteVL='runs/litevl-seed*' whole='runs/whole-seed*' E-ViLM='runs/evilm-seed*' --large whole --json

    Args:
        runs: run folders, folders that hold run folders, or patterns of them; NAME= before one names its model.
        large: the model, by its name in the table, that shares are of; by default the trained one with the most
            parameters.
        cost: measure costs; with --no-cost no model is loaded, and accuracy alone is compared.
        device: where costs are measured, as cpu or cuda:0; by default a GPU where there is one.
        save: draw accuracy against cost into this file; its ending says the format. Needs matplotlib,
            by `pip install 'litevl[plots]'`.
        markdown: write the tables into this file.
        json: print everything as JSON, with every seed's value. Progress goes to standard error.
    """
    from litevl.comparison import CostConfig, check_output, check_picture, plot_comparison, report
    from litevl.comparison import compare as compare_runs
    from litevl.evaluation.report import show

    try:
        if save is not None and not cost:
            raise ValueError("--save draws accuracy against cost, which --no-cost leaves out; drop one of them")
        check_output("--markdown", markdown)
        check_picture("--save", save)
        found = compare_runs(
            runs, large=large, costs=CostConfig(device), measure=cost, tell=lambda line: print(line, file=sys.stderr)
        )
        if json:
            print(json_format.dumps(report.to_json(found), indent=2))
        else:
            show(*report.tables(report.sections(found)))
        sys.stdout.flush()
        if save is not None:
            plot_comparison(found).savefig(save, dpi=150)
        if markdown is not None:
            markdown.write_text(report.markdown(found) + "\n", encoding="utf-8")
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        return fail(error)
    return 0
