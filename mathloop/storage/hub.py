"""Data sets on the Hugging Face Hub: hf://datasets/OWNER/NAME[@REVISION][/PATH].

URL ─ commit ─▶ record: name and digest of every file ─ the Hub's cache ─▶ a folder with the files of PATH

A commit is listed once, into a record below HF_HOME/mathloop, and its files are downloaded once, into the
Hub's own cache: after that nothing is sent. Each file is compared with the record whenever it is read. Only
files of rows are downloaded; code in a data set is never run, nor even fetched.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mathloop.data_names import SUFFIXES, is_known, may_be_data
from mathloop.errors import BadConfig, BadData, Corrupt, StorageRefused
from mathloop.files import content_digest, disk, write_file
from mathloop.lines import parse_object

HUB = re.compile(r"hf:/+")
"""Beginning of a data set's URL; a Path has lost one of the slashes."""
COMMIT = re.compile(r"[0-9a-f]{40}")
_URL = re.compile(
    r"hf://(?:datasets/)?(?!(?:datasets|models|spaces|buckets|kernels)/)(?P<repo>[\w.-]+/[\w.-]{1,96})"
    r"(?:@(?P<revision>refs/(?:pr/\d+|convert/[\w.-]+)|[\w.-]+))?"
    r"(?:/(?P<path>.+))?"
)
_NO_NAME = re.compile(r"^[.-]|[.-]$|\.\.|--|\.git$")
"""What no owner or name on the Hub has; `..` would also lead out of the cache."""
_OTHERS = (".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".pdf", ".ipynb")
"""Further files that stand beside data on the Hub."""


class HubPlace(NamedTuple):
    """A part of a data set: a file, a folder, a pattern such as main/test-*.parquet, or all of it."""

    repo: str
    revision: str
    path: str

    @property
    def url(self) -> str:
        """Its URL, in the usual spelling."""
        at = f"@{self.revision}" if self.revision else ""
        return f"hf://datasets/{self.repo}{at}{f'/{self.path}' if self.path else ''}"

    @property
    def fixed(self) -> bool:
        """Whether its revision is a commit, which never changes."""
        return COMMIT.fullmatch(self.revision) is not None


def parse_hub_url(url: str) -> HubPlace:
    """The place that a URL names. Raises BadConfig."""
    found = _URL.fullmatch(HUB.sub("hf://", url, count=1).rstrip("/"))
    path = (found["path"] or "") if found else ""
    if found is None or any(part in ("", ".", "..") for part in path.split("/") if path):
        raise BadConfig(
            f"{url}: expected hf://datasets/OWNER/NAME@REVISION/PATH, where /PATH is a file, a folder "
            "or a pattern and may be left out"
        )
    revision = found["revision"] or ""
    wrong = [part for part in found["repo"].split("/") if _NO_NAME.search(part)]
    if wrong or ".." in revision:
        raise BadConfig(
            f"{url}: there can be no {wrong[0] if wrong else revision} on the Hub; expected "
            "hf://datasets/OWNER/NAME@REVISION/PATH"
        )
    return HubPlace(found["repo"], revision, path)


def pinned(url: str) -> str:
    """The URL with the commit that its branch or tag is at now. Raises as `hub_copy`."""
    place = parse_hub_url(url)
    return place.url if place.fixed else place._replace(revision=_commit(place)).url


@contextmanager
def hub_copy(url: str) -> Iterator[Path]:
    """A file or folder with the data files of a URL, as links into the cache, removed at the end.

    Raises:
        BadConfig: the URL is wrong, or the library to read it is not installed.
        BadData: there is no such data set, revision or file. A BadData of the caller names the URL.
        StorageRefused: the Hub cannot be reached and the data is not in the cache, or the disk refuses.
        Corrupt: a file is not what was published.
    """
    place = parse_hub_url(url)
    commit = place.revision if place.fixed else _commit(place)
    files = _chosen(place, _recorded(place._replace(revision=commit)))
    with tempfile.TemporaryDirectory(prefix="mathloop-") as scratch:
        root = Path(scratch, *place.repo.split("/"))
        for name, digest in files.items():
            with disk(root):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).symlink_to(_downloaded(place, commit, name, digest))
        copy = root / place.path
        try:
            yield copy if copy.exists() else root  # a pattern is no path
        except BadData as error:
            named = place._replace(path="").url
            raise BadData(str(error).replace(str(root), named)) from None


def _commit(place: HubPlace) -> str:
    """The commit of a branch or tag: asked each time, with HF_HUB_OFFLINE the one of last time."""
    hub = _library()
    known = _folder(hub, place.repo) / "revisions.json"
    name = place.revision or "main"
    before: dict[str, Any] = {}
    with suppress(FileNotFoundError, ValueError):  # never written, or damaged: looked up again
        before = parse_object(known.read_bytes())
    if hub.constants.HF_HUB_OFFLINE:
        if not isinstance(before.get(name), str):
            raise _offline(place)
        return str(before[name])
    with _refusals(place):
        commit = str(hub.HfApi().dataset_info(place.repo, revision=name).sha)
    if before.get(name) != commit:
        write_file(known, json.dumps({**before, name: commit}, indent=1).encode())
    return commit


