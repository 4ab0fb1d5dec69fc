//! What the harness asks: permission requests and elicitations, their translation, and the answers that are still owed.
//!
//! An answer is owed exactly once. Whatever is open when a turn is interrupted is answered `cancelled` before the harness hears of the
//! interrupt: some harnesses wait for ever otherwise.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use a8s_wire::{Choice, Field};
use agent_client_protocol::v1::{
    Responder,
    schema::{
        CreateElicitationRequest, CreateElicitationResponse, ElicitationAcceptAction, ElicitationAction,
        ElicitationContentValue, ElicitationMode, ElicitationPropertySchema, ElicitationSchema,
        PermissionOptionKind, RequestPermissionOutcome, RequestPermissionRequest, RequestPermissionResponse,
        SelectedPermissionOutcome,
    },
};

use crate::question::{NewQuestion, valid_field};

/// An answer to the harness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The option with exactly this id; for a form: these values.
    Chosen {
        /// The option.
        option: String,
        /// Values by field.
        values: BTreeMap<String, String>,
    },
    /// No.
    Declined(Option<String>),
    /// It is not needed any more.
    Cancelled,
}

enum Owed {
    Permission(Responder<RequestPermissionResponse>),
    Form(Responder<CreateElicitationResponse>, Vec<Property>),
}

/// A field of a form, as the harness calls it.
struct Property {
    field: String,
    theirs: String,
    kind: Kind,
    titles: HashMap<String, String>,
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Integer,
    Boolean,
    Several,
}

/// The answers that are owed on one connection.
#[derive(Clone, Default)]
pub struct Asks(Arc<Mutex<Open>>);

#[derive(Default)]
struct Open {
    last: u64,
    owed: BTreeMap<u64, Owed>,
}

impl Asks {
    fn keep(&self, owed: Owed) -> u64 {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.last += 1;
        let number = open.last;
        open.owed.insert(number, owed);
        number
    }

    /// Takes a permission request on: its number, and what people are asked.
    pub fn permission(
        &self,
        request: RequestPermissionRequest,
        responder: Responder<RequestPermissionResponse>,
    ) -> (u64, NewQuestion) {
        (self.keep(Owed::Permission(responder)), permission(request))
    }

    /// Takes an elicitation on; `None` if it is one that nobody here understands, which is answered at once.
    pub fn elicitation(
        &self,
        request: CreateElicitationRequest,
        responder: Responder<CreateElicitationResponse>,
    ) -> Option<(u64, NewQuestion)> {
        if let Some((question, properties)) = elicitation(request) {
            return Some((self.keep(Owed::Form(responder, properties)), question));
        }
        let _ = responder.respond(CreateElicitationResponse::new(ElicitationAction::Cancel));
        None
    }

    /// Answers one. What is answered already stays as it is.
    pub fn reply(&self, number: u64, reply: Reply) {
        let owed = self.0.lock().unwrap_or_else(PoisonError::into_inner).owed.remove(&number);
        if let Some(owed) = owed {
            owed.settle(reply);
        }
    }

    /// Answers all that is open with `cancelled`.
    pub fn cancel_all(&self) {
        let owed = std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).owed);
        for owed in owed.into_values() {
            owed.settle(Reply::Cancelled);
        }
    }
}

impl Owed {
    fn settle(self, reply: Reply) {
        // A harness that is gone needs no answer.
        let _ = match self {
            Self::Permission(responder) => responder.respond(RequestPermissionResponse::new(match reply {
                Reply::Chosen { option, .. } | Reply::Declined(Some(option)) => {
                    RequestPermissionOutcome::Selected(SelectedPermissionOutcome::new(option))
                }
                Reply::Declined(None) | Reply::Cancelled => RequestPermissionOutcome::Cancelled,
            })),
            Self::Form(responder, properties) => {
                responder.respond(CreateElicitationResponse::new(match reply {
                    Reply::Chosen { values, .. } => ElicitationAction::Accept(content(&properties, &values)),
                    Reply::Declined(_) => ElicitationAction::Decline,
                    Reply::Cancelled => ElicitationAction::Cancel,
                }))
            }
        };
    }
}

fn permission(request: RequestPermissionRequest) -> NewQuestion {
    let fields = request.tool_call.fields;
    let title = fields.title.or(fields.name).unwrap_or_else(|| "The agent asks for permission".to_owned());
    let input = fields.raw_input.filter(|input| !input.is_null());
    let detail = input.and_then(|input| serde_json::to_string_pretty(&input).ok());
    let options = request.options.into_iter().map(|option| Choice {
        id: option.option_id.to_string(),
        title: option.name,
        kind: kind(option.kind).to_owned(),
    });
    NewQuestion {
        kind: "Permission",
        title,
        detail: detail.map(|text| format!("```json\n{}\n```", text.chars().take(3_000).collect::<String>())),
        options: options.collect(),
        ..NewQuestion::default()
    }
}

fn kind(kind: PermissionOptionKind) -> &'static str {
    match kind {
        PermissionOptionKind::AllowOnce => "AllowOnce",
        PermissionOptionKind::AllowAlways => "AllowAlways",
        PermissionOptionKind::RejectAlways => "RejectAlways",
        // What is not known permits nothing.
        _ => "RejectOnce",
    }
}

