import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from brainseg.report.page import LIGHTEST, Page, PageFigure, write_page
from brainseg.report.render import Table
from brainseg.report.viewer import Case, Layer, Viewer

HOSTILE = """</script><script>alert(1)</script> "double" 'single' & <img src=x onerror=alert(2)>"""

TABLE = Table(
    "Accuracy",
    ["Attention", "Mode", "Mean IoU"],
    [["none", "fp32", "0.7855 ± 0.0288"], ["none", "int8_static", "–"], ["ag", "fp32", "0.7925"]],
    ["Mean IoU: on the test split."],
    ["Mean IoU"],
)
ANSWER = Table("What to deploy", ["Device", "Why"], [["cpu", "fastest"]], ["Budget: 0."])
VIEWER = Viewer(
    ["none"],
    {"none": "none-seed0"},
    ["fp32"],
    [
        Case(
            *("7", "glioma", "p1", 4, 4, "aW1hZ2U=", "M2 2l2 0 0 2z", 4),
            {"none": {"fp32": Layer("", 0, 0.0, 5.66)}},
        )
    ],
    "All 1 test cases are shown.",
)
PAGE = Page(
    "study",
    "Synthetic data.",
    ANSWER,
    ["No difference is beyond chance."],
    [TABLE],
    [],
    VIEWER,
    [("Data", ["Phantoms."]), ("Limits", ["Slices, not volumes."])],
)


