//! What the agent asks: the shape of a new question, what answers fit it, and how an answer is told. Pure; who waits for what is the
//! engine's matter.

use a8s_wire::{Answer, Choice, Field, Question};

/// Longest texts and lists, as the API server takes them.
const MAX_TITLE: usize = 256;
const MAX_DETAIL: usize = 4096;
const MAX_OPTIONS: usize = 16;
const MAX_FIELDS: usize = 32;
const MAX_ID: usize = 128;
const MAX_NAME: usize = 63;
const MAX_SUBJECT: usize = 253;

/// A question that has no id yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewQuestion {
    /// As [`Question::kind`].
    pub kind: &'static str,
    /// One line.
    pub title: String,
    /// Why.
    pub detail: Option<String>,
    /// What can be chosen.
    pub options: Vec<Choice>,
    /// What is to be filled in.
    pub form: Vec<Field>,
    /// What is asked for.
    pub subject: Option<String>,
}

/// How a question ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Somebody said yes, or answered.
    Granted,
    /// Somebody said no.
    Refused,
    /// Nobody answered in time; that counts as no.
    Expired,
    /// It is not needed any more.
    Cancelled,
}

impl Outcome {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A question that is closed, with what whoever asked needs to know.
#[derive(Clone, Debug)]
pub struct Closed {
    /// The question.
    pub question: Question,
    /// How it ended.
    pub outcome: Outcome,
    /// The answer, if there was one.
    pub answer: Answer,
}

/// Why an answer does not fit its question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// No such option.
    #[error("{given:?} is no option of this question; choose one of: {known}")]
    Option {
        /// What was chosen.
        given: String,
        /// What can be.
        known: String,
    },
    /// A field is missing.
    #[error("the field {0:?} must be filled in")]
    Missing(String),
    /// A value is of the wrong kind.
    #[error("the field {name:?} needs {wanted}")]
    Value {
        /// The field.
        name: String,
        /// What it takes.
        wanted: String,
    },
}

impl NewQuestion {
    /// Cuts what is too long and says what cannot be asked at all.
    pub fn fit(mut self) -> Result<Self, String> {
        self.title = one_line(&self.title, MAX_TITLE);
        if self.title.is_empty() {
            return Err("a question needs words".to_owned());
        }
        self.detail = self.detail.map(|text| cut(text.trim(), MAX_DETAIL)).filter(|text| !text.is_empty());
        self.subject = self.subject.map(|text| one_line(&text, MAX_SUBJECT)).filter(|text| !text.is_empty());
        if self.options.len() > MAX_OPTIONS || self.form.len() > MAX_FIELDS {
            return Err(format!("a question has at most {MAX_OPTIONS} options and {MAX_FIELDS} fields"));
        }
        let mut seen = std::collections::HashSet::new();
        for option in &mut self.options {
            if option.id.is_empty() || option.id.len() > MAX_ID || !seen.insert(option.id.clone()) {
                return Err(format!(
                    "the option {:?} needs a name of its own of at most {MAX_ID} bytes",
                    option.id
                ));
            }
            option.title = one_line(&option.title, MAX_TITLE);
        }
        for field in &mut self.form {
            if !valid_field(&field.name) || !seen.insert(field.name.clone()) {
                let name = &field.name;
                return Err(format!(
                    "{name:?} is no usable field: use letters, digits, - and _, each name once"
                ));
            }
            if (field.kind == "Choice") == field.options.is_empty() {
                return Err(format!(
                    "the field {:?}: options belong to a choice, which needs some",
                    field.name
                ));
            }
            field.title = field.title.take().map(|title| one_line(&title, MAX_TITLE));
        }
        Ok(self)
    }
}

