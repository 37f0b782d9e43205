"""What breaks clients between two documents of the API: scripts/lib/api_changes.py OLD NEW ACCEPTED

Prints each finding on a line, and ends with 1 if one is not in the file ACCEPTED, or a line there is of no finding.

What an operation accepts may only widen; what it answers may only gain fields. A request with a field that the API does not know is refused,
so a field that is taken away breaks whoever sends it. New members of an enumeration, and new variants, of an answer do not count: clients are told
to expect them (docs/guides/clients.md). A pattern or condition that changes counts, since nothing here tells whether it widens.
"""

import difflib
import json
import pathlib
import re
import sys

METHODS = ("get", "put", "post", "delete", "patch")
# What bounds a request, and whether the bound may grow.
UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
OPAQUE = ("pattern", "format", "uniqueItems", "if", "then", "else", "not", "allOf")


def without_null(schema):
    """The schema of what is not null, and whether null is taken, too."""
    null = {"type": "null"}
    if "anyOf" in schema:
        options = [one for one in schema["anyOf"] if one != null]
        return (options[0] if len(options) == 1 else schema | {"anyOf": options}), null in schema["anyOf"]
    if isinstance(schema.get("type"), list) and "null" in schema["type"]:
        types = [one for one in schema["type"] if one != "null"]
        return schema | {"type": types[0] if len(types) == 1 else types}, True
    return schema, False


class Side:
    """One document."""

    def __init__(self, document):
        self.document = document

    def resolved(self, value):
        """What a value stands for, and the name that it has, if any."""
        name = None
        while "$ref" in value:
            name, target = value["$ref"].rpartition("/")[2], self.document
            for part in value["$ref"].removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            value = target | {key: held for key, held in value.items() if key not in ("$ref", "description")}
        return value, name

    def operations(self):
        return {
            (method.upper(), path): operation | {"parameters": item.get("parameters", []) + operation.get("parameters", [])}
            for path, item in self.document["paths"].items()
            for method, operation in item.items()
            if method in METHODS
        }

    def alternatives(self, schema):
        """The schemas of which a value must match one, each of a single type."""
        schema, _ = self.resolved(schema)
        for keyword in ("oneOf", "anyOf"):
            if keyword in schema:
                return [one for option in schema[keyword] for one in self.alternatives(option)]
        types = schema.get("type", "anything")
        return [schema | {"type": one} for one in ([types] if isinstance(types, str) else types)]

    def variants(self, schema, labelled):
        """The alternatives by what tells them apart. Texts are one alternative, with all their members."""
        found = {}
        for one in self.alternatives(schema):
            members = [one["const"]] if "const" in one else one.get("enum")
            label = one["type"]
            if label == "object" and labelled:
                label = self.label(one)
            if members is not None:
                one = one | {"enum": [*found.get(label, {}).get("enum", []), *members]}
            found[label] = one
        return found

    def label(self, schema):
        for name in ("kind", "type"):
            held, _ = self.resolved(schema.get("properties", {}).get(name, {}))
            if "const" in held:
                return f"{name} {held['const']}"
        return "object with " + ", ".join(schema.get("required", []))


