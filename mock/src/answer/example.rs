//! An example value for a JSON schema: what a model fills in.
//!
//! Owns the part of JSON Schema that structured outputs and tools commonly use: types, properties,
//! items, enums, bounds, `anyOf`, `oneOf`, `allOf`, local `$ref`. Patterns, `not` and conditions are
//! not looked at.

use serde_json::{Map, Value, json};

/// Below this depth only what is required is filled in, so that recursive schemas end.
const DEEP: usize = 8;
/// Below this depth nothing is filled in.
const BOTTOM: usize = 32;
/// What a text is when nothing else is known. It has a quotation mark and a non-ASCII letter, so
/// that JSON in JSON has escapes.
const TEXT: &str = "a \"mock\" café";

/// A value that satisfies `schema`.
pub(crate) fn of(schema: &Value) -> Value {
    value(schema, schema, 0)
}

fn value(schema: &Value, root: &Value, depth: usize) -> Value {
    if depth > BOTTOM {
        return Value::Null;
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let pointer = target.strip_prefix('#').unwrap_or_default();
        return root
            .pointer(pointer)
            .map_or(Value::Null, |found| value(found, root, depth + 1));
    }
    if let Some(fixed) = schema.get("const") {
        return fixed.clone();
    }
    if let Some(first) = schema.get("enum").and_then(|values| values.get(0)) {
        return first.clone();
    }
    if let Some(options) = schema.get("anyOf").or_else(|| schema.get("oneOf")) {
        return option(options, root, depth);
    }
    if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
        return merged(parts, root, depth);
    }
    match type_of(schema, depth) {
        "object" => object(schema, root, depth),
        "array" => array(schema, root, depth),
        "integer" => json!(number(schema, true)),
        "number" => json!(number(schema, false)),
        "boolean" => Value::Bool(true),
        "null" => Value::Null,
        _ => Value::String(text(schema)),
    }
}

/// The type to fill in; deep down, null where that is allowed.
fn type_of(schema: &Value, depth: usize) -> &str {
    let implied = if schema.get("properties").is_some() {
        "object"
    } else {
        "string"
    };
    match schema.get("type") {
        Some(Value::String(name)) => name,
        Some(Value::Array(names)) if depth > DEEP && names.iter().any(|name| name == "null") => {
            "null"
        }
        Some(Value::Array(names)) => names.first().and_then(Value::as_str).unwrap_or(implied),
        _ => implied,
    }
}

/// The first option; deep down, null where that is one.
fn option(options: &Value, root: &Value, depth: usize) -> Value {
    let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
    let null = options
        .iter()
        .any(|option| option.get("type") == Some(&json!("null")));
    if depth > DEEP && null {
        return Value::Null;
    }
    options
        .first()
        .map_or(Value::Null, |first| value(first, root, depth + 1))
}

fn merged(parts: &[Value], root: &Value, depth: usize) -> Value {
    let mut fields = Map::new();
    for part in parts {
        match value(part, root, depth + 1) {
            Value::Object(more) => fields.extend(more),
            other if parts.len() == 1 => return other,
            _ => {}
        }
    }
    Value::Object(fields)
}

fn object(schema: &Value, root: &Value, depth: usize) -> Value {
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let mut fields = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        if depth <= DEEP || required.contains(&name.as_str()) {
            fields.insert(name.clone(), value(property, root, depth + 1));
        }
    }
    let other = schema.get("additionalProperties").unwrap_or(&Value::Null);
    for name in required {
        if !fields.contains_key(name) {
            fields.insert(name.to_owned(), value(other, root, depth + 1));
        }
    }
    Value::Object(fields)
}

