"""Runs the state machine that writes the archive to Security Lake (LakeMachine of infra/sam/template.yaml) over an archive of the examples.

Nothing here is AWS. The states are walked by the small interpreter below, which evaluates their JSONata; S3 is a directory, and DuckDB
answers for Athena: it runs the template's own statement, put into its dialect by sqlglot, over the template's own table. So this shows
what the machine asks for and in which order, and what the statement selects. How Step Functions, Athena and Security Lake take it, it
cannot show.

Then each mechanism is taken out of a copy of the machine, and the check must see that.
"""

import collections
import contextlib
import copy
import datetime
import functools
import gzip
import json
import pathlib
import re
import sys
import tempfile
import uuid

import duckdb
import jsonata
import sqlglot
import yaml
from sqlglot.optimizer.qualify import qualify

from check_duckdb import QUERIES, bare
from check_ocsf import EXAMPLES, ROOT, Schema, columns

CLASSES = (2004, 3001, 3003, 3004, 6002, 6003)
PROJECTS = ("~system", "health", "healthcare")
DAY = datetime.timedelta(days=1)
FIRST = datetime.datetime(2026, 1, 31, tzinfo=datetime.timezone.utc)
GIVEN = {
    "NamePrefix": "sealfleet", "Partition": "aws", "Region": "eu-west-1", "Account": "111122223333", "Database": "sealfleet_audit",
    "Archive": "archive", "Lake": "lake", "Prefix": "ext/sealfleet", "WorkGroup": "sealfleet-lake",
}


class Wrong(Exception):
    """What the machine did otherwise than it must."""


def expect(what, found, wanted):
    if found != wanted:
        raise Wrong(f"{what}: {found!r}, expected {wanted!r}")


# ---------------------------------------------------------------- the template


class Template(yaml.SafeLoader):
    """Reads the short forms of intrinsic functions as nothing: the machine's definition has none."""


Template.add_multi_constructor("!", lambda loader, suffix, node: None)


@functools.cache
def resources():
    return yaml.load((ROOT / "infra/sam/template.yaml").read_text(), Template)["Resources"]


def machine():
    properties = resources()["LakeMachine"]["Properties"]
    expect("substitutions", set(properties["DefinitionSubstitutions"]), set(GIVEN))
    return properties["Definition"]


def unloaded(text):
    """The query of an `UNLOAD`, which sqlglot does not know, and the folder that it goes to."""
    found = re.fullmatch(r"UNLOAD \(\n(.*)\n\)\nTO 's3://([^']*/)'\nWITH \(format = 'PARQUET', compression = 'ZSTD'\)\n?", text, re.S)
    if not found:
        raise Wrong(f"no UNLOAD to Parquet: {text}")
    return found[1], found[2]


@functools.cache
def translated(select):
    """A query of Athena for DuckDB, and whether it names its projects as literals. Every column must be one of the template's table."""
    parsed = sqlglot.parse_one(select, dialect="athena")
    qualify(parsed.copy(), schema={GIVEN["Database"]: {"exported": columns()}}, dialect="athena", validate_qualify_columns=True)
    injected = [one for one in parsed.find_all(sqlglot.exp.In) if one.this.name == "project"]
    return parsed.sql("duckdb"), len(injected) == 1 and all(isinstance(value, sqlglot.exp.Literal) for value in injected[0].expressions)


def fires():
    """When the schedule starts the machine, from the day after `FIRST` on."""
    rule = resources()["LakeRule"]["Properties"]
    daily = re.fullmatch(r"cron\((\d+) (\d+) \* \* \? \*\)", rule["ScheduleExpression"])
    if not daily or rule["State"] != "ENABLED":
        raise Wrong(f"the schedule is not daily: {rule['ScheduleExpression']}, {rule['State']}")
    at = FIRST + DAY + datetime.timedelta(minutes=int(daily[1]), hours=int(daily[2]))
    while True:
        yield at
        at += DAY