fn elicitation(request: CreateElicitationRequest) -> Option<(NewQuestion, Vec<Property>)> {
    match request.mode {
        ElicitationMode::Form(form) => {
            let (form, properties): (Vec<_>, Vec<_>) = fields(form.requested_schema).into_iter().unzip();
            let question =
                NewQuestion { kind: "Question", title: request.message, form, ..NewQuestion::default() };
            Some((question, properties))
        }
        ElicitationMode::Url(url) => {
            let detail = Some(format!("Open this page, then say that it is done: {}", url.url));
            let question =
                NewQuestion { kind: "Question", title: request.message, detail, ..NewQuestion::default() };
            Some((question, Vec::new()))
        }
        _ => None,
    }
}

fn fields(schema: ElicitationSchema) -> Vec<(Field, Property)> {
    let required = schema.required.unwrap_or_default();
    let mut fields = Vec::new();
    for (number, (theirs, property)) in schema.properties.into_iter().enumerate() {
        let name = if valid_field(&theirs) { theirs.clone() } else { format!("field{}", number + 1) };
        let mut titles = HashMap::new();
        let (title, kind, options, ours) = match property {
            ElicitationPropertySchema::String(text) => {
                let mut options = text.enum_values.unwrap_or_default();
                for option in text.one_of.unwrap_or_default() {
                    titles.insert(option.title.clone(), option.value);
                    options.push(option.title);
                }
                let kind = if options.is_empty() { "Text" } else { "Choice" };
                (text.title.or(text.description), kind, options, Kind::Text)
            }
            ElicitationPropertySchema::Number(number) => {
                (number.title.or(number.description), "Number", Vec::new(), Kind::Number)
            }
            ElicitationPropertySchema::Integer(number) => {
                (number.title.or(number.description), "Number", Vec::new(), Kind::Integer)
            }
            ElicitationPropertySchema::Boolean(flag) => {
                (flag.title.or(flag.description), "Boolean", Vec::new(), Kind::Boolean)
            }
            ElicitationPropertySchema::Array(list) => {
                let title = list.title.or(list.description).unwrap_or_else(|| theirs.clone());
                (Some(format!("{title} (separated by commas)")), "Text", Vec::new(), Kind::Several)
            }
            _ => (None, "Text", Vec::new(), Kind::Text),
        };
        let title = title.or_else(|| (name != theirs).then(|| theirs.clone()));
        let optional = !required.contains(&theirs);
        let field = Field { name: name.clone(), title, kind: kind.to_owned(), options, optional };
        fields.push((field, Property { field: name, theirs, kind: ours, titles }));
    }
    fields
}

fn content(properties: &[Property], values: &BTreeMap<String, String>) -> ElicitationAcceptAction {
    let content: BTreeMap<String, ElicitationContentValue> = properties
        .iter()
        .filter_map(|property| {
            let value = values.get(&property.field).map(|value| value.trim()).filter(|v| !v.is_empty())?;
            Some((property.theirs.clone(), property.value(value)?))
        })
        .collect();
    ElicitationAcceptAction::new().content(content)
}

impl Property {
    /// A value that is not of the kind was refused before; one that still is not is left out.
    fn value(&self, value: &str) -> Option<ElicitationContentValue> {
        Some(match self.kind {
            Kind::Text => {
                let value = self.titles.get(value).map_or(value, String::as_str);
                ElicitationContentValue::String(value.to_owned())
            }
            Kind::Number => ElicitationContentValue::Number(value.parse().ok()?),
            Kind::Integer => ElicitationContentValue::Integer(value.parse().ok()?),
            Kind::Boolean => ElicitationContentValue::Boolean(value == "true"),
            Kind::Several => {
                let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
                ElicitationContentValue::StringArray(items.map(str::to_owned).collect())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_form_of_the_harness_becomes_fields_and_its_values_go_back_under_its_own_names() {
        let request = json!({
            "mode": "form", "sessionId": "s", "message": "Which city?",
            "requestedSchema": {"type": "object", "required": ["the city"], "properties": {
                "the city": {"type": "string", "oneOf": [{"const": "TRN", "title": "Turin"}]},
                "days": {"type": "integer"},
                "rain": {"type": "boolean", "title": "Rain?"}
            }}
        });
        let request: CreateElicitationRequest = serde_json::from_value(request).unwrap();
        let (question, properties) = elicitation(request).unwrap();
        let question = question.fit().unwrap();
        let city = question.form.iter().find(|field| field.title.as_deref() == Some("the city")).unwrap();
        assert_eq!((city.kind.as_str(), city.optional), ("Choice", false));
        let values = BTreeMap::from([
            (city.name.clone(), "Turin".to_owned()),
            ("days".to_owned(), "3".to_owned()),
            ("rain".to_owned(), String::new()),
        ]);
        let accepted = ElicitationAction::Accept(content(&properties, &values));
        let sent = serde_json::to_value(CreateElicitationResponse::new(accepted)).unwrap();
        assert_eq!(sent, json!({"action": "accept", "content": {"the city": "TRN", "days": 3}}));
    }

    #[test]
    fn a_permission_shows_what_the_tool_would_be_given() {
        let request = json!({
            "sessionId": "s", "toolCall": {"toolCallId": "t", "title": "run rm -r x", "rawInput": {"command": "rm"}},
            "options": [{"optionId": "a b", "name": "Yes", "kind": "allow_once"}]
        });
        let question = permission(serde_json::from_value(request).unwrap()).fit().unwrap();
        assert_eq!((question.kind, question.title.as_str()), ("Permission", "run rm -r x"));
        assert!(question.detail.unwrap().contains("\"command\": \"rm\""));
        let choice = Choice { id: "a b".into(), title: "Yes".into(), kind: "AllowOnce".into() };
        assert_eq!(question.options, [choice]);
    }
}
