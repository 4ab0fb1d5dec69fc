//! Which Environment of the catalogue fits best, and why. The same catalogue and the same demand always give the same answer.

use std::cmp::Reverse;

use a8s_crds::{Environment, InputType, conditions::Reason};
use kube::ResourceExt;

/// The choice and its reasons, one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Name of the Environment.
    pub environment: String,
    /// Why.
    pub rationale: Vec<String>,
    /// Whether something speaks for it. Where nothing speaks for any, the most general one is no more than a guess.
    pub certain: bool,
}

impl Choice {
    /// One that leaves nothing to choose.
    pub fn given(environment: &str, why: String) -> Self {
        Self { environment: environment.to_owned(), rationale: vec![why], certain: true }
    }
}

/// What an Environment is looked for.
#[derive(Clone, Debug, Default)]
pub struct Demand<'a> {
    /// Goal or requirement.
    pub text: &'a str,
    /// Capabilities that the attachments call for.
    pub calls: Vec<&'a str>,
    /// How many files there are.
    pub files: usize,
}

struct Rank<'a> {
    /// Words of the text that speak for it.
    words: Vec<&'a str>,
    /// Its capabilities that only the attachments call for.
    called: Vec<&'a str>,
    priority: i32,
    /// Files that it needs and that are not there.
    lacks: usize,
    name: String,
}

impl Rank<'_> {
    fn hits(&self) -> usize {
        self.words.len() + self.called.len()
    }
}

/// The most matching words and capabilities win, then the higher priority, then the one that needs no file that is not there, then the
/// first name. Where nothing matches at all the lowest priority wins: what is general comes before what is special.
pub fn best(catalogue: &[Environment], demand: &Demand<'_>) -> Result<Choice, (Reason, String)> {
    let text = demand.text.to_lowercase();
    let there = catalogue.iter().filter(|e| e.metadata.deletion_timestamp.is_none());
    let mut ranked: Vec<Rank<'_>> = there.map(|e| rank(e, &text, demand)).collect();
    let special = ranked.iter().any(|r| r.hits() > 0);
    ranked.sort_by(|a, b| {
        let priority = if special { b.priority.cmp(&a.priority) } else { a.priority.cmp(&b.priority) };
        let hits = Reverse(a.hits()).cmp(&Reverse(b.hits()));
        hits.then(priority).then(a.lacks.cmp(&b.lacks)).then(a.name.cmp(&b.name))
    });
    let Some(first) = ranked.first() else {
        return Err((
            Reason::NoEnvironment,
            "no Environment exists; an administrator has to create one".into(),
        ));
    };
    let mut rationale = vec![reason(first)];
    rationale.extend(ranked.get(1).map(|next| why_not(first, next)));
    Ok(Choice { environment: first.name.clone(), rationale, certain: special })
}

fn rank<'a>(environment: &'a Environment, text: &str, demand: &Demand<'_>) -> Rank<'a> {
    let matching = environment.spec.matching.as_ref();
    let keywords = matching.map_or(&[][..], |m| &m.keywords).iter();
    let capabilities = matching.map_or(&[][..], |m| &m.capabilities);
    let mut words: Vec<&str> = Vec::new();
    for word in keywords.chain(capabilities).map(String::as_str) {
        let known = words.iter().any(|w| w.eq_ignore_ascii_case(word));
        if !known && mentions(text, &word.to_lowercase()) {
            words.push(word);
        }
    }
    let called = |c: &&String| demand.calls.iter().any(|call| call.eq_ignore_ascii_case(c));
    let mut called: Vec<&str> = capabilities.iter().filter(called).map(String::as_str).collect();
    called.retain(|c| !words.contains(c));
    let files = environment.spec.inputs.iter().filter(|i| i.kind == InputType::File && !i.optional).count();
    Rank {
        words,
        called,
        priority: matching.map_or(0, |m| m.priority),
        lacks: files.saturating_sub(demand.files),
        name: environment.name_any(),
    }
}