# ---------------------------------------------------------------- AWS, as far as the machine asks it


class Failure(Exception):
    """An error by its name in the States Language, and its cause."""

    def __init__(self, error, cause=""):
        super().__init__(f"{error}: {cause}")
        self.error, self.cause = error, cause

    def matches(self, names):
        return "States.ALL" in names or self.error in names or ("States.TaskFailed" in names and self.error != "States.Timeout")


class Account:
    """The archive and the lake, below the working directory, and Athena."""

    def __init__(self):
        self.queries = {}
        # What the next queries of a class do instead: functions that get the folder.
        self.accidents = {}
        # What an execution sees that looks at the lake at the same time as another.
        self.lake_before = None
        self.database = duckdb.connect(config={"autoinstall_known_extensions": "false", "TimeZone": "UTC"})
        types = {name: sqlglot.exp.DataType.build(kind, dialect="hive").sql("duckdb", identify=True) for name, kind in columns().items()}
        del types["project"], types["date"]
        self.database.execute(
            f"CREATE SCHEMA {GIVEN['Database']}; CREATE TABLE {GIVEN['Database']}.exported AS SELECT * FROM read_json('archive/audit/*/*/*.jsonl.gz', "
            f"format = 'newline_delimited', columns = {types!r}, hive_partitioning = true, hive_types = {{'project': VARCHAR, 'date': VARCHAR}})")

    def call(self, resource, arguments):
        known = {
            "arn:aws:states:::aws-sdk:s3:listObjectsV2": self.list_objects,
            "arn:aws:states:::athena:startQueryExecution.sync": self.run_query,
        }
        return known[resource](**arguments)

    def keys(self, bucket):
        return sorted(str(file.relative_to(bucket)) for file in pathlib.Path(bucket).rglob("*") if file.is_file())

    def list_objects(self, Bucket, Prefix, Delimiter=None, StartAfter="", MaxKeys=1):
        held = self.lake_before if Bucket == "lake" and self.lake_before is not None else self.keys(Bucket)
        held = [key for key in held if key.startswith(Prefix) and key > StartAfter]
        if not Delimiter:
            return {"KeyCount": len(held[:MaxKeys]), "IsTruncated": len(held) > MaxKeys}
        folders = sorted({Prefix + key.removeprefix(Prefix).split(Delimiter)[0] + Delimiter for key in held})
        page = [{"Prefix": folder} for folder in folders[:MaxKeys]]
        return {"KeyCount": len(page), "IsTruncated": len(folders) > MaxKeys} | ({"CommonPrefixes": page} if page else {})

    def run_query(self, WorkGroup, ClientRequestToken, QueryString):
        expect("workgroup", WorkGroup, "sealfleet-lake")
        if not 32 <= len(ClientRequestToken) <= 128:
            raise Failure("Athena.InvalidRequestException", f"the token has {len(ClientRequestToken)} characters")
        if ClientRequestToken not in self.queries:
            self.queries[ClientRequestToken] = (QueryString, self.outcome(QueryString))
        asked, outcome = self.queries[ClientRequestToken]
        if asked != QueryString:
            raise Failure("Athena.InvalidRequestException", "the token is that of another query")
        if outcome:
            raise outcome

    def outcome(self, text):
        """Runs a query: the failure, if it failed."""
        select, target = unloaded(text)
        bucket, _, folder = target.partition("/")
        expect("the bucket", bucket, "lake")
        answered, names_projects = translated(select)
        if not names_projects:
            return Failure("Athena.CONSTRAINT_VIOLATION", "an injected partition without static values")
        place = pathlib.Path(bucket, folder)
        if accidents := self.accidents.get(re.search(r"-(\d{4})/", folder)[1]):
            return accidents.pop(0)(place)
        place.mkdir(parents=True, exist_ok=True)
        file = place / f"{uuid.uuid4()}.parquet"
        try:
            [count] = self.database.execute(f"COPY ({answered}) TO '{file}' (FORMAT parquet, COMPRESSION zstd)").fetchone()
        except duckdb.Error as error:
            return Failure("Athena.Invalid", str(error))
        if not count:
            file.unlink()


