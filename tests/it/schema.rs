//! The schema that ships describes the reports that are written.

use sbx::report::schema::REPORT;
use serde_json::Value;

/// Panics where `line` is not what the schema says, or has a member that it does not
/// describe. Knows the words that the schema uses; any other word is an error too.
pub(crate) fn validate(line: &[u8]) {
    let root: Value = serde_json::from_str(REPORT).unwrap();
    let report: Value = serde_json::from_slice(line).unwrap();
    if let Err(why) = matches(&report, &root, &root) {
        panic!("{why}\n{report:#}");
    }
}

fn matches(value: &Value, schema: &Value, root: &Value) -> Result<(), String> {
    for (word, rule) in schema.as_object().unwrap() {
        let fits = |it: &Value| matches(it, rule, root);
        let holds = match word.as_str() {
            "$schema" | "title" | "description" | "format" | "default" | "$defs" | "properties" => true,
            "$ref" => {
                let target = root.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
                matches(value, target, root).map(|()| true)?
            }
            "type" => match rule.as_array() {
                Some(names) => names.iter().any(|name| is_of(value, name.as_str().unwrap())),
                None => is_of(value, rule.as_str().unwrap()),
            },
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "anyOf" | "oneOf" => {
                rule.as_array().unwrap().iter().filter(|it| matches(value, it, root).is_ok()).count() == 1
            }
            "minimum" => value.as_f64().is_none_or(|it| it >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|it| it <= rule.as_f64().unwrap()),
            "minItems" => value.as_array().is_none_or(|it| it.len() as u64 >= rule.as_u64().unwrap()),
            "maxItems" => value.as_array().is_none_or(|it| it.len() as u64 <= rule.as_u64().unwrap()),
            "items" => value.as_array().into_iter().flatten().try_for_each(fits).map(|()| true)?,
            "additionalProperties" => {
                let described = |name: &str| schema["properties"].get(name).is_some();
                let mut members = value.as_object().into_iter().flatten().filter(|(name, _)| !described(name));
                members.try_for_each(|(_, it)| fits(it)).map(|()| true)?
            }
            "required" => {
                let has = |name: &Value| value.as_object().is_none_or(|it| it.contains_key(name.as_str().unwrap()));
                rule.as_array().unwrap().iter().all(has)
            }
            word => return Err(format!("the test does not know `{word}`")),
        };
        if !holds {
            return Err(format!("{value} is not {word} {rule}"));
        }
    }
    let Some(properties) = schema["properties"].as_object() else { return Ok(()) };
    value.as_object().into_iter().flatten().try_for_each(|(name, it)| match properties.get(name) {
        Some(rule) => matches(it, rule, root).map_err(|why| format!("{name}: {why}")),
        None => Err(format!("`{name}` is not in the schema")),
    })
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

#[test]
fn the_validator_sees_what_is_wrong() {
    let schema: Value = serde_json::from_str(REPORT).unwrap();
    let check = |value: &str, name: &str| {
        matches(&serde_json::from_str(value).unwrap(), &schema["$defs"][name], &schema).is_ok()
    };
    assert!(check(r#"{"version":2,"path":"/a"}"#, "Cgroup"));
    assert!(check(r#"{"version":null,"path":null}"#, "Cgroup"));
    assert!(!check(r#"{"version":2}"#, "Cgroup"), "a member is missing");
    assert!(!check(r#"{"version":2,"path":"/a","x":1}"#, "Cgroup"), "a member is unknown");
    assert!(!check(r#"{"version":"2","path":"/a"}"#, "Cgroup"), "the type is wrong");
    assert!(!check(r#"{"version":-2,"path":"/a"}"#, "Cgroup"), "the value is out of range");
    assert!(check(r#""exited""#, "OutcomeKind"));
    assert!(!check(r#""gone""#, "OutcomeKind"));
    assert!(!check(r#"{"inside":[0],"outside":null}"#, "User"), "an item is missing");
}
