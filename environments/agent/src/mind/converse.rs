//! The loop: ask the model, do what it says, until it has nothing more to do or a bound is reached.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use a8s_llm::{Client, Event, Image, LlmError, Message, Part, Reply, Request, ResultPart, Stop, ToolUse};
use agent_client_protocol::v1::schema::{StopReason, ToolKind};
use futures::StreamExt;
use tokio::{sync::Mutex, time::sleep};

use super::{
    act,
    catalogue::{Catalogue, Hands},
    compact,
    memory::Memory,
    options::MindOptions,
    prompt, prune,
    repeat::{Repeats, Verdict},
};
use crate::turn::{Failure, Turn};

/// How often an answer that broke off is asked for again.
const AGAIN: u32 = 3;
/// How often in a row the model may be cut off, or say nothing at all.
const MAX_NUDGES: u32 = 2;
/// A window smaller than this cannot work.
const SMALLEST_WINDOW: u64 = 4_000;

/// The brain.
#[derive(Debug)]
pub struct Mind {
    options: MindOptions,
    client: Client,
    system: String,
    hands: Mutex<Hands>,
    window: AtomicU64,
}

/// What a turn has used up.
#[derive(Default)]
struct Spent {
    steps: u32,
    tokens: u64,
    nudges: u32,
    spoke: bool,
    /// Messages that the model has seen, and the tokens that they were.
    seen: Option<(usize, u64)>,
    /// Where the turn begins in the history, unless that was summarised.
    begin: Option<usize>,
}

impl Mind {
    /// A brain.
    pub fn new(options: MindOptions) -> Result<Self, LlmError> {
        let client = options.client()?;
        let system = prompt::system(&options);
        let hands = Mutex::new(Hands::of(options.provider));
        let window = AtomicU64::new(options.window.max(SMALLEST_WINDOW));
        Ok(Self { options, client, system, hands, window })
    }

    /// Answers a message. Dropping the future interrupts it; the history is put in order when the next turn begins.
    pub async fn answer(&self, turn: &Turn, memory: &mut Memory) -> Result<StopReason, Failure> {
        memory.begin(said(turn));
        let mut spent = Spent { begin: memory.messages().len().checked_sub(1), ..Spent::default() };
        let mut repeats = Repeats::default();
        loop {
            let limit = self.options.max_turn_tokens;
            if limit > 0 && spent.tokens >= limit {
                turn.say(format!(
                    "I have used {} tokens in this turn, so I stop here. Write to me to let me go on.",
                    spent.tokens
                ));
                return Ok(StopReason::MaxTokens);
            }
            let (reply, catalogue) = self.ask(turn, memory, &mut spent).await?;
            let calls: Vec<ToolUse> = reply.message.tool_uses().cloned().collect();
            let text = reply.message.text();
            spent.spoke |= !text.trim().is_empty();
            memory.said(reply.message);
            if calls.is_empty() || reply.stop == Stop::Refusal {
                match self.ended(turn, memory, &mut spent, &reply.stop).await? {
                    Some(reason) => return Ok(reason),
                    None => continue,
                }
            }
            spent.nudges = 0;
            if let Some(reason) =
                self.carry_out(turn, memory, &mut spent, &mut repeats, &catalogue, &calls).await?
            {
                return Ok(reason);
            }
        }
    }

    /// The model wants no tool: is it done?
    async fn ended(
        &self,
        turn: &Turn,
        memory: &mut Memory,
        spent: &mut Spent,
        stop: &Stop,
    ) -> Result<Option<StopReason>, Failure> {
        match stop {
            Stop::Refusal => {
                if !spent.spoke {
                    turn.say("The model refused to answer this.");
                }
                // What was refused would be refused again with everything that follows it.
                if let Some(begin) = spent.begin {
                    memory.replace(memory.messages()[..begin].to_vec());
                }
                return Ok(Some(StopReason::Refusal));
            }
            // It goes on when it is asked again, but not for ever.
            Stop::Paused if spent.steps < self.options.max_steps => {
                spent.steps += 1;
                return Ok(None);
            }
            Stop::ContextFull => {
                self.compact(turn, memory, spent).await?;
                return Ok(None);
            }
            Stop::EndTurn | Stop::ToolUse if spent.spoke => return Ok(Some(StopReason::EndTurn)),
            _ => {}
        }
        spent.nudges += 1;
        if spent.nudges > MAX_NUDGES {
            let reason = if *stop == Stop::MaxTokens { StopReason::MaxTokens } else { StopReason::EndTurn };
            turn.say("The model stopped in the middle of its answer. Write to me to let it go on.");
            return Ok(Some(reason));
        }
        memory.tell(if *stop == Stop::MaxTokens {
            "[note] Your answer was cut off at its greatest length. Go on where it ends; use tools instead of long texts."
        } else {
            "[note] You said nothing and called no tool. Go on, or say in a sentence what you did."
        });
        Ok(None)
    }

    /// Does what the model asks for; the reason if that ends the turn.
    async fn carry_out(
        &self,
        turn: &Turn,
        memory: &mut Memory,
        spent: &mut Spent,
        repeats: &mut Repeats,
        catalogue: &Catalogue,
        calls: &[ToolUse],
    ) -> Result<Option<StopReason>, Failure> {
        let mut finished = None;
        for call in calls {
            if spent.steps >= self.options.max_steps {
                turn.say(format!(
                    "I stopped after {} steps in this turn. Write to me to let me go on.",
                    spent.steps
                ));
                // The calls that are left get their answers when the next turn begins.
                return Ok(Some(StopReason::MaxTurnRequests));
            }
            spent.steps += 1;
            let mut result = act::carry_out(turn, catalogue, call).await?;
            let verdict = repeats.note(&call.name, &call.input, &[&act::outcome(&result)]);
            if verdict == Verdict::Tell {
                result.content.push(ResultPart::text(
                    "[note] You have done exactly this several times and nothing has changed. Try something else, or ask the user.",
                ));
            }
            if call.name == "finish" && !result.is_error {
                finished = Some(call.input["summary"].as_str().unwrap_or("Done.").to_owned());
            }
            memory.result(Part::ToolResult(result));
            if verdict == Verdict::Stop {
                turn.say("I did the same thing again and again and nothing changed on the screen, so I stop here. Tell me how to go on.");
                return Ok(Some(StopReason::EndTurn));
            }
        }
        memory.answered();
        if let Some(summary) = finished {
            if !spent.spoke {
                turn.say(summary);
            }
            return Ok(Some(StopReason::EndTurn));
        }
        Ok(None)
    }