# ---------------------------------------------------------------- the States Language, as far as the machine uses it


class Execution:
    """One execution of a machine. Ends with its last state's output, or as a `Failure`."""

    def __init__(self, definition, account, given, started, name="scheduled"):
        text = json.dumps(definition)
        for key, value in GIVEN.items():
            text = text.replace("${" + key + "}", value)
        if "${" in text:
            raise Wrong("a substitution is missing")
        self.account, self.waited = account, 0
        # No time passes here but what `waited` counts.
        self.context = {"Execution": {"Name": name}, "State": {"EnteredTime": started.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}}
        self.definition, self.given = json.loads(text), given

    def run(self):
        return self.walk(self.definition, self.given, {})

    def value(self, node, variables, states):
        if isinstance(node, dict):
            return {key: self.value(held, variables, states) for key, held in node.items()}
        if isinstance(node, list):
            return [self.value(held, variables, states) for held in node]
        if not (isinstance(node, str) and node.startswith("{%")):
            return node
        expression = jsonata.Jsonata(node.removeprefix("{%").removesuffix("%}").strip())
        for name, held in {**variables, "states": {"context": self.context, **states}}.items():
            expression.assign(name, held)
        try:
            found = expression.evaluate(None)
        except Exception as error:
            raise Failure("States.QueryEvaluationError", f"{node}: {error}") from error
        if found is None:
            raise Failure("States.QueryEvaluationError", f"{node} is nothing")
        return json.loads(json.dumps(found))

    def walk(self, level, given, outer):
        variables, name = dict(outer), level["StartAt"]
        for _ in range(100):
            state = level["States"][name]
            leaving, states = state, {"input": given}
            try:
                match state["Type"]:
                    case "Succeed":
                        return given
                    case "Fail":
                        raise Failure(state["Error"], self.value(state["Cause"], variables, states))
                    case "Wait":
                        self.waited += state["Seconds"]
                    case "Choice":
                        rules = [rule for rule in state["Choices"] if self.value(rule["Condition"], variables, states) is True]
                        leaving = rules[0] if rules else {"Next": state["Default"]}
                    case "Task":
                        states["result"] = self.attempts(state, variables, states)
                    case "Map":
                        items = self.value(state["Items"], variables, states)
                        states["result"] = [self.walk(state["ItemProcessor"], item, variables) for item in items]
            except Failure as failure:
                caught = [catch for catch in state.get("Catch", []) if failure.matches(catch["ErrorEquals"])]
                if not caught:
                    raise
                leaving, states["errorOutput"] = caught[0], {"Error": failure.error, "Cause": failure.cause}
            output = self.value(leaving["Output"], variables, states) if "Output" in leaving else states.get("result", given)
            variables |= self.value(leaving.get("Assign", {}), variables, states)
            given = output
            if leaving.get("End"):
                return given
            name = leaving["Next"]
        raise Wrong("the machine does not end")

    def attempts(self, state, variables, states):
        left = {id(retry): retry["MaxAttempts"] for retry in state.get("Retry", [])}
        while True:
            try:
                return self.account.call(state["Resource"], self.value(state["Arguments"], variables, states))
            except Failure as failure:
                retries = [retry for retry in state.get("Retry", []) if failure.matches(retry["ErrorEquals"]) and left[id(retry)]]
                if not retries:
                    raise
                left[id(retries[0])] -= 1


# ---------------------------------------------------------------- the archive


def moved(event, project, at):
    """An event as another project's, at another time."""
    own = f"{event['metadata']['uid']}-{project}-{at:%Y%m%d}"
    metadata = event["metadata"] | {"uid": own, "tenant_uid": project}
    return event | {"time": int(at.timestamp() * 1000), "metadata": metadata, "unmapped": event["unmapped"] | {"project": project}}