/// Whether a field of a form can have this name.
pub fn valid_field(name: &str) -> bool {
    let usable = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(usable)
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
        && name.as_bytes().last().is_some_and(u8::is_ascii_alphanumeric)
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// One line of at most `most` characters.
pub fn one_line(text: &str, most: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    cut(&words.join(" "), most)
}

/// What an answer means, if it fits. `allow` and `deny` are understood whatever the options are called.
pub fn judge(question: &Question, answer: &Answer) -> Result<(Outcome, Answer), AnswerError> {
    let mut answer = answer.clone();
    let Some(given) = answer.option.clone() else { return Ok((Outcome::Refused, answer)) };
    let chosen = chosen(question, &given)?;
    let allows = match &chosen {
        Some(choice) => choice.kind.starts_with("Allow"),
        None => given == "allow",
    };
    answer.option = chosen.map(|choice| choice.id.clone()).or(Some(given));
    if !allows {
        return Ok((Outcome::Refused, answer));
    }
    for field in &question.form {
        check(field, answer.values.get(&field.name).map(|value| value.trim()).filter(|v| !v.is_empty()))?;
    }
    Ok((Outcome::Granted, answer))
}

/// The option that was chosen; `None` if it is `allow` or `deny` and no option says so.
fn chosen<'a>(question: &'a Question, given: &str) -> Result<Option<&'a Choice>, AnswerError> {
    let by = |fits: &dyn Fn(&Choice) -> bool| question.options.iter().find(|choice| fits(choice));
    if let Some(choice) = by(&|choice| choice.id == given) {
        return Ok(Some(choice));
    }
    let known = || question.options.iter().map(|choice| choice.id.as_str()).collect::<Vec<_>>().join(", ");
    match given {
        // What lasts is never chosen by a word that does not say so.
        "allow" if question.options.is_empty() => Ok(None),
        "allow" => by(&|choice| choice.kind == "AllowOnce")
            .map(Some)
            .ok_or_else(|| AnswerError::Option { given: given.to_owned(), known: known() }),
        "deny" => Ok(by(&|choice| choice.kind == "RejectOnce")),
        _ if question.options.is_empty() => {
            Err(AnswerError::Option { given: given.to_owned(), known: "allow, deny".to_owned() })
        }
        _ => Err(AnswerError::Option { given: given.to_owned(), known: known() }),
    }
}

fn check(field: &Field, value: Option<&str>) -> Result<(), AnswerError> {
    let Some(value) = value else {
        return if field.optional { Ok(()) } else { Err(AnswerError::Missing(field.name.clone())) };
    };
    let wrong = |wanted: String| Err(AnswerError::Value { name: field.name.clone(), wanted });
    match field.kind.as_str() {
        "Number" if value.parse::<f64>().is_ok_and(f64::is_finite) => Ok(()),
        "Number" => wrong("a number".to_owned()),
        "Boolean" if matches!(value, "true" | "false") => Ok(()),
        "Boolean" => wrong("true or false".to_owned()),
        "Choice" if !field.options.iter().any(|option| option == value) => {
            wrong(format!("one of: {}", field.options.join(", ")))
        }
        _ => Ok(()),
    }
}

/// What the agent is told of the end of its question.
pub fn words(closed: &Closed) -> String {
    let Closed { question, outcome, answer } = closed;
    let by = if answer.by.is_empty() { "somebody" } else { &answer.by };
    let mut text = match (outcome, question.kind.as_str()) {
        (Outcome::Granted, "Takeover") => {
            format!("{by} has taken the desktop and handed it back. Look at the screen before you go on.")
        }
        (Outcome::Granted, "Question") => format!("answered by {by}"),
        (Outcome::Granted, _) => format!("granted by {by}"),
        (Outcome::Refused, _) => format!("refused by {by}; do not ask for the same again"),
        (Outcome::Expired, _) => "nobody answered in time; that counts as refused".to_owned(),
        (Outcome::Cancelled, _) => "cancelled".to_owned(),
    };
    if *outcome == Outcome::Granted {
        let chosen = answer.option.as_deref().filter(|_| !question.options.is_empty());
        if let Some(choice) = question.options.iter().find(|choice| Some(choice.id.as_str()) == chosen) {
            text.push_str(": ");
            text.push_str(&choice.title);
        }
        for (name, value) in &answer.values {
            text.extend(["\n", name.as_str(), ": ", value.as_str()]);
        }
        text.push_str(&way(question));
    }
    if let Some(note) = answer.note.as_deref().map(str::trim).filter(|note| !note.is_empty()) {
        text.extend(["\nnote: ", note]);
    }
    text
}

/// Where the agent finds what it was granted. It may take a minute until it is there.
fn way(question: &Question) -> String {
    let name = question.subject.as_deref().unwrap_or("<name>");
    match question.kind.as_str() {
        "Credential" => format!(
            "\nWithin a minute: an HTTP API is called at $A8S_GATEWAY_URL/connections/{name}/… with \
             `Authorization: Bearer $A8S_GATEWAY_TOKEN`; the tools of an MCP server are called {name}__…; a secret is the file \
             {}/{name}.",
            a8s_wire::paths::SECRETS
        ),
        "Tool" => "\nWithin a minute: list_tools shows it.".to_owned(),
        "Context" => "\nWithin a minute: it is among the files in ~/Attachments.".to_owned(),
        _ => String::new(),
    }
}

