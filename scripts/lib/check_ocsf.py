"""Validates the exported events of docs/reference against OCSF, and shows that the validation can fail.

The schema of each class is made from the published one by `ocsf-json-schema`: required attributes, types and enumerations,
and no attribute that the class does not have. Nobody has published 1.9 so. What 1.9 shares with 1.8 is validated by 1.8; what
it adds, by the table `ADDED` below, which is our own reading of 1.9 and not the published schema. Then the queries of
infra/athena are parsed as Athena's SQL, and every column in them is looked for in the table that the template defines.
"""

import copy
import hashlib
import json
import pathlib
import re
import sys

import jsonschema
import rfc8785
import sqlglot
from sqlglot.optimizer.qualify import qualify
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = {
    "1.6.0": ROOT / "docs/reference/ocsf-examples.jsonl",
    "1.9.0": ROOT / "docs/reference/ocsf-1.9-examples.jsonl",
}
# The newest published schema, for what later ones share with it.
NEWEST = "1.8.0"

# What OCSF 1.9.0 adds, as far as our events have it: attribute, then type, requirement and enumeration. A type in brackets is an
# array. `string`, `integer`, `timestamp` are scalars; any other type is an object of this table.
ADDED = {
    "event": {
        "attestation_list": ("[attestation]", "optional", None),
        "delegation": ("delegation", "optional", None),
        "ai_agent": ("ai_agent", "optional", None),
        "application": ("application", "recommended", None),
    },
    "attestation": {
        "uid": ("string", "optional", None),
        "authority_uid": ("string", "recommended", None),
        "chain_uid": ("string", "recommended", None),
        "fingerprint": ("fingerprint", "recommended", None),
        "prev_event": ("prev_event", "recommended", None),
    },
    "prev_event": {
        "uid": ("string", "required", None),
        "type_uid": ("integer", "recommended", None),
        "fingerprint": ("fingerprint", "optional", None),
    },
    "fingerprint": {
        "algorithm": ("string", "optional", None),
        "algorithm_id": ("integer", "required", {*range(21), 99}),
        "encoding": ("string", "optional", None),
        "encoding_id": ("integer", "recommended", {0, 1, 2, 3, 99}),
        "serialization": ("string", "optional", None),
        "serialization_id": ("integer", "optional", {*range(9), 99}),
        "value": ("string", "required", None),
    },
    "delegation": {
        "audience": ("string", "optional", None),
        "created_time": ("timestamp", "recommended", None),
        "expiration_time": ("timestamp", "optional", None),
        "issuer_uid": ("string", "recommended", None),
        "parent_uid": ("string", "optional", None),
        "scopes": ("[string]", "optional", None),
        "uid": ("string", "required", None),
    },
    "ai_agent": {
        "uid": ("string", "required", None),
        "instance_uid": ("string", "recommended", None),
        "name": ("string", "recommended", None),
        "type": ("string", "optional", None),
        "type_id": ("integer", "recommended", {0, 1, 2, 3, 4, 99}),
        "ai_model": ("ai_model", "recommended", None),
        "version": ("string", "recommended", None),
    },
    "ai_model": {
        "ai_provider": ("string", "required", None),
        "name": ("string", "required", None),
        "uid": ("string", "recommended", None),
        "version": ("string", "recommended", None),
    },
    "application": {
        "name": ("string", "recommended", None),
        "uid": ("string", "recommended", None),
    },
}
# At least one of these must be there.
ONE_OF = {"attestation": ("fingerprint", "signatures"), "application": ("name", "uid")}
# Classes that do not have these attributes, and the profiles that attributes come with.
LACKING = {"delegation": {2004}, "ai_agent": {2004}, "application": {2004, 3001, 3003, 3004, 6003}}
PROFILES = {"attestation_list": "record_integrity", "delegation": "ai_operation", "ai_agent": "ai_operation"}


def faults_added(value, kind, place):
    """What is wrong with a value by the table `ADDED`."""
    if kind.startswith("["):
        if not isinstance(value, list) or not value:
            return [f"{place} is no list"]
        return [fault for at, held in enumerate(value) for fault in faults_added(held, kind[1:-1], f"{place}[{at}]")]
    if kind in ("string", "integer", "timestamp"):
        right = isinstance(value, str if kind == "string" else int) and not isinstance(value, bool)
        return [] if right else [f"{place} is no {kind}"]
    if not isinstance(value, dict):
        return [f"{place} is no object"]
    attributes, faults = ADDED[kind], []
    for name, held in value.items():
        if name not in attributes:
            faults.append(f"{place}.{name} is not in the schema")
            continue
        held_kind, _, choices = attributes[name]
        faults += faults_added(held, held_kind, f"{place}.{name}")
        if choices is not None and held not in choices:
            faults.append(f"{place}.{name} has no value {held}")
    faults += [f"{place} lacks {name}" for name, (_, level, _) in attributes.items() if level == "required" and name not in value]
    if kind in ONE_OF and not any(name in value for name in ONE_OF[kind]):
        faults.append(f"{place} has none of {', '.join(ONE_OF[kind])}")
    return faults