fn array(schema: &Value, root: &Value, depth: usize) -> Value {
    let bound = |name| schema.get(name).and_then(Value::as_u64);
    let wanted = bound("minItems")
        .unwrap_or(u64::from(depth <= DEEP))
        .max(u64::from(depth == 0));
    let count = wanted.min(bound("maxItems").unwrap_or(64)).min(64);
    let first = schema.get("prefixItems").and_then(Value::as_array);
    let items = schema.get("items").unwrap_or(&Value::Null);
    let item = |index: usize| first.and_then(|first| first.get(index)).unwrap_or(items);
    let count = usize::try_from(count)
        .unwrap_or(0)
        .max(first.map_or(0, Vec::len));
    (0..count)
        .map(|index| value(item(index), root, depth + 1))
        .collect()
}

/// A number within the bounds, as near to 1 as they allow.
fn number(schema: &Value, whole: bool) -> Value {
    let bound = |name| schema.get(name).and_then(Value::as_f64);
    let above =
        bound("exclusiveMinimum").map(|least| if whole { least + 1.0 } else { least + 0.5 });
    let below = bound("exclusiveMaximum").map(|most| if whole { most - 1.0 } else { most - 0.5 });
    let least = bound("minimum").or(above).unwrap_or(f64::NEG_INFINITY);
    let most = bound("maximum").or(below).unwrap_or(f64::INFINITY);
    let start = if whole { 1.0 } else { 1.5 };
    let mut number = f64::max(f64::min(start, most), least);
    if let Some(step) = bound("multipleOf").filter(|step| *step > 0.0) {
        number = (number / step).ceil() * step;
    }
    if whole {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a saturated example is still one"
        )]
        return json!(number.ceil() as i64);
    }
    json!(number)
}

fn text(schema: &Value) -> String {
    let formatted = match schema.get("format").and_then(Value::as_str) {
        Some("date") => "2026-01-31",
        Some("date-time") => "2026-01-31T12:00:00Z",
        Some("time") => "12:00:00Z",
        Some("duration") => "PT1H",
        Some("email") => "someone@example.com",
        Some("hostname") => "example.com",
        Some("ipv4") => "192.0.2.1",
        Some("ipv6") => "2001:db8::1",
        Some("uuid") => "12345678-1234-4234-8234-123456789abc",
        Some("uri") => "https://example.com/",
        _ => TEXT,
    };
    let bound = |name| schema.get(name).and_then(Value::as_u64);
    let cut = |length: u64| usize::try_from(length).unwrap_or(usize::MAX);
    let most = bound("maxLength").map_or(usize::MAX, cut);
    let least = bound("minLength").map_or(0, cut).min(100_000);
    let filled = formatted.chars().chain(std::iter::repeat('.'));
    filled
        .take(formatted.chars().count().max(least).min(most))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_all_its_properties() {
        let schema = json!({"type": "object", "additionalProperties": false,
            "required": ["city", "unit", "days", "when", "near"],
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["celsius", "kelvin"]},
                "days": {"type": "integer", "minimum": 3, "maximum": 5},
                "when": {"type": "string", "format": "date"},
                "near": {"type": "array", "items": {"type": "number"}, "minItems": 2}}});
        let expected = json!({"city": "a \"mock\" café", "unit": "celsius", "days": 3,
            "when": "2026-01-31", "near": [1.5, 1.5]});
        assert_eq!(of(&schema), expected);
    }

    #[test]
    fn a_recursive_schema_ends() {
        let schema = json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object",
            "required": ["next"],
            "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}}});
        let mut depth = 0;
        let mut value = &of(&schema);
        while let Some(next) = value.get("next") {
            depth += 1;
            value = next;
        }
        assert!(value.is_null() && depth > 0, "{depth}");
    }

    #[test]
    fn bounds_of_numbers_and_texts_hold() {
        assert_eq!(
            of(&json!({"type": "integer", "exclusiveMinimum": 4, "multipleOf": 4})),
            8
        );
        assert_eq!(of(&json!({"type": "integer", "maximum": -2})), -2);
        assert_eq!(
            of(&json!({"type": "string", "minLength": 15})),
            "a \"mock\" café.."
        );
        assert_eq!(of(&json!({"type": "string", "maxLength": 1})), "a");
        assert_eq!(
            of(&json!({"type": ["string", "null"], "const": null})),
            Value::Null
        );
    }
}