/// The message that tells an answer to an agent that does not wait for it any more.
pub fn message(closed: &Closed) -> String {
    let question = &closed.question;
    format!("[About your request {} ({}: {})]\n{}", question.id, question.kind, question.title, words(closed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(id: &str, kind: &str) -> Choice {
        Choice { id: id.into(), title: format!("the {id}"), kind: kind.into() }
    }

    fn permission() -> Question {
        let options =
            vec![choice("no", "RejectOnce"), choice("ever", "AllowAlways"), choice("once", "AllowOnce")];
        Question { id: "0-3".into(), kind: "Permission".into(), options, ..Question::default() }
    }

    fn answer(option: &str) -> Answer {
        Answer { option: Some(option.into()), by: "jane".into(), ..Answer::default() }
    }

    #[test]
    fn the_exact_option_is_chosen_and_plain_words_never_choose_what_lasts() {
        let question = permission();
        let judged = |option: &str| judge(&question, &answer(option)).map(|(o, a)| (o, a.option.unwrap()));
        assert_eq!(judged("ever"), Ok((Outcome::Granted, "ever".into())));
        assert_eq!(judged("allow"), Ok((Outcome::Granted, "once".into())));
        assert_eq!(judged("deny"), Ok((Outcome::Refused, "no".into())));
        assert!(
            matches!(judged("maybe"), Err(AnswerError::Option { known, .. }) if known == "no, ever, once")
        );
        assert_eq!(judge(&question, &Answer::default()).unwrap().0, Outcome::Refused);
        let lasting = Question { options: vec![choice("ever", "AllowAlways")], ..permission() };
        assert!(judge(&lasting, &answer("allow")).is_err());
    }

    #[test]
    fn a_form_is_taken_only_when_it_is_filled_in() {
        let field = |name: &str, kind: &str, optional| Field {
            name: name.into(),
            title: None,
            kind: kind.into(),
            options: if kind == "Choice" { vec!["a".into(), "b".into()] } else { Vec::new() },
            optional,
        };
        let form = vec![field("n", "Number", false), field("c", "Choice", true), field("b", "Boolean", true)];
        let question = Question { form, ..Question::default() };
        let judged = |values: &[(&str, &str)]| {
            let values = values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            judge(&question, &Answer { values, ..answer("allow") }).map(|(outcome, _)| outcome)
        };
        assert_eq!(judged(&[("n", "1.5")]), Ok(Outcome::Granted));
        assert_eq!(judged(&[]), Err(AnswerError::Missing("n".into())));
        for wrong in [("n", "x"), ("c", "z"), ("b", "yes")] {
            let judged = judged(&[("n", "1"), wrong]);
            assert!(matches!(judged, Err(AnswerError::Value { .. })), "{wrong:?}: {judged:?}");
        }
        assert_eq!(judge(&question, &answer("deny")).unwrap().0, Outcome::Refused, "a refusal needs no form");
    }

    #[test]
    fn what_the_agent_asks_is_made_to_fit_or_refused_with_a_reason() {
        let long = NewQuestion { title: format!("a\n {}", "x".repeat(400)), ..NewQuestion::default() };
        let fitted = long.fit().unwrap();
        assert_eq!(fitted.title.chars().count(), 256);
        assert!(!fitted.title.contains('\n'));
        let field =
            Field { name: "a b".into(), title: None, kind: "Text".into(), options: vec![], optional: false };
        let bad = NewQuestion { title: "t".into(), form: vec![field], ..NewQuestion::default() };
        assert!(bad.fit().unwrap_err().contains("\"a b\""));
        assert!(NewQuestion::default().fit().is_err());
    }

    #[test]
    fn an_answer_is_told_with_its_values_and_its_note() {
        let question =
            Question { kind: "Question".into(), options: vec![choice("x", "AllowOnce")], ..permission() };
        let values = [("city".to_owned(), "Turin".to_owned())].into();
        let answer = Answer { values, note: Some("be quick".into()), ..answer("x") };
        let closed = Closed { question, outcome: Outcome::Granted, answer };
        assert_eq!(words(&closed), "answered by jane: the x\ncity: Turin\nnote: be quick");
        assert!(message(&closed).starts_with("[About your request 0-3 (Question: "));
    }
}
