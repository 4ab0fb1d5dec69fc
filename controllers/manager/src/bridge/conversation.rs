//! One conversation: what the runner says becomes objects, what people say becomes prompts.
//!
//! Its memory is the runner's transcript and the API server, never itself. It reads the transcript from the beginning to know which turn
//! runs and what is over; objects are made only for events after the recorded one, and the record advances only when they exist. A person's
//! Message is delivered under its UID, which the runner takes once.
//!
//! An event is heard when it comes and recorded when there is time: what people say is handed over by what was heard, and never waits for
//! the objects of what the agent said. What the Session's status says, and which questions wait, goes by what was recorded. Whoever is
//! handed something is not kept waiting for the API server either: a Message gets its place in memory, goes to the runner, and then the place
//! is written down, before anything more is recorded. After a crash in between, the runner has it, and its place is given again, first of all.
//!
//! Messages are handed over one at a time, so that a Steer can be next although others wait.

mod asked;
mod deliver;
mod lineage;
mod record;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Instant,
};

use a8s_crds::Message;
use a8s_plan::session::Live;
use a8s_wire::{Event, EventBody, EventId, RunnerPhase, RunnerState, Settings};

use super::{objects::Subject, world::World};
use crate::errors::Error;

/// What an event that was recorded is a reason for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing that could not wait.
    Later,
    /// People should see it at once.
    Tell,
    /// Besides, what people said and decided is to be looked at again.
    Look,
}

/// The state of one conversation.
pub struct Conversation<'w, W> {
    world: &'w W,
    subject: Subject,
    /// Facts for the Session's status.
    pub live: Live,
    /// Whether people's messages may be handed over, or only the last events are read.
    drain: bool,
    epoch: i64,
    /// Last event of the transcript when the bridge connected; until it is read again, what runs and what is over is not known.
    horizon: i64,
    /// Whether the attachments of a Session without a goal were put in place.
    attached: bool,
    /// Last event heard, of any epoch.
    read: i64,
    /// Last event that the facts are of, of any epoch.
    followed: i64,
    /// Last event of this epoch that was heard or recorded before.
    mine: i64,
    /// Heard, and not recorded yet.
    behind: VecDeque<Event>,
    /// The turn that runs, as heard.
    running: Option<i64>,
    /// Places that are kept for what the agent said before people did.
    kept: HashMap<EventId, i64>,
    /// When the places of all Messages were read last.
    places_read: Option<Instant>,
    /// Whether all Messages were looked through since the connection.
    looked: bool,
    /// People's Messages that have their place in memory only.
    unwritten: HashSet<String>,
    /// Messages that the runner has, and whose turn is not over.
    outstanding: HashSet<String>,
    /// Turn of every message whose turn began.
    turns: HashMap<String, i64>,
    /// What the agent said, as the transcript has it.
    said: HashSet<EventId>,
    /// What it said last, and in which turn.
    last_words: (i64, String),
    /// Whether what a restore left behind was marked.
    marked: bool,
    /// Messages whose turn is over.
    over: HashSet<String>,
    /// People's Messages that are not settled, in order.
    pending: Vec<Message>,
    /// Ids of questions that wait for an answer.
    open: HashSet<String>,
    /// Questions that are closed: how, and by whom.
    closed: HashMap<String, (String, Option<String>)>,
    /// Whether the Requests were compared with the questions since the connection.
    attended: bool,
    /// How the agent is run, as the runner knows it.
    settings: Option<Settings>,
    /// What the runner does not take as that.
    unfit: Option<Settings>,
}

impl<'w, W: World> Conversation<'w, W> {
    /// Asks the runner where the conversation is.
    pub async fn open(world: &'w W, mut subject: Subject, drain: bool) -> Result<Self, Error> {
        let state = world.runner_state().await?;
        if matches!(state.state, RunnerPhase::Failed) && state.seq == 0 {
            let why = state.reason.unwrap_or_default();
            return Err(Error::Other(format!("the agent cannot be started: {why}")));
        }
        if state.session.as_ref().and_then(|session| session.uid.as_ref()) != Some(&subject.uid) {
            // A desktop from a pool does not know yet; one of another Session must say so before anything is handed over.
            world.bind(&subject.identity()).await?;
        }
        if subject.goal_epoch.is_some_and(|epoch| epoch != state.epoch) {
            // The agent of a desktop that is gone had it; this one begins with the Message that it was made for.
            subject.goal = None;
        }
        let recorded = if subject.recorded.epoch == state.epoch {
            subject.recorded
        } else {
            EventId { epoch: state.epoch, seq: 0 }
        };
        let live = Live {
            recorded,
            last_message: subject.last_message,
            usage: state.usage,
            limit: state.limit,
            ..Live::default()
        };
        Ok(Self {
            world,
            live,
            drain,
            epoch: state.epoch,
            horizon: state.seq,
            attached: false,
            read: 0,
            followed: 0,
            mine: recorded.seq,
            behind: VecDeque::new(),
            running: None,
            kept: HashMap::new(),
            places_read: None,
            looked: false,
            unwritten: HashSet::new(),
            outstanding: state.queue.into_iter().collect(),
            turns: HashMap::new(),
            said: HashSet::new(),
            last_words: (0, String::new()),
            marked: subject.restored_from.is_none(),
            over: state.consumed.into_iter().collect(),
            pending: Vec::new(),
            open: state.questions.into_iter().map(|question| question.id).collect(),
            closed: HashMap::new(),
            attended: false,
            settings: state.settings,
            unfit: None,
            subject,
        })
    }

