//! One pass of the chat: what is to be said, asked, closed or handed over now.

use a8s_crds::{Approval, Message, MessageState, Request, RequestState, Requirement, conditions::Reason};
use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    Brain, Heard, Question, Stage, Step, Thought, brain,
    draft::{self, Draft},
    inputs::Values,
    objects,
    talk::{self, Last, Talk},
    words,
};
use crate::{Env, Notice, session};

/// What the chat agent says, and what it would hand over.
struct Answer {
    text: String,
    draft: Option<Draft>,
}

/// What is to be done now.
pub fn plan(seen: &session::Observed, heard: &Heard, env: &Env) -> Stage {
    let session = &seen.session;
    let (placed, new) = talk::ordered(session, &heard.messages);
    let own = heard.messages.iter().filter(|m| m.is_from_agent()).filter_map(|m| m.status.as_ref()?.seq);
    let highest = placed.iter().filter_map(|m| m.status.as_ref()?.seq).chain(own).max().unwrap_or_default();
    let recorded = session.status.as_ref().and_then(|s| s.last_message).unwrap_or_default();
    let mut pass =
        Pass { seen, env, stage: Stage { last_message: highest.max(recorded), ..Stage::default() } };
    let talk = Talk::read(session, &placed, &heard.messages, &heard.requests);
    if talk.granted.is_some() {
        pass.granted(&talk);
        return pass.stage;
    }
    // New Messages get their place first; after the hand-over they are the agent's.
    let marked: Vec<Message> = new.into_iter().map(|message| pass.place(message)).collect();
    let all: Vec<&Message> = placed.into_iter().chain(&marked).collect();
    let talk = Talk::read(session, &all, &heard.messages, &heard.requests);
    if talk.said.is_empty() {
        pass.cancel_all_but(&talk, None, "nothing is asked any more");
        pass.stage.doing = "waiting for a message: say what you want".into();
        return pass.stage;
    }
    pass.answer(&talk, heard);
    pass.stage
}

struct Pass<'a> {
    seen: &'a session::Observed,
    env: &'a Env,
    stage: Stage,
}

