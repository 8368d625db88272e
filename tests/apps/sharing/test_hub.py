"""The Hub's names, what is sent there and fetched from it, and what is said where it refuses. Nothing is sent here."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apps.sharing import hub
from priors.errors import InputError


class Refused(Exception):
    """As the Hub's client has it: an error with a response."""

    def __init__(self, status: int, text: str = "the Hub's own words\nand more of them"):
        super().__init__(text)
        self.response = SimpleNamespace(status_code=status)


class Api:
    """What is asked of the Hub, in order; `failing` is the call that raises `error`."""

    def __init__(self, failing: str = "", error: Exception | None = None, private: bool = False):
        self.calls, self.failing, self.error, self.private = [], failing, error, private

    def _call(self, name: str, **given):
        self.calls.append((name, given))
        if name == self.failing:
            raise self.error

    def create_repo(self, repo_id, **given):
        self._call("create_repo", repo_id=repo_id, **given)
        return f"https://huggingface.co/{repo_id}"

    def model_info(self, repo_id):
        self._call("model_info", repo_id=repo_id)
        return SimpleNamespace(private=self.private)

    def upload_folder(self, **given):
        self._call("upload_folder", **given)


@pytest.fixture
def install(monkeypatch):
    """`install(api)`: a huggingface_hub whose HfApi() is that one; `install(None)`: none at all."""

    def put(api, **more):
        package = None if api is None else SimpleNamespace(HfApi=lambda: api, **more)
        monkeypatch.setitem(sys.modules, "huggingface_hub", package)
        return api

    return put


@settings(deadline=None, max_examples=200)
@given(st.one_of(st.text("aZ0_-./é ", max_size=12), st.from_regex(r"\A[\w.-]{1,99}/[\w.-]{1,99}\Z")))
@example("a/" + "b" * 96)
@example("a/" + "b" * 97)
@example("owner/name.git")
@example("owner/name\n")
def test_names_are_those_that_the_hub_takes(name):
    utils = pytest.importorskip("huggingface_hub.utils")
    try:
        utils.validate_repo_id(name)
        fine = "/" in name  # a name without an owner is the Hub's, not ours
    except utils.HFValidationError:
        fine = False
    assert hub.is_repository(name) == fine


def test_a_new_repository_is_made_and_filled_in_one_commit(install, tmp_path):
    api = install(Api())
    assert hub.push(tmp_path, "me/digits", ["a.json", "README.md"]) == "https://huggingface.co/me/digits"
    (made, first), (sent, second) = api.calls
    assert (made, first) == ("create_repo", {"repo_id": "me/digits", "private": None, "exist_ok": False})
    assert sent == "upload_folder" and second["allow_patterns"] == ["a.json", "README.md"]
    assert (second["repo_id"], second["folder_path"]) == ("me/digits", str(tmp_path))


def test_the_client_has_what_is_called(install):
    """The names of the arguments are the installed package's own."""
    from inspect import signature

    api = pytest.importorskip("huggingface_hub").HfApi
    for method, names in (
        (api.create_repo, {"repo_id", "private", "exist_ok"}),
        (api.upload_folder, {"repo_id", "folder_path", "allow_patterns", "commit_message"}),
        (api.model_info, {"repo_id"}),
        (sys.modules["huggingface_hub"].snapshot_download, {"repo_id", "allow_patterns"}),
    ):
        assert names <= set(signature(method).parameters)


def test_private_means_private(install, tmp_path):
    api = install(Api())
    hub.push(tmp_path, "me/digits", ["a"], private=True)
    assert [name for name, _ in api.calls] == ["create_repo", "upload_folder"]
    assert api.calls[0][1]["private"] is True
    api = install(Api(private=False))
    with pytest.raises(InputError, match="is public there, and --private was asked for"):
        hub.push(tmp_path, "me/digits", ["a"], private=True, overwrite=True)
    assert [name for name, _ in api.calls] == ["create_repo", "model_info"], "nothing is sent to a public repository"
    api = install(Api(private=True))
    hub.push(tmp_path, "me/digits", ["a"], private=True, overwrite=True)
    assert [name for name, _ in api.calls] == ["create_repo", "model_info", "upload_folder"]


REFUSALS = {
    "no token": ("create_repo", Refused(401), "hf auth login"),
    "not allowed": ("create_repo", Refused(403), "may not write there"),
    "no such namespace": ("create_repo", Refused(404), "no such user, organisation or repository"),
    "there already": ("create_repo", Refused(409), "with --overwrite to add a commit"),
    "broken": ("upload_folder", Refused(500), "Refused: the Hub's own words"),
    "no network": ("create_repo", ConnectionError("cannot resolve huggingface.co\ntrace"), "cannot resolve"),
    "no words": ("upload_folder", TimeoutError(), "TimeoutError: no reason given"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_are_one_line_that_says_what_to_do(install, tmp_path, case):
    failing, error, expected = REFUSALS[case]
    api = install(Api(failing, error))
    with pytest.raises(InputError) as caught:
        hub.push(tmp_path, "me/digits", ["a"])
    line = str(caught.value)
    assert expected in line and f"{tmp_path} is written" in line and "--overwrite" in line and "\n" not in line
    assert api.calls[-1][0] == failing


def test_a_repository_may_get_another_commit(install, tmp_path):
    api = install(Api())
    hub.push(tmp_path, "me/digits", ["a"], overwrite=True)
    assert api.calls[0][1]["exist_ok"] is True


def test_only_what_a_model_is_made_of_is_fetched(install, tmp_path):
    asked = []
    install(Api(), snapshot_download=lambda name, **given: asked.append((name, given)) or str(tmp_path))
    assert hub.fetch("me/digits") == Path(tmp_path)
    ((name, given),) = asked
    assert name == "me/digits" and set(given["allow_patterns"]) == {"*.json", "*.safetensors", "README.md"}


def test_what_cannot_be_fetched(install):
    def missing(name, **given):
        raise Refused(404)

    install(Api(), snapshot_download=missing)
    with pytest.raises(InputError, match="me/digits is no folder here, and it could not be fetched.*no such user"):
        hub.fetch("me/digits")


def test_without_the_package_it_is_said_how_to_have_it(install):
    install(None)
    with pytest.raises(InputError, match="pip install huggingface_hub"):
        hub.check_repository("me/digits")
    with pytest.raises(InputError, match="me/digits is no folder here.*pip install huggingface_hub"):
        hub.fetch("me/digits")
