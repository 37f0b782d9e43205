//! Registered workflows: what a run does, written once, approved by somebody else, and run by name.
//!
//! Whoever runs one gives parameters, and nothing else. A definition says where each goes: into a
//! file of a step, into its standard input, or into a variable whose name begins with `PARAM_`. So
//! no parameter is a command, an argument, an option or the name of a variable, and none stands in
//! the text of a shell.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use crate::cascade::Overrides;
use crate::clock::Timestamp;
use crate::command::Word;
use crate::hash::ContentHash;
use crate::inputs::{Content, WorkspacePath};
use crate::limits;
use crate::names::{ParameterName, ProfileName, StepId, WorkflowName, is_env_key};
use crate::step::StepSpec;
use crate::text::Line;

/// What variables with parameters begin with. No program takes such a variable for its own.
pub const VARIABLE: &str = "PARAM_";

/// What a workflow does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Line>,
    /// The profile of its runs, above those that the project binds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileName>,
    /// What its runs change above their profiles.
    #[serde(default, skip_serializing_if = "Overrides::is_empty")]
    pub overrides: Overrides,
    /// What whoever runs it gives.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<ParameterName, Parameter>,
    pub steps: BTreeMap<StepId, StepSpec>,
}

/// A parameter of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// What its values are.
    pub schema: Schema,
    /// Its value where none is given. Absent: it must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(with = "serde_json::Value"))]
    pub default: Option<Value>,
    /// Where it goes.
    #[cfg_attr(
        feature = "openapi",
        schemars(length(min = 1, max = limits::PARAMETER_PLACES))
    )]
    pub to: Vec<Place>,
}

/// Where a parameter goes in a step: one of `file`, `env` and `stdin`. A text goes there as it is,
/// all else as JSON.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Place {
    pub step: StepId,
    /// A file of the step's workspace, which the step's `files` do not name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "crate::schema::parameter_file")
    )]
    pub file: Option<WorkspacePath>,
    /// An environment variable of the step. Its name begins with `PARAM_`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "crate::schema::parameter_variable")
    )]
    pub env: Option<String>,
    /// Whether it is the step's standard input.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stdin: bool,
}

/// What values of a parameter are: the part of JSON Schema (2020-12) that is listed here, each word
/// with its meaning there. A schema with any other word is refused. An object has no other members
/// than those in `properties`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "ParameterSchema"))]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Schema {
    String {
        /// The only values, if any are named.
        #[serde(default, rename = "enum", skip_serializing_if = "BTreeSet::is_empty")]
        #[cfg_attr(feature = "openapi", schemars(schema_with = "crate::schema::texts"))]
        one_of: BTreeSet<String>,
        /// Characters at least.
        #[serde(default, rename = "minLength", skip_serializing_if = "Option::is_none")]
        min_length: Option<u32>,
        /// Characters at most.
        #[serde(default, rename = "maxLength", skip_serializing_if = "Option::is_none")]
        max_length: Option<u32>,
    },
    Integer {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        minimum: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        maximum: Option<i64>,
    },
    Number {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<f64>"))]
        minimum: Option<Number>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(with = "Option<f64>"))]
        maximum: Option<Number>,
    },
    Boolean {},
    Array {
        /// A `ParameterSchema` of each item.
        #[cfg_attr(
            feature = "openapi",
            schemars(schema_with = "crate::schema::inner_schema")
        )]
        items: Box<Schema>,
        #[serde(default, rename = "minItems", skip_serializing_if = "Option::is_none")]
        min_items: Option<u32>,
        #[serde(default, rename = "maxItems", skip_serializing_if = "Option::is_none")]
        max_items: Option<u32>,
    },
    Object {
        /// A `ParameterSchema` of each member that may be there.
        #[cfg_attr(
            feature = "openapi",
            schemars(schema_with = "crate::schema::inner_schemas")
        )]
        properties: BTreeMap<String, Schema>,
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        #[cfg_attr(feature = "openapi", schemars(schema_with = "crate::schema::texts"))]
        required: BTreeSet<String>,
    },
}

