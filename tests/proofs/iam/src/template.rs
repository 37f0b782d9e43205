//! A CloudFormation template with its functions resolved, for one account and one set of
//! parameters.
//!
//! Reads the SAM form as it is written and the plain form that AWS's translator makes of it (JSON
//! is YAML). Names that CloudFormation would make up are made up here too; what only exists after a
//! deployment (ids) is a fixed text.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The account that everything is deployed in.
pub const ACCOUNT: &str = "111122223333";
/// The region that everything is deployed in.
pub const REGION: &str = "eu-west-1";
/// What the HTTP API's id is.
pub const API: &str = "a1b2c3d4e5";

/// What the id of the sandboxes' own API is.
pub const SANDBOX_API: &str = "f6g7h8i9j0";

#[derive(Clone, Debug)]
pub struct Template {
    /// As written, with functions in their long form. Tests change it to see the matrix fail.
    pub document: Value,
    parameters: BTreeMap<String, Value>,
}

impl Template {
    /// Reads a template's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let yaml: yaml_serde::Value =
            yaml_serde::from_str(text).map_err(|error| error.to_string())?;
        let document = long_form(&yaml)?;
        if !document["Resources"].is_object() {
            return Err("a template without resources".to_owned());
        }
        Ok(Self {
            document,
            parameters: BTreeMap::new(),
        })
    }

    pub fn with(mut self, parameter: &str, value: Value) -> Self {
        self.parameters.insert(parameter.to_owned(), value);
        self
    }

    /// The resources that exist under the parameters: logical id, type, unresolved properties.
    pub fn resources(&self) -> Result<Vec<(&str, &str, &Value)>, String> {
        let mut resources = Vec::new();
        for (id, resource) in self.document["Resources"].as_object().into_iter().flatten() {
            let exists = resource["Condition"]
                .as_str()
                .map_or(Ok(true), |condition| self.condition(condition))?;
            if exists {
                resources.push((
                    id.as_str(),
                    resource["Type"].as_str().unwrap_or_default(),
                    &resource["Properties"],
                ));
            }
        }
        Ok(resources)
    }

    /// A value with all functions in it resolved; null where it is `AWS::NoValue`.
    pub fn resolve(&self, value: &Value) -> Result<Value, String> {
        match value {
            Value::Array(values) => {
                let resolved = values
                    .iter()
                    .map(|value| self.resolve(value))
                    .collect::<Result<Vec<_>, _>>()?;
                Ok(Value::Array(
                    resolved
                        .into_iter()
                        .filter(|value| !value.is_null())
                        .collect(),
                ))
            }
            Value::Object(fields) => match single(fields) {
                Some((function, argument)) if function == "Ref" || function.starts_with("Fn::") => {
                    self.function(function, argument)
                }
                _ => {
                    let mut resolved = Map::new();
                    for (name, value) in fields {
                        let value = self.resolve(value)?;
                        if !value.is_null() {
                            resolved.insert(name.clone(), value);
                        }
                    }
                    Ok(Value::Object(resolved))
                }
            },
            plain => Ok(plain.clone()),
        }
    }

    fn text(&self, value: &Value) -> Result<String, String> {
        match self.resolve(value)? {
            Value::String(text) => Ok(text),
            plain @ (Value::Number(_) | Value::Bool(_)) => Ok(plain.to_string()),
            other => Err(format!("not a text: {other}")),
        }
    }

    fn function(&self, function: &str, argument: &Value) -> Result<Value, String> {
        let arguments = argument.as_array().map(Vec::as_slice).unwrap_or_default();
        match (function, arguments) {
            ("Ref", _) => self.reference(argument.as_str().unwrap_or_default()),
            ("Fn::GetAtt", [id, attribute]) => self.attribute(
                id.as_str().unwrap_or_default(),
                attribute.as_str().unwrap_or_default(),
            ),
            ("Fn::Sub", []) => self.substitute(argument.as_str().unwrap_or_default(), &Map::new()),
            ("Fn::Sub", [text, Value::Object(names)]) => {
                self.substitute(text.as_str().unwrap_or_default(), names)
            }
            ("Fn::If", [condition, yes, no]) => {
                let holds = self.condition(condition.as_str().unwrap_or_default())?;
                self.resolve(if holds { yes } else { no })
            }
            ("Fn::Join", [separator, list]) => {
                let list = self.resolve(list)?;
                let texts: Result<Vec<String>, String> = list
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|value| self.text(value))
                    .collect();
                Ok(json!(texts?.join(separator.as_str().unwrap_or_default())))
            }
            ("Fn::Select", [index, list]) => {
                let list = self.resolve(list)?;
                let index = self
                    .text(index)?
                    .parse::<usize>()
                    .map_err(|error| error.to_string())?;
                list.get(index)
                    .cloned()
                    .ok_or_else(|| format!("no item {index} in {list}"))
            }
            ("Fn::Split", [separator, text]) => {
                let text = self.text(text)?;
                Ok(json!(
                    text.split(separator.as_str().unwrap_or_default())
                        .collect::<Vec<_>>()
                ))
            }
            _ => Err(format!("`{function}` of {argument} is not resolved here")),
        }
    }

    fn condition(&self, name: &str) -> Result<bool, String> {
        let condition = &self.document["Conditions"][name];
        if condition.is_null() {
            return Err(format!("there is no condition `{name}`"));
        }
        self.holds(condition)
    }

    fn holds(&self, condition: &Value) -> Result<bool, String> {
        let (function, argument) = condition
            .as_object()
            .and_then(single)
            .ok_or_else(|| format!("{condition} is no condition"))?;
        let arguments = argument.as_array().map(Vec::as_slice).unwrap_or_default();
        match (function, arguments) {
            ("Condition", _) => self.condition(argument.as_str().unwrap_or_default()),
            ("Fn::Equals", [left, right]) => Ok(self.resolve(left)? == self.resolve(right)?),
            ("Fn::Not", [inner]) => Ok(!self.holds(inner)?),
            ("Fn::And", all) => all
                .iter()
                .try_fold(true, |held, next| Ok(self.holds(next)? && held)),
            ("Fn::Or", any) => any
                .iter()
                .try_fold(false, |held, next| Ok(self.holds(next)? || held)),
            _ => Err(format!("the condition `{function}` is not resolved here")),
        }
    }

    fn reference(&self, name: &str) -> Result<Value, String> {
        match name {
            "AWS::AccountId" => return Ok(json!(ACCOUNT)),
            "AWS::Region" => return Ok(json!(REGION)),
            "AWS::Partition" => return Ok(json!("aws")),
            "AWS::URLSuffix" => return Ok(json!("amazonaws.com")),
            "AWS::NoValue" => return Ok(Value::Null),
            "AWS::StackName" => return Ok(json!("sealfleet")),
            _ => {}
        }
        if let Some(value) = self.parameters.get(name) {
            return Ok(value.clone());
        }
        let parameter = &self.document["Parameters"][name];
        if parameter.is_object() {
            let default = parameter["Default"].clone();
            if default.is_null() {
                return Err(format!(
                    "the parameter `{name}` has no default: give it one here"
                ));
            }
            let is_list = parameter["Type"]
                .as_str()
                .is_some_and(|kind| kind.contains("List"));
            return Ok(match default.as_str() {
                Some(text) if is_list => json!(text.split(',').collect::<Vec<_>>()),
                _ => default,
            });
        }
        match self.resource(name)? {
            ("AWS::IAM::ManagedPolicy", _) => self.attribute(name, "Arn"),
            ("AWS::SQS::Queue", _) => Ok(json!(format!(
                "https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{}",
                self.name_of(name)?
            ))),
            ("AWS::ApiGatewayV2::Api", _) => Ok(json!(API)),
            ("AWS::ApiGateway::RestApi", _) => Ok(json!(SANDBOX_API)),
            _ => Ok(json!(self.name_of(name)?)),
        }
    }

    fn resource(&self, id: &str) -> Result<(&str, &Value), String> {
        let resource = &self.document["Resources"][id];
        let kind = resource["Type"]
            .as_str()
            .ok_or_else(|| format!("there is no resource or parameter `{id}`"))?;
        Ok((kind, &resource["Properties"]))
    }

    /// The name that a resource has, or would be given.
    fn name_of(&self, id: &str) -> Result<String, String> {
        let (kind, properties) = self.resource(id)?;
        let property = match kind {
            "AWS::DynamoDB::Table" => "TableName",
            "AWS::SQS::Queue" => "QueueName",
            "AWS::S3::Bucket" => "BucketName",
            "AWS::ECS::Cluster" => "ClusterName",
            "AWS::IAM::Role" => "RoleName",
            "AWS::IAM::ManagedPolicy" => "ManagedPolicyName",
            "AWS::Lambda::Function" | "AWS::Serverless::Function" => "FunctionName",
            "AWS::Logs::LogGroup" => "LogGroupName",
            _ => "Name",
        };
        match &properties[property] {
            Value::Null => Ok(format!("made-up-{}", id.to_ascii_lowercase())),
            name => self.text(name),
        }
    }

    fn attribute(&self, id: &str, attribute: &str) -> Result<Value, String> {
        let (kind, properties) = self.resource(id)?;
        let name = self.name_of(id)?;
        let path = || properties["Path"].as_str().unwrap_or("/");
        let regional = |service: &str, resource: String| {
            format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}")
        };
        let text = match (kind, attribute) {
            ("AWS::DynamoDB::Table", "Arn") => regional("dynamodb", format!("table/{name}")),
            ("AWS::DynamoDB::Table", "StreamArn") => regional(
                "dynamodb",
                format!("table/{name}/stream/2026-01-01T00:00:00.000"),
            ),
            ("AWS::SQS::Queue", "Arn") => regional("sqs", name),
            ("AWS::SQS::Queue", "QueueName") => name,
            ("AWS::S3::Bucket", "Arn") => format!("arn:aws:s3:::{name}"),
            ("AWS::ECS::Cluster", "Arn") => regional("ecs", format!("cluster/{name}")),
            ("AWS::IAM::Role", "Arn") => format!("arn:aws:iam::{ACCOUNT}:role{}{name}", path()),
            ("AWS::IAM::ManagedPolicy", "Arn" | "PolicyArn") => {
                format!("arn:aws:iam::{ACCOUNT}:policy{}{name}", path())
            }
            ("AWS::Lambda::Function" | "AWS::Serverless::Function", "Arn") => {
                regional("lambda", format!("function:{name}"))
            }
            // As CloudFormation gives it: with the part that stands for the group's streams.
            ("AWS::Logs::LogGroup", "Arn") => regional("logs", format!("log-group:{name}:*")),
            ("AWS::Events::Rule", "Arn") => regional("events", format!("rule/{name}")),
            ("AWS::KMS::Key", "Arn") => regional("kms", format!("key/{name}")),
            (_, "Arn") => {
                let service = kind
                    .split("::")
                    .nth(1)
                    .unwrap_or_default()
                    .to_ascii_lowercase();
                regional(&service, name)
            }
            _ => {
                return Err(format!(
                    "the attribute `{attribute}` of `{kind}` is not resolved here"
                ));
            }
        };
        Ok(json!(text))
    }

    fn substitute(&self, text: &str, names: &Map<String, Value>) -> Result<Value, String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, behind) = after
                .split_once('}')
                .ok_or_else(|| format!("`${{` without an end in `{text}`"))?;
            out.push_str(before);
            match (
                name.strip_prefix('!'),
                names.get(name),
                name.split_once('.'),
            ) {
                (Some(literal), _, _) => out.push_str(&format!("${{{literal}}}")),
                (_, Some(value), _) => out.push_str(&self.text(value)?),
                (_, _, Some((id, attribute))) => {
                    out.push_str(&self.text(&self.attribute(id, attribute)?)?)
                }
                _ => out.push_str(&self.text(&self.reference(name)?)?),
            }
            rest = behind;
        }
        out.push_str(rest);
        Ok(json!(out))
    }
}