def archive(examples):
    """Three days of each project, from their first to their last millisecond, each object twice; by uid."""
    events = {}
    for project in PROJECTS:
        for number in range(3):
            start = FIRST + number * DAY
            step = (DAY - datetime.timedelta(milliseconds=1)) / (len(examples) - 1)
            # Backwards: the lake is in order all the same.
            held = [moved(event, project, start + at * step) for at, event in enumerate(examples)][::-1]
            events |= {event["metadata"]["uid"]: event for event in held}
            place = pathlib.Path(f"archive/audit/project={project}/date={start:%Y-%m-%d}")
            place.mkdir(parents=True)
            lines = "".join(json.dumps(event, separators=(",", ":")) + "\n" for event in held).encode()
            for name in ["shard-1-9", "shard-table-1-9"]:
                (place / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines))
    return events


def folder(class_uid, day):
    return pathlib.Path(f"lake/ext/sealfleet-{class_uid}/region=eu-west-1/accountId=111122223333/eventDay={day:%Y%m%d}")


def written(account, class_uid, day):
    """The rows of a folder, in the order of its files."""
    files = sorted(folder(class_uid, day).glob("*.parquet"))
    rows = []
    for file in files:
        read = account.database.execute(f"SELECT * FROM read_parquet('{file}', hive_partitioning = false)")
        names = [column[0] for column in read.description]
        rows += [bare(dict(zip(names, row))) for row in read.fetchall()]
    return rows


def check_lake(account, events, days, schema=None):
    """Each event of these days is there once, in the folder of its class and day, in order, as the schema wants it, and nothing else."""
    found = collections.Counter()
    for day in days:
        for class_uid in CLASSES:
            rows = written(account, class_uid, day)
            expect(f"order of {class_uid}", [row["time"] for row in rows], sorted(row["time"] for row in rows))
            for row in rows:
                uid = row["metadata"]["uid"]
                found[uid] += 1
                expect(f"class of {uid}", row["class_uid"], class_uid)
                expect(f"day of {uid}", datetime.datetime.fromtimestamp(row["time"] / 1000, datetime.timezone.utc).date(), day.date())
                if faults := schema and schema.faults(row):
                    raise Wrong(f"{uid} in the lake: {faults}")
                event = events[uid]
                expect(f"{uid} in the lake", {**row, "unmapped": None}, {**event, "unmapped": None})
                expect(f"{uid}, the event itself", json.loads(row["unmapped"]["event"]), event["unmapped"]["event"])
    wanted = {uid for uid, event in events.items() if any(day.timestamp() <= event["time"] / 1000 < (day + DAY).timestamp() for day in days)}
    expect("events that are there more than once", [uid for uid, count in found.items() if count > 1], [])
    expect("events", found.keys(), wanted)
    expect("other objects", len(account.keys("lake")), len(days) * len({event["class_uid"] for event in events.values()}))


# ---------------------------------------------------------------- what must hold


def scheduled(definition, account, at):
    """What the schedule starts at a time, a little late."""
    return Execution(definition, account, {"detail-type": "Scheduled Event", "time": f"{at:%Y-%m-%dT%H:%M:%SZ}"}, at + datetime.timedelta(seconds=41), str(uuid.uuid4()))


def must_fail(execution, error, part=""):
    try:
        execution.run()
    except Failure as failure:
        if failure.error != error or (part and failure.cause != part):
            raise Wrong(f"failed as {failure}, expected {error}: {part}") from failure
        return
    raise Wrong(f"succeeded, expected {error}")


