"""Holds the Terraform modules to the templates of infra/sam, which they deploy: infra/terraform/check.py [--write]

Every parameter of a template is a variable of its module, with the same default, choices and bounds, and every output an output.
`template.tf` of each module says so: `--write` writes it. Without it the files are parsed as HCL and compared with the templates.
Nothing here is planned or applied: no provider can be fetched.
"""

import itertools
import json
import pathlib
import re
import sys

import hcl2
import yaml

HERE = pathlib.Path(__file__).resolve().parent
MODULES = {"control-plane": "template.yaml", "project": "project.yaml"}
# `sealfleet-local` alone sets it.
LOCAL = "LocalEndpoint"


class Template(yaml.SafeLoader):
    """Reads the short forms of intrinsic functions as nothing."""


Template.add_multi_constructor("!", lambda loader, suffix, node: None)


def read(name):
    return yaml.load((HERE.parent / "sam" / MODULES[name]).read_text(), Template)


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def kind(parameter):
    if parameter["Type"] == "CommaDelimitedList":
        return "list(string)"
    if parameter.get("AllowedValues") == ["true", "false"]:
        return "bool"
    return {"Number": "number", "String": "string"}[parameter["Type"]]


def text(value):
    """A text of HCL, in which nothing is replaced."""
    return json.dumps(value, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def conditions(name, parameter):
    """What a value must meet, and what to say if it does not."""
    variable = f"var.{snake(name)}"
    if kind(parameter) == "bool":
        return
    if "AllowedValues" in parameter:
        choices = parameter["AllowedValues"]
        listed = ", ".join(text(one) if isinstance(one, str) else str(one) for one in choices)
        yield f"contains([{listed}], {variable})", "one of " + ", ".join(map(str, choices))
    if "AllowedPattern" in parameter:
        yield f"can(regex({text(parameter['AllowedPattern'])}, {variable}))", parameter["ConstraintDescription"]
    if "MaxLength" in parameter:
        yield f"length({variable}) <= {parameter['MaxLength']}", f"at most {parameter['MaxLength']} characters"
    if "MinValue" in parameter:
        yield f"{variable} >= {parameter['MinValue']}", f"at least {parameter['MinValue']}"
    if "MaxValue" in parameter:
        yield f"{variable} <= {parameter['MaxValue']}", f"at most {parameter['MaxValue']}"


def written(name):
    """`template.tf` of a module."""
    template = read(name)
    parameters = {key: value for key, value in template["Parameters"].items() if key != LOCAL}
    lines = [f"# The parameters and outputs of infra/sam/{MODULES[name]}, written by infra/terraform/check.py --write."]
    for key, parameter in parameters.items():
        lines += ["", f'variable "{snake(key)}" {{', f"  type = {kind(parameter)}", f"  description = {text(parameter['Description'])}"]
        # Null leaves the parameter out: the template's default holds.
        lines.append("  default = null" if "Default" in parameter else "  nullable = false")
        for condition, told in conditions(key, parameter):
            guard = f"var.{snake(key)} == null ? true : " if "Default" in parameter else ""
            lines += ["  validation {", f"    condition = {guard}{condition}", f"    error_message = {text(f'{snake(key)}: {told}.')}", "  }"]
        lines.append("}")
    lines += ["", "locals {", "  parameters = {"]
    for key, parameter in parameters.items():
        variable = f"var.{snake(key)}"
        listed = kind(parameter) == "list(string)"
        lines.append(f"    {key} = " + (f'{variable} == null ? null : join(",", {variable})' if listed else f"tostring({variable})"))
    lines += ["  }", "}"]
    for key, output in template["Outputs"].items():
        if key == LOCAL:
            continue
        lines += ["", f'output "{snake(key)}" {{']
        if told := output.get("Description"):
            lines.append(f"  description = {text(told)}")
        lines += [f'  value = lookup(aws_cloudformation_stack.this.outputs, "{key}", null)', "}"]
    return "\n".join(aligned(lines)) + "\n"


def aligned(lines):
    """The signs of neighbouring assignments one below the other, as `terraform fmt` writes them."""
    for _, group in itertools.groupby(lines, key=lambda line: line.partition(" = ")[1] and len(line) - len(line.lstrip())):
        group = [line.partition(" = ") for line in group]
        width = max(len(name) for name, _, _ in group)
        yield from (f"{name:{width}}{sign}{value}" if sign else name for name, sign, value in group)


def named(blocks):
    """Blocks of one kind by their label, without the quotes that the parser keeps."""
    return {label.strip('"'): held for block in blocks for label, held in block.items() if not label.startswith("__")}


def plain(value):
    return value.strip('"') if isinstance(value, str) else value


def examples():
    """The modules that README.md calls."""
    blocks = re.findall(r"^```hcl\n(.*?)^```", (HERE / "README.md").read_text(), re.S | re.M)
    return [module for block in blocks for module in hcl2.loads(block).get("module", [])]


def wrong(name):
    """What the module, as a parser of HCL reads it, has otherwise than its template."""
    template = read(name)
    module = {}
    for file in sorted((HERE / name).glob("*.tf")):
        with file.open() as opened:
            for block, held in hcl2.load(opened).items():
                module.setdefault(block, []).extend(held if isinstance(held, list) else [])
    variables, outputs, resources = named(module["variable"]), named(module["output"]), named(module["resource"])
    expected = {snake(key): parameter for key, parameter in template["Parameters"].items() if key != LOCAL}
    own = {"stack_name", "tags"} | ({"packaged_template", "artifact_bucket"} if name == "control-plane" else set())
    for missing in sorted((expected.keys() | own) ^ variables.keys()):
        yield f"{name}: the variable `{missing}` is in one of module and template"
    for key, parameter in expected.items():
        variable = variables.get(key, {})
        if ("Default" in parameter) != ("default" in variable):
            yield f"{name}: `{key}` has a default in one of module and template"
        if len(variable.get("validation", [])) != len(list(conditions(key, parameter))):
            yield f"{name}: `{key}` is bound otherwise than in the template"
    passed = next(block["parameters"] for block in module["locals"] if "parameters" in block)
    for missing in sorted({key.strip('"') for key in passed if not key.startswith("__")} ^ (template["Parameters"].keys() - {LOCAL})):
        yield f"{name}: the parameter `{missing}` is in one of module and template"
    for missing in sorted(outputs.keys() ^ {snake(key) for key in template["Outputs"] if key != LOCAL}):
        yield f"{name}: the output `{missing}` is in one of module and template"
    stack = named([resources["aws_cloudformation_stack"]])["this"]
    if set(map(plain, stack["capabilities"])) != {"CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"}:
        yield f"{name}: the stack needs CAPABILITY_NAMED_IAM and CAPABILITY_AUTO_EXPAND"
    for call, held in named(block for block in examples() if name in next(iter(block.values()))["source"]).items():
        given = {key for key in held if not key.startswith("__")} - {"source"}
        needed = {key for key, variable in variables.items() if "default" not in variable}
        for one in sorted((given - variables.keys()) | (needed - given)):
            yield f"README.md: `{call}` has `{one}` too much or not at all"
    # A template in the call itself may have 51,200 bytes, one in S3 a million.
    size = (HERE.parent / "sam" / MODULES[name]).stat().st_size
    if ("template_body" in stack) != (name == "project") or size > {"project": 51_200, "control-plane": 1_000_000}[name]:
        yield f"{name}: a template of {size} bytes cannot be handed over like this"


def main(write):
    faults = [] if len(examples()) == len(MODULES) else ["README.md does not call each module once"]
    for name in MODULES:
        file = HERE / name / "template.tf"
        if write:
            file.write_text(written(name))
        elif file.read_text() != written(name):
            faults.append(f"{file.relative_to(HERE.parents[1])} is not of its template: run infra/terraform/check.py --write")
        faults += wrong(name)
    print("\n".join(faults) or "the Terraform modules are of their templates")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main("--write" in sys.argv[1:]))
