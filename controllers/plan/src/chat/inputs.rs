//! What an Environment asks for before the work begins: what is answered already, what is left for a form, and whether what was filled in
//! is what was asked for.

use std::collections::BTreeMap;

use a8s_crds::{Attachment, Input, InputType};

/// Longest value of one field.
const LONGEST: usize = 4_096;

/// Values by the name of the input.
pub type Values = BTreeMap<String, String>;

/// What the attachments answer: a file input gets the file of its name, else the next that no other input has.
pub fn answered_by(declared: &[Input], attachments: &[Attachment]) -> Values {
    let mut files: Vec<&str> =
        attachments.iter().filter(|a| a.connection.is_none()).map(|a| a.name.as_str()).collect();
    let mut values = Values::new();
    let wanted = || declared.iter().filter(|i| i.kind == InputType::File);
    for input in wanted() {
        let stem = |file: &&str| {
            let stem = file.split_once('.').map_or(*file, |(stem, _)| stem);
            stem.eq_ignore_ascii_case(&input.name)
        };
        if let Some(at) = files.iter().position(stem) {
            values.insert(input.name.clone(), files.remove(at).to_owned());
        }
    }
    for input in wanted() {
        if !values.contains_key(&input.name) && !files.is_empty() {
            values.insert(input.name.clone(), files.remove(0).to_owned());
        }
    }
    values
}

/// What lines of the form `name: value` in a message answer, and the message without them. Only what is valid counts as an answer.
pub fn said(declared: &[Input], text: &str, attachments: &[Attachment]) -> (Values, String) {
    let mut values = Values::new();
    let mut rest = Vec::new();
    for line in text.lines() {
        let answer = line.split_once(':').or_else(|| line.split_once('=')).and_then(|(name, value)| {
            let name = name.trim().trim_start_matches(['-', '*']).trim();
            let same = |i: &&Input| {
                i.name.eq_ignore_ascii_case(name)
                    || i.title.as_ref().is_some_and(|t| t.eq_ignore_ascii_case(name))
            };
            let input = declared.iter().find(same)?;
            Some((input, fits(input, value, attachments).ok()?))
        });
        match answer {
            Some((input, value)) => drop(values.insert(input.name.clone(), value)),
            None => rest.push(line),
        }
    }
    (values, rest.join("\n").trim().to_owned())
}

/// The value as it is kept, or what is wrong with it, for people.
pub fn fits(input: &Input, value: &str, attachments: &[Attachment]) -> Result<String, String> {
    let (value, title) = (value.trim(), title(input));
    if value.is_empty() {
        return Err(format!("{title} is empty"));
    }
    if value.chars().count() > LONGEST {
        return Err(format!("{title} is longer than {LONGEST} characters; attach a file instead"));
    }
    match input.kind {
        InputType::Text => Ok(value.to_owned()),
        InputType::Number => {
            let number: Option<f64> = value.parse().ok().filter(|n: &f64| n.is_finite());
            number
                .map(|_| value.to_owned())
                .ok_or_else(|| format!("{title} must be a number, not {}", brief(value)))
        }
        InputType::Boolean => match value.to_lowercase().as_str() {
            "true" | "yes" | "on" => Ok("true".into()),
            "false" | "no" | "off" => Ok("false".into()),
            _ => Err(format!("{title} must be true or false, not {}", brief(value))),
        },
        InputType::Choice => {
            let found = input.options.iter().find(|o| o.eq_ignore_ascii_case(value));
            let all = || input.options.join(", ");
            found.cloned().ok_or_else(|| format!("{title} must be one of {}, not {}", all(), brief(value)))
        }
        InputType::File => {
            let file = value.rsplit('/').next().unwrap_or(value);
            let found = attachments.iter().find(|a| a.name == file);
            found.map(|a| a.name.clone()).ok_or_else(|| {
                format!(
                    "{title} must be the name of an attachment, and {} is none; attach it first",
                    brief(value)
                )
            })
        }
    }
}

/// What is still to be filled in.
pub fn left(declared: &[Input], values: &Values) -> Vec<Input> {
    declared.iter().filter(|i| !values.contains_key(&i.name)).cloned().collect()
}

/// Those of them that may not stay empty.
pub fn missing<'a>(form: &'a [Input], values: &Values) -> Vec<&'a Input> {
    form.iter().filter(|i| !i.optional && !values.contains_key(&i.name)).collect()
}

/// What was filled into the form; what is wrong with it, if anything is, one sentence each.
pub fn filled(
    form: &[Input],
    given: &BTreeMap<String, String>,
    attachments: &[Attachment],
) -> (Values, Vec<String>) {
    let (mut values, mut wrong) = (Values::new(), Vec::new());
    for input in form {
        match given.get(&input.name).filter(|v| !v.trim().is_empty()) {
            Some(value) => match fits(input, value, attachments) {
                Ok(value) => drop(values.insert(input.name.clone(), value)),
                Err(why) => wrong.push(why),
            },
            None if !input.optional => wrong.push(format!("{} is missing", title(input))),
            None => {}
        }
    }
    (values, wrong)
}

