//! A Message to the agent, and the agent's words to a person's page.

use a8s_cluster::Cluster;
use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Service};
use kube::{Api, api::ListParams};
use serde_json::{Value, json};

use super::{
    bare::Agent,
    rows,
    sse::Stream,
    talk::{NAMESPACE, Talk, between},
};
use crate::table::{Figures, Report, Row};

/// The first of each kind are not counted.
const WARM_UP: usize = 5;

pub async fn measure(cluster: &Cluster, talk: &Talk, samples: usize, report: &mut Report) -> Result<()> {
    let home = tempfile::tempdir()?;
    let mut agent = Agent::start(&cluster.paths.release().join("a8s-agent"), home.path()).await?;
    receipt(talk, &mut agent, samples, report).await?;
    let page = console(cluster, talk).await?;
    words(talk, page, &mut agent, samples, report).await
}

fn is(event: &Value, kind: &str) -> bool {
    event["type"] == kind
}

/// From a Message to its turn, and to the first word of the answer.
async fn receipt(talk: &Talk, agent: &mut Agent, samples: usize, report: &mut Report) -> Result<()> {
    let mut events = talk.events().await?;
    let (mut to_turn, mut to_word) = (Vec::new(), Vec::new());
    let (mut direct_turn, mut direct_word) = (Vec::new(), Vec::new());
    let mut bare = Vec::new();
    for round in 0..samples + WARM_UP {
        for straight in [false, true] {
            talk.idle().await?;
            let text = format!("word {round} {straight}");
            let content = format!("/say {text}");
            let sent = Timestamp::now();
            if straight {
                let id = talk.fresh("p");
                let body = json!({"messageId": id, "content": content, "author": "bench", "attachments": []});
                talk.runner("/v1/prompt", &body).await?;
            } else {
                talk.say(json!({"content": content})).await?;
            }
            let begun = events
                .until("the turn", |e| is(e, "turnStarted") && e["data"]["content"] == content.as_str())
                .await?;
            let said = events
                .until("the word", |e| {
                    (is(e, "delta") || is(e, "message")) && e["data"]["text"] == text.as_str()
                })
                .await?;
            events.until("the end of the turn", |e| is(e, "turnEnded")).await?;
            if round < WARM_UP {
                continue;
            }
            let (turns, words) =
                if straight { (&mut direct_turn, &mut direct_word) } else { (&mut to_turn, &mut to_word) };
            turns.push(between(sent, begun.noted()?));
            words.push(between(sent, said.at));
        }
        let (sent, at, _) = agent.prompt("/say word").await?;
        if round >= WARM_UP {
            bare.push(between(sent, at));
        }
    }
    let alone = ("prompt straight to the runner", &direct_turn[..]);
    rows("Message to the agent's turn", &to_turn, alone, [Some(50.0), None], report);
    rows(
        "Message to the agent's first word",
        &to_word,
        ("ACP straight to the agent", &bare[..]),
        [None, None],
        report,
    );
    rows(
        "prompt straight to the runner, to the first word",
        &direct_word,
        ("ACP straight to the agent", &bare[..]),
        [None, None],
        report,
    );
    Ok(())
}

/// From the moment at which a command of the agent prints something until a client has it.
async fn words(
    talk: &Talk,
    mut page: Stream,
    agent: &mut Agent,
    samples: usize,
    report: &mut Report,
) -> Result<()> {
    const PRINT: &str = "/shell date +%s%N";
    let mut events = talk.events().await?;
    // The console is with the runner once it shows what was said before; words that are not recorded yet are shown once only.
    page.until("what was said before", |e| is(e, "turnEnded")).await?;
    let (mut at_runner, mut at_page, mut relayed, mut bare) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..samples + WARM_UP {
        talk.idle().await?;
        let body =
            json!({"messageId": talk.fresh("p"), "content": PRINT, "author": "bench", "attachments": []});
        talk.runner("/v1/prompt", &body).await?;
        let printed = |e: &Value| is(e, "delta") && stamp(&e["data"]["text"]).is_some();
        let near = events.until("the printed time", printed).await?;
        let same = |e: &Value| printed(e) && e["data"]["text"] == near.event["data"]["text"];
        let far = page.until("the printed time on the page", same).await?;
        let (_, at, text) = agent.prompt(PRINT).await?;
        if round < WARM_UP {
            continue;
        }
        let stamped = stamp(&near.event["data"]["text"]).context("a time was printed")?;
        at_runner.push(between(stamped, near.at));
        at_page.push(between(stamped, far.at));
        relayed.push(between(near.at, far.at));
        bare.push(between(stamp(&Value::from(text)).context("a time was printed")?, at));
    }
    let other = ("ACP straight to the agent", &bare[..]);
    rows("printed to the page's stream", &at_page, other, [None, None], report);
    rows("printed to the runner's stream", &at_runner, other, [None, None], report);
    let median = |all: &[f64]| Figures::from(all.to_vec()).median();
    let adds = median(&at_page) - median(&bare);
    report.row(Row::new("what a8s adds to a word, shim to page, p50", adds, "ms").target(5.0));
    let relay = Figures::from(relayed);
    report.row(Row::new("what the console's relay adds to a word, p50", relay.median(), "ms").target(5.0));
    report.row(Row::new("what the console's relay adds to a word, p99", relay.percentile(99), "ms"));
    Ok(())
}

/// The time in nanoseconds that a text consists of, beside fences.
fn stamp(text: &Value) -> Option<Timestamp> {
    let digits: String = text.as_str()?.chars().filter(char::is_ascii_digit).collect();
    (digits.len() == 19).then(|| Timestamp::from_nanosecond(digits.parse().ok()?).ok())?
}

/// The page's stream of events, through the console in the cluster, with the account that the page is used with.
async fn console(cluster: &Cluster, talk: &Talk) -> Result<Stream> {
    let nodes = Api::<Node>::all(talk.client.clone()).list(&ListParams::default()).await?.items;
    let addresses = nodes.into_iter().find_map(|n| n.status?.addresses).context("a node has addresses")?;
    let node =
        addresses.into_iter().find(|a| a.type_ == "InternalIP").context("a node has an address")?.address;
    let services: Api<Service> = Api::namespaced(talk.client.clone(), "a8s-system");
    let ports = services.list(&ListParams::default()).await?.items.into_iter().filter_map(|s| s.spec?.ports);
    let port = ports.flatten().find_map(|p| p.node_port).context("the console has a port of the node")?;
    let (base, public) = (format!("http://{node}:{port}"), cluster.console_url());
    let host = public.trim_start_matches("http://").to_owned();
    let http = reqwest::Client::builder().no_proxy().build()?;
    let login = http
        .post(format!("{base}/api/login"))
        .header("host", &host)
        .header("origin", &public)
        .header("x-a8s", "1")
        .json(&json!({"token": cluster.token()?}))
        .send()
        .await?
        .error_for_status()?;
    let cookie =
        login.headers().get("set-cookie").context("the console gives a cookie")?.to_str()?.to_owned();
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    let path = format!("{base}/api/namespaces/{NAMESPACE}/sessions/{}/events", talk.name);
    let response = http.get(path).header("host", &host).header("cookie", cookie).send().await?;
    Ok(Stream::read(response.error_for_status()?))
}