def hold(definition, version):
    """All that must hold of the machine, in an archive of its own."""
    schema, examples = Schema(version), [json.loads(line) for line in EXAMPLES[version].read_text().splitlines()]
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        events, account, time = archive(examples), Account(), fires()
        pathlib.Path("lake").mkdir()
        # The day before the first: nothing is there, and nothing is written.
        scheduled(definition, account, next(time)).run()
        expect("a day without events", account.keys("lake"), [])
        first = next(time)
        scheduled(definition, account, first).run()
        check_lake(account, events, [FIRST])
        # The same event again, while the first is at work and after it.
        account.lake_before = []
        scheduled(definition, account, first).run()
        account.lake_before = None
        must_fail(scheduled(definition, account, first), "NotWritten", "; ".join(f"{one} of 2026-01-31: its folder is not empty" for one in CLASSES))
        check_lake(account, events, [FIRST])
        accidents(definition, account, next(time))
        check_lake(account, events, [FIRST, FIRST + DAY])
        scheduled(definition, account, next(time)).run()
        check_lake(account, events, [FIRST, FIRST + DAY, FIRST + 2 * DAY], schema)
        refuse(definition, account)


def accidents(definition, account, time):
    """The second day: queries that fail once, for ever, with a file left behind, and by taking too long. The others are written."""
    def fails(_):
        return Failure("Athena.Internal", "no luck")

    def leaves_half(place):
        place.mkdir(parents=True)
        (place / "half.parquet").write_bytes(b"")
        return fails(place)

    account.accidents = {"2004": [fails], "3001": [fails] * 9, "3004": [leaves_half], "6002": [lambda _: Failure("States.Timeout", "")]}
    must_fail(scheduled(definition, account, time), "NotWritten", "; ".join([
        "3001 of 2026-02-01: Athena.Internal: no luck",
        "3004 of 2026-02-01: its folder is not empty, after Athena.Internal: no luck",
        "6002 of 2026-02-01: States.Timeout",
    ]))
    # By hand: the operator removes what is half, and names what is missing. A name of an execution may be short.
    account.accidents = {}
    (folder(3004, FIRST + DAY) / "half.parquet").unlink()
    Execution(definition, account, {"day": "2026-02-01", "classes": [3001, 3004, 6002]}, FIRST + 9 * DAY, "x").run()


def refuse(definition, account):
    """What may not be written is not."""
    before, now = account.keys("lake"), FIRST + 9 * DAY
    for given in [{"day": "2026-02-08"}, {"day": "2026-02-0x"}, {"day": "' OR 1=1"}, {"day": "2026-01-31", "classes": [1]}, {"day": 20260131}]:
        must_fail(Execution(definition, account, given, now, "x"), "NotToBeWritten")
    pathlib.Path("archive/audit/project=a') OR ('1'='1").mkdir()
    pathlib.Path("archive/audit/project=a') OR ('1'='1/x").touch()
    must_fail(Execution(definition, account, {"day": "2026-01-20"}, now, "x"), "NoProject")
    expect("what was refused wrote", account.keys("lake"), before)


# ---------------------------------------------------------------- what the check must see


def states(definition):
    return definition["States"]


def of_class(definition):
    return states(definition)["Classes"]["ItemProcessor"]["States"]


def replaced(place, key, old, new):
    """A change of one text, which must be there."""

    def change(definition):
        held = place(definition)
        if old not in held[key]:
            raise Wrong(f"no `{old}` to take out")
        held[key] = held[key].replace(old, new)

    return change


def assigned(definition):
    return states(definition)["Asked"]["Assign"]


def asked(definition):
    return of_class(definition)["Write"]["Arguments"]


