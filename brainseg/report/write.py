"""The report of an experiment: tables, figures, one page, and a card for each run."""

from collections.abc import Collection, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from brainseg import vocabulary
from brainseg.evaluation.appropriateness import LIMITS as UNSEEN
from brainseg.evaluation.equivalence import MARGIN
from brainseg.experiment import find_experiment
from brainseg.files import write_json, write_text
from brainseg.lock import locked
from brainseg.report.answer import answer_table, choose_all, tell_best
from brainseg.report.appropriateness import by_data_set, tabulate_appropriateness
from brainseg.report.card import write_card
from brainseg.report.changes import change_table
from brainseg.report.claim import tell_claim
from brainseg.report.comparisons import Comparison, compare_all
from brainseg.report.conclusions import conclude, tabulate
from brainseg.report.external import external_table, note_synthetic
from brainseg.report.losses import collect_losses
from brainseg.report.page import Page, write_page
from brainseg.report.parts import parts_table
from brainseg.report.points import collect_points, scored_points
from brainseg.report.provenance import (
    LIMITS,
    SYNTHETIC,
    data_statements,
    explain_terms,
    machine_statements,
    training_statements,
)
from brainseg.report.render import Table, to_markdown, to_rich
from brainseg.report.robustness import tabulate_robustness, tell_robustness
from brainseg.report.scores import score_table
from brainseg.report.summary import summarize
from brainseg.report.table import (
    Runs,
    collect_rows,
    group_runs,
    is_variant,
    read_whole,
    tell_damage,
    unknown_row,
    write_rows,
)
from brainseg.report.viewer import collect_viewer
from brainseg.terminal import bar, widen

MAIN_FIGURE = "![Accuracy against latency](figures/accuracy_latency.png)\n"

PATIENCE_S = 60
"""How long another process that writes the same report is waited for."""

SENTENCES = 7
"""That follow the answer, at most."""


def write_report(experiment: Path, margin: float = MARGIN) -> Page:
    """Write `report/` of an experiment, and the card of each of its runs.

    `table.{json,csv,md}`, `comparisons.json`, `figures/`, and `index.html`, which holds all of it.
    What the runs do not have yet is left out, and so is what a damaged file holds: a row says so.

    Args:
        experiment: folder of the runs.
        margin: change of mean IoU that does not matter: a mode is recommended if it is shown to
            lose no more.

    Raises:
        InputError: the folder is missing, holds no run, or is a run itself.
    """
    found = find_experiment(experiment)
    damage = {run: run.find_damage() for run in found}
    whole = [run for each in found if (run := read_whole(each, damage[each]))]
    told = {run.path: tell_damage(run, each) for run, each in damage.items() if each}
    rows = collect_rows(experiment, whole, told)
    known = {run.path for run in whole}
    rows += [
        unknown_row(experiment, each, told[each.path]) for each in found if each.path not in known
    ]
    variants = group_runs(whole, rows, experiment)
    runs = [run for run in whole if is_variant(run)]
    points = collect_points(rows)
    comparisons = compare_all(variants, vocabulary.quantized_modes(), margin)
    choices = choose_all(rows, margin)
    scored = sum(any(run.float_mode() for run in members) for members in variants.values())
    sentences = [
        *tell_best(choices)[:2],
        *tell_claim(rows),
        *tell_robustness(collect_losses(variants)),
        *conclude(comparisons, scored),
    ]
    statements = [
        ("Data", [*dict.fromkeys(data_statements(runs))]),
        ("Training", [*dict.fromkeys(training_statements(runs))]),
        ("Environment", [*dict.fromkeys(machine_statements(runs))]),
    ]
    terms = [
        ("Terms", explain_terms(margin)),
        ("Limits", LIMITS),
        ("Limits of appropriateness", UNSEEN),
    ]
    folder = experiment / "report"
    write_rows(folder, rows)
    write_json(folder / "comparisons.json", comparisons)
    tables = [table for table in [change_table(rows, margin)] if table.rows]
    tables += more_tables(variants, comparisons)
    # matplotlib takes longer than all of the above
    from brainseg.report.figures.gallery import draw_all

    page = Page(
        experiment.resolve().name,
        _notice({row.data for row in rows if row.data}),
        answer_table(rows, choices, margin),
        sentences[:SENTENCES],
        [summarize(rows, comparisons), *tables],
        draw_all(variants, points, comparisons, folder / "figures"),
        collect_viewer(variants),
        [*statements, *terms],
    )
    write_page(folder / "index.html", page)
    figure = [MAIN_FIGURE] if len(scored_points(points)) > 1 else []
    write_text(folder / "table.md", _to_markdown(page, figure, statements))
    for run in bar(runs, "Writing cards"):
        write_card(run)
    return page


def more_tables(runs: Runs, comparisons: Sequence[Comparison]) -> list[Table]:
    """The tables after the main one, as far as they have rows."""
    tables = [
        tabulate(comparisons),
        tabulate_robustness(collect_losses(runs)),
        score_table(runs),
        external_table(runs),
        tabulate_appropriateness("Appropriateness on the test split", runs),
    ]
    for name, found in by_data_set(runs).items():
        title = f"Appropriateness on {name}{note_synthetic(found)}"
        tables.append(tabulate_appropriateness(title, found))
    return [table for table in [*tables, parts_table(runs)] if table.rows]


def print_report(page: Page, console: Console) -> None:
    """Print the main table, the answer and its sentences, at least 100 columns wide.

    Of several numbers of threads, the table shows the one that configurations are compared with.
    """
    console = widen(console)
    console.print(Text(": ".join(filter(None, [page.title, page.notice]))))
    console.print(to_rich(page.tables[0].narrow.short, ("Variant", "Mode", "Device", "Size, MiB")))
    if page.answer.rows:
        console.print(Text(), to_rich(page.answer, ("Deploy",)))
    for sentence in page.sentences:
        console.print(Text(sentence))


def show_report(experiment: Path, margin: float = MARGIN) -> None:
    """Write the report of an experiment, print it, and say where it is.

    Another process that writes it is waited for. `margin` as in `write_report`.
    """
    console = Console()
    find_experiment(experiment)  # before its folder is made
    with locked(experiment / "report", wait_s=PATIENCE_S):
        print_report(write_report(experiment, margin), console)
    page = experiment / "report" / "index.html"
    console.print(f"Report: {page}", soft_wrap=True, markup=False)


def _to_markdown(
    page: Page, figure: Sequence[str], statements: Sequence[tuple[str, Sequence[str]]]
) -> str:
    title = f"# {page.title}\n"
    notice = [f"**{page.notice}**\n"] if page.notice else []
    main, *others = map(_section, page.tables)
    answer = [_section(page.answer)] if page.answer.rows else []
    lists = (f"## {heading}\n\n{_list(lines)}" for heading, lines in statements)
    return "\n".join(
        [title, *notice, main, *answer, _list(page.sentences), *figure, *lists, *others]
    )


def _section(table: Table) -> str:
    return f"## {table.title}\n\n{to_markdown(table)}\n"


def _list(lines: Sequence[str]) -> str:
    return "\n".join([*(f"- {line}" for line in lines), ""])


def _notice(data: Collection[str]) -> str | None:
    if "phantom" not in data:
        return None
    return f"{SYNTHETIC.capitalize()}." if len(data) == 1 else f"Some runs: {SYNTHETIC}."
