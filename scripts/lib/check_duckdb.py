"""Runs the queries of infra/duckdb over an archive of the examples of each version of OCSF, laid out as export does, each object twice.

What each answers is compared with what Python finds in the same events. What goes to Security Lake is read back from Parquet and
validated as the examples are.
"""

import collections
import contextlib
import gzip
import json
import os
import pathlib
import sys
import tempfile

import duckdb

from check_ocsf import EXAMPLES, ROOT, Schema

QUERIES = ROOT / "infra/duckdb"
RUN = "run_019c1310-e400-7000-8000-000000000002"
REFUSALS = {"run.denied", "claim.refused", "report.refused", "secret.read_unexplained"}


def archive(events):
    """The events as objects of the archive, below the working directory, and the event of another project beside them."""
    for project, held in [("healthcare", events), ("finance", [of_another_project(events[0])])]:
        place = pathlib.Path(f"audit/project={project}/date=2026-01-31")
        place.mkdir(parents=True)
        lines = "".join(json.dumps(event, separators=(",", ":")) + "\n" for event in held).encode()
        for name in ["shard-1-9", "shard-table-1-9"]:
            (place / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines))


def of_another_project(event):
    return event | {"unmapped": event["unmapped"] | {"project": "finance"}}


def query(database, name):
    return database.execute((QUERIES / name).read_text()).fetchall()


def expect(what, found, wanted):
    if found != wanted:
        sys.exit(f"check-duckdb: {what}: {found!r}, expected {wanted!r}")


def releases(events):
    """Steps that the secret CRM_TOKEN was released to, or decrypted in."""
    for event in events:
        own = event["unmapped"]["event"]
        released = own["type"] == "secret.released" and any(secret["name"] == "CRM_TOKEN" for secret in own["secrets"])
        if released or (own["type"] == "secret.decrypted" and own["key"] == "CRM_TOKEN"):
            yield own["type"], own["step_id"], str(own["fence"])


def check_queries(database, events):
    names = collections.Counter(event["metadata"]["event_code"] for event in events)
    query(database, "events.sql")
    found = database.execute("SELECT event_type, count(*) FROM events WHERE project = 'healthcare' GROUP BY ALL").fetchall()
    expect("each event once", dict(found), dict(names))
    expect("another project's", database.execute("SELECT count(*) FROM events WHERE project = 'finance'").fetchone(), (1,))
    of_the_run = [event["metadata"]["event_code"] for event in events if event["unmapped"].get("run_id") == RUN]
    expect("a-run.sql", [row[2] for row in query(database, "a-run.sql")], of_the_run)
    refused = sorted((row[2], row[4]) for row in query(database, "refusals-by-day.sql"))
    expect("refusals-by-day.sql", refused, sorted((name, names[name]) for name in REFUSALS))
    found = sorted(row[3:] for row in query(database, "who-used-this-secret.sql"))
    expect("who-used-this-secret.sql", found, sorted(releases(events)))


def bare(value):
    """Without what is null, as the archive has it."""
    if isinstance(value, dict):
        return {key: bare(held) for key, held in value.items() if held is not None}
    return [bare(held) for held in value] if isinstance(value, list) else value


def check_security_lake(database, events, version):
    schema, parts = Schema(version), ("region", "accountId", "eventDay")
    for class_uid in sorted({event["class_uid"] for event in events}):
        database.execute(f"SET VARIABLE class_uid = {class_uid}; SET VARIABLE region = 'eu-west-1'; SET VARIABLE account = '111122223333'")
        query(database, "security-lake.sql")
        files = list(pathlib.Path("security-lake").rglob("*.parquet"))
        expect("its folders", {str(file.parent) for file in files}, {"security-lake/region=eu-west-1/accountId=111122223333/eventDay=20260131"})
        read = database.execute("SELECT * FROM read_parquet('security-lake/**/*.parquet', hive_partitioning = true)")
        columns = [column[0] for column in read.description]
        rows = [bare({name: held for name, held in zip(columns, row) if name not in parts}) for row in read.fetchall()]
        for row in rows:
            if faults := schema.faults(row):
                sys.exit(f"check-duckdb: security-lake.sql: {row['metadata']['event_code']}: {faults}")
        found = {row["metadata"]["uid"]: row for row in rows}
        expect("each event once", len(found), len(rows))
        wanted = {event["metadata"]["uid"]: event for event in events if event["class_uid"] == class_uid}
        expect(f"events of class {class_uid}", found.keys(), wanted.keys())
        for uid, event in wanted.items():
            expect(f"{uid} as Parquet", {name: held for name, held in found[uid].items() if name != "unmapped"}, {name: held for name, held in event.items() if name != "unmapped"})
            expect(f"{uid}, the event itself", json.loads(found[uid]["unmapped"]["event"]), event["unmapped"]["event"])
        for file in files:
            file.unlink()


def check(version):
    events = [json.loads(line) for line in EXAMPLES[version].read_text().splitlines()]
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        archive(events)
        # Nothing is fetched: what the queries need is in the package.
        database = duckdb.connect(config={"autoinstall_known_extensions": "false", "TimeZone": "UTC"})
        check_queries(database, events)
        check_security_lake(database, events, version)
    print(f"check-duckdb: {len(list(QUERIES.glob('*.sql')))} queries ran over {len(events)} events of OCSF {version}", file=sys.stderr)


if __name__ == "__main__":
    for version in EXAMPLES:
        check(version)