def _recorded(place: HubPlace) -> dict[str, str]:
    """Each file of a commit and its digest: SHA-256, or SHA-1 of a Git object for files that are in Git."""
    hub = _library()
    record = _folder(hub, place.repo) / f"{place.revision}.json"
    if record.is_file():
        try:
            files = parse_object(record.read_bytes()).get("files")
        except ValueError:
            files = None
        if not isinstance(files, dict):
            raise Corrupt(f"{record}: not the record of a data set's files; remove it, and run again")
        return files
    if hub.constants.HF_HUB_OFFLINE:
        raise _offline(place)
    with _refusals(place):
        tree = hub.HfApi().list_repo_tree(
            place.repo, revision=place.revision, repo_type="dataset", recursive=True
        )
        listed = [file for file in tree if isinstance(file, hub.hf_api.RepoFile)]
    files = {file.path: file.lfs.sha256 if file.lfs else file.blob_id for file in listed}
    content = {"source": place._replace(path="").url, "files": files}
    write_file(record, json.dumps(content, ensure_ascii=False, indent=1).encode())
    return files


def _chosen(place: HubPlace, files: dict[str, str]) -> dict[str, str]:
    """The data files of a place. Raises BadData where there are none, or files that cannot be read."""
    at, prefix = place.path, f"{place.path}/" if place.path else ""
    inside = {
        name: digest
        for name, digest in files.items()
        if (name == at or name.startswith(prefix) or fnmatchcase(name, at))
        and ".." not in name.split("/")
        and may_be_data(PurePosixPath(name))
        and not name.lower().endswith(_OTHERS)
    }
    unread = [name for name in inside if not is_known(PurePosixPath(name))]
    if unread:
        raise BadData(
            f"{unread[0]} cannot be read; name a file or folder with {', '.join(SUFFIXES)}: "
            f"{place._replace(path='PATH').url}",
            path=place.url,
        )
    if not inside:
        data = [name for name in files if is_known(PurePosixPath(name)) and may_be_data(PurePosixPath(name))]
        more = f", … ({len(data):,} files)" if len(data) > 8 else ""
        found = f"it has {', '.join(data[:8])}{more}" if data else "it has no files of rows at all"
        raise BadData(f"no data file of this name; {found}", path=place.url)
    return inside


def _downloaded(place: HubPlace, commit: str, name: str, digest: str) -> Path:
    """A file in the Hub's cache, downloaded if it is not there. Raises Corrupt if it is another one."""
    hub = _library()
    with _refusals(place):
        copy = hub.hf_hub_download(
            place.repo,
            name,
            repo_type="dataset",
            revision=commit,
            cache_dir=hub.constants.HF_HUB_CACHE,
        )
    path = Path(copy).resolve()
    found = content_digest(path) if len(digest) == 64 else _git_digest(path)
    if found != digest:
        raise Corrupt(
            f"{place.url}: {name} is not what was published (expected {digest[:12]}…, found {found[:12]}…); "
            f"remove {path}, and run again"
        )
    return path


def _git_digest(path: Path) -> str:
    """The name that Git gives a file's content: SHA-1 of a header with its size, and its bytes."""
    found = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()


def _library() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
        import huggingface_hub.hf_api
        import huggingface_hub.utils
    except ImportError:
        raise BadConfig(
            "hf://… needs the library huggingface_hub: install mathloop[hub], or download the data set and "
            "name its folder"
        ) from None
    huggingface_hub.utils.logging.set_verbosity_error()  # a refusal is one line
    if not sys.stderr.isatty():
        huggingface_hub.utils.disable_progress_bars()
    return huggingface_hub


def _folder(hub: Any, repo: str) -> Path:
    return Path(hub.constants.HF_HOME, "mathloop", *repo.split("/"))


def _offline(place: HubPlace) -> StorageRefused:
    return StorageRefused(
        f"{place.url}: not in the cache, and HF_HUB_OFFLINE forbids to download it; "
        "unset HF_HUB_OFFLINE once, or copy a cache (HF_HOME) of a machine that has it"
    )


@contextmanager
def _refusals(place: HubPlace) -> Iterator[None]:
    """Turns what the library raises into one line."""
    hub = _library()
    errors = hub.errors
    try:
        yield
    except errors.GatedRepoError:
        raise BadData(
            "it is given out after a login: accept its terms on its page, and set HF_TOKEN", path=place.url
        ) from None
    except errors.RepositoryNotFoundError:
        message = "there is no such data set, or it is private; check its name, or set HF_TOKEN"
        raise BadData(message, path=place.url) from None
    except errors.RevisionNotFoundError:
        message = f"the data set has no revision {place.revision or 'main'}; name a branch, tag or commit"
        raise BadData(message, path=place.url) from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        if hub.constants.HF_HUB_OFFLINE:
            raise _offline(place) from None
        raise _away(place, "no answer") from None
    except errors.HfHubHTTPError as error:
        raise _away(place, f"HTTP {error.response.status_code}") from None
    except (errors.HTTPError, ConnectionError) as error:
        raise _away(place, str(error) or type(error).__name__) from None
    except OSError as error:
        if not error.errno:
            raise _away(place, str(error)) from None
        with disk(Path(_folder(hub, place.repo))):
            raise


def _away(place: HubPlace, reason: str) -> StorageRefused:
    host, reason = _without_login(_library().constants.ENDPOINT, reason)
    return StorageRefused(
        f"{place.url}: {host} did not deliver it ({reason}); try again, or set HF_HUB_OFFLINE=1 to use the "
        "cache"
    )


def _without_login(endpoint: str, reason: str) -> tuple[str, str]:
    """The host of an address, and a message about it, both without its user and password."""
    try:
        address = urlsplit(endpoint)
        host = address.hostname or ""
    except ValueError:
        return "the Hub", "HF_ENDPOINT is not an address"
    login, at, _ = address.netloc.rpartition("@")
    return host or "the Hub", reason.replace(login + at, "") if at else reason
