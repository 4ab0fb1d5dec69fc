//! What TigerVNC 1.12 does to those who do not know it, and that nobody behind deskd meets it.

use a8s_rfb::encode;
use a8s_wire::{Holder, Scope, SetControl};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::host::{Host, eventually};

const BOTH: [Scope; 2] = [Scope::View, Scope::Control];

#[tokio::test]
async fn a_resize_from_within_keeps_every_viewer_even_one_that_announced_no_sizes() {
    let host = Host::start().await;
    let agent = host.agent().await;
    let mut plain = host.viewer("jane", &[Scope::View]).await;
    plain.send(&encode::set_encodings(&[0])).await;
    plain.barrier().await;
    host.resize(800, 600);
    eventually("deskd knows the new size", async || host.state().await.width == 800).await;
    plain.until_wide(800).await;
    agent.must("computer", json!({"action": "screenshot"})).await;
}

#[tokio::test]
async fn clients_that_break_off_lock_nobody_out() {
    let host = Host::start().await;
    for _ in 0..12 {
        let mut stream = tokio::net::UnixStream::connect(host.path("run/a8s/rfb.sock")).await.unwrap();
        let mut version = [0; 12];
        stream.read_exact(&mut version).await.unwrap();
        stream.write_all(b"RFB 003.008\n").await.unwrap();
        // A security type that was not offered.
        stream.write_all(&[77]).await.unwrap();
    }
    host.viewer("jane", &[Scope::View]).await.barrier().await;
}

#[tokio::test]
async fn x_clients_can_neither_inject_input_nor_load_what_costs_fifty_megabytes() {
    let host = Host::start().await;
    assert!(host.extension("RANDR"), "no extension is found; the test proves nothing");
    for name in ["XTEST", "GLX"] {
        assert!(!host.extension(name), "{name} is there");
    }
}

#[tokio::test]
async fn x_clients_cannot_change_the_settings_of_the_server() {
    let host = Host::start().await;
    let agent = host.agent().await;
    // It says that it failed, and ends well.
    let _ = std::process::Command::new("vncconfig")
        .args(["-display", &format!(":{}", host.display), "-set", "AcceptPointerEvents=0"])
        .env("XAUTHORITY", host.path("run/a8s/xauthority"))
        .status()
        .unwrap();
    agent.must("computer", json!({"action": "mouse_move", "coordinate": [321, 123]})).await;
    assert_eq!(host.pointer().0, (321, 123));
}

#[tokio::test]
async fn a_clipboard_larger_than_the_server_takes_is_skipped_and_the_stream_goes_on() {
    let host = Host::start().await;
    let lease = SetControl { holder: Holder::User, user: Some("jane".into()), private: false, epoch: 1 };
    host.set_control(&lease).await;
    let mut jane = host.viewer("jane", &BOTH).await;
    let length: u32 = 40 << 20;
    jane.send(&[&[6, 0, 0, 0], &length.to_be_bytes()[..]].concat()).await;
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..40 {
        jane.send(&piece).await;
    }
    jane.barrier().await;
    jane.send(&encode::pointer(0, 123, 45)).await;
    jane.barrier().await;
    assert_eq!(host.pointer().0, (123, 45));
}
