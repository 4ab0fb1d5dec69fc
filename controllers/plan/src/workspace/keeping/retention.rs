//! Which automatic Snapshots may go. It looks at facts and the time alone; what a person made or holds is none of its business.

use std::collections::BTreeSet;

use a8s_crds::{Keep, Trigger};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::SnapshotFact;

/// What is kept where nothing is said.
const DEFAULT_LAST: usize = 10;

/// What goes now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict<'a> {
    /// These go.
    pub doomed: Vec<&'a SnapshotFact>,
    /// When the next one is too old for `within`.
    pub next: Option<Timestamp>,
}

/// Judges `all`. Those in `used` stay, whatever their age, and so does the newest that a desktop can be made from.
pub(crate) fn judge<'a>(
    all: impl IntoIterator<Item = &'a SnapshotFact>,
    keep: &Keep,
    used: &BTreeSet<String>,
    now: Timestamp,
) -> Verdict<'a> {
    let mut ours: Vec<_> = all.into_iter().filter(|s| automatic(s)).collect();
    ours.sort_by(|a, b| (moment(b), &b.name).cmp(&(moment(a), &a.name)));
    let good: Vec<_> = ours.iter().copied().filter(|s| s.usable()).collect();
    let Some(newest) = good.first() else { return Verdict::default() };

    let mut kept: BTreeSet<&str> = BTreeSet::from([newest.name.as_str()]);
    kept.extend(good.iter().take(last(keep)).map(|s| s.name.as_str()));
    kept.extend(newest_of_each(&good, keep.daily, |t| {
        let date = t.to_zoned(TimeZone::UTC).date();
        (i32::from(date.year()), i32::from(date.day_of_year()))
    }));
    kept.extend(newest_of_each(&good, keep.weekly, |t| {
        let week = t.to_zoned(TimeZone::UTC).date().iso_week_date();
        (i32::from(week.year()), i32::from(week.week()))
    }));

    let mut verdict = Verdict::default();
    let within = keep.within.as_ref().and_then(|d| Some(SignedDuration::from_secs(d.seconds()?)));
    for fact in ours {
        let stays = kept.contains(fact.name.as_str()) || used.contains(&fact.name);
        if fact.usable() {
            let until = within.and_then(|span| moment(fact).checked_add(span).ok()).filter(|t| *t > now);
            match until {
                _ if stays => {}
                Some(until) => verdict.next = Some(verdict.next.map_or(until, |next| next.min(until))),
                None => verdict.doomed.push(fact),
            }
        } else if fact.failed.is_some() && !fact.handle && !stays && moment(fact) < moment(newest) {
            // Nothing was taken, and a newer one was: it tells nobody anything any more.
            verdict.doomed.push(fact);
        }
    }
    verdict
}

/// Made by the Workspace itself, and held by nobody.
fn automatic(fact: &SnapshotFact) -> bool {
    !matches!(fact.trigger, Trigger::Manual | Trigger::Golden) && !fact.hold && !fact.deleting
}

fn moment(fact: &SnapshotFact) -> Timestamp {
    fact.taken_at.unwrap_or(fact.created)
}

fn last(keep: &Keep) -> usize {
    match keep {
        Keep { last: Some(last), .. } => usize::try_from(*last).unwrap_or(0),
        Keep { daily: None, weekly: None, within: None, .. } => DEFAULT_LAST,
        Keep { .. } => 0,
    }
}

