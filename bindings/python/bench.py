"""What a token costs from Python: one JSON line of medians in microseconds.

    python bench.py                          token() from a vault whose token is good, in a warm process
    python bench.py --once                   the whole life of a process: import, compile, open, token()
    python bench.py --refresh SERVER_URL     refreshes too, at a token endpoint on loopback that knows the refresh token `rt-0`
                                             (--refresh-token, --client-id) and rotates
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict

HERE = Path(__file__).resolve().parent
ONCE = "import sys; sys.path.insert(0, sys.argv[2]); from lazaretto import Keeper; print(Keeper(sys.argv[1]).token('xai-oauth').origin)"


def micros(run: Callable[[], Any], times: int) -> float:
    taken = []
    for _ in range(times):
        begun = time.perf_counter_ns()
        run()
        taken.append((time.perf_counter_ns() - begun) / 1000)
    return round(statistics.median(taken), 1)


def vault(folder: Path, provider: str, refresh_token: str, expires_in: int) -> Path:
    tokens = {"access_token": "at-0", "refresh_token": refresh_token, "expires_in": expires_in}
    login = {"tokens": tokens, "last_refresh": "2020-01-01T00:00:00Z"}
    path = folder / "auth.json"
    path.write_text(json.dumps({"providers": {provider: login}}))
    return path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--refresh", metavar="URL")
    parser.add_argument("--refresh-token", default="rt-0")
    parser.add_argument("--client-id", default="acme-client")
    parser.add_argument("--times", type=int, default=500)
    given = parser.parse_args()
    found: Dict[str, Any] = {"language": "python"}
    with tempfile.TemporaryDirectory() as folder:
        path = vault(Path(folder), "xai-oauth", "rt-0", 10**10)
        time.sleep(2.1)  # so that a stat proves the file unchanged
        if given.once:
            command = [sys.executable, "-c", ONCE, str(path), str(HERE)]
            found["cold_process_us"] = micros(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL), 10)
            bare = [sys.executable, "-c", "import wasmtime.component"]
            found["of_it_python_and_wasmtime_us"] = micros(lambda: subprocess.run(bare, check=True), 10)
        else:
            from lazaretto import Keeper

            keeper = Keeper(path)
            keeper.token("xai-oauth")
            found["token_warm_us"] = micros(lambda: keeper.token("xai-oauth"), given.times)
            found["open_and_token_us"] = micros(lambda: Keeper(path).token("xai-oauth"), given.times)
        if given.refresh:
            from lazaretto import Keeper

            providers = Path(folder) / "providers.json"
            profile = {"token_endpoint": given.refresh, "client_id": given.client_id}
            providers.write_text(json.dumps({"profiles": {"acme": profile}}))
            path = vault(Path(folder), "acme", given.refresh_token, 60)
            keeper = Keeper(path, providers=providers, allow_loopback_http=True)
            keeper.refresh("acme")
            found["refresh_us"] = micros(lambda: keeper.refresh("acme"), 50)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
