//! Behind an ingress that cuts what is silent: a real nginx, whose 60 seconds are one here.

use std::{
    fmt::Write,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::fake::{Browser, LIMIT, ORIGIN, World};

const CUT: Duration = Duration::from_secs(1);

struct Nginx {
    child: Child,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Nginx {
    async fn before(world: &World) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut temp = String::new();
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            writeln!(temp, "{kind}_temp_path {};", dir.path().join(kind).display()).unwrap();
        }
        let config = format!(
            "daemon off; master_process off; pid {pid}; error_log stderr;\nevents {{}}\nhttp {{\n{temp}access_log off;\n\
             server {{ listen {address};\nlocation /vnc/ {{\nproxy_pass http://{upstream};\nproxy_http_version 1.1;\n\
             proxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection upgrade;\nproxy_read_timeout {cut}s;\n\
             }}}}}}\n",
            pid = dir.path().join("pid").display(),
            upstream = world.address,
            cut = CUT.as_secs(),
        );
        let file = dir.path().join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("/usr/sbin/nginx")
            .args(["-e", "stderr"])
            .arg("-p")
            .arg(dir.path())
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::inherit())
            .spawn()
            .expect("nginx-light is installed by tests/prepare");
        let nginx = Self { child, address, _dir: dir };
        let until = Instant::now() + LIMIT;
        while TcpStream::connect(address).await.is_err() {
            assert!(Instant::now() < until, "nginx does not listen");
            tokio::task::yield_now().await;
        }
        nginx
    }

    async fn connect(&self, ticket: &str) -> Browser {
        let mut request = format!("ws://{}/vnc/stream", self.address).into_client_request().unwrap();
        let protocols = format!("binary, a8s.ticket.{ticket}");
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
        request.headers_mut().insert("origin", ORIGIN.parse().unwrap());
        World::browser(request).await.unwrap()
    }
}

#[tokio::test]
async fn an_idle_stream_stays_open_because_the_server_pings() {
    let world = World::with(|timing| timing.ping = CUT / 4).await;
    let nginx = Nginx::before(&world).await;
    let mut browser = nginx.connect(&world.ticket("jane", "view").await).await;
    browser.hello().await;
    let began = Instant::now();
    browser.until(|browser| browser.pings >= 13).await;
    assert!(began.elapsed() >= CUT * 3, "the pings came too fast to show anything");
    world.until_metric("viewers{role=\"view\"}", 1.0).await;
}

#[tokio::test]
async fn without_pings_the_same_nginx_cuts_an_idle_stream() {
    let world = World::with(|timing| timing.ping = Duration::from_hours(1)).await;
    let nginx = Nginx::before(&world).await;
    let mut browser = nginx.connect(&world.ticket("jane", "view").await).await;
    browser.hello().await;
    assert!(browser.cut().await, "nginx did not cut: the other test shows nothing");
}
