//! Every tool, and what a program receives from it.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    host::{Agent, Host, eventually},
    reading::size,
};

async fn open(host: &Host, program: &'static str) -> Agent {
    let agent = host.agent().await;
    agent.must("launch", json!({"program": program})).await;
    agent.must("wait_for_window", json!({"title_contains": program})).await;
    agent
}

async fn save(agent: &Agent) {
    agent.must("computer", json!({"action": "key", "text": "ctrl+s", "screenshot_after": false})).await;
}

#[tokio::test]
async fn the_tools_are_those_that_models_and_runner_know() {
    let host = Host::fake().await;
    let mut tools = host.agent().await.tools().await;
    tools.sort();
    let expected = [
        "clipboard",
        "computer",
        "computer_batch",
        "desktop_info",
        "launch",
        "wait_for_window",
        "wait_settled",
    ];
    assert_eq!(tools, expected);
}

#[tokio::test]
async fn any_text_arrives_exactly_and_is_seen() {
    const TEXT: &str = "Hello ~!@#$%^&*()_+{}|:\"<>?`-=[]\\;',./\n\täöüÄÖÜßéêñ e\u{301}n\u{303} Ж Ω → €\n漢字かな交じり文、한국어\n👩‍👩‍👧 😀 e";
    let host = Host::fake().await;
    let agent = open(&host, "editor").await;
    agent.must("computer", json!({"action": "type", "text": TEXT})).await;
    save(&agent).await;
    assert_eq!(host.saved("Untitled.txt"), TEXT);
    assert_eq!(host.seen(&agent, "editor").await, TEXT);
    // More characters than the keyboard has spare keys for.
    let rare: String = ('\u{4e00}'..'\u{4e80}').collect();
    agent.must("computer", json!({"action": "key", "text": "ctrl+a"})).await;
    agent.must("computer", json!({"action": "type", "text": format!("<{rare}>\n")})).await;
    save(&agent).await;
    assert_eq!(host.saved("Untitled.txt"), format!("<{rare}>\n"));
}

#[tokio::test]
async fn each_action_reaches_the_program_as_its_events() {
    let host = Host::fake().await;
    let agent = open(&host, "events").await;
    let at = |mut arguments: Value| {
        arguments["coordinate"] = json!([200, 300]);
        arguments
    };
    agent.must("computer", at(json!({"action": "mouse_move"}))).await;
    let (click, right) =
        (["button 1 down 200 300", "button 1 up 200 300"], ["button 3 down 200 300", "button 3 up 200 300"]);
    let twice = [click, click].concat();
    let held = ["key 0xffe3 down", "ctrl+button 1 down 200 300", "ctrl+button 1 up 200 300", "key 0xffe3 up"];
    let cases: Vec<(Value, Vec<&str>)> = vec![
        (at(json!({"action": "left_click"})), click.to_vec()),
        (json!({"action": "left_click"}), click.to_vec()),
        (at(json!({"action": "right_click"})), right.to_vec()),
        (at(json!({"action": "middle_click"})), vec!["button 2 down 200 300", "button 2 up 200 300"]),
        (at(json!({"action": "double_click"})), twice.clone()),
        (at(json!({"action": "triple_click"})), [&twice[..], &click].concat()),
        (at(json!({"action": "left_click", "text": "ctrl"})), held.to_vec()),
        (at(json!({"action": "left_click", "key": "ctrl"})), held.to_vec()),
        (json!({"action": "left_mouse_down"}), vec![click[0]]),
        (json!({"action": "left_mouse_up"}), vec![click[1]]),
        (
            at(json!({"action": "scroll", "scroll_direction": "down", "scroll_amount": 2})),
            ["button 5 down 200 300", "button 5 up 200 300"].repeat(2),
        ),
        (
            at(json!({"action": "scroll", "scroll_direction": "left", "scroll_amount": 1, "text": "shift"})),
            vec![
                "key 0xffe1 down",
                "shift+button 6 down 200 300",
                "shift+button 6 up 200 300",
                "key 0xffe1 up",
            ],
        ),
        (
            json!({"action": "key", "text": "ctrl+S"}),
            vec!["key 0xffe3 down", "key S down", "key S up", "key 0xffe3 up"],
        ),
        (json!({"action": "hold_key", "text": "a", "duration": 0.05}), vec!["key a down", "key a up"]),
        (
            json!({"action": "type", "text": "a\n"}),
            vec!["key a down", "key a up", "key 0xff0d down", "key 0xff0d up"],
        ),
        (json!({"action": "wait", "duration": 0.01}), vec![]),
        (json!({"action": "screenshot"}), vec![]),
        (json!({"action": "cursor_position"}), vec![]),
        (json!({"action": "zoom", "region": [0, 0, 10, 10]}), vec![]),
    ];
    for (arguments, expected) in cases {
        let before = host.events().len();
        agent.must("computer", arguments.clone()).await;
        assert_eq!(host.events()[before..], expected, "{arguments}");
    }
    assert_eq!(
        agent.must("computer", json!({"action": "cursor_position"})).await.json,
        json!({"x": 200, "y": 300})
    );
    let before = host.events().len();
    let drag = json!({"action": "left_click_drag", "start_coordinate": [100, 120], "coordinate": [200, 260]});
    agent.must("computer", drag).await;
    let events = host.events().split_off(before);
    assert_eq!(events[..2], ["move 100 120", "button 1 down 100 120"]);
    assert_eq!(events[events.len() - 2..], ["move 200 260", "button 1 up 200 260"]);
    assert!(events.len() > 8, "a drag without a way: {events:?}");
}