BREAKS = {
    "the day before": replaced(assigned, "day", "- 2 *", "- 1 *"),
    "a day early": replaced(assigned, "day", "- 2 *", "- 3 *"),
    "a day by local habit": replaced(assigned, "day", "[Y0001]-[M01]-[D01]", "[Y0001]-[D01]-[M01]"),
    "days that are not complete": replaced(lambda d: states(d)["MayBeWritten"]["Choices"][0], "Condition", "2 * 86400000", "1 * 86400000"),
    "any text as a day": replaced(lambda d: states(d)["MayBeWritten"]["Choices"][0], "Condition", "{2}$/", "{2}|.*/"),
    "a class less": replaced(assigned, "classes", "2004, ", ""),
    "doubles": replaced(assigned, "statement", "WHERE copy = 1", "WHERE copy >= 1"),
    "all classes": replaced(assigned, "statement", " AND class_uid = :class", ""),
    "all days": replaced(assigned, "statement", " AND date = ':day'", ""),
    "an unknown column": replaced(assigned, "statement", "attestation_list,", "attestations,"),
    "a copy of another name": replaced(assigned, "statement", "class_name,", "class_name AS class,"),
    "no order": replaced(assigned, "statement", "  ORDER BY time\n", ""),
    "another class in the folder": replaced(lambda d: of_class(d)["Class"]["Assign"], "folder", "$string($states.input)", "'6003'"),
    "a day as it is written elsewhere": replaced(lambda d: of_class(d)["Class"]["Assign"], "folder", "$replace($day, '-', '')", "$day"),
    "one page of projects": lambda d: states(d)["AllProjects"]["Choices"].pop(0),
    "a page that repeats": replaced(lambda d: states(d)["Projects"]["Assign"], "after", "& '~'", ""),
    "projects of any name": lambda d: states(d)["AllProjects"]["Choices"].pop(2),
    "no look at the folder": lambda d: of_class(d)["Class"].update(Next="Write"),
    "a look that decides nothing": lambda d: of_class(d)["IsEmpty"]["Choices"].clear(),
    "no look after a failure": lambda d: of_class(d)["Wait"].update(Next="Write"),
    "no second attempt": replaced(lambda d: of_class(d)["Again"]["Choices"][0], "Condition", "< 3", "< 1"),
    "a query that is asked for again": replaced(asked, "ClientRequestToken", ", $string($attempt)", ""),
    "one query for all classes": replaced(asked, "ClientRequestToken", "$class, ", ""),
    "a query for each event of the schedule": replaced(assigned, "token", "'schedule'", "$states.context.Execution.Name"),
    "a run by hand that joins the scheduled one": replaced(assigned, "token", "'by-hand-' & $states.context.Execution.Name", "'schedule'"),
    "a failure that stops the others": lambda d: of_class(d)["Write"]["Catch"].clear(),
    "a failure that nobody is told": lambda d: of_class(d)["NotWritten"].update(Output={}),
    "a failure that is no failure": lambda d: states(d)["All"].update(Default="Written"),
}


def check_breaks():
    for what, change in BREAKS.items():
        broken = copy.deepcopy(machine())
        change(broken)
        try:
            hold(broken, next(iter(EXAMPLES)))
        except (Wrong, Failure, sqlglot.errors.SqlglotError):
            continue
        raise Wrong(f"a broken machine passes: {what}")


def check_copies():
    """The conversion of a copy of the archive has the same columns."""
    text = (QUERIES / "security-lake.sql").read_text()
    copied = sqlglot.parse_one(re.search(r"^COPY \((.*)^\) TO", text, re.S | re.M)[1], dialect="duckdb").named_selects
    select, _ = unloaded(machine()["States"]["Asked"]["Assign"]["statement"].replace(":folder", "folder/"))
    select = select.replace("${Database}", "d").replace(":projects", "''").replace(":class", "1")
    expect("columns of infra/duckdb/security-lake.sql", copied[:-3], sqlglot.parse_one(select, dialect="athena").named_selects)


if __name__ == "__main__":
    try:
        for checked in EXAMPLES:
            hold(machine(), checked)
        check_copies()
        check_breaks()
    except (Wrong, Failure) as fault:
        sys.exit(f"check-lake: {fault}")
    print(f"check-lake: the machine writes each event once, and {len(BREAKS)} broken ones are seen", file=sys.stderr)