impl Pass<'_> {
    fn now(&self) -> Timestamp {
        self.env.now
    }

    fn seq(&mut self) -> i64 {
        self.stage.last_message += 1;
        self.stage.last_message
    }

    fn auto(&self) -> bool {
        self.seen.session.spec.policy.as_ref().and_then(|p| p.handoff) == Some(Approval::Auto)
    }

    fn notice(&mut self, warning: bool, reason: Reason, note: impl Into<String>) {
        self.stage.notices.push(Notice { warning, reason, note: note.into() });
    }

    /// A person's new Message gets its place. A Stop has nothing to stop here.
    fn place(&mut self, message: &Message) -> Message {
        let seq = self.seq();
        let state =
            if message.spec.content.is_some() { MessageState::Delivered } else { MessageState::Consumed };
        let mut before = message.status.clone().unwrap_or_default();
        before.observed_generation = message.metadata.generation;
        let status = objects::heard(&before, seq, state, self.now());
        let uid = self.seen.session.uid();
        if !message.owner_references().iter().any(|r| Some(&r.uid) == uid.as_ref()) {
            self.stage.steps.push(Step::Adopt(message.clone()));
        }
        self.stage.steps.push(Step::Mark(message.clone(), status.clone()));
        Message { status: Some(status), ..message.clone() }
    }

    /// What was said is answered: it needs nobody's attention any more.
    fn settle(&mut self, talk: &Talk<'_>) {
        for message in talk.said.iter().filter_map(|said| said.message).filter(|m| !m.is_settled()) {
            let before = message.status.clone().unwrap_or_default();
            let seq = before.seq.unwrap_or_default();
            let status = objects::heard(&before, seq, MessageState::Consumed, self.now());
            // Where it got its place in this very pass, one write says both.
            let placed = self.stage.steps.iter_mut().find_map(|step| match step {
                Step::Mark(of, status) if of.metadata.uid == message.metadata.uid => Some(status),
                _ => None,
            });
            match placed {
                Some(mark) => *mark = status,
                None => self.stage.steps.push(Step::Mark(message.clone(), status)),
            }
        }
    }

    /// Says it, unless it was said; an earlier life may have said it without giving it its place.
    fn say(&mut self, talk: &Talk<'_>, key: &str, text: &str, handoff: Option<&a8s_crds::Handoff>) {
        match talk.answer(key) {
            Some(there) if there.status.as_ref().is_some_and(|s| s.seq.is_some()) => {}
            Some(there) => {
                let status = objects::said(self.seq(), self.now());
                self.stage.steps.push(Step::Mark(there.clone(), status));
            }
            None => {
                let message = objects::message(&self.seen.session, key, text, handoff);
                let status = objects::said(self.seq(), self.now());
                self.stage.steps.push(Step::Say(message, status));
            }
        }
    }

    fn close(&mut self, request: &Request, state: RequestState, outcome: &str) {
        let before = request.status.as_ref();
        let status = objects::stands(before, request.metadata.generation, state, outcome, self.now());
        if before.is_none_or(|s| s.state != Some(state)) {
            self.stage.steps.push(Step::Close(request.clone(), status));
        }
    }

    /// Requests whose decision would mean nothing any more.
    fn cancel_all_but(&mut self, talk: &Talk<'_>, keep: Option<&str>, why: &str) {
        let undecided = |r: &&Request| {
            let status = r.status.as_ref();
            status.is_none_or(|s| s.decision.is_none() && matches!(s.state, None | Some(RequestState::Open)))
        };
        let old: Vec<Request> = talk
            .requests()
            .filter(undecided)
            .filter(|r| Some(r.name_any().as_str()) != keep)
            .cloned()
            .collect();
        for request in old {
            self.close(&request, RequestState::Cancelled, why);
        }
    }

    /// What was decided and not said yet in the Requests themselves.
    fn record_decisions(&mut self, talk: &Talk<'_>) {
        let all: Vec<Request> = talk.requests().cloned().collect();
        for request in all {
            let decided = match talk::verdict(&request, &talk.attachments) {
                talk::Verdict::Refused(_) => "nothing was started".to_owned(),
                talk::Verdict::Incomplete(_, wrong) => format!("it could not begin: {}", wrong.join("; ")),
                _ => continue,
            };
            let told = request.status.as_ref().and_then(|s| s.state) == Some(RequestState::Refused);
            self.close(&request, RequestState::Refused, &decided);
            if !told {
                self.notice(
                    false,
                    Reason::HandoffRefused,
                    format!("Request {}: {decided}", request.name_any()),
                );
            }
        }
    }

    /// A Request was granted: what it says is handed over.
    fn granted(&mut self, talk: &Talk<'_>) {
        let Some((request, values, heard)) = &talk.granted else { return };
        let decision = request.status.as_ref().and_then(|s| s.decision.as_ref());
        let by = decision.and_then(|d| d.by.clone());
        let handoff = request.spec.handoff.clone().unwrap_or_default();
        // Said after it was asked, and taken by the chat agent: nobody else would tell the agent.
        let later = talk.said[*heard..].iter().filter(|said| !said.yes).map(|said| said.text);
        let note = decision.and_then(|d| d.note.as_deref()).map(str::trim).filter(|n| !n.is_empty());
        let later: Vec<&str> = note.into_iter().chain(later).collect();
        let mut requirement =
            draft::requirement(&self.seen.environments, &handoff, values, &request.spec.form, &later);
        requirement.request = Some(request.name_any());
        requirement.by.clone_from(&by);
        let who = by.unwrap_or_else(|| "the Session's policy".into());
        self.close(request, RequestState::Granted, "handed over");
        self.hand_over(
            talk,
            &request.uid().unwrap_or_default(),
            requirement,
            &format!("{who} started the work"),
        );
    }

    /// The end of the talk.
    fn hand_over(&mut self, talk: &Talk<'_>, key: &str, requirement: Requirement, note: &str) {
        let place = requirement.environment.as_deref();
        let title = self.seen.environments.iter().find(|e| Some(e.name_any().as_str()) == place);
        let text = words::handed_over(title.map(|e| e.spec.title.as_str()));
        self.say(talk, key, &text, None);
        self.end(talk, requirement, note);
    }

    fn end(&mut self, talk: &Talk<'_>, requirement: Requirement, note: &str) {
        self.settle(talk);
        let keep = requirement.request.clone();
        self.cancel_all_but(talk, keep.as_deref(), "the work began");
        self.notice(false, Reason::HandoffGranted, note);
        self.stage.requirement = Some(requirement);
        self.stage.doing = "handing over".into();
    }

    /// Answers what was said last, once.
    fn answer(&mut self, talk: &Talk<'_>, heard: &Heard) {
        self.record_decisions(talk);
        if let Some(there) = talk.answer(&talk.key) {
            if let Some(handoff) = objects::handed_over(there) {
                let requirement =
                    draft::requirement(&self.seen.environments, &handoff, &Values::new(), &[], &[]);
                self.say(talk, &talk.key, "", None);
                return self.end(talk, requirement, "the work begins, as the Session's policy says");
            }
            self.say(talk, &talk.key, "", None);
            return self.waits(talk);
        }
        if let Some(request) = talk.request(&talk.key) {
            // It was asked, and not said: the Request says what is to be said.
            if let Some(draft) = draft::again(self.seen, talk, request) {
                let text = words::proposal(&draft, &request.name_any());
                self.say(talk, &talk.key, &text, None);
            }
            return self.waits(talk);
        }
        match self.think(talk, heard) {
            Some(answer) => self.give(talk, answer),
            None => self.count(talk.open.is_some()),
        }
    }

    /// What is waited for once everything is answered.
    fn waits(&mut self, talk: &Talk<'_>) {
        self.settle(talk);
        let open = talk.open.map(ResourceExt::name_any);
        self.cancel_all_but(talk, open.as_deref(), "something else was said since");
        if let Some(request) = talk.open {
            let complete = request.spec.form.iter().all(|i| i.optional);
            if self.auto() && complete {
                // The policy was changed after it was asked.
                let handoff = request.spec.handoff.clone().unwrap_or_default();
                let mut requirement = draft::requirement(
                    &self.seen.environments,
                    &handoff,
                    &Values::new(),
                    &request.spec.form,
                    &[],
                );
                requirement.request = Some(request.name_any());
                self.close(request, RequestState::Granted, "the Session's policy says so");
                let key = request.uid().unwrap_or_default();
                return self.hand_over(
                    talk,
                    &key,
                    requirement,
                    "the work begins, as the Session's policy says",
                );
            }
            if request.status.as_ref().is_none_or(|s| s.state.is_none()) {
                self.close(request, RequestState::Open, "");
            }
            self.count(true);
            self.stage.doing = format!("waits for 1 request: {}", request.spec.title);
            return;
        }
        self.count(false);
        self.stage.doing = "waiting for a message".into();
    }

    fn count(&mut self, open: bool) {
        self.stage.requests = i64::from(open);
    }

    /// What the chat agent says; nothing while a model is asked, or while something is in the way.
    fn think(&mut self, talk: &Talk<'_>, heard: &Heard) -> Option<Answer> {
        match &talk.last {
            Last::Yes => {
                let form = talk.open.map_or(&[][..], |r| &r.spec.form);
                let text = words::yes(talk.open.map(ResourceExt::name_any).as_deref(), form);
                return Some(Answer { text, draft: None });
            }
            Last::Refused { note: false } => return Some(Answer { text: words::refused(), draft: None }),
            Last::Incomplete(wrong) => {
                let draft = talk.again.and_then(|request| draft::again(self.seen, talk, request));
                let name = self.request_name(&talk.key);
                return Some(Answer { text: words::incomplete(wrong, &name), draft });
            }
            Last::Said | Last::Refused { note: true } => {}
        }
        match brain(&self.seen.session, &self.seen.connections) {
            Brain::Scripted => self.scripted(talk, None),
            Brain::Unusable(why) => self.scripted(talk, Some(&why)),
            Brain::Unknown(name) => {
                self.stage.doing = format!("waits for Connection {name}");
                self.stage.look_again = true;
                None
            }
            Brain::Model(connection) => match &heard.thought {
                Some((key, Thought::Failed(why))) if *key == talk.key => self.scripted(talk, Some(why)),
                Some((key, Thought::Answer(text, proposal))) if *key == talk.key => {
                    match proposal.as_ref().map(|p| draft::proposed(self.seen, talk, p)).transpose() {
                        Ok(draft) => Some(Answer { text: text.clone(), draft }),
                        // It was checked when it was made; the catalogue has changed since.
                        Err(why) => self.scripted(talk, Some(&format!("what it proposed cannot be: {why}"))),
                    }
                }
                _ => {
                    self.stage.doing = "the chat agent thinks".into();
                    self.stage.think = Some(Question {
                        key: talk.key.clone(),
                        connection,
                        lines: talk.lines(),
                        auto: self.auto(),
                    });
                    None
                }
            },
        }
    }

    fn request_name(&self, key: &str) -> String {
        let session = &self.seen.session;
        a8s_crds::names::handoff(&session.name_any(), &session.uid().unwrap_or_default(), key)
    }

    fn scripted(&mut self, talk: &Talk<'_>, why: Option<&str>) -> Option<Answer> {
        let draft = match draft::scripted(self.seen, talk) {
            Ok(draft) => draft,
            Err((reason, text)) => {
                self.stage.doing.clone_from(&text);
                self.stage.problem = Some((reason, text));
                self.stage.look_again = true;
                return None;
            }
        };
        let mut text = String::new();
        if let Some(why) = why.filter(|why| !talk.has_said(&words::without_model(why))) {
            text = words::without_model(why);
            self.notice(true, Reason::ModelFailed, format!("the chat agent's model cannot be asked: {why}"));
        }
        text += &if self.auto() && draft.is_complete() {
            words::begins(&draft)
        } else {
            words::proposal(&draft, &self.request_name(&talk.key))
        };
        Some(Answer { text, draft: Some(draft) })
    }

    /// Says it, asks what it asks, and hands over what needs no asking.
    fn give(&mut self, talk: &Talk<'_>, answer: Answer) {
        let Some(draft) = answer.draft else {
            self.say(talk, &talk.key, &answer.text, None);
            return self.waits(talk);
        };
        if self.auto() && draft.is_complete() {
            let none = Values::new();
            let requirement =
                draft::requirement(&self.seen.environments, &draft.handoff, &none, &draft.form, &[]);
            self.say(talk, &talk.key, &answer.text, Some(&draft.handoff));
            return self.end(talk, requirement, "the work begins, as the Session's policy says");
        }
        let name = self.request_name(&talk.key);
        let (title, detail) = (words::title(&draft), words::detail(&draft, &name));
        let policy = if self.auto() { Approval::Auto } else { Approval::Ask };
        let asking = objects::Asking {
            key: &talk.key,
            title: &title,
            detail: &detail,
            form: draft.form,
            handoff: draft.handoff,
            policy,
        };
        let request = objects::request(&self.seen.session, asking);
        let status = objects::stands(None, Some(1), RequestState::Open, "", self.now());
        self.stage.steps.push(Step::Ask(request, status));
        self.notice(
            false,
            Reason::HandoffProposed,
            format!("Request {name} asks whether the work may begin"),
        );
        self.say(talk, &talk.key, &answer.text, None);
        self.settle(talk);
        self.cancel_all_but(talk, Some(&name), "something else was said since");
        self.count(true);
        self.stage.doing = format!("waits for 1 request: {title}");
    }
}
