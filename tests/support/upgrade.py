"""pg_upgrade of a cluster, in place: the same directory, port and password."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from sample_project.postgres_programs import account, find_bin_dir, run, usable_programs
from tests.support.cluster import Cluster

#: For both servers, which pg_upgrade starts without what :class:`Cluster` gives them on the command line.
_OPTIONS = "-c wal_level=logical -c max_replication_slots=40 -c max_wal_senders=20 -c fsync=off"
_TRUST = "local all all trust\n"


def upgrade(cluster: Cluster, bin_dir: Path) -> None:
    """Stop *cluster* and start it again as a server of the programs in *bin_dir*."""
    user = account()
    before = usable_programs(find_bin_dir(), cluster.directory, user)
    has_checksums = cluster.one("SHOW data_checksums") == "on"
    cluster.shut_down()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PG_BIN", str(bin_dir))
        with closing(Cluster()) as fresh:
            fresh.shut_down()
            after = usable_programs(bin_dir, fresh.directory, user)
            old, new = cluster.directory / "data", fresh.directory / "data"
            rules = (new / "pg_hba.conf").read_text()
            for data in (old, new):
                (data / "pg_hba.conf").write_text(_TRUST)
            if not has_checksums:
                # Since PostgreSQL 18, initdb turns them on.
                _do([str(after / "pg_checksums"), "--disable", "--no-sync", "-D", str(new)])
            work = cluster.directory / "work"
            work.mkdir()
            if user:
                os.chown(work, user["user"], user["group"])
            command = f'cd "{work}" && exec "{after}/pg_upgrade" -U postgres -b "{before}" -B "{after}"'
            command += f' -d "{old}" -D "{new}" -o "{_OPTIONS}" -O "{_OPTIONS}" -s "{work}" --no-sync'
            _do(["sh", "-c", command], new / "pg_upgrade_output.d")
            (new / "pg_hba.conf").write_text(rules)
            shutil.rmtree(old)
            new.rename(old)
        cluster.start()


def _do(command: list[str], logs: Path | None = None) -> None:
    done = run(command, account())
    said = done.stdout + done.stderr
    if done.returncode and logs is not None:
        # The program names its logs, which are removed with the servers.
        said += "".join(path.read_text()[-3000:] for path in sorted(logs.glob("*/log/pg_upgrade_dump*.log")))
    assert done.returncode == 0, said
