"""Tokens that could be stored nowhere are kept in a file that the next call finds: F14."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Any, Dict

import pytest
from apart import IMMUTABLE, STRANGER, Attribute, names, need_root
from conftest import Home, Server

from lazaretto import AccessToken, InspectionNeeded, Keeper
from lazaretto.storage import FileStorage, StorageError


class Full(FileStorage):
    """Files on a disk that is full from the moment a request was sent."""

    server: Server

    def store(self, *arguments: Any) -> Any:
        if self.server.requests:
            raise StorageError("full", "no room")
        return super().store(*arguments)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: Any) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def refresh_in_vain(home: Home) -> AccessToken:
    storage = Full(home.vault, providers=home.providers)
    storage.server = home.server
    with Keeper(storage=storage, http=home.keeper()._http) as keeper:
        return keeper.token("acme")


def kept_in(state: Path) -> Path:
    return state / "lazaretto/rescue"


def kept(state: Path) -> Path:
    (found,) = kept_in(state).iterdir()
    return found


def test_what_cannot_be_stored_is_kept_and_the_next_call_stores_it(home: Home, state: Path) -> None:
    token = refresh_in_vain(home)
    file = kept(state)
    assert (token.token, token.unsaved) == ("at-1", None)
    assert token.warning is not None and str(file) in token.warning and "unsaved" not in token.warning
    assert re.fullmatch(hashlib.sha256(os.fsencode(home.vault)).hexdigest()[:32] + r"\.[0-9a-f]{32}", file.name)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert "rt-1" in file.read_text() and home.tokens()["refresh_token"] == "rt-0"
    with home.keeper() as keeper:
        assert (keeper.token("acme").token, keeper.token("acme").warning) == ("at-1", None)
    assert home.tokens()["refresh_token"] == "rt-1" and names(file.parent) == []
    assert [request["refresh_token"] for request in home.server.requests] == ["rt-0"]


def test_a_folder_made_immutable_in_the_exchange_costs_nothing(tmp_path: Path, server: Server, state: Path) -> None:
    need_root()
    (tmp_path / "home").mkdir()
    home = Home(tmp_path / "home", server)
    attribute = Attribute(home.folder, IMMUTABLE)
    server.script = [lambda handler: (attribute.__enter__(), handler.reply(*server.rotate({"refresh_token": "rt-0"})))]
    with Attribute(home.folder, 0):
        pass  # skips where there are no attributes
    try:
        with home.keeper() as keeper:
            token = keeper.token("acme")
            assert (token.token, token.unsaved) == ("at-1", None) and str(kept(state)) in (token.warning or "")
            with pytest.raises(InspectionNeeded):
                keeper.token("acme")
            assert kept(state).exists() and len(server.requests) == 1, "the spent one is not sent"
    finally:
        attribute.__exit__()
    with home.keeper() as keeper:
        assert keeper.token("acme").token == "at-1"
    assert home.tokens()["refresh_token"] == "rt-1" and names(kept_in(state)) == []


@pytest.mark.parametrize("call", ["refresh", "report"])
def test_every_call_that_could_send_stores_what_was_kept_first(home: Home, state: Path, call: str) -> None:
    refresh_in_vain(home)
    with home.keeper() as keeper:
        keeper.status()
        assert kept(state).exists(), "a call that only reads leaves it"
        if call == "refresh":
            assert keeper.refresh("acme").token == "at-2"
        else:
            advice = keeper.report("acme", access_token="at-1", status=401)
            assert advice.token is not None and advice.token.token == "at-2"
    assert [request["refresh_token"] for request in home.server.requests] == ["rt-0", "rt-1"], "the dead one is not sent"
    assert names(kept_in(state)) == []


def test_what_a_report_could_not_store_is_kept_too(home: Home, state: Path) -> None:
    home.write("rt-0", expires_in=10**10)
    storage = Full(home.vault, providers=home.providers)
    storage.server = home.server
    with Keeper(storage=storage, http=home.keeper()._http) as keeper:
        advice = keeper.report("acme", access_token="at-old", status=401)
    assert advice.token is not None and (advice.token.token, advice.token.unsaved) == ("at-1", None)
    assert "rt-1" in kept(state).read_text()


def test_without_a_state_folder_of_its_own_it_lies_in_the_home_folder(home: Home, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert refresh_in_vain(home).unsaved is None
    assert kept(tmp_path / "me/.local/state").exists()


def test_the_name_is_of_the_file_that_links_lead_to(home: Home, state: Path) -> None:
    (home.folder / "real").mkdir()
    real = home.vault.rename(home.folder / "real/vault.json")
    home.vault.symlink_to("real/vault.json")
    refresh_in_vain(home)
    assert kept(state).name.startswith(hashlib.sha256(os.fsencode(real)).hexdigest()[:32])


@pytest.mark.parametrize("what", ["a file", "for others", "of another"])
def test_where_no_file_can_be_kept_the_caller_has_the_tokens(home: Home, state: Path, what: str) -> None:
    if what == "a file":
        state.write_text("")
    else:
        kept_in(state).mkdir(parents=True)
        kept_in(state).chmod(0o777 if what == "for others" else 0o700)
        if what == "of another":
            need_root()
            os.chown(kept_in(state), STRANGER, STRANGER)
    token = refresh_in_vain(home)
    assert token.unsaved is not None and "rt-1" in token.unsaved and "rt-1" not in repr(token)
    assert not state.is_dir() or names(kept_in(state)) == []
    with home.keeper() as keeper:
        keeper.save_unsaved(token.unsaved)
    assert home.tokens()["refresh_token"] == "rt-1"


@pytest.mark.parametrize("text", ["", "no json", "{}", "\udcff", "[" * 100_000])
def test_a_file_that_cannot_be_used_stays_and_costs_nothing(home: Home, state: Path, text: str) -> None:
    refresh_in_vain(home)
    whole = kept(state)
    broken = whole.with_name(whole.name[:33] + "0" * 32)
    broken.write_bytes(text.encode("utf-8", "surrogateescape"))
    broken.chmod(0o600)
    with home.keeper() as keeper:
        assert keeper.token("acme").token == "at-1"
    assert names(broken.parent) == [broken.name] and home.tokens()["refresh_token"] == "rt-1"


def test_only_our_own_files_for_our_own_eyes_are_used(home: Home, state: Path) -> None:
    refresh_in_vain(home)
    file = kept(state)
    storage = FileStorage(home.vault)
    assert [each.unsaved for each in storage.rescue().kept()] == [file.read_text()]
    changes: Dict[str, Any] = {"mode": lambda: file.chmod(0o640), "name": lambda: file.rename(file.with_name(file.name + ".bak"))}
    changes["link"] = lambda: (file.rename(file.with_name("elsewhere")), file.symlink_to("elsewhere"))
    if os.geteuid() == 0:
        changes["owner"] = lambda: os.chown(file, STRANGER, STRANGER)
    for what, change in changes.items():
        change()
        assert list(storage.rescue().kept()) == [], what
        file.unlink(missing_ok=True)
        for left in file.parent.iterdir():
            left.rename(file)
        file.write_text("{}")
        file.chmod(0o600)
        assert [each.unsaved for each in storage.rescue().kept()] == ["{}"], what
