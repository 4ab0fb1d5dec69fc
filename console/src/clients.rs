//! Clients of the API server, one for each person's token. The console's own credentials are taken out of the configuration first, so
//! that no mistake in a handler can use them.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use kube::{Client, Config, config::AuthInfo};
use sha2::{Digest, Sha256};

use crate::errors::Refusal;

/// A client keeps its connections this long; the token is checked by the API server with every call all the same.
const KEEP: Duration = Duration::from_mins(5);
const MAX: usize = 1000;

/// Makes and keeps clients.
pub struct Clients {
    base: Config,
    open: Mutex<HashMap<[u8; 32], (Client, Instant)>>,
}

impl Clients {
    /// To the API server of `base`, without its credentials.
    pub fn new(mut base: Config) -> Self {
        base.auth_info = AuthInfo::default();
        Self { base, open: Mutex::default() }
    }

    /// A client that is the person.
    pub fn of(&self, token: &str) -> Result<Client, Refusal> {
        let key: [u8; 32] = Sha256::digest(token).into();
        let now = Instant::now();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, (_, since)| now.duration_since(*since) < KEEP);
        if let Some((client, _)) = open.get(&key) {
            return Ok(client.clone());
        }
        let mut config = self.base.clone();
        config.auth_info.token = Some(token.to_owned().into());
        let client = Client::try_from(config)?;
        if open.len() < MAX {
            open.insert(key, (client.clone(), now));
        }
        Ok(client)
    }
}