fn reason(first: &Rank<'_>) -> String {
    let name = &first.name;
    let mut why = Vec::new();
    if !first.words.is_empty() {
        why.push(format!("the goal mentions {}", first.words.join(", ")));
    }
    if !first.called.is_empty() {
        why.push(format!("the attachments call for {}", first.called.join(", ")));
    }
    if why.is_empty() {
        let priority = first.priority;
        why.push(format!(
            "no Environment's keywords are in the goal; priority {priority} is the lowest, it is the most general"
        ));
    }
    format!("{name}: {}", why.join("; "))
}

fn why_not(first: &Rank<'_>, next: &Rank<'_>) -> String {
    let (priority, their, name) = (first.priority, next.priority, &next.name);
    if next.hits() < first.hits() {
        format!("{name}: {} of its keywords in the goal", next.hits())
    } else if their < priority {
        format!("{name}: as many keywords, priority {their} is lower than {priority}")
    } else if their > priority {
        format!("{name}: no keywords either, priority {their} is higher: it is more special")
    } else if next.lacks > first.lacks {
        format!("{name}: as many keywords and the same priority, but it needs a file that is not attached")
    } else {
        format!("{name}: as many keywords and the same priority; the first name wins")
    }
}

/// Whole words only, in singular or plural: `pdf` is in "two PDFs", not in "spdf".
pub(super) fn mentions(text: &str, word: &str) -> bool {
    let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let ends = |rest: &str| {
        let mut after = rest.chars();
        let next = after.next();
        !letter(next) || next == Some('s') && !letter(after.next())
    };
    !word.is_empty()
        && text
            .match_indices(word)
            .any(|(at, _)| !letter(text[..at].chars().next_back()) && ends(&text[at + word.len()..]))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn environment(name: &str, spec: &Value) -> Environment {
        let mut all = json!({"title": name, "image": "i"});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        Environment::new(name, from_value(all).unwrap())
    }

    fn chosen(
        catalogue: &[Environment],
        text: &str,
        calls: &[&str],
        files: usize,
    ) -> (String, Vec<String>, bool) {
        let demand = Demand { text, calls: calls.to_vec(), files };
        let choice = best(catalogue, &demand).unwrap();
        (choice.environment, choice.rationale, choice.certain)
    }

    #[test]
    fn capabilities_count_like_keywords_whether_the_text_or_an_attachment_calls_for_them() {
        let office = environment(
            "office",
            &json!({"match": {"keywords": ["excel"], "capabilities": ["spreadsheet", "pdf"]}}),
        );
        let desktop = environment("desktop", &json!({"match": {"keywords": ["web"], "priority": 50}}));
        let all = [office, desktop];
        let (name, why, certain) = chosen(&all, "Add these numbers.", &["data", "spreadsheet"], 1);
        assert_eq!((name.as_str(), certain), ("office", true));
        assert_eq!(why[0], "office: the attachments call for spreadsheet");
        let (_, why, _) = chosen(&all, "Make PDFs of the spreadsheets.", &["spreadsheet"], 1);
        assert_eq!(why[0], "office: the goal mentions spreadsheet, pdf", "counted once");
        let (name, why, certain) = chosen(&all, "Sing.", &[], 0);
        assert_eq!((name.as_str(), certain), ("office", false), "{why:?}");
    }

    #[test]
    fn of_two_that_fit_alike_the_one_whose_files_are_there_wins() {
        let needs = environment("a", &json!({"inputs": [{"name": "sheet", "type": "File"}]}));
        let plain = environment("b", &json!({}));
        let all = [needs, plain];
        assert_eq!(chosen(&all, "x", &[], 0).0, "b");
        assert_eq!(chosen(&all, "x", &[], 1).0, "a");
        assert!(chosen(&all, "x", &[], 0).1[1].contains("needs a file"), "{:?}", chosen(&all, "x", &[], 0).1);
    }

    #[test]
    fn words_count_as_whole_words_in_singular_and_plural() {
        for (text, word, found) in [
            ("two pdfs, please", "pdf", true),
            ("a pdf.", "pdf", true),
            ("spdf", "pdf", false),
            ("pdfsize", "pdf", false),
            ("", "pdf", false),
            ("x", "", false),
        ] {
            assert_eq!(mentions(text, word), found, "{text} {word}");
        }
    }
}