    /// Whether everything that happened before the connection was heard. Nothing is handed over earlier.
    pub fn caught_up(&self) -> bool {
        self.read >= self.horizon
    }

    /// Whether the facts are of everything that happened before the connection. Nobody is told any earlier.
    pub fn has_facts(&self) -> bool {
        self.followed >= self.horizon
    }

    /// What no event tells: a limit that was raised.
    pub fn refresh(&mut self, state: RunnerState) {
        self.live.limit = state.limit;
        self.live.usage = state.usage;
    }

    /// The turn that began last.
    fn turn_heard(&self) -> i64 {
        self.turns.values().copied().max().unwrap_or_default()
    }

    /// Whether something that was heard is not recorded.
    pub fn is_behind(&self) -> bool {
        !self.behind.is_empty()
    }

    /// Takes an event in; returns whether people's Messages should be looked at.
    pub fn hear(&mut self, event: Event) -> bool {
        // Numbers go on through epochs; one that was read already is a repetition.
        if matches!(event.body, EventBody::Delta { .. }) || event.id.seq <= self.read {
            return false;
        }
        self.read = event.id.seq;
        if event.id.epoch == self.epoch {
            self.mine = self.mine.max(event.id.seq);
        }
        let look = match &event.body {
            EventBody::TurnStarted { message_id, .. } => {
                self.running = Some(event.turn);
                self.turns.insert(message_id.clone(), event.turn);
                self.outstanding.insert(message_id.clone());
                self.waits_for(event.turn)
            }
            EventBody::TurnEnded { message_id, .. } => {
                self.running = None;
                self.outstanding.remove(message_id);
                self.over.insert(message_id.clone());
                true
            }
            _ => false,
        };
        if record::is_said(&event.body) {
            self.said.insert(event.id);
        }
        if self.needs_no_record(&event) && self.behind.is_empty() {
            return self.pass(event) == Then::Look || look;
        }
        self.behind.push_back(event);
        look
    }

    /// Whether the objects of an event are there already, or are another branch's.
    fn needs_no_record(&self, event: &Event) -> bool {
        event.id.epoch != self.epoch || event.id <= self.live.recorded
    }

    /// Records the next event that was heard; what that is a reason for.
    pub async fn record_next(&mut self) -> Result<Then, Error> {
        let Some(event) = self.behind.front().cloned() else { return Ok(Then::Later) };
        if !self.needs_no_record(&event) {
            self.record(&event).await?;
            self.live.recorded = event.id;
        }
        self.behind.pop_front();
        self.kept.remove(&event.id);
        Ok(self.pass(event))
    }

    /// Takes the facts of an event that is recorded.
    fn pass(&mut self, event: Event) -> Then {
        if event.id.epoch == self.epoch {
            self.live.last_activity = event.ts.parse().ok().or(self.live.last_activity);
        }
        // The first event after the replay is as urgent as any: it completes what is known.
        let before = self.has_facts();
        self.followed = event.id.seq;
        let then = self.follow(event);
        if before { then } else { Then::Look }
    }

    /// Facts, from events old and new.
    fn follow(&mut self, event: Event) -> Then {
        let mine = event.id.epoch == self.epoch;
        match event.body {
            EventBody::TurnStarted { message_id, .. } => {
                self.live.turn = event.turn;
                self.live.running = true;
                self.live.step = None;
                self.live.limit.take_if(|_| event.id.seq > self.horizon);
                self.live.finished = None;
                self.live.goal_given |= message_id == self.subject.goal_id();
                self.count_queued();
            }
            EventBody::TurnEnded { .. } => {
                self.live.running = false;
                self.live.step = None;
                return Then::Look;
            }
            EventBody::Step { title, .. } => {
                self.live.last_step = Some(title.clone());
                self.live.step = Some(title);
                return Then::Later;
            }
            // What was asked, used and reached before the connection is as the runner's state says.
            EventBody::Question(question) if event.id.seq > self.horizon => {
                self.open.insert(question.id);
                return Then::Look;
            }
            EventBody::QuestionClosed { id, outcome, by } => {
                self.open.remove(&id);
                self.closed.insert(id, (outcome, by));
                return Then::Look;
            }
            EventBody::Usage(usage) if event.id.seq > self.horizon => {
                self.live.usage = usage;
                return Then::Later;
            }
            EventBody::LimitReached { limit } if event.id.seq > self.horizon => self.live.limit = Some(limit),
            EventBody::Plan { entries } => {
                self.live.plan = entries.into_iter().map(|e| (e.title, e.status)).collect();
                return Then::Later;
            }
            // What the agent of the other branch finished is not what this Session asks for.
            EventBody::Finished { summary } if mine => self.live.finished = Some(summary),
            EventBody::Finished { .. }
            | EventBody::Notice { .. }
            | EventBody::Delta { .. }
            | EventBody::Thinking { .. }
            | EventBody::Usage(_)
            | EventBody::LimitReached { .. }
            | EventBody::Artifact(_)
            | EventBody::Question(_) => return Then::Later,
            // The Message is there for everybody to see.
            EventBody::Message { text, .. } => {
                self.last_words = (event.turn, text);
                return Then::Later;
            }
        }
        Then::Tell
    }
}
