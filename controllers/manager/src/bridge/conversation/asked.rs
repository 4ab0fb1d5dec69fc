//! What the agent asks becomes Requests, and what people decide there is told to the runner, which alone knows what still waits.
//!
//! A Request is opened by the event that asked and closed by the event that answered: both are in the transcript, so a crash repeats them
//! and doubles nothing. Between the two a decision is handed over as often as it takes; the runner takes it once.

use a8s_crds::{
    ControlHolder, Decision, OptionKind, Request, RequestState, RequestStatus, RequestType,
    conditions::Reason,
};
use a8s_plan::request::{closed, is_open, waiting};
use a8s_wire::{Answer, Question};
use jiff::Timestamp;

use super::{
    super::world::{Made, World},
    Conversation,
};
use crate::errors::Error;

/// Ends the outcome of a Takeover that a person has taken up; before it is the person's name.
const TAKEN: &str = " has taken over; waits for the hand-back";

/// What came of an answer.
enum Given {
    /// The agent has it.
    Taken,
    /// The question was closed just now; the event that says how is on its way.
    Closed,
    /// The runner does not take it, and would not however often it is sent. The question is closed.
    Unfit(String),
}

impl<W: World> Conversation<'_, W> {
    /// Records a question.
    pub(super) async fn asked(&mut self, question: &Question) -> Result<(), Error> {
        let approval = self.world.approval(question);
        for taken in [false, true] {
            let Some(request) = self.subject.request(question, self.epoch, approval, taken) else { break };
            let found = match self.world.create_request(&request).await {
                Ok(Made::New(found)) => {
                    self.say(false, Reason::RequestOpened, found.spec.title.clone()).await;
                    found
                }
                Ok(Made::Exists(found)) if self.subject.made(&found) => found,
                Ok(Made::Exists(_)) => continue,
                Err(error) if error.status().is_some_and(|s| s.code == 422) => {
                    tracing::warn!(session = self.subject.name, question = question.id, %error, "not a Request");
                    break;
                }
                Err(error) => return Err(error),
            };
            if found.status.as_ref().and_then(|s| s.state).is_none() {
                let status = waiting(&found, None, Timestamp::now());
                self.world.set_request_status(&found, &status).await?;
            }
            return Ok(());
        }
        // Nobody could answer it: it is refused when it is looked for and not found.
        let text =
            format!("a question of the agent cannot be made a Request and is refused: {}", question.title);
        self.say(true, Reason::RequestRefused, text).await;
        Ok(())
    }

    /// Records that a question is closed.
    pub(super) async fn answered(&mut self, id: &str, outcome: &str, by: Option<&str>) -> Result<(), Error> {
        let all = self.world.requests().await?;
        let Some(request) = all.iter().find(|r| self.subject.made(r) && r.spec.id.as_deref() == Some(id))
        else {
            return Ok(());
        };
        if is_open(request) {
            let (state, text) = ended(request, outcome, by);
            self.close(request, state, &text).await?;
        }
        Ok(())
    }

    /// Looks what was decided of that which waits.
    pub(super) async fn attend(&mut self) -> Result<(), Error> {
        if self.attended && self.open.is_empty() {
            return Ok(());
        }
        self.attended = true;
        let mut all = self.world.requests().await?;
        all.retain(|r| self.subject.made(r) && r.spec.id.is_some());
        for request in all.iter().filter(|r| is_open(r)) {
            self.attend_to(request).await?;
        }
        let known = |id: &String| all.iter().any(|r| r.spec.id.as_ref() == Some(id));
        let orphans: Vec<String> = self.open.iter().filter(|id| !known(id)).cloned().collect();
        for id in orphans {
            // Somebody deleted the Request, or it could not be made: nobody will decide.
            let note = Some("the Request was deleted".to_owned());
            let refusal = Answer { note, by: "a8s".into(), ..Answer::default() };
            if let Given::Unfit(text) = self.give(&id, &refusal).await? {
                tracing::warn!(
                    session = self.subject.name,
                    question = id,
                    text,
                    "a question cannot be refused"
                );
            }
            self.open.remove(&id);
        }
        Ok(())
    }

    async fn attend_to(&mut self, request: &Request) -> Result<(), Error> {
        let id = request.spec.id.clone().unwrap_or_default();
        if request.spec.epoch != self.epoch || !self.open.contains(&id) {
            let (state, text) = match self.closed.get(&id).filter(|_| request.spec.epoch == self.epoch) {
                Some((outcome, by)) => ended(request, outcome, by.as_deref()),
                None => (RequestState::Cancelled, "the agent does not wait for it any more".to_owned()),
            };
            return self.close(request, state, &text).await;
        }
        let status = request.status.clone().unwrap_or_default();
        if let Some(decision) = &status.decision {
            return self.hand_down(request, &id, decision).await;
        }
        if status.state.is_none() {
            // Its process died before it could say that it waits.
            self.world.set_request_status(request, &waiting(request, None, Timestamp::now())).await?;
            return Ok(());
        }
        if request.spec.kind == RequestType::Takeover {
            return self.take_over(request, &id, &status).await;
        }
        Ok(())
    }

    /// Tells the runner what a person decided.
    async fn hand_down(&mut self, request: &Request, id: &str, decision: &Decision) -> Result<(), Error> {
        let Some(by) = decision.by.clone() else {
            let text = "nobody stamped who decided; is the webhook of a8s installed? It expires as if nobody had decided";
            let status = waiting(request, Some(text.into()), Timestamp::now());
            return self.keep_waiting(request, &status).await;
        };
        let mut answer = Answer {
            option: Some(decision.option.clone()),
            values: decision.values.clone(),
            note: decision.note.clone(),
            by: by.clone(),
        };
        if request.spec.kind == RequestType::Context && request.spec.allows(&decision.option) == Some(true) {
            answer.note = self.enclose_material(request, answer.note.take()).await?;
        }
        match self.give(id, &answer).await? {
            Given::Taken => {}
            Given::Closed => return Ok(()),
            Given::Unfit(text) => return self.close_unfit(request, &text).await,
        }
        let outcome = if request.spec.allows(&decision.option) == Some(true) { "granted" } else { "refused" };
        let (state, text) = ended(request, outcome, Some(&by));
        self.close(request, state, &text).await
    }

    /// Gives the runner an answer. What a person decided is decided once and for all, so one that the runner does not take cannot be put
    /// right: the agent is told that it was refused, so that it does not wait for what never comes.
    async fn give(&mut self, id: &str, answer: &Answer) -> Result<Given, Error> {
        let error = match self.world.answer(id, answer).await {
            Ok(answered) if !answered.applied => return Ok(Given::Closed),
            Ok(_) => {
                self.open.remove(id);
                return Ok(Given::Taken);
            }
            Err(error) => error,
        };
        let Some(text) = error.refused() else { return Err(error.into()) };
        if answer.option.is_some() {
            let refusal = Answer { note: Some(text.clone()), by: answer.by.clone(), ..Answer::default() };
            if let Err(error) = self.world.answer(id, &refusal).await
                && error.refused().is_none()
            {
                return Err(error.into());
            }
        }
        self.open.remove(id);
        Ok(Given::Unfit(text))
    }

    async fn close_unfit(&mut self, request: &Request, text: &str) -> Result<(), Error> {
        self.close(request, RequestState::Refused, &format!("the answer does not fit: {text}")).await
    }

    /// Puts what was granted among the attachments, before the agent hears of it; what the agent is told.
    async fn enclose_material(
        &self,
        request: &Request,
        note: Option<String>,
    ) -> Result<Option<String>, Error> {
        let Some(subject) = request.spec.subject.as_deref() else { return Ok(note) };
        let Some((name, body)) = self.world.material(subject).await? else { return Ok(note) };
        let name = file_name(&name);
        let told = match self.world.put_attachment(&name, body).await {
            Ok(()) => format!("It is in ~/Attachments/{name}."),
            Err(error) => {
                let Some(why) = error.refused() else { return Err(error.into()) };
                format!("It could not be put into ~/Attachments/{name}: {why}")
            }
        };
        Ok(Some(note.map_or_else(|| told.clone(), |note| format!("{note}\n\n{told}"))))
    }

    /// A person who takes the desktop and hands it back has done what was asked for. That the desktop was taken is written down, so that
    /// a hand-back is known as such by whoever sees it.
    async fn take_over(&mut self, request: &Request, id: &str, status: &RequestStatus) -> Result<(), Error> {
        let Some(control) = self.world.control() else { return Ok(()) };
        let taken = status.outcome.as_deref().and_then(|text| text.strip_suffix(TAKEN));
        match (control.holder, control.user, taken) {
            (ControlHolder::User, Some(user), _) if taken != Some(user.as_str()) => {
                let status = waiting(request, Some(format!("{user}{TAKEN}")), Timestamp::now());
                self.keep_waiting(request, &status).await
            }
            (ControlHolder::Agent, _, Some(user)) => {
                let options = &request.spec.options;
                let once = options.iter().find(|o| o.kind == OptionKind::AllowOnce);
                let option = once.or_else(|| options.iter().find(|o| o.kind.allows()));
                let option = option.map_or_else(|| "allow".to_owned(), |o| o.id.clone());
                let answer = Answer { option: Some(option), by: user.to_owned(), ..Answer::default() };
                match self.give(id, &answer).await? {
                    Given::Taken => {
                        let text = format!("{user} took over and handed back");
                        self.close(request, RequestState::Granted, &text).await
                    }
                    Given::Closed => Ok(()),
                    Given::Unfit(text) => self.close_unfit(request, &text).await,
                }
            }
            _ => Ok(()),
        }
    }

    async fn keep_waiting(&self, request: &Request, status: &RequestStatus) -> Result<(), Error> {
        if request.status.as_ref() == Some(status) {
            return Ok(());
        }
        self.world.set_request_status(request, status).await
    }

    async fn close(&mut self, request: &Request, state: RequestState, text: &str) -> Result<(), Error> {
        // Somebody may have written since it was read: it is looked at once more.
        self.attended = false;
        let (status, notice) = closed(request, state, text, Timestamp::now());
        self.world.set_request_status(request, &status).await?;
        self.world.say(notice).await;
        Ok(())
    }
}