fn single(fields: &Map<String, Value>) -> Option<(&str, &Value)> {
    let mut fields = fields.iter();
    let first = fields.next()?;
    fields
        .next()
        .is_none()
        .then_some((first.0.as_str(), first.1))
}

/// YAML as JSON, with `!Sub x` as `{"Fn::Sub": x}`.
fn long_form(value: &yaml_serde::Value) -> Result<Value, String> {
    use yaml_serde::Value as Yaml;
    match value {
        Yaml::Sequence(values) => values
            .iter()
            .map(long_form)
            .collect::<Result<_, _>>()
            .map(Value::Array),
        Yaml::Mapping(fields) => {
            let mut map = Map::new();
            for (name, value) in fields {
                let name = name
                    .as_str()
                    .map(str::to_owned)
                    .ok_or_else(|| format!("a key that is no text: {name:?}"))?;
                map.insert(name, long_form(value)?);
            }
            Ok(Value::Object(map))
        }
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            let tag = tag.trim_start_matches('!');
            let argument = long_form(&tagged.value)?;
            Ok(match (tag, &argument) {
                ("Ref" | "Condition", _) => json!({ tag: argument }),
                ("GetAtt", Value::String(text)) => {
                    let (id, attribute) = text
                        .split_once('.')
                        .ok_or_else(|| format!("`!GetAtt {text}`"))?;
                    json!({ "Fn::GetAtt": [id, attribute] })
                }
                _ => json!({ format!("Fn::{tag}"): argument }),
            })
        }
        plain => serde_json::to_value(plain).map_err(|error| error.to_string()),
    }
}
