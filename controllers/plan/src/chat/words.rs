//! What the scripted chat agent says.

use std::fmt::Write as _;

use a8s_crds::Input;

use super::{
    bounded,
    draft::Draft,
    inputs::{Values, described, missing},
};
use crate::session::one_line;

/// How a Request is answered without the console.
fn by_kubectl(request: &str, wanted: &[&Input]) -> String {
    let values: Vec<String> = wanted.iter().map(|input| format!("\"{}\":\"…\"", input.name)).collect();
    let values =
        if values.is_empty() { String::new() } else { format!(",\"values\":{{{}}}", values.join(",")) };
    format!(
        "kubectl patch request {request} --subresource=status --type=merge -p '{{\"status\":{{\"decision\":{{\"option\":\"allow\"{values}}}}}}}'"
    )
}

/// Title of the Request.
pub(super) fn title(draft: &Draft) -> String {
    format!("begin: {}", one_line(&draft.handoff.requirement, 200))
}

/// What the Request says beside its title.
pub(super) fn detail(draft: &Draft, request: &str) -> String {
    let mut text =
        format!("{}\n\nEnvironment: {}", quoted(&bounded(&draft.handoff.requirement, 2_000)), draft.place);
    for line in &draft.rationale {
        let _ = write!(text, "\n- {line}");
    }
    if !draft.handoff.tools.is_empty() {
        let _ = write!(text, "\n\nTools beside the Environment's: {}", draft.handoff.tools.join(", "));
    }
    if !draft.handoff.connections.is_empty() {
        let _ =
            write!(text, "\n\nConnections that it may then use: {}", draft.handoff.connections.join(", "));
    }
    if draft.is_complete() {
        let _ = write!(text, "\n\n`{}`", by_kubectl(request, &[]));
    }
    text
}

/// The proposal, to be decided in a Request.
pub(super) fn proposal(draft: &Draft, request: &str) -> String {
    let mut text = understood(draft);
    let wanted = missing(&draft.form, &Values::new());
    if !wanted.is_empty() {
        let _ = write!(
            text,
            "Before it can begin I need:\n\n{}\nPlease fill that in in the Request `{request}` and start it there. You can also write it here, one \
             line each, such as `{}: …`.",
            listed(&wanted),
            wanted[0].name
        );
    } else if draft.form.is_empty() {
        let _ = write!(
            text,
            "Shall it begin? Start it in the Request `{request}`, or write what shall be different."
        );
    } else {
        let optional: Vec<&Input> = draft.form.iter().collect();
        let _ = write!(
            text,
            "Shall it begin? Start it in the Request `{request}`, where you may also fill in:\n\n{}\nOr write what shall be different.",
            listed(&optional)
        );
    }
    text
}

/// What begins by itself.
pub(super) fn begins(draft: &Draft) -> String {
    understood(draft) + "I hand it over now."
}

fn understood(draft: &Draft) -> String {
    let why =
        draft.rationale.first().and_then(|line| line.split_once(": ")).map(|(_, why)| format!(" ({why})"));
    format!(
        "I understood:\n\n{}\n\nIt is a task for the Environment **{}**{}. ",
        quoted(&bounded(&draft.handoff.requirement, 4_000)),
        draft.place,
        why.unwrap_or_default()
    )
}

/// The answer to a yes: a decision is made where it is recorded who made it.
pub(super) fn yes(request: Option<&str>, form: &[Input]) -> String {
    let Some(request) = request else {
        return "There is nothing to start just now. Write what you want.".into();
    };
    let wanted = missing(form, &Values::new());
    let fill =
        if wanted.is_empty() { String::new() } else { format!(" It still needs:\n\n{}\n", listed(&wanted)) };
    format!(
        "Gladly. It is started in the Request `{request}`, so that it is on record who did.{fill}\n\n`{}`\n\nIf something shall be different, \
         write it here.",
        by_kubectl(request, &wanted)
    )
}

/// The answer to a refusal.
pub(super) fn refused() -> String {
    "All right, nothing was started. Write what shall be different.".into()
}

/// The answer to a form that was not filled in right.
pub(super) fn incomplete(wrong: &[String], request: &str) -> String {
    let wrong = wrong.iter().map(|w| format!("- {w}\n")).collect::<Vec<_>>().concat();
    format!(
        "It cannot begin like that:\n\n{wrong}\nI ask again in the Request `{request}`; what was right is kept."
    )
}

/// The last words of the chat agent.
pub(super) fn handed_over(place: Option<&str>) -> String {
    let place = place.map_or_else(String::new, |place| format!(" in the Environment **{place}**"));
    format!(
        "Handed over. The agent begins{place} as soon as its desktop is there; everything you write now goes to it."
    )
}

/// Why the model did not answer, before what the script says.
pub(super) fn without_model(why: &str) -> String {
    format!("The model cannot be asked: {} I go on without it.\n\n", sentence(why))
}

fn sentence(text: &str) -> String {
    let text = text.trim();
    let text = bounded(text, 1_000);
    if text.ends_with(['.', '!', '?']) { text } else { text + "." }
}

fn listed(inputs: &[&Input]) -> String {
    inputs.iter().map(|input| format!("- {}\n", described(input))).collect::<Vec<_>>().concat()
}

fn quoted(text: &str) -> String {
    text.lines().map(|line| format!("> {line}")).collect::<Vec<_>>().join("\n")
}
