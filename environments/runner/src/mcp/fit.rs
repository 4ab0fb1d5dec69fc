//! Descriptions of tools that every client takes. Many check the whole list against the protocol's schema, and one description that does
//! not fit costs the agent all tools of this server; so what a server of others says is put right here, and never passed on as it came.

use std::sync::Arc;

use rmcp::model::{JsonObject, Tool};
use serde_json::{Value, json};

/// The same tool, described in a way that fits.
pub fn fit(mut tool: Tool) -> Tool {
    if !fits(&tool.input_schema) {
        tool.input_schema = Arc::new(fitting(&tool.input_schema));
    }
    // What a result looks like is only a hint; a wrong one is worse than none.
    tool.output_schema = tool.output_schema.filter(|schema| fits(schema));
    tool
}

fn fits(schema: &JsonObject) -> bool {
    let properties = schema.get("properties");
    let required = schema.get("required");
    schema.get("type").and_then(Value::as_str) == Some("object")
        && properties.is_none_or(|all| all.as_object().is_some_and(|all| all.values().all(Value::is_object)))
        && required.is_none_or(|all| all.as_array().is_some_and(|all| all.iter().all(Value::is_string)))
}

fn fitting(schema: &JsonObject) -> JsonObject {
    let mut schema = schema.clone();
    schema.insert("type".to_owned(), json!("object"));
    match schema.get_mut("properties") {
        Some(Value::Object(properties)) => {
            // `true` is a schema that takes everything, as `{}` is, and clients know the latter.
            properties.values_mut().filter(|value| !value.is_object()).for_each(|value| *value = json!({}));
        }
        Some(_) => drop(schema.remove("properties")),
        None => {}
    }
    match schema.get_mut("required") {
        Some(Value::Array(names)) => names.retain(Value::is_string),
        Some(_) => drop(schema.remove("required")),
        None => {}
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(input: &Value) -> Tool {
        Tool::new("t", "d", Arc::new(input.as_object().unwrap().clone()))
    }

    #[test]
    fn what_does_not_fit_is_put_right_and_what_fits_stays_as_it_is() {
        for (said, passed_on) in [
            (json!({}), json!({"type": "object"})),
            (json!({"type": ["object", "null"], "properties": null}), json!({"type": "object"})),
            (
                json!({"properties": {"any": true, "text": {"type": "string"}}, "required": [1, "text"]}),
                json!({"type": "object", "properties": {"any": {}, "text": {"type": "string"}}, "required": ["text"]}),
            ),
            (
                json!({"type": "object", "properties": {}, "additionalProperties": false}),
                json!({"type": "object", "properties": {}, "additionalProperties": false}),
            ),
        ] {
            assert_eq!(Value::Object(fit(tool(&said)).input_schema.as_ref().clone()), passed_on, "{said}");
        }
    }

    #[test]
    fn a_wrong_description_of_the_result_is_left_out() {
        let mut odd = tool(&json!({"type": "object"}));
        odd.output_schema = Some(Arc::new(json!({"type": "string"}).as_object().unwrap().clone()));
        assert!(fit(odd.clone()).output_schema.is_none());
        odd.output_schema = Some(Arc::new(json!({"type": "object"}).as_object().unwrap().clone()));
        assert!(fit(odd).output_schema.is_some());
    }
}
