//! Puts derived schemas into the forms that generators of clients understand.
//!
//! schemars writes an enum of strings as a union of constants, a variant of a tagged enum as an
//! anonymous object, and a map with typed keys as `patternProperties`. From these, generators make
//! `Inner1`, `Inner2` and empty objects. The rewritten schemas accept the same values.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Error, visit};

const SCHEMAS: &str = "#/components/schemas/";

/// Rewrites all schemas.
///
/// # Errors
/// When a variant's name belongs to another schema.
pub(super) fn tidy(schemas: &mut Map<String, Value>) -> Result<(), Error> {
    for schema in schemas.values_mut() {
        visit(schema, &mut |object| {
            plain(object);
            strings(object);
            map(object);
        });
    }
    let names: Vec<String> = schemas.keys().cloned().collect();
    for name in names {
        variants(&name, schemas)?;
        keyed(&name, schemas)?;
    }
    Ok(())
}

/// Doc comments as plain text, without the marks of their links and ends of lines.
fn plain(object: &mut Map<String, Value>) {
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = text
            .replace("[`", "`")
            .replace("`]", "`")
            .replace('\n', " ");
    }
}

/// A union of constant strings becomes one `enum`; its description lists the values.
fn strings(object: &mut Map<String, Value>) {
    for union in ["oneOf", "anyOf"] {
        let Some(options) = object.get(union).and_then(Value::as_array) else {
            continue;
        };
        let mut values = Vec::new();
        let mut description = text(object, "description").to_owned();
        for option in options {
            match (option.get("const"), option.get("enum")) {
                (Some(Value::String(one)), _) => {
                    let meaning = option.get("description").and_then(Value::as_str);
                    if let Some(meaning) = meaning {
                        description.push_str(&format!("\n\n- `{one}`: {meaning}"));
                    }
                    values.push(json!(one));
                }
                (None, Some(Value::Array(several))) => values.extend(several.clone()),
                _ => return,
            }
        }
        object.remove(union);
        object.insert("type".to_owned(), json!("string"));
        object.insert("enum".to_owned(), Value::Array(values));
        object.insert("description".to_owned(), json!(description));
    }
}

/// An answer leaves an optional field without a value out: it never holds `null`.
pub(super) fn never_null(object: &mut Map<String, Value>) {
    let required = object.get("required").cloned().unwrap_or_default();
    let is_required = |name: &str| {
        let names = required.as_array().into_iter().flatten();
        names.into_iter().any(|required| required == name)
    };
    let Some(Value::Object(properties)) = object.get_mut("properties") else {
        return;
    };
    for (name, property) in properties {
        if let Value::Object(property) = property
            && !is_required(name)
        {
            without_null(property);
        }
    }
}

fn without_null(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(options)) = schema.get_mut("anyOf") {
        options.retain(|option| *option != json!({ "type": "null" }));
        if let [Value::Object(only)] = options.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            schema.extend(only);
        }
    }
}

/// `patternProperties` with one pattern and nothing beside becomes `additionalProperties`.
fn map(object: &mut Map<String, Value>) {
    let patterns = object.get("patternProperties").and_then(Value::as_object);
    let closed = object.get("additionalProperties") == Some(&json!(false));
    let only = patterns.filter(|patterns| closed && patterns.len() == 1);
    let only = only.and_then(|patterns| patterns.iter().next());
    let Some((pattern, value)) = only.map(|(pattern, value)| (pattern.clone(), value.clone()))
    else {
        return;
    };
    object.remove("patternProperties");
    object.insert("propertyNames".to_owned(), json!({ "pattern": pattern }));
    object.insert("additionalProperties".to_owned(), value);
}

