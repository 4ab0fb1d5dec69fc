//! The agent's tools, and the life of the container.

use std::time::{Duration, Instant};

use a8s_wire::{Holder, SetControl};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

use crate::host::{Host, children_of, eventually};

fn command(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

#[tokio::test]
async fn text_arrives_exactly_as_it_was_typed() {
    const TEXT: &str = "Hello ~!@#$%^&*()_+{}|:\"<>?`-=[]\\;',./ äöüÄÖÜßé Ж Ω 漢字 → €\nsecond line";
    let host = Host::start().await;
    let agent = host.agent().await;
    let file = host.path("typed.txt");
    agent.terminal(&file).await;
    agent.must("computer", json!({"action": "type", "text": format!("{TEXT}\n")})).await;
    agent.must("computer", json!({"action": "key", "text": "ctrl+d"})).await;
    eventually("the file is complete", async || {
        std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with("line\n"))
    })
    .await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{TEXT}\n"));
}

#[tokio::test]
async fn emoji_and_many_rare_characters_arrive_exactly_by_paste() {
    let rare: String = ('\u{4e00}'..'\u{4e70}').collect();
    let text = format!("a😀b {rare} z");
    let host = Host::start().await;
    let agent = host.agent().await;
    let file = host.path("typed.txt");
    agent.terminal(&file).await;
    agent.must("computer", json!({"action": "type", "text": text})).await;
    agent.must("computer", json!({"action": "type", "text": "\n"})).await;
    agent.must("computer", json!({"action": "key", "text": "ctrl+d"})).await;
    eventually("the file is complete", async || {
        std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n'))
    })
    .await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{text}\n"));
}

#[tokio::test]
async fn the_clipboard_goes_both_ways_and_is_empty_after_a_private_takeover() {
    let host = Host::start().await;
    let agent = host.agent().await;
    let file = host.path("typed.txt");
    agent.terminal(&file).await;
    let text = "copied: ä 漢字 😀";
    agent.must("clipboard", json!({"action": "set", "text": text})).await;
    assert_eq!(agent.must("clipboard", json!({"action": "get"})).await.json["text"], text);
    agent.must("computer", json!({"action": "key", "text": "shift+Insert"})).await;
    agent.must("computer", json!({"action": "type", "text": "\n"})).await;
    agent.must("computer", json!({"action": "key", "text": "ctrl+d"})).await;
    eventually("the file is complete", async || {
        std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n'))
    })
    .await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{text}\n"));

    let jane = SetControl { holder: Holder::User, user: Some("jane".into()), private: true, epoch: 1 };
    host.set_control(&jane).await;
    host.set_control(&SetControl { holder: Holder::Agent, user: None, private: false, epoch: 2 }).await;
    assert_eq!(agent.must("clipboard", json!({"action": "get"})).await.json["text"], "");
}

#[tokio::test]
async fn a_screenshot_shows_what_was_drawn_since_the_last_one() {
    let host = Host::start().await;
    let agent = host.agent().await;
    let empty = agent.must("computer", json!({"action": "screenshot"})).await.jpeg.unwrap();
    let again = agent.must("computer", json!({"action": "screenshot"})).await.jpeg.unwrap();
    assert!(empty == again, "two pictures of one screen differ");
    agent.terminal(&host.path("typed.txt")).await;
    let window = agent.must("computer", json!({"action": "screenshot"})).await.jpeg.unwrap();
    assert!(empty != window, "the window is not in the picture");
    let quiet =
        agent.must("computer", json!({"action": "wait", "duration": 0.1, "screenshot_after": false})).await;
    assert!(quiet.jpeg.is_none());
    assert_eq!(agent.must("wait_settled", json!({})).await.json["settled"], true);
    let info = agent.must("desktop_info", json!({})).await.json;
    assert_eq!((&info["activeWindow"], &info["width"]), (&json!("typing"), &json!(1000)));
    assert_eq!(info["applications"], json!(["browser", "terminal"]));
}

#[tokio::test]
async fn a_window_can_be_dragged_by_its_title_bar() {
    let host = Host::start().await;
    let agent = host.agent().await;
    agent.terminal(&host.path("typed.txt")).await;
    let before = agent.must("wait_for_window", json!({"title_contains": "typing"})).await.json;
    let (x, y) = (before["x"].as_i64().unwrap() + 100, before["y"].as_i64().unwrap() - 8);
    let drag =
        json!({"action": "left_click_drag", "start_coordinate": [x, y], "coordinate": [x + 120, y + 90]});
    agent.must("computer", drag).await;
    eventually("the window has moved", async || {
        let after = agent.must("wait_for_window", json!({"title_contains": "typing"})).await.json;
        after["x"].as_i64().unwrap() > before["x"].as_i64().unwrap() + 60
    })
    .await;
}