/// A registered workflow: which of its versions run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Workflow {
    pub name: WorkflowName,
    /// The version that runs. Absent: none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<u32>,
    /// The version that waits for approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<u32>,
    /// The newest version.
    pub newest: u32,
    /// Counts its changes.
    #[serde(default)]
    pub revision: u32,
}

/// Where a version of a workflow stands: `pending`, then `live` or `denied`, and from `live` on
/// `superseded` or `retired`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum VersionState {
    /// Waits for approval.
    Pending,
    /// Runs.
    Live,
    /// Was not approved.
    Denied,
    /// A newer version was registered, the workflow retired, or its time was over, before anybody
    /// decided.
    Cancelled,
    /// A newer version runs.
    Superseded,
    /// Taken out of use.
    Retired,
}

/// A version of a registered workflow. Its definition never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowVersion {
    pub workflow: WorkflowName,
    /// Counts from 1.
    pub version: u32,
    pub state: VersionState,
    /// SHA-256 of the definition.
    pub hash: ContentHash,
    pub definition: Definition,
    /// Who registered it, as `kind:id`.
    pub registered_by: String,
    pub registered_at: Timestamp,
}

/// What has to be changed, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// Path of the field: `parameters.ticket`.
    pub field: String,
    pub message: String,
}

impl Invalid {
    fn at(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

impl VersionState {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Live => "live",
            Self::Denied => "denied",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
            Self::Retired => "retired",
        }
    }
}

impl Definition {
    /// SHA-256 of all that it says.
    #[must_use]
    pub fn hash(&self) -> ContentHash {
        // A map of JSON is sorted by its keys, so equal definitions are equal texts.
        let text = serde_json::to_value(self).unwrap_or_default().to_string();
        ContentHash::of(text.as_bytes())
    }