TOKEN = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|[()|]|[^\\\[()|]+")


def only_gains_alternatives(old, new):
    """Whether a pattern is another one with more alternatives, between `(`, `|` and `)`: then it matches all that the other matches."""
    if old is None or new is None or "(?" in old + new:
        return False
    was, now = TOKEN.findall(old), TOKEN.findall(new)
    for kind, _, _, begin, end in difflib.SequenceMatcher(None, was, now, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        added = now[begin:end]
        behind = added[:1] == ["|"] and now[end : end + 1] in (["|"], [")"])
        before = added[-1:] == ["|"] and now[begin - 1] in ("|", "(")
        if kind != "insert" or added.count("(") != added.count(")") or not (behind or before):
            return False
    return True


class Comparison:
    def __init__(self, old, new):
        self.old, self.new = Side(old), Side(new)
        self.findings, self.seen = [], set()

    def find(self, place, what):
        if (line := f"{place}: {what}") not in self.findings:
            self.findings.append(line)

    def documents(self):
        now = self.new.operations()
        for (method, path), before in self.old.operations().items():
            place = f"{method} {path}"
            if (after := now.get((method, path))) is None:
                self.find(place, "is gone")
            else:
                self.operation(place, before, after)
        return self.findings

    def operation(self, place, old, new):
        if old["operationId"] != new["operationId"]:
            self.find(place, f"`{old['operationId']}` is called `{new['operationId']}`")
        kinds = [{tuple(sorted(one)) for one in operation["security"]} for operation in (old, new)]
        for gone in sorted(kinds[0] - kinds[1]):
            self.find(place, f"no longer takes the credential {' + '.join(gone) or 'of nobody'}")
        self.parameters(place, old, new)
        self.body(place, old, new)
        self.answers(place, old, new)

    def parameters(self, place, old, new):
        before, after = ({(one["in"], one["name"]): one for one in side["parameters"]} for side in (old, new))
        for key, parameter in before.items():
            where, name = key
            if key not in after:
                self.find(place, f"{where} parameter `{name}` is gone")
                continue
            if after[key].get("required") and not parameter.get("required"):
                self.find(place, f"{where} parameter `{name}` is required")
            self.schema(f"{place}, {where} parameter `{name}`", parameter["schema"], after[key]["schema"], True)
        for where, name in after.keys() - before.keys():
            if after[where, name].get("required"):
                self.find(place, f"new {where} parameter `{name}` is required")

    def body(self, place, old, new):
        before, after = old.get("requestBody"), new.get("requestBody")
        if before is None or after is None:
            if before is not None:
                self.find(place, "takes no body any more")
            elif after is not None and after.get("required"):
                self.find(place, "a body is required")
            return
        if after.get("required") and not before.get("required"):
            self.find(place, "a body is required")
        self.content(f"{place}, request", before, after, True)

    def answers(self, place, old, new):
        for status, answer in old["responses"].items():
            before, _ = self.old.resolved(answer)
            if status not in new["responses"]:
                # A refusal that no longer happens breaks nobody.
                if status < "4":
                    self.find(place, f"status {status} is gone")
                continue
            after, _ = self.new.resolved(new["responses"][status])
            for header in before.get("headers", {}).keys() - after.get("headers", {}).keys():
                self.find(f"{place}, answer {status}", f"header `{header}` is gone")
            self.content(f"{place}, answer {status}", before, after, False)

    def content(self, place, old, new, asked):
        for kind, media in old.get("content", {}).items():
            if kind not in new.get("content", {}):
                self.find(place, f"`{kind}` is gone")
            else:
                self.schema(place, media["schema"], new["content"][kind]["schema"], asked)

    def schema(self, place, old, new, asked):
        """Compares what is asked (a request) or answered."""
        (old, was_null), (new, null) = without_null(old), without_null(new)
        if asked and was_null and not null:
            self.find(place, "no longer takes null")
        if not asked and null and not was_null:
            self.find(place, "may be null")
        (_, before), (_, after) = self.old.resolved(old), self.new.resolved(new)
        if before:
            if before != after:
                self.find(place, f"`{before}` is called `{after}`" if after else f"`{before}` is no schema of its own any more")
            place = f"{before} of {'requests' if asked else 'answers'}"
            if (place, after) in self.seen:
                return
            self.seen.add((place, after))
        objects = [sum(one["type"] == "object" for one in side.alternatives(schema)) for side, schema in ((self.old, old), (self.new, new))]
        was, now = self.old.variants(old, max(objects) > 1), self.new.variants(new, max(objects) > 1)
        if asked:
            for label in was.keys() - now.keys():
                self.find(place, f"no longer takes: {label}")
        elif not was.keys() & now.keys():
            self.find(place, f"was {', '.join(was)}, and is {', '.join(now)}")
        for label in was.keys() & now.keys():
            inner = place if len(was) == 1 else f"{place} ({label})"
            self.values(inner, was[label], now[label], asked)
            self.fields(inner, was[label], now[label], asked)

    def values(self, place, old, new, asked):
        if not asked:
            if "enum" in old and "enum" not in new:
                self.find(place, "is any text")
            return
        members, accepted = old.get("enum"), new.get("enum")
        if members is None and accepted is not None:
            self.find(place, "takes certain values only")
        for gone in [one for one in members or [] if accepted is not None and one not in accepted]:
            self.find(place, f"no longer takes `{gone}`")
        for keyword, worse in [(one, lambda was, now: now < was) for one in UPPER] + [(one, lambda was, now: now > was) for one in LOWER]:
            if keyword in new and (keyword not in old or worse(old[keyword], new[keyword])):
                self.find(place, f"{keyword} is {new[keyword]}, and was {old.get(keyword, 'none')}")
        for keyword in OPAQUE:
            if keyword == "pattern" and only_gains_alternatives(old.get(keyword), new.get(keyword)):
                continue
            if keyword in new and new[keyword] != old.get(keyword):
                self.find(place, f"`{keyword}` is new" if keyword not in old else f"`{keyword}` is another one")

    def fields(self, place, old, new, asked):
        before, after = old.get("properties", {}), new.get("properties", {})
        required, now = set(old.get("required", [])), set(new.get("required", []))
        for name, field in before.items():
            if name not in after:
                self.find(place, f"field `{name}` is gone")
                continue
            self.schema(f"{place}, field `{name}`", field, after[name], asked)
        for name in sorted(now - required) if asked else []:
            self.find(place, f"field `{name}` is required" if name in before else f"new field `{name}` is required")
        for name in sorted(required - now) if not asked else []:
            if name in after:
                self.find(place, f"field `{name}` may be absent")
        for keyword, what in [("items", "items"), ("additionalProperties", "values"), ("propertyNames", "names")]:
            was, becomes = old.get(keyword), new.get(keyword)
            if isinstance(was, dict) and isinstance(becomes, dict):
                self.schema(f"{place}, {what}", was, becomes, asked)
            elif asked and becomes is False and was is not False and (old["type"], keyword) == ("object", "additionalProperties"):
                self.find(place, "refuses fields that it does not know")
            elif asked and isinstance(becomes, dict) and was is None:
                self.find(place, f"{what} are bound")
            elif not asked and isinstance(was, dict):
                self.find(place, f"{what} may be anything")


def main(old, new, accepted):
    old, new = (json.loads(pathlib.Path(file).read_text()) for file in (old, new))
    lines = [line.strip() for line in pathlib.Path(accepted).read_text().splitlines()]
    known = {line for line in lines if line and not line.startswith("#")}
    findings = Comparison(old, new).documents()
    for line in findings:
        print(f"{'accepted' if line in known else 'BREAKS CLIENTS'}: {line}")
    for line in sorted(known - set(findings)):
        print(f"{accepted}: of no change: {line}")
    return known != set(findings)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