#[tokio::test]
async fn wrong_arguments_are_explained() {
    let host = Host::start().await;
    let agent = host.agent().await;
    let bad = "bad_argument";
    for (tool, arguments, code, expected) in [
        (
            "computer",
            json!({"action": "left_click", "coordinate": [1000, 10]}),
            bad,
            "outside the screen of 1000x700",
        ),
        ("computer", json!({"action": "key", "text": "ctrl+hyper"}), bad, "\"hyper\""),
        ("computer", json!({"action": "type"}), bad, "needs `text`"),
        (
            "launch",
            json!({"program": "no-such-program"}),
            "program_not_found",
            "applications are: browser, terminal",
        ),
        ("launch", json!({"program": "false"}), "program_failed", "exited with status 1"),
        (
            "wait_for_window",
            json!({"title_contains": "nothing", "timeout_seconds": 0.1}),
            "timeout",
            "no window titled",
        ),
    ] {
        let answer = agent.call(tool, arguments).await;
        assert!(answer.error && answer.text.contains(expected), "{tool}: {}", answer.text);
        assert_eq!(answer.json["error"], code, "{tool}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_killed_window_manager_comes_back_and_a_killed_display_ends_deskd() {
    let mut host = Host::start().await;
    let find =
        |host: &Host, name: &str| children_of(host.pid()).into_iter().find(|pid| command(*pid) == name);
    eventually("what waits for the window manager has run", async || host.path("wm-started").exists()).await;
    let openbox = find(&host, "openbox").unwrap();
    kill(Pid::from_raw(openbox), Signal::SIGKILL).unwrap();
    eventually("openbox is back", async || find(&host, "openbox").is_some_and(|pid| pid != openbox)).await;
    host.ready().await;
    kill(Pid::from_raw(find(&host, "Xvnc").unwrap()), Signal::SIGKILL).unwrap();
    assert!(!host.wait().success());
}

#[tokio::test]
async fn a_display_that_hangs_is_not_ready_at_once_and_ends_deskd_within_seconds() {
    let mut host = Host::start().await;
    let xvnc = children_of(host.pid()).into_iter().find(|pid| command(*pid) == "Xvnc").unwrap();
    let began = Instant::now();
    kill(Pid::from_raw(xvnc), Signal::SIGSTOP).unwrap();
    let (status, why) = host.get("/healthz", None).await;
    assert_eq!(status, 503, "{}", String::from_utf8_lossy(&why));
    assert!(began.elapsed() < Duration::from_secs(1), "the kubelet gives up after a second");
    eventually("deskd's programs are ended", async || children_of(host.pid()).is_empty()).await;
    println!("it took {:?}", began.elapsed());
    assert!(!host.wait().success());
}

#[tokio::test]
async fn a_display_that_pauses_for_a_moment_goes_on() {
    let host = Host::start().await;
    let xvnc = children_of(host.pid()).into_iter().find(|pid| command(*pid) == "Xvnc").unwrap();
    kill(Pid::from_raw(xvnc), Signal::SIGSTOP).unwrap();
    eventually("it is not ready", async || host.get("/healthz", None).await.0 == 503).await;
    kill(Pid::from_raw(xvnc), Signal::SIGCONT).unwrap();
    host.ready().await;
    host.agent().await.must("computer", json!({"action": "screenshot"})).await;
}

#[tokio::test]
async fn stopping_deskd_leaves_no_process_behind() {
    let mut host = Host::start().await;
    let agent = host.agent().await;
    agent.terminal(&host.path("typed.txt")).await;
    // An orphan: its parent has ended.
    agent.must("launch", json!({"program": "sh", "args": ["-c", "sleep 1000 & exit 0"]})).await;
    let orphaned = async || children_of(host.pid()).iter().any(|pid| command(*pid) == "sleep");
    eventually("the orphan is deskd's child", orphaned).await;
    let before = children_of(host.pid());
    assert!(host.stop().success());
    for pid in before {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{} still runs", command(pid));
    }
}

#[tokio::test]
async fn the_x_server_listens_on_no_network_and_no_abstract_socket() {
    let host = Host::start().await;
    let unix = std::fs::read_to_string("/proc/net/unix").unwrap();
    let abstract_name = format!("@/tmp/.X11-unix/X{}", host.display);
    assert!(!unix.lines().any(|line| line.ends_with(&abstract_name)), "the abstract X socket is open");
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let ports = [5900 + host.display, 6000 + host.display].map(|port| format!(":{port:04X}"));
        let text = std::fs::read_to_string(table).unwrap_or_default();
        let listening = text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1));
        assert!(
            !listening.into_iter().any(|local| ports.iter().any(|port| local.ends_with(port))),
            "{table}"
        );
    }
}