/// The values as a part of the requirement; empty if there are none.
pub fn rendered(declared: &[Input], values: &Values) -> String {
    let line = |(name, value): (&String, &String)| {
        let input = declared.iter().find(|i| i.name == *name);
        let file = input.is_some_and(|i| i.kind == InputType::File);
        let place = if file { " (in ~/Attachments)" } else { "" };
        format!("- {}: {value}{place}\n", input.map_or(name.as_str(), title))
    };
    values.iter().map(line).collect()
}

/// What people call it.
pub fn title(input: &Input) -> &str {
    input.title.as_deref().unwrap_or(&input.name)
}

/// What it is, for people.
pub fn described(input: &Input) -> String {
    let kind = match input.kind {
        InputType::Text => "text".to_owned(),
        InputType::Number => "a number".to_owned(),
        InputType::Boolean => "yes or no".to_owned(),
        InputType::Choice => format!("one of {}", input.options.join(", ")),
        InputType::File => "a file among the attachments".to_owned(),
    };
    format!("{} ({kind}{})", title(input), if input.optional { ", may stay empty" } else { "" })
}

fn brief(value: &str) -> String {
    if value.chars().count() <= 40 {
        value.to_owned()
    } else {
        value.chars().take(39).collect::<String>() + "…"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn declared() -> Vec<Input> {
        from_value(json!([
            {"name": "document", "type": "File"}, {"name": "figures", "type": "File", "optional": true},
            {"name": "format", "title": "Format", "type": "Choice", "options": ["pdf", "html"]},
            {"name": "pages", "type": "Number"}, {"name": "draft", "type": "Boolean", "optional": true},
        ]))
        .unwrap()
    }

    fn files(names: &[&str]) -> Vec<Attachment> {
        names.iter().map(|name| from_value(json!({"name": name, "text": "x"})).unwrap()).collect()
    }

    #[test]
    fn files_answer_by_their_name_and_else_in_order() {
        let values = answered_by(&declared(), &files(&["Figures.xlsx", "letter.docx", "more.txt"]));
        assert_eq!(
            values,
            Values::from([
                ("document".into(), "letter.docx".into()),
                ("figures".into(), "Figures.xlsx".into())
            ])
        );
        let connection = vec![from_value(json!({"name": "document", "connection": {"name": "c"}})).unwrap()];
        assert!(answered_by(&declared(), &connection).is_empty(), "a Connection is no file");
    }

    #[test]
    fn lines_of_a_message_answer_what_they_name_and_leave_the_rest() {
        let text = "Make a report.\nformat: PDF\n- pages = 3\ndraft: perhaps\nnote: this is text";
        let (values, rest) = said(&declared(), text, &[]);
        assert_eq!(values, Values::from([("format".into(), "pdf".into()), ("pages".into(), "3".into())]));
        assert_eq!(rest, "Make a report.\ndraft: perhaps\nnote: this is text");
    }

    #[test]
    fn what_is_filled_in_must_be_what_was_asked_for() {
        let attachments = files(&["a.docx"]);
        let given = |value| from_value::<BTreeMap<String, String>>(value).unwrap();
        let good = given(
            json!({"document": "~/Attachments/a.docx", "format": "HTML", "pages": " 2 ", "draft": "yes", "other": "x"}),
        );
        let (values, wrong) = filled(&declared(), &good, &attachments);
        assert_eq!(wrong, [""; 0]);
        assert_eq!(
            values,
            given(json!({"document": "a.docx", "format": "html", "pages": "2", "draft": "true"})),
            "what was not asked for is not taken"
        );
        let bad = given(json!({"document": "b.docx", "format": "odt", "pages": "many"}));
        let (_, wrong) = filled(&declared(), &bad, &attachments);
        assert_eq!(
            wrong,
            [
                "document must be the name of an attachment, and b.docx is none; attach it first",
                "Format must be one of pdf, html, not odt",
                "pages must be a number, not many",
            ]
        );
        let (_, wrong) = filled(&declared(), &BTreeMap::new(), &attachments);
        assert_eq!(wrong, ["document is missing", "Format is missing", "pages is missing"]);
    }

    #[test]
    fn values_are_rendered_under_the_names_that_people_know() {
        let values = Values::from([("document".into(), "a.docx".into()), ("format".into(), "pdf".into())]);
        assert_eq!(rendered(&declared(), &values), "- document: a.docx (in ~/Attachments)\n- Format: pdf\n");
    }
}