/// Each variant of a tagged union becomes a schema with a name, and the tag tells which it is.
fn variants(name: &str, schemas: &mut Map<String, Value>) -> Result<(), Error> {
    let union = schemas.get(name).and_then(|schema| schema.get("oneOf"));
    let Some(options) = union.and_then(Value::as_array).cloned() else {
        return Ok(());
    };
    let (mut tag, mut references, mut mapping) = ("", Vec::new(), Map::new());
    for option in &options {
        let Some((property, value)) = tagged(option) else {
            return Ok(());
        };
        let variant = format!("{name}{}", camel(value));
        let reference = format!("{SCHEMAS}{variant}");
        let mut schema = whole(option, schemas);
        schema.insert("title".to_owned(), json!(variant));
        if schemas
            .insert(variant.clone(), Value::Object(schema))
            .is_some()
        {
            return Err(Error::Ambiguous(variant));
        }
        tag = property;
        references.push(json!({ "$ref": reference }));
        mapping.insert(value.to_owned(), json!(reference));
    }
    if let Some(Value::Object(union)) = schemas.get_mut(name) {
        let discriminator = json!({ "propertyName": tag, "mapping": mapping });
        union.insert("oneOf".to_owned(), Value::Array(references));
        union.insert("discriminator".to_owned(), discriminator);
    }
    Ok(())
}

/// Each variant of a union that is an object with one property becomes a schema with a name.
fn keyed(name: &str, schemas: &mut Map<String, Value>) -> Result<(), Error> {
    let union = schemas.get(name).and_then(|schema| schema.get("oneOf"));
    let mut options = union.and_then(Value::as_array).cloned().unwrap_or_default();
    for option in &mut options {
        let Some(key) = only_key(option) else {
            continue;
        };
        let variant = format!("{name}{}", camel(key));
        let reference = json!({ "$ref": format!("{SCHEMAS}{variant}") });
        let schema = std::mem::replace(option, reference);
        if schemas.insert(variant.clone(), schema).is_some() {
            return Err(Error::Ambiguous(variant));
        }
    }
    if let Some(union) = schemas
        .get_mut(name)
        .and_then(|schema| schema.get_mut("oneOf"))
    {
        *union = Value::Array(options);
    }
    Ok(())
}

/// The property of an object that has this one and no other.
fn only_key(option: &Value) -> Option<&str> {
    let properties = option.get("properties")?.as_object()?;
    let mut names = properties.keys().map(String::as_str);
    names.next().filter(|_| names.next().is_none())
}

/// The property that tells a variant, and its value there.
fn tagged(option: &Value) -> Option<(&str, &str)> {
    let properties = option.get("properties")?.as_object()?;
    let mut constants = properties
        .iter()
        .filter_map(|(name, schema)| Some((name.as_str(), schema.get("const")?.as_str()?)));
    constants.next()
}

/// A variant with the properties of the schema that it refers to.
fn whole(option: &Value, schemas: &Map<String, Value>) -> Map<String, Value> {
    let mut own = option.as_object().cloned().unwrap_or_default();
    let reference = own.remove("$ref");
    let base = reference
        .as_ref()
        .and_then(|reference| reference.as_str()?.strip_prefix(SCHEMAS))
        .and_then(|base| schemas.get(base)?.as_object())
        .cloned()
        .unwrap_or_default();
    for (keyword, value) in base {
        match (own.get_mut(&keyword), value) {
            (Some(Value::Object(own)), Value::Object(more)) => own.extend(more),
            (Some(Value::Array(own)), Value::Array(more)) => own.extend(more),
            (Some(_), _) => {}
            (None, value) => drop(own.insert(keyword, value)),
        }
    }
    own
}

/// `token.created` and `token_created` as `TokenCreated`.
fn camel(value: &str) -> String {
    let words = value.split(|letter: char| !letter.is_ascii_alphanumeric());
    words
        .flat_map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            first.into_iter().chain(letters)
        })
        .collect()
}

/// Drops the schemas that nothing refers to.
pub(super) fn prune(schemas: &mut Map<String, Value>, mut roots: Vec<Value>) {
    let mut reached = BTreeSet::new();
    while let Some(mut root) = roots.pop() {
        visit(&mut root, &mut |object| {
            let name = text(object, "$ref").strip_prefix(SCHEMAS);
            if let Some((name, schema)) = name.and_then(|name| schemas.get_key_value(name))
                && reached.insert(name.clone())
            {
                roots.push(schema.clone());
            }
        });
    }
    schemas.retain(|name, _| reached.contains(name));
}

fn text<'a>(object: &'a Map<String, Value>, keyword: &str) -> &'a str {
    object
        .get(keyword)
        .and_then(Value::as_str)
        .unwrap_or_default()
}
