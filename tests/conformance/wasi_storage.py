"""The storage adapter in several processes on one ledger, each of which is stopped, set going again
and killed at random.

    wasi_storage.py <path to lazaretto-storage.wasm> [seconds]

What must hold: no update that was acknowledged is lost, none is there twice, no two hold a lease at
once, whoever was killed stands in nobody's way, and nothing is left behind. Before that one process
sees that the adapter keeps what docs/file-store.md says. Ends with 0 if all of it holds.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from wasi_host import Refused, Wasi, load

STORAGE = "lazaretto:keeper/storage@0.1.0"
LEDGER = "vault.lazaretto"
SCOPE = ("grant", {"document": "vault", "fingerprint": "07" + "0" * 30})
SIBLING = ("grant", {"document": "vault", "fingerprint": "47" + "0" * 30})
TTL_MS = 400
PRIVATE = {"LAZARETTO_FOLDER_IS_PRIVATE": "1"}
WRITERS = 4
# Two lines a round, one of which is kept: what is checked is a list, and it must not grow without
# end.
SECONDS = 20


def opened(wasm: str, folder: str) -> Wasi:
    engine, component = load(wasm)
    return Wasi(engine, component, folders=[(folder, "/vault")], env={"LAZARETTO_VAULT": "/vault/auth.json", **PRIVATE}, http=False)


def append(storage: Wasi, line: str) -> str:
    """Adds a line to the ledger by compare and swap, and returns what became of it."""
    while True:
        tag, found = storage.call(STORAGE, "load", LEDGER, None)
        text, version = (found["text"], found["version"]) if tag == "loaded" else ("", None)
        durable = random.random() < 0.5
        tag, _ = storage.call(STORAGE, "store", LEDGER, text + line + "\n", version, durable, None)
        if tag != "stale":
            return tag


def work(wasm: str, folder: str, name: str) -> None:
    """Appends and says so, for ever."""
    storage = opened(wasm, folder)
    with open(Path(folder, "log", name), "a", buffering=1) as log:
        for number in range(10**9):
            line = f"{name}-{number}"
            # What is killed between these two may be in the ledger or not.
            log.write(json.dumps(["trying", line]) + "\n")
            log.write(json.dumps([append(storage, line), line]) + "\n")
            if number % 5 == 0:
                before = time.monotonic()
                tag, grant = storage.call(STORAGE, "acquire", SCOPE, TTL_MS, 50)
                if tag == "acquired":
                    until = before + grant["granted_ttl_ms"] / 1000
                    log.write(json.dumps(["held", time.monotonic(), until]) + "\n")
                    time.sleep(random.random() * 0.01)
                    log.write(json.dumps(["over", time.monotonic()]) + "\n")
                    storage.call(STORAGE, "release", grant["lease"])


def main() -> None:
    wasm, seconds = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    with tempfile.TemporaryDirectory() as folder:
        promises(wasm, Path(folder, "promises"))
        Path(folder, "log").mkdir()
        kills, stops = harass(wasm, folder, seconds)
        check(wasm, folder, kills, stops)


def promises(wasm: str, folder: Path) -> None:
    """What one process alone can see."""
    folder.mkdir()
    engine, component = load(wasm)

    def at(vault: str, private: dict[str, str] = PRIVATE) -> Wasi:
        return Wasi(engine, component, folders=[(str(folder), "/vault")], env={"LAZARETTO_VAULT": vault, **private}, http=False)

    storage = at("/vault/auth.json")
    vault, ledger, locks = folder / "auth.json", folder / "auth.json.lazaretto", folder / "auth.json.lazaretto-locks"
    workshop = folder / "auth.json.lazaretto-wasi"

    def code(storage: Wasi, *call: object) -> str:
        try:
            return f"no error but {storage.call(STORAGE, *call)}"
        except Refused as refused:
            return refused.value["code"]

    def store(text: str, expected: str | None, lease: str | None = None) -> tuple:
        return storage.call(STORAGE, "store", "vault", text, expected, True, lease)

    def version(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    said = storage.call(STORAGE, "describe")
    assert (said["cas"], said["excludes_foreign"], said["reads"]) == ("emulated", False, "may-be-stale"), said
    for name in ["../vault", "/etc/passwd", "vault/..", "Vault", ""]:
        assert code(storage, "load", name, None) == "invalid-name", name
    assert code(storage, "load", "also/0", None) == "unsupported"
    assert code(storage, "store", "settings.json", "{}", None, True, None) == "read-only"
    for path in ["/vault/../etc/passwd", "/elsewhere/auth.json"]:
        assert code(at(path), "load", "vault", None) == "denied", path

    # Nobody said that others cannot read what is made: no token is written, and none may be sent. A
    # ledger holds none.
    for private in [{}, {"LAZARETTO_FOLDER_IS_PRIVATE": "yes"}]:
        public = at("/vault/auth.json", private)
        assert code(public, "store", "vault", "{}", None, True, None) == "not-private"
        assert code(public, "store", "vault.lazaretto-sealed", "{}", None, True, None) == "not-private"
        assert code(public, "acquire", SCOPE, TTL_MS, 0) == "not-private"
        assert code(public, "acquire", ("document", "vault"), TTL_MS, 0) == "not-private"
        assert os.listdir(folder) == []
        assert public.call(STORAGE, "load", "vault", None) == ("absent", None)

    # Who holds a lease is told without making anything, and ends with the lease's time.
    assert storage.call(STORAGE, "holder-of", SCOPE) is None and os.listdir(folder) == []
    _, grant = storage.call(STORAGE, "acquire", SCOPE, TTL_MS, 0)
    for asked in (storage, at("/vault/auth.json")):
        assert asked.call(STORAGE, "holder-of", SCOPE)["since_ms"] > 1_700_000_000_000
        assert asked.call(STORAGE, "holder-of", SIBLING) is None, "it shares the file"
    storage.call(STORAGE, "release", grant["lease"])
    assert storage.call(STORAGE, "holder-of", SCOPE) is None
    storage.call(STORAGE, "acquire", SCOPE, TTL_MS, 0)
    time.sleep(TTL_MS / 1000 + 0.01)
    assert storage.call(STORAGE, "holder-of", SCOPE) is None, "its time is over"
    shutil.rmtree(workshop)

    # Beside a host that locks with flock nothing is written, and nothing is made that would keep it
    # out.
    locks.mkdir()
    assert code(storage, "store", "vault", "{}", None, True, None) == "unsupported"
    assert code(storage, "acquire", SCOPE, TTL_MS, 0) == "unsupported"
    assert os.listdir(folder) == [locks.name]
    locks.rmdir()

    assert storage.call(STORAGE, "load", "vault", None) == ("absent", None)
    assert store("{}", None) == ("stored", version("{}"))
    assert store("{}", None) == ("stale", {"version": version("{}"), "text": "{}"})
    assert storage.call(STORAGE, "load", "vault", version("{}")) == ("unchanged", None)
    assert vault.stat().st_mode & 0o777 == 0o600, "the umask of this process"

    # A document lease: a store under it goes through, one without it waits for its end.
    _, grant = storage.call(STORAGE, "acquire", ("document", "vault"), TTL_MS, 0)
    assert storage.call(STORAGE, "acquire", ("document", "vault"), TTL_MS, 0)[0] == "busy"
    assert code(storage, "store", "vault", "1", version("{}"), True, "document-vault:0") == "invalid-lease"
    assert store("1", version("{}"), grant["lease"])[0] == "stored"
    started = time.monotonic()
    assert store("2", version("1"))[0] == "stored"
    assert time.monotonic() - started > TTL_MS / 2000, "the lease was passed by"
    assert code(storage, "store", "vault", "3", version("2"), True, grant["lease"]) == "invalid-lease"

    # What a host with flock left unsynced is the ledger, until the next store.
    unsynced = folder / "auth.json.lazaretto.unsynced"
    ledger.write_text("base")
    unsynced.write_text(f"lazaretto-unsynced 1 {version('base')} {version('newer')}\nnewer")
    assert storage.call(STORAGE, "load", LEDGER, None)[1]["text"] == "newer"
    assert storage.call(STORAGE, "store", LEDGER, "base", version("newer"), True, None)[0] == "stored"
    assert storage.call(STORAGE, "load", LEDGER, None)[1]["text"] == "base" and not unsynced.exists()

    vault.write_bytes(b"s3cret\xff")
    assert code(storage, "load", "vault", None) == "corrupt"
    vault.write_bytes(b"x" * ((16 << 20) + 1))
    assert code(storage, "load", "vault", None) == "too-large"
    vault.unlink()
    os.mkfifo(vault)
    assert code(storage, "load", "vault", None) == "unsupported"
    vault.unlink()
    vault.symlink_to("auth.json.lazaretto")
    assert code(storage, "load", "vault", None) == "unsafe"
    assert code(storage, "store", "vault", "{}", None, True, None) == "unsafe"
    assert ledger.read_text() == "base"


def harass(wasm: str, folder: str, seconds: float) -> tuple[int, int]:
    count = kills = stops = 0
    running: list[subprocess.Popen[bytes]] = []
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            while len(running) < WRITERS:
                command = [sys.executable, __file__, wasm, "--work", folder, f"w{count}"]
                running.append(subprocess.Popen(command))
                count += 1
            time.sleep(random.uniform(0.02, 0.3))
            victim = random.choice(running)
            if victim.poll() is not None:
                raise SystemExit(f"a writer ended by itself: {victim.returncode}")
            if random.random() < 0.5:
                # Paused wherever it is: what it does when it goes on must not undo what others did
                # meanwhile.
                victim.send_signal(signal.SIGSTOP)
                time.sleep(random.uniform(0.01, 0.5))
                victim.send_signal(signal.SIGCONT)
                stops += 1
            else:
                victim.kill()
                victim.wait()
                running.remove(victim)
                kills += 1
    finally:
        for writer in running:
            writer.kill()
            writer.wait()
    return kills + len(running), stops


def check(wasm: str, folder: str, kills: int, stops: int) -> None:
    stored: list[str] = []
    doubtful: set[str] = set()
    held: list[tuple[float, float]] = []
    for path in Path(folder, "log").iterdir():
        since: list[float] | None = None
        tried = None
        for entry in path.read_text().splitlines():
            what, *rest = json.loads(entry)
            match what:
                case "trying":
                    tried = rest[0]
                case "stored":
                    stored.append(rest[0])
                    tried = None
                case "unknown":
                    doubtful.add(rest[0])
                    tried = None
                case "held":
                    since = rest
                case "over":
                    held.append((since[0], min(since[1], rest[0])))
                    since = None
        if tried:
            doubtful.add(tried)
        if since:
            # Killed with the lease: nobody is let in before its end.
            held.append((since[0], since[1]))

    started = time.monotonic()
    storage = opened(wasm, folder)
    if append(storage, "the next one") != "stored":
        raise SystemExit("the next one did not get through")
    tag, grant = storage.call(STORAGE, "acquire", SCOPE, TTL_MS, TTL_MS + 500)
    if tag != "acquired":
        raise SystemExit("a lease of somebody killed outlives its time")
    waited = time.monotonic() - started
    storage.call(STORAGE, "release", grant["lease"])

    _, found = storage.call(STORAGE, "load", LEDGER, None)
    lines = found["text"].splitlines()
    assert lines.pop() == "the next one", lines[-3:]
    assert len(set(lines)) == len(lines), "an update is there twice"
    lost = set(stored) - set(lines)
    assert not lost, f"{len(lost)} acknowledged updates were lost: {sorted(lost)[:5]}"
    unasked = set(lines) - set(stored) - doubtful
    assert not unasked, f"nobody wrote {unasked}"
    held.sort()
    for one, other in zip(held, held[1:]):
        # A millisecond is what the clocks are rounded to.
        assert one[1] <= other[0] + 0.002, f"two held the lease at once: {one}, {other}"
    left = [name for name in os.listdir(Path(folder, "auth.json.lazaretto-wasi")) if "." in name]
    assert not left, f"left behind: {left}"
    print(
        f"{len(stored)} updates acknowledged and there, {len(held)} leases apart; {kills} killed, {stops} paused; "
        f"the next one waited {waited:.2f} s"
    )


if __name__ == "__main__":
    if "--work" in sys.argv:
        work(sys.argv[1], *sys.argv[3:])
    else:
        main()
