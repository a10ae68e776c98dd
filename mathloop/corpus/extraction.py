"""Step: web pages to documents of plain text with formulas in LaTeX, in the languages that are wanted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mathloop.corpus.config import ExtractionConfig
from mathloop.corpus.pages import Unreadable, language_of, text_of
from mathloop.corpus.steps import Outcome, run_step
from mathloop.errors import BadData
from mathloop.files import open_plain, reading
from mathloop.problems.sources.files import check_once, data_files, file_rows
from mathloop.problems.sources.parsing import Place
from mathloop.problems.sources.passages import texts_of
from mathloop.records import Document
from mathloop.records.rows import numbered_rows
from mathloop.stages import StageReport, timed

_PAGES = (".html", ".htm", ".xhtml")


class Page(NamedTuple):
    """A page before extraction."""

    id: str
    url: str
    html: str
    """HTML, or plain text in a source of texts."""
    source: str


@timed
def run(
    *, pages: Path, out: Path, dropped: Path | None, config: ExtractionConfig, source: str = ""
) -> StageReport:
    """Extracts the text of `pages`: rows of html and url (Parquet, JSON lines), or a folder of HTML files.

    Args:
        source: name of the source that the documents belong to.

    Raises:
        BadData: there are no pages, or a row has no `html`.
    """
    return run_step(
        "extraction",
        partial(extract, config=config),
        partial(read_pages, pages, source),
        inputs=[pages],
        out=out,
        dropped=dropped,
        settings=config.model_dump_json() + source,
    )


@timed
def run_texts(
    *, pages: Path, out: Path, dropped: Path | None, config: ExtractionConfig, source: str = ""
) -> StageReport:
    """As `run`, for rows that are text already: `text`, or problems with their solutions, in any format."""
    return run_step(
        "extraction",
        partial(_texts, config=config),
        partial(_text_rows, pages, source),
        inputs=[pages],
        out=out,
        dropped=dropped,
        settings=config.model_dump_json() + source,
    )


def _text_rows(place: Path, source: str) -> Iterator[Page]:
    files = data_files(place)
    check_once(place, files)
    for path in files:
        for number, row in file_rows(path, None):
            text = text_of_row(row, path, number)
            url = row.get("url") if isinstance(row.get("url"), str) else ""
            yield Page(str(row.get("id") or url or f"{path.name}/{number}"), str(url), text, source)


def _texts(rows: Sequence[Page], config: ExtractionConfig) -> Iterator[Outcome]:
    for row in rows:
        text = row.html.strip()
        yield _outcome(row, "", text, language_of(text), config)


def extract(pages: Sequence[Page], config: ExtractionConfig) -> Iterator[Outcome]:
    """One outcome per page."""
    for page in pages:
        reason, text, language = "", "", "en"
        try:
            text = text_of(page.html, main=config.main_content)
            language = language_of(text)
        except Unreadable as error:
            reason = str(error)
        yield _outcome(page, reason, text, language, config)


def _outcome(page: Page, reason: str, text: str, language: str, config: ExtractionConfig) -> Outcome:
    if not reason and len(text) < config.least_characters:
        reason = "too little text"
    if not reason and config.languages and language not in config.languages:
        reason = "another language"
    return reason, Document(page.id, text, page.url, language, page.source)


def read_pages(place: Path, source: str = "") -> Iterator[Page]:
    """The pages of a file or folder, in a fixed order; errors as in `run`."""
    if place.is_dir():
        return _of_folder(place, source)
    return _of_rows(place, source)


def text_of_row(row: dict[str, Any], path: Path, number: int) -> str:
    """The text of a row: `text`, or a problem and its solutions; raises BadData if it has neither."""
    text = row.get("text")
    if isinstance(text, str) and text.strip():
        return text
    texts = texts_of(row, Place(path, number))
    return "\n".join([*texts.statements, *texts.worked])


def _of_rows(path: Path, source: str) -> Iterator[Page]:
    for number, row in numbered_rows(path, ["id", "url", "html", "source"]):
        html, url = row.get("html"), row.get("url")
        if not isinstance(html, str):
            message = "expected the page's HTML as text; a table of texts without HTML needs kind: text"
            raise BadData(message, path=path, row=number, field="html")
        url = url if isinstance(url, str) else ""
        yield Page(str(row.get("id") or url or number), url, html, source or str(row.get("source") or ""))


def _of_folder(folder: Path, source: str) -> Iterator[Page]:
    found = False
    for path in _files(folder):
        found = True
        name = path.relative_to(folder).as_posix()
        with reading(path), open_plain(path) as file:
            html = _decoded(file.read())
        # The folder's first level stands for the host.
        yield Page(name, f"file://{name}", html, source)
    if not found:
        raise BadData(f"no page; expected files that end in {', '.join(_PAGES)}", path=folder)


def _decoded(page: bytes) -> str:
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    try:
        return page.decode("utf-8")
    except UnicodeDecodeError:
        return str(bytes_to_str(page, detect_encoding(page) or "utf-8", errors="replace"))


def _files(folder: Path) -> Iterable[Path]:
    for inner, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(inner, name)
            if path.suffix.lower() in _PAGES and path.is_file():
                yield path
