//! Which way text goes between the desktop's clipboard and people's.

use a8s_rfb::encode;
use a8s_wire::{Clipboard, Holder, Scope, SetControl};
use serde_json::json;

use crate::host::Host;

const BOTH: [Scope; 2] = [Scope::View, Scope::Control];
const COPIED: &str = "copied-in-the-desktop";

fn lease(user: Option<&str>, epoch: i64) -> SetControl {
    let holder = if user.is_some() { Holder::User } else { Holder::Agent };
    SetControl { holder, user: user.map(Into::into), private: false, epoch }
}

#[tokio::test]
async fn text_goes_into_the_desktop_and_out_of_it_only_as_its_environment_allows() {
    for (rule, way) in
        [("Both", Clipboard::Both), ("In", Clipboard::In), ("Out", Clipboard::Out), ("None", Clipboard::None)]
    {
        let host = Host::with(&["--clipboard", rule]).await;
        assert_eq!(host.state().await.clipboard, way);
        let agent = host.agent().await;
        let mut jane = host.viewer("jane", &BOTH).await;
        jane.barrier().await;

        // A word that is selected in a terminal is sent to whoever watches.
        let script = format!("echo {COPIED}; sleep 600");
        let args = json!(["-geometry", "80x24+0+0", "-title", "words", "-e", "sh", "-c", script]);
        agent.must("launch", json!({"program": "terminal", "args": args})).await;
        let window = agent.must("wait_for_window", json!({"title_contains": "words"})).await.json;
        agent.must("wait_settled", json!({})).await;
        let word = [window["x"].as_i64().unwrap() + 30, window["y"].as_i64().unwrap() + 8];
        agent.must("computer", json!({"action": "triple_click", "coordinate": word})).await;
        jane.barrier().await;
        let heard = jane.heard.windows(COPIED.len()).any(|bytes| bytes == COPIED.as_bytes());
        assert_eq!(heard, way.comes_out(), "{rule}: what was copied in the desktop");

        // What she pastes is there for the agent.
        host.set_control(&lease(Some("jane"), 1)).await;
        jane.send(&encode::cut_text(b"from jane")).await;
        jane.barrier().await;
        host.set_control(&lease(None, 2)).await;
        let text = agent.must("clipboard", json!({"action": "get"})).await.json["text"].clone();
        assert_eq!(text == "from jane", way.goes_in(), "{rule}: {text}");

        // The agent's own hands are within the desktop.
        agent.must("clipboard", json!({"action": "set", "text": "the agent's"})).await;
        let text = agent.must("clipboard", json!({"action": "get"})).await.json["text"].clone();
        assert_eq!(text, "the agent's", "{rule}");
    }
}
