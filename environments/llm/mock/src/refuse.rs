//! Refusals, in the words of the servers that say them.

use serde_json::{Value, json};

use crate::asked::{Asked, Wire};

/// Status and body, if this request is refused for what it asks.
pub fn of(wire: Wire, asked: &Asked) -> Option<(u16, Value)> {
    let model = asked.model.as_str();
    let message = match model {
        "no-such-model" => match wire {
            Wire::Anthropic => return Some((404, body(wire, "not_found_error", "model: no-such-model"))),
            _ => {
                return Some((
                    404,
                    body(wire, "model_not_found", "The model `no-such-model` does not exist"),
                ));
            }
        },
        "no-tools" if !asked.tools.is_empty() => format!("{model} does not support tools"),
        "text-only" if asked.images > 0 => format!("{model} is not a multimodal model"),
        "no-hosted" if asked.hosted.is_some() => unknown_tool(wire, asked),
        "old-hosted" if matches!(asked.hosted.as_deref(), Some("computer" | "computer_20251124")) => {
            unknown_tool(wire, asked)
        }
        "no-thoughts" if asked.thoughts => "Encrypted content is not supported with this model.".to_owned(),
        _ => {
            let most: usize = model.strip_prefix("tiny-")?.parse().ok()?;
            if asked.bytes <= most {
                return None;
            }
            format!("prompt is too long: {} tokens > {most} maximum", asked.bytes)
        }
    };
    Some((400, body(wire, "invalid_request_error", &message)))
}

fn unknown_tool(wire: Wire, asked: &Asked) -> String {
    let kind = asked.hosted.as_deref().unwrap_or_default();
    match wire {
        Wire::Anthropic => format!("'{}' does not support tool types: {kind}", asked.model),
        _ => format!("Hosted tool '{kind}' is not supported with {}.", asked.model),
    }
}

/// An error body as the wire's server writes it.
pub fn body(wire: Wire, kind: &str, message: &str) -> Value {
    match wire {
        Wire::Anthropic => {
            json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_mock"})
        }
        _ => json!({"error": {"message": message, "type": kind, "param": null, "code": kind}}),
    }
}
