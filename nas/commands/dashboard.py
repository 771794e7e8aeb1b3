"""`nasfpn dashboard`: Optuna's dashboard on the journal of a search."""

from __future__ import annotations

import importlib.util
import socket
import threading
from collections.abc import Callable

from nas.errors import UserError
from nas.runs.journal import open_journal
from nas.runs.places import fetched
from nas.terminal import console

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def dashboard(run_dir: str, host: str, port: int) -> None:
    """Serve until Ctrl-C; a run at a URL as it is now.

    Raises:
        UserError: if optuna-dashboard is missing or the port is taken.
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise UserError("the dashboard needs optuna-dashboard: pip install 'nas-fpn[dashboard]'")
    from optuna_dashboard import run_server

    with fetched(run_dir) as run:
        storage = open_journal(run).storage
        _require_free(host, port)
        if host not in LOOPBACK:
            console.print(
                f"warning: {host} can be reached from other machines, and the dashboard asks nobody for a password; "
                "who can open it can change and delete trials"
            )
        console.print(f"http://{host}:{port}/ shows the search; Ctrl-C ends it", soft_wrap=True)
        _serve(lambda: run_server(storage, host=host, port=port))


def _serve(server: Callable[[], None]) -> None:
    """Run a server in a thread: in the main thread it would swallow the exception of a signal that meets a request."""
    thread = threading.Thread(target=server, daemon=True)
    thread.start()
    thread.join()


def _require_free(host: str, port: int) -> None:
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except OSError as error:
        raise UserError(
            f"{host}:{port} cannot be opened for listening ({error.strerror}); take another --port"
        ) from error
