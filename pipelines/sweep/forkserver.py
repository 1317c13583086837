"""A process that has loaded the workers' libraries, and forks a worker in milliseconds.

The standard library has one too. This one belongs to whoever started it and ends with it,
loads nothing of the program's main module (which need not be guarded against that), and has
an environment of its own: the number of BLAS threads is read when numpy is loaded.
"""

import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing.connection import Connection

from pipelines.errors import ServiceError

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    ),
    "1",
)
"""Products of small matrices gain nothing from threads, and workers would fight for cores."""

KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": f"{2**25}", "MALLOC_TRIM_THRESHOLD_": f"{2**27}"}
"""glibc gives what a trial has freed back to the system, and the next trial pays a page fault
for each 4 kB of it; so a worker keeps up to 128 MiB."""

_SIZE = 16

Work = Callable[[Connection], None]
"""The whole life of a worker, given its line to the driver."""


class ForkServer:
    """The driver's side. It and its workers never see SIGINT: the driver decides.

    Parameters
    ----------
    work : str
        What a worker runs, as ``module:function``; a `Work`.
    modules : sequence of str
        What to load before the first fork.

    Notes
    -----
    A worker that has ended stays a zombie until `reap`, so its id is never another's.
    When the driver dies, the server and its idle workers read the end of their lines and end.
    """

    def __init__(self, work: str, modules: Sequence[str]) -> None:
        self._control, theirs = socket.socketpair()
        self._ready = False
        loaded = [work.partition(":")[0], *modules]
        program = (
            f"import sys; sys.path[:] = {sys.path!r}; "
            f"from {__name__} import serve; serve({theirs.fileno()}, {work!r}, {loaded!r})"
        )
        with theirs, without_interrupts():
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", program],
                pass_fds=[theirs.fileno()],
                env={**KEEP_MEMORY, **os.environ, **ONE_THREAD},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def fork(self) -> tuple[Connection, int]:
        """Start a worker; return the line to it and its process id.

        Raises
        ------
        ServiceError
            The server is gone.
        """
        ours, theirs = socket.socketpair()
        try:
            # While it loads Ctrl-C is heard; an order and its answer are not torn apart.
            if not self._ready:
                self._ready = self._answer() == 0
            with without_interrupts():
                socket.send_fds(self._control, [_message("fork")], [theirs.fileno()])
                return Connection(os.dup(ours.fileno())), self._answer()
        except OSError as err:
            self.close()
            code = self._process.returncode
            raise ServiceError(
                "Worker processes can be started.",
                found=f"the process that starts them ended with exit code {code}",
                next_move="see above for its error; without one, memory may have run out",
            ) from err
        finally:
            ours.close()
            theirs.close()

    def reap(self, pid: int) -> int | None:
        """Wait for the end of a worker; return its exit code, or minus the signal's number."""
        with without_interrupts(), suppress(OSError):
            self._control.sendall(_message(pid))
            return self._answer()
        return None

    def close(self) -> None:
        """End the server, loading or not; its workers have been killed and reaped."""
        with without_interrupts():
            self._control.close()
            self._process.kill()
            self._process.wait()

    def _answer(self) -> int:
        said = self._control.recv(_SIZE, socket.MSG_WAITALL)
        if len(said) < _SIZE:
            raise ConnectionResetError("the fork server hung up")
        return int(said)


def serve(control: int, work: str, modules: Sequence[str]) -> None:
    """Fork and reap as the driver says, until it hangs up: the whole life of the server."""
    for module in modules:
        import_module(module)
    name, _, function = work.partition(":")
    run: Work = getattr(import_module(name), function)
    # A driver that fails hangs up at any moment, also with an answer unread.
    with socket.socket(fileno=control) as line, suppress(ConnectionError):
        line.sendall(_message(0))
        while True:
            order, fds, _, _ = socket.recv_fds(line, _SIZE, 1)
            if not order:
                return
            if order.strip() == b"fork":
                answer = os.fork()
                if answer == 0:
                    _live(run, line, fds[0])
                os.close(fds[0])
            else:
                _, status = os.waitpid(int(order), 0)
                answer = os.waitstatus_to_exitcode(status)
            line.sendall(_message(answer))


def _live(run: Work, control: socket.socket, fd: int) -> None:
    """Be a worker; never return into the server's loop."""
    code = 1
    try:
        control.close()
        run(Connection(fd))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _message(content: str | int) -> bytes:
    return str(content).encode().ljust(_SIZE)


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back until the block ends; processes that it starts never see one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
