"""Tries api_changes.py: each kind of change that breaks clients is found in the API's own document, and each kind that does not is let pass."""

import copy
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

from api_changes import Comparison, only_gains_alternatives

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = json.loads((ROOT / "docs/openapi.json").read_text())


class Changes(unittest.TestCase):
    def changed(self, change):
        new = copy.deepcopy(DOCUMENT)
        change(new["paths"], new["components"]["schemas"])
        self.assertNotEqual(new, DOCUMENT, "nothing changed")
        return Comparison(DOCUMENT, new).documents()

    def breaks(self, finding, change):
        self.assertEqual(self.changed(change), [finding])

    def passes(self, change):
        self.assertEqual(self.changed(change), [])

    def test_the_same_document_breaks_nothing(self):
        self.assertEqual(Comparison(DOCUMENT, DOCUMENT).documents(), [])

    def test_operations(self):
        self.breaks("POST /v1/runs: is gone", lambda paths, _: paths["/v1/runs"].pop("post"))
        self.breaks("GET /v1/usage/prices: is gone", lambda paths, _: paths.pop("/v1/usage/prices"))
        self.breaks("GET /v1/runs: `list_runs` is called `find_runs`", lambda paths, _: paths["/v1/runs"]["get"].update(operationId="find_runs"))
        self.breaks("GET /v1/runs: no longer takes the credential oidc", lambda paths, _: paths["/v1/runs"]["get"]["security"].pop())
        self.breaks("POST /v1/runs: status 201 is gone", lambda paths, _: paths["/v1/runs"]["post"]["responses"].pop("201"))
        self.passes(lambda paths, _: paths["/v1/runs"]["post"]["responses"].pop("413"))
        self.passes(lambda paths, _: paths.update({"/v1/new": {"get": paths["/v1/runs"]["get"]}}))

    def test_parameters(self):
        def parameter(paths, name):
            return next(one for one in paths["/v1/runs"]["get"]["parameters"] if one["name"] == name)

        def of(paths):
            return paths["/v1/runs"]["get"]["parameters"]

        added = {"in": "query", "name": "new", "schema": {"type": "string"}}
        self.breaks("GET /v1/runs: query parameter `state` is gone", lambda paths, _: of(paths).remove(parameter(paths, "state")))
        self.breaks("GET /v1/runs: query parameter `state` is required", lambda paths, _: parameter(paths, "state").update(required=True))
        self.breaks("GET /v1/runs: new query parameter `new` is required", lambda paths, _: of(paths).append(added | {"required": True}))
        self.passes(lambda paths, _: of(paths).append(added))

    def test_fields_of_requests(self):
        place = "EnqueueStep of requests"
        fields = lambda schemas: schemas["EnqueueStep"]["properties"]
        self.breaks(f"{place}: field `command` is gone", lambda _, schemas: fields(schemas).pop("command"))
        self.breaks(f"{place}: field `command` is required", lambda _, schemas: schemas["EnqueueStep"]["required"].append("command"))
        self.passes(lambda _, schemas: fields(schemas).update(new={"type": "string"}))
        self.passes(lambda _, schemas: schemas["EnqueueStep"]["required"].remove("pool"))

        def required(_, schemas):
            fields(schemas)["new"] = {"type": "string"}
            schemas["EnqueueStep"]["required"].append("new")

        self.breaks(f"{place}: new field `new` is required", required)
        profile = lambda schemas: schemas["EnqueueRun"]["properties"]["profile"]
        self.breaks("EnqueueRun of requests, field `profile`: no longer takes null", lambda _, schemas: profile(schemas)["anyOf"].pop())

    def test_fields_of_answers(self):
        place = "RunView of answers"
        fields = lambda schemas: schemas["RunView"]["properties"]
        self.breaks(f"{place}: field `labels` is gone", lambda _, schemas: fields(schemas).pop("labels"))
        self.breaks(f"{place}: field `state` may be absent", lambda _, schemas: schemas["RunView"]["required"].remove("state"))
        self.breaks(f"{place}, field `state`: `RunState` is no schema of its own any more", lambda _, schemas: fields(schemas).update(state=schemas["RunState"]))
        note = lambda schemas: schemas["TokenView"]["properties"]["note"]
        place = "TokenView of answers, field `note`"
        self.breaks(f"{place}: was string, and is integer", lambda _, schemas: note(schemas).update(type="integer"))
        self.breaks(f"{place}: may be null", lambda _, schemas: note(schemas).update(type=["string", "null"]))
        self.passes(lambda _, schemas: fields(schemas).update(new={"type": "string"}))
        self.passes(lambda _, schemas: schemas["RunView"]["required"].append("labels"))

    def test_enumerations(self):
        # In requests it may not narrow; in answers it may grow.
        self.breaks("Mode of requests: no longer takes `bare`", lambda _, schemas: schemas["Mode"]["enum"].remove("bare"))
        self.passes(lambda _, schemas: schemas["Mode"]["enum"].append("new"))
        self.passes(lambda _, schemas: schemas["StepState"]["enum"].append("new"))
        self.breaks("StepState of answers: is any text", lambda _, schemas: schemas["StepState"].pop("enum"))

    def test_variants(self):
        self.breaks("CreatePool of requests: no longer takes: kind fargate", lambda _, schemas: schemas["CreatePool"]["oneOf"].pop())
        self.breaks("EgressPolicy of requests (string): no longer takes `open`", lambda _, schemas: schemas["EgressPolicy"]["oneOf"].pop(1))
        self.passes(lambda _, schemas: schemas["EgressPolicy"]["oneOf"].append({"const": "new", "type": "string"}))
        self.passes(lambda _, schemas: schemas["Event"]["oneOf"].pop())
        self.passes(lambda _, schemas: schemas["CreateToken"]["properties"]["note"].update(type=["string", "null", "integer"]))

    def test_bounds(self):
        step = lambda schemas: schemas["EnqueueRun"]["properties"]["steps"]
        most = step(DOCUMENT["components"]["schemas"])["maxItems"]
        place = "EnqueueRun of requests, field `steps`"
        self.breaks(f"{place}: maxItems is 1, and was {most}", lambda _, schemas: step(schemas).update(maxItems=1))
        self.passes(lambda _, schemas: step(schemas).update(maxItems=most + 1))
        self.breaks(f"{place}: minItems is 2, and was 1", lambda _, schemas: step(schemas).update(minItems=2))
        self.breaks("ProfileName of requests: `pattern` is another one", lambda _, schemas: schemas["ProfileName"].update(pattern="^x$"))
        # What is answered may be bound.
        self.passes(lambda _, schemas: schemas["TokenView"]["properties"]["note"].update(maxLength=1))

    def test_a_pattern_may_gain_alternatives(self):
        for old, new in [
            (r"^(a\.b|c)$", r"^(a\.b|c|d\.e)$"),
            ("^(a|c)$", "^(b|a|c)$"),
            ("^(a|c)(,(a|c))*$", "^(a|b|c)(,(a|b|c))*$"),
            ("^(a|c)$", "^(a|x(y|z)?|c)$"),
        ]:
            self.assertTrue(only_gains_alternatives(old, new), (old, new))
            self.assertFalse(only_gains_alternatives(new, old), (new, old))
        for old, new in [
            ("^(a|c)$", "^(a|cd)$"),
            ("^(a|c)$", "^(a|c)b$"),
            ("^(?!a)b$", "^(?!a|c)b$"),
            ("^(a|c)?$", "^(a|c|d)$"),
            (r"^(a|c)$", r"^(a\|b|c)$"),
            ("^a$", None),
        ]:
            self.assertFalse(only_gains_alternatives(old, new), (old, new))


class Program(unittest.TestCase):
    def test_a_finding_is_accepted_by_its_line_and_a_line_without_one_is_refused(self):
        place = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        new, accepted = copy.deepcopy(DOCUMENT), place / "accepted"
        del new["paths"]["/v1/runs"]["post"]
        (place / "new").write_text(json.dumps(new))

        def run(*lines):
            accepted.write_text("# why\n\n" + "".join(f"{line}\n" for line in lines))
            command = [sys.executable, ROOT / "scripts/lib/api_changes.py", ROOT / "docs/openapi.json", place / "new", accepted]
            done = subprocess.run(command, capture_output=True, text=True)
            return done.returncode, done.stdout

        self.assertEqual(run(), (1, "BREAKS CLIENTS: POST /v1/runs: is gone\n"))
        self.assertEqual(run("POST /v1/runs: is gone"), (0, "accepted: POST /v1/runs: is gone\n"))
        self.assertEqual(run("POST /v1/runs: is gone", "GET /v1/runs: is gone")[0], 1)


if __name__ == "__main__":
    unittest.main()
