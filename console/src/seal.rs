//! The cookie: the person's token, sealed with ChaCha20-Poly1305 under a key that exists only in this process. Whoever steals a cookie
//! cannot use the token elsewhere, and a restart of the console ends all logins.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    error::Unspecified,
};
use serde::{Deserialize, Serialize};

/// Name of the cookie.
pub const COOKIE: &str = "a8s-session";
/// Longest life of a login in seconds.
pub const LIFETIME: i64 = 8 * 3600;
/// Browsers drop cookies above 4096 bytes in silence; a longer token must be refused in words.
pub const MAX_TOKEN: usize = 2800;

/// What a cookie says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The Kubernetes bearer token.
    pub token: String,
    /// Its user name, as the API server said at login.
    pub user: String,
    /// End of the login, Unix seconds.
    pub expires: i64,
}

/// Seals and opens cookies.
pub struct Sealer(LessSafeKey);

impl Sealer {
    /// With a new random key.
    pub fn random() -> Result<Self, Unspecified> {
        let key: [u8; 32] = rand::random();
        Ok(Self(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key)?)))
    }

    /// The cookie's value.
    pub fn seal(&self, login: &Login) -> Option<String> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut text = serde_json::to_vec(login).ok()?;
        let aad = Aad::from(COOKIE.as_bytes());
        self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text).ok()?;
        Some(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &text].concat()))
    }

    /// The login, if this process sealed it and it has not ended at `now`.
    pub fn open(&self, value: &str, now: i64) -> Option<Login> {
        let mut bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (nonce, text) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let text = self.0.open_in_place(nonce, Aad::from(COOKIE.as_bytes()), text).ok()?;
        let login: Login = serde_json::from_slice(text).ok()?;
        (login.expires > now).then_some(login)
    }
}

/// End of a login that begins at `now`: never later than the token's own end. The claim is read without a check of the signature, for it
/// can only shorten the login; whether the token is good is the API server's to say.
pub fn expiry(token: &str, now: i64) -> i64 {
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims = claims.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    let end = claims.and_then(|claims| claims["exp"].as_i64()).unwrap_or(i64::MAX);
    end.min(now + LIFETIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        Login { token: "secret-token".into(), user: "jane".into(), expires: 100 }
    }

    #[test]
    fn a_sealed_login_opens_until_it_ends() {
        let sealer = Sealer::random().unwrap();
        let value = sealer.seal(&login()).unwrap();
        assert!(sealer.open(&value, 99).is_some_and(|opened| opened == login()));
        assert!(sealer.open(&value, 100).is_none());
    }

    #[test]
    fn a_cookie_does_not_show_the_token() {
        let value = Sealer::random().unwrap().seal(&login()).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&value).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"secret"));
    }

    #[test]
    fn a_changed_or_foreign_cookie_is_not_opened() {
        let sealer = Sealer::random().unwrap();
        let value = sealer.seal(&login()).unwrap();
        assert!(Sealer::random().unwrap().open(&value, 0).is_none());
        for at in 0..value.len() - 1 {
            let mut bytes = value.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(
                sealer.open(&String::from_utf8(bytes).unwrap(), 0).is_none(),
                "opened with a change at {at}"
            );
        }
        for bad in ["", "A", "????", "AAAAAAAAAAAAAAAA"] {
            assert!(sealer.open(bad, 0).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_login_never_outlives_its_token() {
        let token = |claims: &str| format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(expiry(&token(r#"{"exp": 50}"#), 10), 50);
        assert_eq!(expiry(&token(r#"{"exp": 999999999}"#), 10), 10 + LIFETIME);
        assert_eq!(expiry("opaque", 10), 10 + LIFETIME);
    }
}
