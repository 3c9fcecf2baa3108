"""Claims the number of the timeline that a promotion begins.

A promoted node numbers its timeline by what it knows. One that missed the last
promotion, because whoever was promoted is away again, would give its own the same
number, and neither Postgres nor Patroni could tell the two apart
(github.com/patroni/patroni/issues/1251). So the numbers are claimed in etcd: Patroni
runs this when the node has the lock and before Postgres is promoted, and gives the
lock back unless it ends with 0. Postgres leaves out each number whose history it
finds: for those that others have claimed it is left a history that begins before
where this node is, so that Postgres would never follow it.
"""

import base64
import http.client
import json
import os
import subprocess
import sys
import time
from pathlib import Path

WAL = Path("/var/lib/postgresql/data/cluster/pg_wal")
LOCK = "/service/boxoffice/leader"
CLAIM = "/boxoffice/timeline"
ANSWER_SECONDS = 1
GIVE_UP_SECONDS = 5
TRIES = 3


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def etcd(members: list[str], call: str, body: dict) -> dict:
    """Asks one member after another, until one answers."""
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while True:
        member = members[0]
        members.append(members.pop(0))
        try:
            to = http.client.HTTPConnection(member, timeout=ANSWER_SECONDS)
            to.request("POST", f"/v3/kv/{call}", json.dumps(body))
            answer = to.getresponse()
            said = json.load(answer)
            if answer.status == 200:
                return said
        except (OSError, http.client.HTTPException, ValueError) as error:
            said = error
        if time.monotonic() > deadline:
            sys.exit(f"timeline: no member of etcd answers: {said}")
        time.sleep(0.1)


def history(timeline: int) -> Path:
    return WAL / f"{timeline:08X}.history"


def newest_timeline() -> int:
    """The last of all whose beginnings this node was told."""
    return max((int(file.stem, 16) for file in WAL.glob("*.history")), default=1)


def leave_out(parent: int, timelines: range, claimer: str) -> None:
    """Writes their histories, which are on disk before this node is promoted.

    start.sh takes them away again where it never was.
    """
    ask = ["psql", "-X", "-h", "/run/postgresql", "-U", "postgres", "-d", "postgres", "-At"]
    ask += ["-c", "SELECT pg_last_wal_replay_lsn() - 1"]
    here = subprocess.run(ask, check=True, capture_output=True, text=True, timeout=5).stdout
    before = history(parent).read_text() if parent > 1 else ""
    for timeline in timelines:
        made = history(timeline).with_suffix(".claimed")
        with made.open("w") as file:
            file.write(f"{before}{parent}\t{here.strip()}\tclaimed by {claimer}\n")
            file.flush()
            os.fsync(file.fileno())
        made.rename(history(timeline))
        print(f"timeline: {timeline} is left out, claimed by {claimer}", flush=True)
    directory = os.open(WAL, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def claim(members: list[str], me: str, newest: int) -> tuple[int, str] | None:
    """The number that is this node's now, and who had claimed the one before."""
    found = etcd(members, "range", {"key": b64(CLAIM)}).get("kvs", [])
    number, claimer = (newest, me)
    if found:
        number, claimer = base64.b64decode(found[0]["value"]).decode().split()
    mine = max(newest, int(number)) + 1
    # Since it was read nobody has claimed anything, and this node still has the lock.
    seen = found[0]["mod_revision"] if found else "0"
    claimed = etcd(
        members,
        "txn",
        {
            "compare": [
                {"key": b64(CLAIM), "target": "MOD", "mod_revision": seen},
                {"key": b64(LOCK), "target": "VALUE", "value": b64(me)},
            ],
            "success": [{"request_put": {"key": b64(CLAIM), "value": b64(f"{mine} {me}")}}],
        },
    )
    return (mine, claimer) if claimed.get("succeeded") else None


def main() -> None:
    me = os.environ["NODE_NAME"]
    members = os.environ["ETCD_HOSTS"].split(",")
    newest = newest_timeline()
    # Once more where an answer was lost: then the claim itself was in the way.
    claimed = next(filter(None, (claim(members, me, newest) for _ in range(TRIES))), None)
    if claimed is None:
        sys.exit("timeline: the lock was lost before the claim")
    mine, claimer = claimed
    if mine > newest + 1:
        leave_out(newest, range(newest + 1, mine), claimer)
    print(f"timeline: {mine} is claimed", flush=True)


main()
