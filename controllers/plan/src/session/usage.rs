//! What a Session used so far, and the limit at which its agent stands still. Nothing is ended by a limit: it is raised, and the agent goes on.

use a8s_crds::{
    SessionStatus, SessionUsage,
    conditions::{self, ConditionType, Reason, Status},
};
use a8s_wire::Usage;
use kube::ResourceExt;

use super::{Live, Observed, one_line};
use crate::{Env, Notice};

/// What the bridge has counted.
pub(super) fn take_over(new: &mut SessionStatus, live: &Live) {
    if let Some(step) = &live.last_step {
        new.last_step = Some(one_line(step, 200));
    }
    if live.usage != Usage::default() {
        new.usage = Some(told(&live.usage));
    }
}

fn told(usage: &Usage) -> SessionUsage {
    SessionUsage {
        requests: usage.requests,
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
        cost: (usage.cost_micros > 0).then(|| dollars(usage.cost_micros)),
        active_seconds: usage.active_seconds,
    }
}

/// Whole cents, and more digits only where there is no cent yet.
fn dollars(micros: i64) -> String {
    if micros < 10_000 {
        return format!("0.{micros:06}").trim_end_matches('0').to_owned();
    }
    let cents = (micros + 5_000) / 10_000;
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// Says that a limit is reached, and what to do; what the bridge does not know stays as it was.
pub(super) fn limited(new: &mut SessionStatus, seen: &Observed, env: &Env, notices: &mut Vec<Notice>) {
    let Some(live) = &seen.live else { return };
    let Some(limit) = &live.limit else {
        return conditions::clear(&mut new.conditions, ConditionType::Limited);
    };
    let was = conditions::is_true(&new.conditions, ConditionType::Limited);
    let name = seen.session.name_any();
    let (field, what, value) = match limit.as_str() {
        "tokens" => ("tokens", "tokens", "1000000"),
        "activeDuration" => ("activeDuration", "working time", "\"8h\""),
        _ => ("turns", "turns", "100"),
    };
    let text = format!(
        "the limit of {what} is reached; nothing is lost, raise it and the agent goes on: \
         kubectl patch session {name} --type=merge -p '{{\"spec\":{{\"limits\":{{\"{field}\":{value}}}}}}}'"
    );
    if !was {
        notices.push(Notice { warning: true, reason: Reason::LimitReached, note: text.clone() });
    }
    let (kind, generation) = (ConditionType::Limited, new.observed_generation);
    conditions::set(&mut new.conditions, kind, Status::True, Reason::LimitReached, text, generation, env.now);
}

/// What the agent waits for, if it is for that.
pub(super) fn waits(new: &SessionStatus) -> Option<String> {
    let limited = conditions::get(&new.conditions, ConditionType::Limited).filter(|c| c.status == "True")?;
    // A table shows this; what to do is in the condition.
    Some(limited.message.split(';').next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use a8s_crds::Session;
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_limit_is_said_once_with_what_to_do_and_is_gone_when_it_is_raised() {
        let session = Session::new("rain", serde_json::from_value(serde_json::json!({"goal": "g"})).unwrap());
        let env = Env { now: Timestamp::UNIX_EPOCH, runner_image: "r".into(), system_namespace: "s".into() };
        let mut seen = Observed::of(session);
        let (mut status, mut notices) = (SessionStatus::default(), Vec::new());
        seen.live = Some(Live { limit: Some("tokens".into()), ..Live::default() });
        for _ in 0..2 {
            limited(&mut status, &seen, &env, &mut notices);
        }
        assert_eq!((notices.len(), notices[0].reason), (1, Reason::LimitReached));
        assert!(
            notices[0].note.contains(r#"patch session rain --type=merge -p '{"spec":{"limits":{"tokens":"#)
        );
        assert_eq!(waits(&status).as_deref(), Some("the limit of tokens is reached"), "fits into a table");
        seen.live = None;
        limited(&mut status, &seen, &env, &mut notices);
        assert!(waits(&status).is_some(), "without a connection nothing new is known");
        seen.live = Some(Live::default());
        limited(&mut status, &seen, &env, &mut notices);
        assert_eq!(waits(&status), None);
    }

    #[test]
    fn usage_is_told_as_the_bridge_counted_it() {
        let mut status = SessionStatus::default();
        let usage = Usage {
            requests: 2,
            input_tokens: 30,
            output_tokens: 4,
            cost_micros: 1_270_000,
            active_seconds: 9,
        };
        take_over(&mut status, &Live { usage, last_step: Some("click\nOK".into()), ..Live::default() });
        assert_eq!(status.last_step.as_deref(), Some("click OK"));
        let told = status.usage.unwrap();
        assert_eq!((told.requests, told.input_tokens, told.cost.as_deref()), (2, 30, Some("1.27")));
    }

    #[test]
    fn money_is_told_in_cents_and_small_sums_exactly() {
        for (micros, text) in [
            (1_270_000, "1.27"),
            (1_266_000, "1.27"),
            (10_000, "0.01"),
            (1_500, "0.0015"),
            (12_340_000_000, "12340.00"),
        ] {
            assert_eq!(dollars(micros), text);
        }
    }
}