#[tokio::test]
async fn a_batch_shows_one_picture_and_stops_at_the_first_error() {
    let host = Host::fake().await;
    let agent = open(&host, "editor").await;
    let actions = json!([
        {"action": "type", "text": "one "},
        {"action": "key", "text": "Return"},
        {"action": "type", "text": "two"},
        {"action": "key", "text": "ctrl+s"},
    ]);
    let done = agent.must("computer_batch", json!({"actions": actions})).await;
    assert_eq!(host.saved("Untitled.txt"), "one \ntwo");
    assert_eq!((&done.json["done"], done.pictures), (&json!(4), 1));

    let actions = json!([
        {"action": "type", "text": "!"},
        {"action": "left_click", "coordinate": [5000, 1]},
        {"action": "type", "text": "never"},
    ]);
    let failed = agent.call("computer_batch", json!({"actions": actions})).await;
    assert!(failed.error && failed.text.starts_with("bad_argument: [5000, 1]"), "{}", failed.text);
    assert!(failed.text.contains("action 2 of the batch"), "{}", failed.text);
    assert_eq!((&failed.json["done"], failed.pictures), (&json!(1), 1));
    save(&agent).await;
    assert_eq!(host.saved("Untitled.txt"), "one \ntwo!");

    for count in [0, 11] {
        let actions = vec![json!({"action": "type", "text": "x"}); count];
        let refused = agent.call("computer_batch", json!({"actions": actions})).await;
        assert_eq!(refused.json["error"], "bad_argument");
    }
    save(&agent).await;
    assert_eq!(host.saved("Untitled.txt"), "one \ntwo!", "a part of a refused batch was done");
}

#[tokio::test]
async fn a_screenshot_has_the_size_of_the_screen_and_a_zoom_is_enlarged() {
    let host = Host::fake().await;
    let agent = open(&host, "editor").await;
    let shot = agent.must("computer", json!({"action": "screenshot"})).await;
    assert_eq!(size(&shot.jpeg.unwrap()), (1000, 700));
    let zoom = agent.must("computer", json!({"action": "zoom", "region": [100, 100, 300, 200]})).await;
    assert_eq!(size(&zoom.jpeg.unwrap()), (1000, 500));
    let all = agent.must("computer", json!({"action": "zoom", "region": [0, 0, 1000, 700]})).await;
    assert_eq!(size(&all.jpeg.unwrap()), (1000, 700));
}

#[tokio::test]
async fn a_thumbnail_has_the_width_that_was_asked_for_and_is_small() {
    let host = Host::fake().await;
    let token = host.token("jane", &[a8s_wire::Scope::View]);
    let (status, jpeg) = host.get("/v1/screenshot?width=250", Some(&token)).await;
    assert_eq!(status, 200);
    assert_eq!(size(&STANDARD.encode(&jpeg)), (250, 175));
    assert!(jpeg.len() < 20_000, "{} bytes", jpeg.len());
    assert_eq!(host.get("/v1/screenshot?width=many", Some(&token)).await.0, 400);
}

#[tokio::test]
async fn the_clipboard_goes_both_ways() {
    let host = Host::fake().await;
    let agent = open(&host, "editor").await;
    let text = "ä 漢字\n😀";
    agent.must("clipboard", json!({"action": "set", "text": text})).await;
    assert_eq!(agent.must("clipboard", json!({"action": "get"})).await.json["text"], text);
    // A text that has to be pasted by deskd itself does not take its place.
    agent.must("computer", json!({"action": "type", "text": "[🙂]"})).await;
    agent.must("computer", json!({"action": "key", "text": "ctrl+v"})).await;
    save(&agent).await;
    assert_eq!(host.saved("Untitled.txt"), format!("[🙂]{text}"));
    agent.must("computer_batch", json!({"actions": [{"action": "type", "text": "."}, {"action": "key", "text": "ctrl+a"}, {"action": "key", "text": "ctrl+c"}]})).await;
    let copied = agent.must("clipboard", json!({"action": "get"})).await;
    assert_eq!(copied.json["text"], format!("[🙂]{text}."));
}

#[tokio::test]
async fn a_screen_that_never_settles_is_waited_for_only_so_long() {
    let host = Host::fake().await;
    let agent = host.agent().await;
    agent.must("launch", json!({"program": "animation", "args": ["600000"]})).await;
    // Where the machine has no time for the animation it is at rest indeed, and that is no reason to fail.
    let mut seen_moving = false;
    for _ in 0..20 {
        let moving = agent.must("wait_settled", json!({"timeout_seconds": 0.5})).await;
        let shot = agent.must("computer", json!({"action": "wait", "duration": 0})).await;
        assert!(shot.jpeg.is_some());
        seen_moving = moving.json["settled"] == false && shot.json["settled"] == false;
        if seen_moving {
            break;
        }
    }
    assert!(seen_moving);
    agent.must("computer", json!({"action": "key", "text": "ctrl+w"})).await;
    assert_eq!(agent.must("wait_settled", json!({})).await.json["settled"], true);
}

