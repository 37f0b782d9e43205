"""Validates docs/reference/ocsf-examples.jsonl against the published schema of OCSF, and shows that the validation can fail.

The schema of each class is made from the published one by `ocsf-json-schema`: required attributes, types and enumerations,
and no attribute that the class does not have. Then the queries of infra/athena are parsed as Athena's SQL, and every
column in them is looked for in the table that the template defines.
"""

import copy
import json
import pathlib
import re
import sys

import jsonschema
import sqlglot
from sqlglot.optimizer.qualify import qualify
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

VERSION = "1.6.0"
ROOT = pathlib.Path(__file__).resolve().parents[2]


class Schema:
    def __init__(self, version):
        self.schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version))
        self.validators = {}

    def validator(self, class_uid):
        if class_uid not in self.validators:
            name = self.schema.lookup_class_name_from_uid(class_uid)
            self.validators[class_uid] = jsonschema.Draft202012Validator(self.schema.get_class_schema(name))
        return self.validators[class_uid]

    def faults(self, event):
        """What is wrong with an event, as texts."""
        try:
            validator = self.validator(event.get("class_uid"))
        except ValueError as error:
            return [str(error)]
        faults = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(event)]
        if event.get("metadata", {}).get("version") != VERSION:
            faults.append(f"its schema is not {VERSION}")
        if event.get("type_uid") != event["class_uid"] * 100 + event.get("activity_id", -1):
            faults.append("type_uid is not that of class and activity")
        return faults

    def must_fail(self, event):
        """Wrong variants of a right event that the schema lets pass."""
        def variant(change):
            changed = copy.deepcopy(event)
            change(changed)
            return changed

        classes = {2004, 3001, 3003, 3004, 6002, 6003} - {event["class_uid"]}
        wrong = {f"class {uid}": variant(lambda e, uid=uid: e.update(class_uid=uid, category_uid=uid // 1000,
                 type_uid=uid * 100 + e["activity_id"])) for uid in classes}
        for name in self.validator(event["class_uid"]).schema["required"]:
            wrong[f"without {name}"] = variant(lambda e, name=name: e.pop(name))
        wrong["an unknown attribute"] = variant(lambda e: e.update(event=1))
        wrong["an unknown attribute inside"] = variant(lambda e: e["metadata"].update(run_id="x"))
        wrong["an unknown activity"] = variant(lambda e: e.update(activity_id=77, type_uid=e["class_uid"] * 100 + 77))
        wrong["an unknown severity"] = variant(lambda e: e.update(severity_id=42))
        wrong["a time that is text"] = variant(lambda e: e.update(time="2026-01-31"))
        wrong["another version"] = variant(lambda e: e["metadata"].update(version="1.1.0"))
        return [name for name, changed in wrong.items() if not self.faults(changed)]


def check_events():
    schema = Schema(VERSION)
    wrong = 0
    lines = (ROOT / "docs/reference/ocsf-examples.jsonl").read_text().splitlines()
    for line in lines:
        event = json.loads(line)
        name = event["metadata"]["event_code"]
        for fault in schema.faults(event):
            wrong += 1
            print(f"{name}: {fault}", file=sys.stderr)
        for passed in schema.must_fail(event):
            wrong += 1
            print(f"{name}: {passed} passes the validation", file=sys.stderr)
    if len(lines) < 30 or wrong:
        sys.exit(f"check-ocsf: {wrong} faults in {len(lines)} examples")
    return len(lines)


def columns():
    """The columns of the table that the template defines, partition keys included."""
    text = (ROOT / "infra/sam/template.yaml").read_text()
    table = re.search(r"^  AuditEventsTable:\n(.*?)^  \w|\Z", text[text.index("  AuditEventsTable:"):], re.S | re.M)
    found = re.findall(r"- \{ Name: (\w+), Type: (\"[^\"]*\"|\w+)", text[text.index("  AuditEventsTable:"):][: table.end()])
    return {name: kind.strip('"') for name, kind in found}


def check_queries():
    exported = columns()
    if "unmapped" not in exported:
        sys.exit("check-ocsf: the template's table was not found")
    view = (ROOT / "infra/athena/events.sql").read_text()
    select = sqlglot.parse_one(view, dialect="athena").expression
    schema = {"sealfleet_audit": {"exported": exported}}
    events = qualify(select, schema=schema, dialect="athena", validate_qualify_columns=True)
    schema["sealfleet_audit"]["events"] = {column.alias_or_name: "VARCHAR" for column in events.selects}
    files = sorted((ROOT / "infra/athena").glob("*.sql"))
    for file in files:
        if file.name != "events.sql":
            parsed = sqlglot.parse_one(file.read_text(), dialect="athena")
            qualify(parsed, schema=schema, dialect="athena", validate_qualify_columns=True)
    try:
        bad = sqlglot.parse_one("SELECT no_such_column FROM sealfleet_audit.events", dialect="athena")
        qualify(bad, schema=schema, dialect="athena", validate_qualify_columns=True)
    except sqlglot.errors.OptimizeError:
        return len(files)
    sys.exit("check-ocsf: an unknown column passes")


if __name__ == "__main__":
    print(f"check-ocsf: {check_events()} events are valid OCSF {VERSION}; {check_queries()} queries fit the table", file=sys.stderr)