    /// Checks its parameters. Its steps are checked as those of a run are.
    ///
    /// # Errors
    /// The first rule that a parameter breaks.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.parameters.len() > limits::PARAMETERS {
            let message = format!("{} parameters at most", limits::PARAMETERS);
            return Err(Invalid::at("parameters", message));
        }
        let mut taken = BTreeSet::new();
        for (name, parameter) in &self.parameters {
            let field = format!("parameters.{name}");
            let mut words = 0;
            parameter
                .schema
                .check(0, &mut words)
                .map_err(|message| Invalid::at(format!("{field}.schema"), message))?;
            if let Some(default) = &parameter.default {
                let fits = parameter.schema.accepts(default);
                fits.map_err(|message| Invalid::at(format!("{field}.default"), message))?;
            }
            if !(1..=limits::PARAMETER_PLACES).contains(&parameter.to.len()) {
                let most = limits::PARAMETER_PLACES;
                let message = format!("say where it goes: 1 to {most} places");
                return Err(Invalid::at(format!("{field}.to"), message));
            }
            for (index, place) in parameter.to.iter().enumerate() {
                let at = |message| Invalid::at(format!("{field}.to[{index}]"), message);
                self.check_place(place).map_err(at)?;
                if !taken.insert(place) {
                    return Err(at(
                        "another parameter goes there; name another place".to_owned()
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_place(&self, place: &Place) -> Result<(), String> {
        let step = self.steps.get(&place.step);
        let step = step.ok_or_else(|| format!("there is no step `{}`", place.step))?;
        match (&place.file, &place.env, place.stdin) {
            (Some(file), None, false) => check_file(step, file),
            (None, Some(name), false) => check_variable(step, name),
            (None, None, true) if step.stdin_is_free() => Ok(()),
            (None, None, true) => Err(
                "the step has a standard input of its own, a terminal or an agent; use a file"
                    .to_owned(),
            ),
            _ => Err("name one place: `file`, `env` or `stdin`".to_owned()),
        }
    }

    /// The steps of a run with these parameters.
    ///
    /// # Errors
    /// The parameter that is missing, not known, or not what its schema says.
    pub fn with(&self, given: &Map<String, Value>) -> Result<BTreeMap<StepId, StepSpec>, Invalid> {
        let known = |name: &String| self.parameters.keys().any(|own| own.as_str() == name);
        if let Some(name) = given.keys().find(|name| !known(name)) {
            let own: Vec<String> = self
                .parameters
                .keys()
                .map(|own| format!("`{own}`"))
                .collect();
            let has = if own.is_empty() {
                "it has none".to_owned()
            } else {
                format!("it has {}", own.join(", "))
            };
            let message = format!("the workflow has no such parameter; {has}");
            return Err(Invalid::at(below(name), message));
        }
        let mut steps = self.steps.clone();
        for (name, parameter) in &self.parameters {
            let field = format!("parameters.{name}");
            let value = given.get(name.as_str()).or(parameter.default.as_ref());
            let value = value.ok_or_else(|| Invalid::at(&field, "give this parameter"))?;
            let fits = parameter.schema.accepts(value);
            fits.map_err(|message| Invalid::at(&field, message))?;
            for place in &parameter.to {
                let step = steps.get_mut(&place.step);
                let step = step.ok_or_else(|| Invalid::at(&field, "its step is not there"))?;
                put(step, place, as_text(value)).map_err(|message| Invalid::at(&field, message))?;
            }
        }
        Ok(steps)
    }

    /// The steps of a run with an empty text for each parameter: what can be checked of it before
    /// anybody gives any.
    #[must_use]
    pub fn outline(&self) -> BTreeMap<StepId, StepSpec> {
        let mut steps = self.steps.clone();
        for place in self.parameters.values().flat_map(|parameter| &parameter.to) {
            if let Some(step) = steps.get_mut(&place.step) {
                // An empty text is refused nowhere.
                let _ = put(step, place, String::new());
            }
        }
        steps
    }
}

impl StepSpec {
    fn stdin_is_free(&self) -> bool {
        self.inputs.stdin.is_none() && !self.tty && self.agent.is_none()
    }

    /// The words of which the first is a program.
    fn program(&self) -> Option<&str> {
        let of_agent = self.agent.as_ref().and_then(|agent| agent.args.first());
        let of_command = self.command.first().and_then(Word::text);
        of_command.or(of_agent.map(String::as_str))
    }
}

/// A file that a parameter writes is read, and never run: it is no argument and no program.
fn check_file(step: &StepSpec, file: &WorkspacePath) -> Result<(), String> {
    if step.inputs.files.contains_key(file) {
        return Err(format!(
            "the step's `files` have `{file}`; name another path"
        ));
    }
    if step
        .command
        .iter()
        .filter_map(Word::file)
        .any(|word| word == file)
    {
        return Err(format!(
            "the command has `{file}` as an argument, and a parameter cannot be one; have the command read the file"
        ));
    }
    let program = step.program().unwrap_or_default();
    let program = program.strip_prefix("/workspace/").unwrap_or(program);
    if program.trim_start_matches("./") == file.as_str() {
        return Err(format!(
            "the step runs `{file}`, and a parameter cannot be a program; name another path"
        ));
    }
    Ok(())
}

fn check_variable(step: &StepSpec, name: &str) -> Result<(), String> {
    if !name.starts_with(VARIABLE) || !is_env_key(name) {
        return Err(format!(
            "name a variable that begins with `{VARIABLE}`, in letters, digits and underscores, as in `{VARIABLE}TICKET`"
        ));
    }
    if step.env.contains_key(name) {
        return Err(format!(
            "the step's `env` has `{name}`; name another variable"
        ));
    }
    Ok(())
}

fn put(step: &mut StepSpec, place: &Place, text: String) -> Result<(), String> {
    if let Some(name) = &place.env {
        step.env.insert(name.clone(), text);
        return Ok(());
    }
    // A file that begins so can be executed.
    if text.starts_with("#!") {
        return Err("a parameter cannot be a program: it must not begin with `#!`".to_owned());
    }
    match &place.file {
        Some(file) => {
            step.inputs.files.insert(file.clone(), Content::Text(text));
        }
        None => step.inputs.stdin = Some(Content::Text(text)),
    }
    Ok(())
}

fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn below(name: &str) -> String {
    let name: String = name.chars().take(limits::NAME_BYTES).collect();
    format!("parameters.{name}")
}

impl Schema {
    /// Checks that it is not too large.
    fn check(&self, depth: usize, schemas: &mut usize) -> Result<(), String> {
        *schemas += 1;
        if depth > limits::SCHEMA_DEPTH || *schemas > limits::SCHEMAS {
            return Err(format!(
                "{} schemas in {} levels at most",
                limits::SCHEMAS,
                limits::SCHEMA_DEPTH
            ));
        }
        match self {
            Self::Array { items, .. } => items.check(depth + 1, schemas),
            Self::Object {
                properties,
                required,
            } => {
                if let Some(name) = required.iter().find(|name| !properties.contains_key(*name)) {
                    return Err(format!("`required` has `{name}`, which is no property"));
                }
                let mut each = properties.values();
                each.try_for_each(|schema| schema.check(depth + 1, schemas))
            }
            Self::String { .. } | Self::Integer { .. } | Self::Number { .. } | Self::Boolean {} => {
                Ok(())
            }
        }
    }

    /// Checks a value.
    ///
    /// # Errors
    /// What the value has to be. Nothing of what it is.
    pub fn accepts(&self, value: &Value) -> Result<(), String> {
        match (self, value) {
            (
                Self::String {
                    one_of,
                    min_length,
                    max_length,
                },
                Value::String(text),
            ) => {
                if !one_of.is_empty() && !one_of.contains(text) {
                    let all: Vec<String> = one_of.iter().map(|one| format!("`{one}`")).collect();
                    return Err(format!("use one of {}", all.join(", ")));
                }
                within(text.chars().count(), *min_length, *max_length, "characters")
            }
            (Self::Integer { minimum, maximum }, Value::Number(number)) => {
                let whole = number.as_i64().ok_or("use a whole number")?;
                let low = minimum.is_some_and(|least| whole < least);
                let high = maximum.is_some_and(|most| whole > most);
                bounds(low, high, minimum.as_ref(), maximum.as_ref())
            }
            (Self::Number { minimum, maximum }, Value::Number(number)) => {
                let number = number.as_f64();
                let than = |bound: &Option<Number>, test: fn(&f64, &f64) -> bool| {
                    let pair = number.zip(bound.as_ref().and_then(Number::as_f64));
                    pair.is_some_and(|(number, bound)| test(&number, &bound))
                };
                let (low, high) = (than(minimum, f64::lt), than(maximum, f64::gt));
                bounds(low, high, minimum.as_ref(), maximum.as_ref())
            }
            (Self::Boolean {}, Value::Bool(_)) => Ok(()),
            (
                Self::Array {
                    items,
                    min_items,
                    max_items,
                },
                Value::Array(all),
            ) => {
                within(all.len(), *min_items, *max_items, "items")?;
                all.iter().try_for_each(|item| items.accepts(item))
            }
            (
                Self::Object {
                    properties,
                    required,
                },
                Value::Object(members),
            ) => {
                if let Some(name) = required.iter().find(|name| !members.contains_key(*name)) {
                    return Err(format!("the member `{name}` is missing"));
                }
                members.iter().try_for_each(|(name, value)| {
                    let schema = properties.get(name);
                    let schema = schema.ok_or("the object has a member that is no property")?;
                    let fits = schema.accepts(value);
                    fits.map_err(|message| format!("member `{name}`: {message}"))
                })
            }
            _ => Err(format!("use a value of type `{}`", self.kind())),
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::String { .. } => "string",
            Self::Integer { .. } => "integer",
            Self::Number { .. } => "number",
            Self::Boolean {} => "boolean",
            Self::Array { .. } => "array",
            Self::Object { .. } => "object",
        }
    }
}

fn within(count: usize, least: Option<u32>, most: Option<u32>, what: &str) -> Result<(), String> {
    let size = |bound: u32| usize::try_from(bound).unwrap_or(usize::MAX);
    if let Some(least) = least.filter(|least| count < size(*least)) {
        return Err(format!("use {least} {what} at least"));
    }
    match most.filter(|most| count > size(*most)) {
        Some(most) => Err(format!("use {most} {what} at most")),
        None => Ok(()),
    }
}

fn bounds<T: std::fmt::Display>(
    low: bool,
    high: bool,
    minimum: Option<&T>,
    maximum: Option<&T>,
) -> Result<(), String> {
    match (low, high, minimum, maximum) {
        (true, _, Some(least), _) => Err(format!("use {least} or more")),
        (_, true, _, Some(most)) => Err(format!("use {most} or less")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(parameters: Value) -> Definition {
        let step = json!({
            "pool": "p", "mode": "sandboxed", "command": ["./run.sh", "--in", { "file": "arg.txt" }],
            "env": { "PARAM_OWN": "1" },
            "inputs": { "files": { "own.txt": { "text": "x" }, "arg.txt": { "text": "y" } } },
            "timeout_seconds": 1, "max_attempts": 1, "ttl_seconds": 1
        });
        let whole = json!({ "parameters": parameters, "steps": { "main": step } });
        serde_json::from_value(whole).expect("a definition")
    }

    fn to(place: &Value) -> Definition {
        definition(json!({ "q": { "schema": { "type": "string" }, "to": [place] } }))
    }

    #[test]
    fn a_parameter_goes_to_a_file_standard_input_or_a_variable_of_its_own() {
        for place in [
            json!({ "step": "main", "file": "q.txt" }),
            json!({ "step": "main", "env": "PARAM_Q" }),
            json!({ "step": "main", "stdin": true }),
        ] {
            assert_eq!(to(&place).check(), Ok(()), "{place}");
        }
        for place in [
            json!({ "step": "other", "file": "q.txt" }),
            json!({ "step": "main" }),
            json!({ "step": "main", "stdin": true, "env": "PARAM_Q" }),
            // What stands there already.
            json!({ "step": "main", "file": "own.txt" }),
            json!({ "step": "main", "env": "PARAM_OWN" }),
            // What runs, is an argument, or tells a program what to do.
            json!({ "step": "main", "file": "run.sh" }),
            json!({ "step": "main", "file": "arg.txt" }),
            json!({ "step": "main", "env": "PATH" }),
            json!({ "step": "main", "env": "BASH_ENV" }),
            json!({ "step": "main", "env": "PARAM_A-B" }),
        ] {
            assert!(to(&place).check().is_err(), "{place}");
        }
        let twice = json!({
            "a": { "schema": { "type": "string" }, "to": [{ "step": "main", "stdin": true }] },
            "b": { "schema": { "type": "string" }, "to": [{ "step": "main", "stdin": true }] },
        });
        assert!(definition(twice).check().is_err());
    }

    #[test]
    fn an_argument_of_a_file_is_never_a_parameters() {
        let mut definition = to(&json!({ "step": "main", "file": "q.txt" }));
        let step = definition.steps.values_mut().next().expect("a step");
        step.command.push(Word::File {
            file: "q.txt".parse().expect("a path"),
        });
        assert!(definition.check().is_err());
    }

    #[test]
    fn what_is_given_stands_where_the_definition_says_and_nowhere_else() {
        let definition = definition(json!({
            "text": { "schema": { "type": "string" }, "to": [{ "step": "main", "file": "t" }, { "step": "main", "env": "PARAM_T" }] },
            "list": { "schema": { "type": "array", "items": { "type": "integer" } }, "default": [1], "to": [{ "step": "main", "stdin": true }] },
        }));
        let main: StepId = "main".parse().expect("a name");
        let hostile = "$(id); `id` --help\n\"'";
        let given = json!({ "text": hostile });
        let steps = definition
            .with(given.as_object().expect("an object"))
            .expect("steps");
        let (was, is) = (&definition.steps[&main], &steps[&main]);
        assert_eq!(is.command, was.command);
        assert_eq!(is.env["PARAM_T"], hostile);
        let file = &is.inputs.files[&"t".parse::<WorkspacePath>().expect("a path")];
        assert_eq!(file.inline(), Some(hostile.as_bytes()));
        assert_eq!(
            is.inputs.stdin.as_ref().and_then(Content::inline),
            Some(&b"[1]"[..])
        );
        for (given, field) in [
            (json!({}), "parameters.text"),
            (json!({ "text": 1 }), "parameters.text"),
            (json!({ "text": "", "command": "sh" }), "parameters.command"),
            (json!({ "text": "#!/bin/sh\nid" }), "parameters.text"),
            (json!({ "text": "", "list": ["1"] }), "parameters.list"),
        ] {
            let refused = definition.with(given.as_object().expect("an object"));
            assert_eq!(
                refused.map_err(|error| error.field),
                Err(field.to_owned()),
                "{given}"
            );
        }
    }

    #[test]
    fn schemas_accept_what_json_schema_accepts() {
        let schema = |schema: Value| serde_json::from_value::<Schema>(schema);
        for (of, good, bad) in [
            (
                json!({ "type": "string", "maxLength": 2 }),
                json!("äö"),
                json!("abc"),
            ),
            (
                json!({ "type": "string", "minLength": 1 }),
                json!("a"),
                json!(""),
            ),
            (
                json!({ "type": "string", "enum": ["a"] }),
                json!("a"),
                json!("b"),
            ),
            (
                json!({ "type": "integer", "minimum": 1 }),
                json!(1),
                json!(0),
            ),
            (
                json!({ "type": "integer", "maximum": 1 }),
                json!(1),
                json!(2),
            ),
            (json!({ "type": "integer" }), json!(-3), json!(1.5)),
            (
                json!({ "type": "number", "maximum": 1.5 }),
                json!(1.5),
                json!(1.6),
            ),
            (json!({ "type": "boolean" }), json!(true), json!("true")),
            (
                json!({ "type": "array", "items": { "type": "string" }, "maxItems": 1 }),
                json!(["a"]),
                json!(["a", "b"]),
            ),
            (
                json!({ "type": "array", "items": { "type": "string" } }),
                json!([]),
                json!([1]),
            ),
            (
                json!({ "type": "object", "properties": { "a": { "type": "string" } } }),
                json!({ "a": "" }),
                json!({ "b": "" }),
            ),
            (
                json!({ "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"] }),
                json!({ "a": "" }),
                json!({}),
            ),
        ] {
            let schema = schema(of.clone()).expect("a schema");
            assert_eq!(schema.accepts(&good), Ok(()), "{of} {good}");
            assert!(schema.accepts(&bad).is_err(), "{of} {bad}");
        }
        for unknown in [
            json!({ "type": "string", "pattern": "^a" }),
            json!({ "type": "boolean", "const": true }),
            json!({ "type": "null" }),
            json!({ "enum": ["a"] }),
        ] {
            assert!(schema(unknown.clone()).is_err(), "{unknown}");
        }
    }

    #[test]
    fn a_hash_is_of_all_that_a_definition_says() {
        let one = to(&json!({ "step": "main", "file": "q.txt" }));
        let other = to(&json!({ "step": "main", "file": "r.txt" }));
        assert_eq!(one.hash(), one.clone().hash());
        assert_ne!(one.hash(), other.hash());
    }
}