#[tokio::test]
async fn a_screen_that_comes_to_rest_is_not_waited_for_any_longer() {
    let host = Host::fake().await;
    let agent = host.agent().await;
    agent.must("launch", json!({"program": "animation", "args": ["700"]})).await;
    let began = std::time::Instant::now();
    let rest = agent.must("wait_settled", json!({"timeout_seconds": 100})).await;
    assert_eq!(rest.json["settled"], true);
    assert!(began.elapsed() < std::time::Duration::from_mins(1), "{:?}", began.elapsed());
    let (one, other) = (
        agent.must("computer", json!({"action": "screenshot"})).await,
        agent.must("computer", json!({"action": "screenshot"})).await,
    );
    assert_eq!(one.jpeg, other.jpeg, "nothing moves any more");
}

#[tokio::test]
async fn wrong_arguments_are_explained_and_do_nothing() {
    let host = Host::fake().await;
    let agent = open(&host, "events").await;
    let before = host.events();
    for (tool, arguments, code, expected) in [
        ("computer", json!({"action": "jump"}), "bad_argument", "unknown variant `jump`"),
        ("computer", json!({}), "bad_argument", "missing field `action`"),
        (
            "computer",
            json!({"action": "left_click", "coordinate": [1000, 1]}),
            "bad_argument",
            "outside the screen",
        ),
        (
            "computer",
            json!({"action": "left_click", "coordinate": [-1, 1]}),
            "bad_argument",
            "outside the screen",
        ),
        ("computer", json!({"action": "left_click", "coordinate": [1]}), "bad_argument", "2 pixel numbers"),
        ("computer", json!({"action": "mouse_move"}), "bad_argument", "needs `coordinate`"),
        ("computer", json!({"action": "type"}), "bad_argument", "needs `text`"),
        ("computer", json!({"action": "key", "text": "ctrl+hyper"}), "bad_argument", "\"hyper\""),
        (
            "computer",
            json!({"action": "hold_key", "text": "a", "duration": 101}),
            "bad_argument",
            "between 0 and 100",
        ),
        ("computer", json!({"action": "scroll"}), "bad_argument", "needs `scroll_direction`"),
        (
            "computer",
            json!({"action": "scroll", "scroll_direction": "up", "scroll_amount": 51}),
            "bad_argument",
            "between 1 and 50",
        ),
        ("computer", json!({"action": "zoom"}), "bad_argument", "needs `region`"),
        ("computer", json!({"action": "zoom", "region": [5, 5, 5, 9]}), "bad_argument", "no region"),
        ("clipboard", json!({"action": "set"}), "bad_argument", "needs `text`"),
        (
            "launch",
            json!({"program": "no-such"}),
            "program_not_found",
            "applications are: animation, browser",
        ),
        (
            "wait_for_window",
            json!({"title_contains": "x y", "timeout_seconds": 0.05}),
            "timeout",
            "no window titled",
        ),
    ] {
        let answer = agent.call(tool, arguments.clone()).await;
        assert!(answer.error && answer.text.contains(expected), "{tool} {arguments}: {}", answer.text);
        assert_eq!(answer.json["error"], code, "{tool} {arguments}");
    }
    assert_eq!(host.events(), before);
}

#[tokio::test]
async fn two_agents_at_once_do_not_type_into_each_others_words() {
    let host = Host::fake().await;
    let (one, two) = (open(&host, "editor").await, host.agent().await);
    let typing = |text: &str| json!({"action": "type", "text": text.repeat(300), "screenshot_after": false});
    let (a, b) = tokio::join!(one.call("computer", typing("a")), two.call("computer", typing("b")));
    assert!(!a.error && !b.error);
    save(&one).await;
    let saved = host.saved("Untitled.txt");
    let (a, b) = ("a".repeat(300), "b".repeat(300));
    assert!(saved == format!("{a}{b}") || saved == format!("{b}{a}"), "{saved}");
}

#[tokio::test]
async fn a_window_is_dragged_by_its_title_bar_and_the_first_frame_is_there() {
    let host = Host::fake().await;
    let agent = open(&host, "editor").await;
    let before = agent.must("wait_for_window", json!({"title_contains": "editor"})).await.json;
    let (x, y) = (before["x"].as_i64().unwrap() + 40, before["y"].as_i64().unwrap() + 10);
    let drag =
        json!({"action": "left_click_drag", "start_coordinate": [x, y], "coordinate": [x + 120, y + 90]});
    agent.must("computer", drag).await;
    let after = agent.must("desktop_info", json!({})).await.json["windows"][0].clone();
    assert_eq!((after["x"].as_i64(), after["y"].as_i64()), (Some(120), before["y"].as_i64().map(|y| y + 90)));
    eventually("the first frame", async || host.state().await.first_frame.is_some()).await;
}