/// The newest of each of the newest `count` periods; `sorted` has the newest first.
fn newest_of_each<'a>(
    sorted: &[&'a SnapshotFact],
    count: Option<i32>,
    period: impl Fn(Timestamp) -> (i32, i32),
) -> Vec<&'a str> {
    let count = usize::try_from(count.unwrap_or(0)).unwrap_or(0);
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    for fact in sorted {
        if seen.len() < count && seen.insert(period(moment(fact))) {
            found.push(fact.name.as_str());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use a8s_crds::Duration;
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn fact(name: &str, taken: &str) -> SnapshotFact {
        let taken = at(taken);
        SnapshotFact {
            name: name.into(),
            trigger: Trigger::Turn,
            created: taken,
            taken_at: Some(taken),
            ready: true,
            handle: true,
            ..SnapshotFact::default()
        }
    }

    fn doomed(all: &[SnapshotFact], keep: &Keep, now: &str) -> Vec<String> {
        let verdict = judge(all, keep, &BTreeSet::new(), at(now));
        verdict.doomed.into_iter().map(|s| s.name.clone()).collect()
    }

    fn two_weeks() -> Vec<SnapshotFact> {
        // Two a day, from Monday the ninth.
        let day = |d: i32| {
            [("a", "08"), ("b", "20")]
                .map(|(part, hour)| fact(&format!("{d:02}{part}"), &format!("2026-11-{d:02}T{hour}:00:00Z")))
        };
        (9..=22).flat_map(day).collect()
    }

    #[test]
    fn the_last_so_many_stay_and_ten_if_nothing_is_said() {
        let all = two_weeks();
        let keep = Keep { last: Some(3), ..Keep::default() };
        let gone = doomed(&all, &keep, "2026-11-23T00:00:00Z");
        assert_eq!((gone.len(), gone.contains(&"21b".to_owned())), (25, false));
        assert_eq!(doomed(&all, &Keep::default(), "2026-11-23T00:00:00Z").len(), 18);
    }

    #[test]
    fn the_newest_of_each_day_and_week_stays() {
        let all = two_weeks();
        let left = |keep: Keep| {
            let gone = doomed(&all, &keep, "2026-11-23T00:00:00Z");
            let left = all.iter().map(|s| s.name.clone()).filter(|n| !gone.contains(n));
            left.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(left(Keep { daily: Some(3), ..Keep::default() }), "20b 21b 22b");
        assert_eq!(left(Keep { weekly: Some(5), ..Keep::default() }), "15b 22b");
        assert_eq!(left(Keep { last: Some(2), weekly: Some(2), ..Keep::default() }), "15b 22a 22b");
        assert_eq!(left(Keep { last: Some(0), ..Keep::default() }), "22b", "the newest always stays");
    }

    #[test]
    fn what_is_young_stays_until_the_second_it_is_not() {
        let all = [
            fact("a", "2026-11-22T08:00:00Z"),
            fact("b", "2026-11-22T09:00:00Z"),
            fact("c", "2026-11-22T10:00:00Z"),
        ];
        let keep = Keep { within: Some(Duration("2h".into())), ..Keep::default() };
        let verdict = judge(&all, &keep, &BTreeSet::new(), at("2026-11-22T10:00:00Z"));
        assert_eq!(verdict.doomed, [&all[0]]);
        assert_eq!(verdict.next, Some(at("2026-11-22T11:00:00Z")));
        let later = judge(&all, &keep, &BTreeSet::new(), at("2026-11-22T11:00:00Z"));
        assert_eq!((later.doomed, later.next), (vec![&all[1], &all[0]], None));
    }

    #[test]
    fn a_failed_one_goes_once_a_newer_one_is_there() {
        let mut all = vec![SnapshotFact {
            ready: false,
            handle: false,
            failed: Some("no class".into()),
            ..fact("a", "2026-11-22T08:00:00Z")
        }];
        let keep = Keep { last: Some(5), ..Keep::default() };
        assert_eq!(doomed(&all, &keep, "2026-11-22T12:00:00Z"), [""; 0]);
        all.push(fact("b", "2026-11-22T09:00:00Z"));
        assert_eq!(doomed(&all, &keep, "2026-11-22T12:00:00Z"), ["a"]);
        // A lost one had data once: a person looks after that.
        all[0].handle = true;
        assert_eq!(doomed(&all, &keep, "2026-11-22T12:00:00Z"), [""; 0]);
    }

    fn any_fact() -> impl Strategy<Value = SnapshotFact> {
        let triggers = prop::sample::select(vec![
            Trigger::Manual,
            Trigger::Turn,
            Trigger::Schedule,
            Trigger::Suspend,
            Trigger::Archive,
            Trigger::Safety,
            Trigger::Golden,
        ]);
        (triggers, 0i64..40 * 86_400, any::<(bool, bool, bool, bool)>()).prop_map(
            |(trigger, second, (hold, ready, failed, deleting))| {
                let taken = Timestamp::from_second(1_700_000_000 + second).unwrap();
                SnapshotFact {
                    trigger,
                    created: taken,
                    taken_at: Some(taken),
                    hold,
                    ready,
                    handle: ready,
                    failed: (!ready && failed).then(|| "no".into()),
                    deleting: deleting && hold,
                    ..SnapshotFact::default()
                }
            },
        )
    }

    fn any_keep() -> impl Strategy<Value = Keep> {
        let count = || prop::option::of(0i32..6);
        (count(), count(), count(), prop::option::of(0u32..40)).prop_map(|(last, daily, weekly, days)| Keep {
            last,
            daily,
            weekly,
            within: days.map(|d| Duration(format!("{d}d"))),
        })
    }

    proptest! {
        #[test]
        fn people_s_held_used_unfinished_and_newest_ones_never_go(
            mut all in prop::collection::vec(any_fact(), 0..30), keep in any_keep(), used in prop::collection::btree_set(0usize..30, 0..5),
            age in 0i64..60 * 86_400,
        ) {
            for (i, fact) in all.iter_mut().enumerate() {
                fact.name = format!("s{i:02}");
            }
            let used: BTreeSet<_> = used.into_iter().map(|i| format!("s{i:02}")).collect();
            let now = Timestamp::from_second(1_700_000_000 + age).unwrap();
            let verdict = judge(&all, &keep, &used, now);
            let good = all.iter().filter(|s| automatic(s) && s.usable());
            let newest = good.max_by_key(|s| (moment(s), s.name.clone()));
            for gone in &verdict.doomed {
                prop_assert!(!gone.hold && !gone.deleting && !used.contains(&gone.name));
                prop_assert!(!matches!(gone.trigger, Trigger::Manual | Trigger::Golden));
                prop_assert!(gone.usable() || gone.failed.is_some());
                prop_assert_ne!(Some(*gone), newest);
            }
            prop_assert!(verdict.next.is_none_or(|t| t > now));

            // Judging what is left, in any order, condemns nothing more.
            let gone: BTreeSet<_> = verdict.doomed.iter().map(|s| s.name.clone()).collect();
            let mut left: Vec<_> = all.iter().filter(|s| !gone.contains(&s.name)).cloned().collect();
            left.reverse();
            prop_assert_eq!(judge(&left, &keep, &used, now).doomed, Vec::<&SnapshotFact>::new());

            // Nothing goes before the time that was told.
            if let Some(next) = verdict.next {
                let before = next - SignedDuration::from_millis(1);
                prop_assert_eq!(judge(&left, &keep, &used, before.max(now)).doomed, Vec::<&SnapshotFact>::new());
                prop_assert!(!judge(&left, &keep, &used, next).doomed.is_empty());
            }
        }
    }
}
