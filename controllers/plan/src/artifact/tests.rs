use super::*;

fn env() -> Env {
    Env {
        now: jiff::Timestamp::from_second(1_800_000_000).unwrap(),
        runner_image: "runner".into(),
        system_namespace: "a8s-system".into(),
    }
}

fn observed(source: Source) -> Observed {
    let artifact = serde_json::from_value(serde_json::json!({
        "apiVersion": "a8s.dev/v1alpha1", "kind": "Artifact",
        "metadata": {"name": "s-report-v1", "namespace": "team", "uid": "art-1", "generation": 1},
        "spec": {"workspace": {"name": "w", "uid": "ws-1"}, "name": "report", "version": 1, "title": "Report", "fileName": "report.pdf",
            "mediaType": "application/pdf", "size": 86016, "sha256": "ab", "turn": 1},
    }))
    .unwrap();
    Observed { artifact, stored: false, source, outcome: None }
}

fn reason(plan: &Plan<ArtifactStatus>) -> (String, bool) {
    let all = &plan.status.as_ref().unwrap().conditions;
    let ready = conditions::get(all, ConditionType::Ready).unwrap();
    (ready.reason.clone(), conditions::is_true(all, ConditionType::Stalled))
}

#[test]
fn content_is_fetched_after_the_finalizer_and_becomes_ready() {
    let mut seen = observed(Source::Ready);
    let first = plan(&seen, &env());
    assert!(
        matches!(&first.ops[..], [Op::Finalizer { present: true, .. }, Op::Effect(Effect::StoreContent { key, .. })]
        if key == "team/art-1/ab")
    );
    seen.outcome = Some(Outcome::Stored);
    let second = plan(&seen, &env());
    let status = second.status.clone().unwrap();
    assert_eq!((status.key.as_deref(), status.size.as_deref()), (Some("team/art-1/ab"), Some("84Ki")));
    assert!(conditions::is_true(&status.conditions, ConditionType::Ready));
    assert_eq!(second.wake, Wake::OnChange);
}

#[test]
fn content_that_is_there_already_is_not_fetched() {
    let plan = plan(&Observed { stored: true, ..observed(Source::Gone) }, &env());
    assert!(!plan.ops.iter().any(|o| matches!(o, Op::Effect(_))));
    assert_eq!(reason(&plan), ("Ready".into(), false));
}

#[test]
fn each_source_and_outcome_has_its_reason() {
    let table = [
        (Source::Gone, None, "ContentLost", true),
        (Source::Suspended, None, "Storing", false),
        (Source::Starting, None, "Storing", false),
        (Source::Ready, Some(Outcome::Mismatch("cd".into())), "ChecksumMismatch", true),
        (Source::Ready, Some(Outcome::Lost), "ContentLost", true),
        (Source::Ready, Some(Outcome::Failed("disk full".into())), "StoreFailed", false),
    ];
    for (source, outcome, expected, stalled) in table {
        let plan = plan(&Observed { outcome, ..observed(source) }, &env());
        assert_eq!(reason(&plan), (expected.into(), stalled), "{source:?}");
        assert!(!plan.ops.iter().any(|o| matches!(o, Op::Effect(_))));
        assert_eq!(plan.notices.is_empty(), expected == "Storing");
    }
}

#[test]
fn a_mismatch_is_final_and_told_once() {
    let mut seen = observed(Source::Ready);
    seen.outcome = Some(Outcome::Mismatch("cd".into()));
    seen.artifact.status = plan(&seen, &env()).status;
    seen.outcome = None;
    let again = plan(&seen, &env());
    assert_eq!((again.status, again.notices.len()), (None, 0));
    assert!(!again.ops.iter().any(|o| matches!(o, Op::Effect(_))));
}

#[test]
fn deletion_takes_the_content_out_before_the_finalizer_goes() {
    let mut seen = observed(Source::Gone);
    seen.artifact.metadata.finalizers = Some(vec![labels::ARTIFACT_FINALIZER.into()]);
    seen.artifact.metadata.deletion_timestamp = Some(Time(env().now));
    let plan = plan(&seen, &env());
    assert!(matches!(
        &plan.ops[..],
        [Op::Effect(Effect::DeleteContent { .. }), Op::Finalizer { present: false, .. }]
    ));
}

#[test]
fn sizes_are_for_people() {
    let table =
        [(0, "0"), (512, "512"), (1024, "1Ki"), (86_016, "84Ki"), (1_300_000, "1.2Mi"), (5 << 30, "5Gi")];
    for (bytes, expected) in table {
        assert_eq!(human(bytes), expected);
    }
}