class Schema:
    def __init__(self, version):
        self.version = version
        self.is_published = version != "1.9.0"
        self.schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version if self.is_published else NEWEST))
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
        added = {} if self.is_published else {name: held for name, held in event.items() if name in ADDED["event"]}
        shared = {name: held for name, held in event.items() if name not in added}
        faults = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(shared)]
        metadata = event.get("metadata", {})
        for name, held in added.items():
            faults += faults_added(held, ADDED["event"][name][0], f"$.{name}")
            if event["class_uid"] in LACKING.get(name, ()):
                faults.append(f"class {event['class_uid']} has no {name}")
            if name in PROFILES and PROFILES[name] not in metadata.get("profiles", []):
                faults.append(f"$.{name} without its profile {PROFILES[name]}")
        if metadata.get("version") != self.version:
            faults.append(f"its schema is not {self.version}")
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
        if not self.is_published:
            wrong |= self.wrong_additions(event, variant)
        return [name for name, changed in wrong.items() if not self.faults(changed)]

    def wrong_additions(self, event, variant):
        """Wrong variants of what 1.9 adds: each attribute with a wrong type, each required one absent, each unknown choice."""
        wrong = {}

        def walk(kind, path):
            held = event
            for step in path:
                held = held[step]
            if kind.startswith("["):
                wrong[f"{path} as a text"] = changed(path, "x")
                walk(kind[1:-1], [*path, 0])
            elif kind in ADDED:
                wrong[f"{path} with an unknown attribute"] = changed([*path, "surprise"], 1)
                for name, (inner, level, choices) in ADDED[kind].items():
                    if name in held:
                        walk(inner, [*path, name])
                        if level == "required":
                            wrong[f"{path} without {name}"] = changed([*path, name], None)
                        if choices is not None:
                            wrong[f"{path}.{name} of no choice"] = changed([*path, name], 77)
                if kind in ONE_OF:
                    kept = {name: one for name, one in held.items() if name not in ONE_OF[kind]}
                    wrong[f"{path} without all of {ONE_OF[kind]}"] = changed(path, kept)
            else:
                wrong[f"{path} of another type"] = changed(path, 1 if kind == "string" else "x")

        def changed(path, value):
            def change(copied):
                for step in path[:-1]:
                    copied = copied[step]
                if value is None:
                    del copied[path[-1]]
                else:
                    copied[path[-1]] = value
            return variant(change)

        for name, (kind, _, _) in ADDED["event"].items():
            if name in event:
                walk(kind, [name])
        wrong["without its profiles"] = variant(lambda e: e["metadata"].pop("profiles"))
        finding = {"delegation": {"uid": "x"}, "ai_agent": {"uid": "x"}}
        if event["class_uid"] == 2004:
            for name, held in finding.items():
                wrong[f"a finding with {name}"] = variant(lambda e, name=name, held=held: e.update({name: held}))
        return wrong


def faults_of_chain(events):
    """What is wrong with the chain of the events of one object, as texts."""
    faults, last = [], None
    for event in events:
        bare = copy.deepcopy(event)
        [attestation] = bare["attestation_list"]
        fingerprint = attestation.pop("fingerprint")
        name = event["metadata"]["uid"]
        if attestation.get("prev_event") != last:
            faults.append(f"{name} does not follow the event before it")
        if fingerprint["value"] != hashlib.sha256(rfc8785.dumps(bare)).hexdigest():
            faults.append(f"{name} is not what its fingerprint says")
        last = {"uid": name, "type_uid": event["type_uid"], "fingerprint": fingerprint}
    return faults


def check_chain(events):
    faults = faults_of_chain(events)
    edited = copy.deepcopy(events)
    edited[3]["message"] = "x"
    for what, changed in {"an edited event": edited, "a missing event": events[:3] + events[4:]}.items():
        if not faults_of_chain(changed):
            faults.append(f"a chain with {what} passes")
    return faults


def check_events(version):
    schema = Schema(version)
    wrong = 0
    lines = EXAMPLES[version].read_text().splitlines()
    events = [json.loads(line) for line in lines]
    for event in events:
        name = event["metadata"]["event_code"]
        for fault in schema.faults(event):
            wrong += 1
            print(f"{version} {name}: {fault}", file=sys.stderr)
        for passed in schema.must_fail(event):
            wrong += 1
            print(f"{version} {name}: {passed} passes the validation", file=sys.stderr)
    if not schema.is_published:
        for name in ADDED["event"]:
            if not any(name in event for event in events):
                wrong += 1
                print(f"{version}: no example has {name}", file=sys.stderr)
        for fault in check_chain(events):
            wrong += 1
            print(f"{version}: {fault}", file=sys.stderr)
    if len(lines) < 30 or wrong:
        sys.exit(f"check-ocsf: {wrong} faults in {len(lines)} examples of OCSF {version}")
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
            if isinstance(parsed, sqlglot.exp.Command):
                sys.exit(f"check-ocsf: {file.name} is no query that was understood")
            qualify(parsed, schema=schema, dialect="athena", validate_qualify_columns=True)
    try:
        bad = sqlglot.parse_one("SELECT no_such_column FROM sealfleet_audit.events", dialect="athena")
        qualify(bad, schema=schema, dialect="athena", validate_qualify_columns=True)
    except sqlglot.errors.OptimizeError:
        return len(files)
    sys.exit("check-ocsf: an unknown column passes")


if __name__ == "__main__":
    for checked in EXAMPLES:
        print(f"check-ocsf: {check_events(checked)} events are valid OCSF {checked}", file=sys.stderr)
    print(f"check-ocsf: {check_queries()} queries fit the table", file=sys.stderr)