/// A name that the runner takes for an attachment.
fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._- ".contains(c) { c } else { '_' };
    let name: String = name.chars().map(plain).take(128).collect();
    let name = name.trim_start_matches(['.', '-', ' ']).trim_end();
    if name.is_empty() { "material".to_owned() } else { name.to_owned() }
}

/// How it ended, as the runner says it.
fn ended(request: &Request, outcome: &str, by: Option<&str>) -> (RequestState, String) {
    let who = by.filter(|by| !by.is_empty()).unwrap_or("somebody");
    let taken = request.status.as_ref().and_then(|s| s.outcome.as_deref()?.strip_suffix(TAKEN));
    let decided = request.status.as_ref().is_some_and(|s| s.decision.is_some());
    match outcome {
        "granted" if taken.is_some() && !decided => {
            (RequestState::Granted, format!("{who} took over and handed back"))
        }
        "granted" if request.spec.kind == RequestType::Question => {
            (RequestState::Granted, format!("answered by {who}"))
        }
        "granted" => (RequestState::Granted, format!("granted by {who}")),
        "refused" => (RequestState::Refused, format!("refused by {who}")),
        "expired" => (RequestState::Expired, "nobody decided in time, which counts as refused".to_owned()),
        _ => (RequestState::Cancelled, "the agent does not wait for it any more".to_owned()),
    }
}
