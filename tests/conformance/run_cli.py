"""What `wasmtime run` does, by wasmtime-py: a `wasi:cli/run` component with one folder and HTTP.

    run_cli.py <component.wasm> <folder> [arguments...]

The folder is `/` to the component. Variables that begin with LAZARETTO_ are handed on.
"""

from __future__ import annotations

import os
import sys

from wasmtime import ExitTrap

from wasi_host import Refused, Wasi, load

RUN = "wasi:cli/run@0.2.0"


def main() -> int:
    path, folder, *arguments = sys.argv[1:]
    engine, component = load(path)
    env = {name: value for name, value in os.environ.items() if name.startswith("LAZARETTO_")}
    command = Wasi(
        engine,
        component,
        folders=[(folder, "/")],
        env=env,
        argv=["lazaretto", *arguments],
        streams=True,
    )
    try:
        command.call(RUN, "run")
    except Refused:
        return 1
    except ExitTrap as exit:
        return exit.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