    /// Asks the model, with a history that fits, until it answers.
    async fn ask(
        &self,
        turn: &Turn,
        memory: &mut Memory,
        spent: &mut Spent,
    ) -> Result<(Reply, Catalogue), Failure> {
        let (mut broken, mut shortened) = (0, 0);
        loop {
            let hands = *self.hands.lock().await;
            let MindOptions { provider, screen, shell, .. } = self.options;
            let catalogue = Catalogue::gather(turn, hands, provider, screen, shell).await?;
            self.fit(turn, memory, spent).await?;
            let request = Request {
                system: self.system.clone(),
                messages: memory.messages().to_vec(),
                tools: catalogue.functions.clone(),
                computer: catalogue.computer,
                ..Request::default()
            };
            let error = match self.listen(turn, memory, request).await {
                Ok(reply) => {
                    let used = reply.usage.input + reply.usage.output;
                    spent.tokens += used;
                    spent.seen = (used > 0).then_some((memory.messages().len() + 1, used));
                    turn.usage(used, self.window());
                    return Ok((reply, catalogue));
                }
                Err(error) => error,
            };
            match &error {
                LlmError::NoHostedComputer { .. } => match hands.simpler() {
                    Some(simpler) => *self.hands.lock().await = simpler,
                    None => return Err(Failure::new(error.to_string())),
                },
                LlmError::TooLong { .. } if shortened < 3 => {
                    shortened += 1;
                    let now = compact::estimate(memory.messages());
                    let window = self.window().min(now).saturating_mul(3) / 4;
                    self.window.store(window.max(SMALLEST_WINDOW), Ordering::Relaxed);
                    self.compact(turn, memory, spent).await?;
                }
                LlmError::Broken(_) | LlmError::Timeout { .. } if broken < AGAIN => {
                    // Silence has cost minutes already: once more, not three times.
                    broken += if matches!(error, LlmError::Timeout { .. }) { AGAIN } else { 1 };
                    tracing::info!(%error, broken, "the model is asked again");
                    // What never began was retried by the client itself.
                    sleep(Duration::from_millis(500) * broken).await;
                }
                error => return Err(Failure::new(error.to_string())),
            }
        }
    }

    async fn listen(&self, turn: &Turn, memory: &mut Memory, request: Request) -> Result<Reply, LlmError> {
        memory.forget_partial();
        let message = turn.message();
        let mut events = self.client.stream(request);
        let mut spoke = false;
        loop {
            match events.next().await {
                Some(Ok(Event::Text(piece))) => {
                    memory.hear(&piece);
                    spoke = true;
                    turn.piece(&message, piece);
                }
                Some(Ok(Event::Thinking(piece))) => turn.think(piece),
                Some(Ok(Event::Calling(_))) => {}
                Some(Ok(Event::Done(reply))) => return Ok(reply),
                Some(Err(error)) => {
                    if spoke {
                        turn.piece(&message, " …");
                    }
                    return Err(error);
                }
                None => return Err(LlmError::Broken("it has no end".into())),
            }
        }
    }

    fn window(&self) -> u64 {
        self.window.load(Ordering::Relaxed)
    }

    /// Makes the history fit: old pictures go, and at three quarters of the window it is summarised.
    async fn fit(&self, turn: &Turn, memory: &mut Memory, spent: &mut Spent) -> Result<(), Failure> {
        if let Some(fresh) = prune::pruned(memory.messages(), self.window()) {
            memory.replace(fresh);
            spent.seen = None;
        }
        let messages = memory.messages();
        let used = match spent.seen {
            Some((count, used)) if count <= messages.len() => used + compact::estimate(&messages[count..]),
            _ => compact::estimate(messages) + compact::estimate(&[Message::user(self.system.as_str())]),
        };
        if used < self.window() / 4 * 3 || messages.len() < 3 {
            return Ok(());
        }
        self.compact(turn, memory, spent).await
    }

    async fn compact(&self, turn: &Turn, memory: &mut Memory, spent: &mut Spent) -> Result<(), Failure> {
        let window = self.window();
        let work = compact::compacted(&self.client, memory.messages(), window);
        let fresh = turn.step_of(ToolKind::Think, "summarise the conversation so far", work).await;
        let fresh =
            fresh.map_err(|error| Failure::new(format!("The conversation cannot be summarised: {error}")))?;
        memory.replace(fresh);
        spent.seen = None;
        spent.begin = None;
        Ok(())
    }
}

/// What the person says, for the model.
fn said(turn: &Turn) -> Vec<Part> {
    let mut parts = vec![Part::text(turn.text.clone())];
    if !turn.attachments.is_empty() {
        let paths: Vec<_> = turn.attachments.iter().map(|path| format!("- {}", path.display())).collect();
        parts.push(Part::text(format!("Attached files:\n{}", paths.join("\n"))));
    }
    let images = turn.images.iter().cloned();
    parts.extend(images.map(|(media_type, data)| Part::Image(Image { media_type, data })));
    parts
}
