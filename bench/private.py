"""A server of the benches' own, in a folder and on a port of its own."""

import os
import shutil
import socket
import subprocess
import time


class Private:
    """Starts in `folder`, ends with `stop`. What derives from it says how: `install`, `command`, `client`, `stop`."""

    def __init__(self, folder):
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        self.install()
        # Between choosing a port and taking it another process may take it.
        if not any(self.starts() for _ in range(5)):
            raise RuntimeError(f"{self.command()} ended while starting: see {folder}")

    def starts(self):
        """Starts the server on some port; false when it has ended instead."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        with open(f"{self.folder}/log", "wb") as log:
            self.server = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        while self.server.poll() is None:
            try:
                self.sql("select 1")
                return True
            except subprocess.CalledProcessError:
                time.sleep(0.1)
        return False

    def sql(self, statements):
        done = subprocess.run(self.client(), input=statements.encode(), check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return done.stdout.decode().strip()