class Document(HTMLParser):
    """Tags with their attributes, and the text in each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and data.strip():
            self.texts.append((self.tags[-1][0], data.strip()))

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]

    def values(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.tags if name in attributes]


def write(folder: Path, page: Page) -> tuple[str, Document]:
    write_page(folder / "index.html", page)
    text = (folder / "index.html").read_text()
    return text, Document(text)


def figure(folder: Path, svg: int = 10, png: int = 10) -> PageFigure:
    (folder / "figure 0.1.svg").write_bytes(b"x" * svg)
    (folder / "figure 0.1.png").write_bytes(b"x" * png)
    return PageFigure("Front", "What is not beaten.", "A scatter plot.", folder / "figure 0.1")


def test_the_page_has_landmarks_headings_and_contents(tmp_path: Path) -> None:
    page = replace(PAGE, figures=[figure(tmp_path)])
    text, document = write(tmp_path, page)
    assert text.lstrip().startswith("<!doctype html>")
    assert document.all("html") == [{"lang": "en"}]
    for landmark in ("header", "nav", "main", "footer", "h1", "title"):
        assert len(document.all(landmark)) == 1, landmark
    levels = [int(tag[1]) for tag, _ in document.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = document.values("id")
    assert len(set(ids)) == len(ids)
    links = [link["href"] or "" for link in document.all("a")]
    assert links == [
        *("#answer", "#answer", "#table-1", "#figures", "#viewer", "#statement-1", "#statement-2")
    ]
    named = document.values("aria-labelledby") + document.values("for")
    assert {link[1:] for link in links} | set(named) <= set(ids)
    order = [text.index(f'id="{name[1:]}"') for name in links[1:]]
    assert order == sorted(order), "the answer comes first"
    assert document.all("img")[0]["alt"] == "A scatter plot."
    assert "Research use only; not for diagnosis." in text
    assert text.count("Synthetic data.") == 2


def test_tables_are_plain_without_a_script(tmp_path: Path) -> None:
    _, document = write(tmp_path, replace(PAGE, viewer=None))
    scopes = [cell.get("scope") for cell in document.all("th")]
    assert scopes == [*("col", "col", "row"), *["col"] * 3, *["row"] * 3]
    firsts = [row.get("class") for row in document.all("tr")[3:]]
    assert firsts == ["first", None, "first"]
    assert ("td", "0.7855 ± 0.0288") in document.texts
    assert ("li", "Mean IoU: on the test split.") in document.texts
    assert ("td", "fastest") in document.texts
    assert ("li", "No difference is beyond chance.") in document.texts


def test_a_page_may_be_empty(tmp_path: Path) -> None:
    _, document = write(
        tmp_path, Page("study", None, Table("Answer", [], []), [], [], [], None, [])
    )
    assert len(document.all("script")) == 1
    assert not {"notice", "viewer"} & set(document.values("class"))
    assert [link["href"] for link in document.all("a")] == ["#answer"] * 2


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    case = replace(VIEWER.cases[0], id=HOSTILE, label=HOSTILE, patient=HOSTILE)
    viewer = Viewer([HOSTILE], {HOSTILE: HOSTILE}, [HOSTILE], [case], HOSTILE)
    table = Table(HOSTILE, [HOSTILE], [[HOSTILE]], [HOSTILE], [], [(HOSTILE, HOSTILE)])
    page = Page(
        HOSTILE,
        HOSTILE,
        table,
        [HOSTILE],
        [table],
        [replace(figure(tmp_path), title=HOSTILE, caption=HOSTILE, alt=HOSTILE)],
        viewer,
        [(HOSTILE, [HOSTILE])],
    )
    text, document = write(tmp_path, page)
    _, tame = write(tmp_path, replace(page, viewer=VIEWER, title="study"))
    assert [script.get("type") for script in document.all("script")] == ["application/json", None]
    assert len(document.all("img")) == 1
    assert not any(name.startswith("on") for _, tag in document.tags for name in tag)
    assert len(document.tags) == len(tame.tags)
    assert ("h1", HOSTILE) in document.texts
    assert document.all("img")[0]["alt"] == HOSTILE
    found = json.loads(re.findall(r'id="viewer-data">(.*?)</script>', text)[0])
    assert found["cases"][0]["id"] == found["variants"][0] == HOSTILE


def test_nothing_is_loaded(tmp_path: Path) -> None:
    text, document = write(tmp_path, replace(PAGE, figures=[figure(tmp_path)]))
    assert not re.findall(r"https?:|//[a-z]+\.[a-z]|@import|url\(|@font-face", text)
    sources = document.values("src") + [link["href"] or "" for link in document.all("link")]
    assert sources
    assert all(source.startswith("data:") for source in sources)
    policy = next(meta["content"] or "" for meta in document.all("meta") if meta.get("http-equiv"))
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag in ("script", "style"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
    assert not any("style" in tag for _, tag in document.tags)  # an attribute would need a policy


def test_the_same_page_is_the_same_file(tmp_path: Path) -> None:
    page = replace(PAGE, figures=[figure(tmp_path)])
    assert write(tmp_path / "a", page)[0] == write(tmp_path / "b", page)[0]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["index.html"]


@pytest.mark.parametrize(
    ("svg", "expected"), [(LIGHTEST, "image/svg+xml"), (LIGHTEST + 1, "image/png")]
)
def test_light_figures_are_drawings(tmp_path: Path, svg: int, expected: str) -> None:
    _, document = write(tmp_path, replace(PAGE, figures=[figure(tmp_path, svg)]))
    (image,) = document.all("img")
    kind, content = (image["src"] or "").split(";base64,")
    assert kind == f"data:{expected}"
    assert base64.b64decode(content) == b"x" * (svg if "svg" in expected else 10)


def test_each_contour_has_its_own_colour_and_pattern(tmp_path: Path) -> None:
    names = [f"variant {number}" for number in range(12)]
    viewer = replace(VIEWER, variants=names, runs=dict.fromkeys(names, "run"))
    _, document = write(tmp_path, replace(PAGE, viewer=viewer))
    styles: Sequence[tuple[str | None, str | None]] = [
        (path["stroke"], path.get("stroke-dasharray"))
        for path in document.all("path")
        if "stroke" in path
    ]
    assert styles[: len(styles) // 2] == styles[len(styles) // 2 :], "as beside the names"
    assert len(set(styles)) == 1 + len(names)
    patterns = {dash for _, dash in styles[1:5]}
    assert len(patterns) == 4, "the four variants differ in grey too"
