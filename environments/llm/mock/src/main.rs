//! `a8s-model-mock`; see the library for what it does.

use std::net::SocketAddr;

use clap::Parser;

#[derive(Parser)]
#[command(name = "a8s-model-mock", about = "A model that does what the last message says", version)]
struct Arguments {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:8099")]
    listen: SocketAddr,
    /// The only key that is accepted; any without it.
    #[arg(long, env = "A8S_MODEL_MOCK_KEY")]
    key: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mock = a8s_model_mock::Mock::start(arguments.listen, arguments.key).await?;
    println!("{}", mock.url());
    mock.wait().await;
    Ok(())
}
