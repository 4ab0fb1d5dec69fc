//! Access tokens for deskd and runner: short-lived claims, signed with Ed25519 (RFC 8032) by the control plane.
//!
//! The form is `a8s1.<claims>.<signature>`, both parts base64url without padding; the signature covers `a8s1.<claims>`. The algorithm is
//! fixed by the prefix, so there is nothing for a forger to negotiate.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{
    Signature, Signer, SigningKey, Verifier, VerifyingKey, pkcs8::DecodePrivateKey, pkcs8::DecodePublicKey,
};
use serde::{Deserialize, Serialize};

const PREFIX: &str = "a8s1";
/// Longest life of a token in seconds.
pub const MAX_LIFETIME: i64 = 120;
/// Clock difference between two machines that is tolerated, in seconds.
const SKEW: i64 = 30;
/// No valid token is longer; anything longer is refused unread.
const MAX_LENGTH: usize = 4096;

/// What a token allows; see the table in `ARCHITECTURE.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// See the desktop.
    View,
    /// Send input to the desktop while holding the control lease.
    Control,
    /// Read the runner's events and state.
    Stream,
    /// Read blobs, write attachments.
    Files,
    /// The controller's own calls: prompts, interrupts, the lease.
    Admin,
}

/// The signed statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who signed: `controller`, `vnc-proxy` or `console`.
    pub iss: String,
    /// The Kubernetes user name on whose behalf the call is made.
    pub sub: String,
    /// UID of the Workspace this token is good for.
    pub wsu: String,
    /// What it allows.
    pub scp: Vec<Scope>,
    /// End of validity, Unix seconds.
    pub exp: i64,
    /// Unique id of the token.
    pub jti: String,
}

impl Claims {
    /// Whether the claims include `scope`.
    pub fn allows(&self, scope: Scope) -> bool {
        self.scp.contains(&scope)
    }
}

/// Why a token was refused. The text is safe to show: it holds nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not of the form `a8s1.claims.signature`.
    #[error("the access token is malformed")]
    Malformed,
    /// No trusted key made this signature.
    #[error("the access token is not signed by this installation")]
    Signature,
    /// Expired, or valid for longer than [`MAX_LIFETIME`].
    #[error("the access token has expired")]
    Expired,
    /// Made for another Workspace.
    #[error("the access token is for another workspace")]
    Workspace,
    /// Does not carry the needed scope.
    #[error("the access token does not allow this")]
    Scope,
    /// The key file is no Ed25519 key in PEM form.
    #[error("the key is not an Ed25519 key in PEM form")]
    Key,
}

/// Signs claims.
pub fn sign(key: &SigningKey, claims: &Claims) -> String {
    let body = serde_json::to_vec(claims).unwrap_or_default();
    let text = format!("{PREFIX}.{}", URL_SAFE_NO_PAD.encode(body));
    let signature = key.sign(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

/// Reads the PKCS#8 PEM of a signing key.
pub fn signing_key(pem: &str) -> Result<SigningKey, TokenError> {
    SigningKey::from_pkcs8_pem(pem).map_err(|_| TokenError::Key)
}

/// Checks tokens for one Workspace.
#[derive(Clone, Debug)]
pub struct TokenVerifier {
    keys: Vec<VerifyingKey>,
    workspace_uid: String,
}

impl TokenVerifier {
    /// `pem` holds one or more public keys (`-----BEGIN PUBLIC KEY-----`), so that keys can be rotated.
    pub fn from_pem(pem: &str, workspace_uid: &str) -> Result<Self, TokenError> {
        const END: &str = "-----END PUBLIC KEY-----";
        let keys = pem
            .split_inclusive(END)
            .filter(|part| part.contains(END))
            .map(|part| VerifyingKey::from_public_key_pem(part.trim()).map_err(|_| TokenError::Key))
            .collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(TokenError::Key);
        }
        Ok(Self { keys, workspace_uid: workspace_uid.to_owned() })
    }

    /// Checks signature, age and Workspace at `now` (Unix seconds), then that one of `scopes` is granted.
    pub fn verify(&self, token: &str, now: i64, scopes: &[Scope]) -> Result<Claims, TokenError> {
        if token.len() > MAX_LENGTH {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let body = signed.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('.'));
        let body = body.ok_or(TokenError::Malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Malformed)?;
        let signature = Signature::from_slice(&signature).map_err(|_| TokenError::Malformed)?;
        if !self.keys.iter().any(|key| key.verify(signed.as_bytes(), &signature).is_ok()) {
            return Err(TokenError::Signature);
        }
        let body = URL_SAFE_NO_PAD.decode(body).map_err(|_| TokenError::Malformed)?;
        let claims: Claims = serde_json::from_slice(&body).map_err(|_| TokenError::Malformed)?;
        if claims.exp <= now - SKEW || claims.exp > now + MAX_LIFETIME + SKEW {
            return Err(TokenError::Expired);
        }
        if claims.wsu != self.workspace_uid {
            return Err(TokenError::Workspace);
        }
        if !scopes.iter().any(|scope| claims.allows(*scope)) {
            return Err(TokenError::Scope);
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::pkcs8::{EncodePublicKey, spki::der::pem::LineEnding};

    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn pem(key: &SigningKey) -> String {
        key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap()
    }

    fn claims() -> Claims {
        Claims {
            iss: "controller".into(),
            sub: "jane".into(),
            wsu: "uid-1".into(),
            scp: vec![Scope::View],
            exp: 1_060,
            jti: "1".into(),
        }
    }

    #[test]
    fn a_signed_token_is_accepted_by_the_workspace_it_names() {
        let verifier = TokenVerifier::from_pem(&pem(&key(1)), "uid-1").unwrap();
        let token = sign(&key(1), &claims());
        assert_eq!(verifier.verify(&token, 1_000, &[Scope::View, Scope::Control]), Ok(claims()));
    }

    #[test]
    fn a_token_is_refused_for_another_workspace_scope_time_or_key() {
        let verifier = TokenVerifier::from_pem(&pem(&key(1)), "uid-1").unwrap();
        let other = TokenVerifier::from_pem(&pem(&key(1)), "uid-2").unwrap();
        let token = sign(&key(1), &claims());
        assert_eq!(other.verify(&token, 1_000, &[Scope::View]), Err(TokenError::Workspace));
        assert_eq!(verifier.verify(&token, 1_000, &[Scope::Admin]), Err(TokenError::Scope));
        assert_eq!(verifier.verify(&token, 1_091, &[Scope::View]), Err(TokenError::Expired));
        assert_eq!(verifier.verify(&token, 0, &[Scope::View]), Err(TokenError::Expired));
        assert_eq!(
            verifier.verify(&sign(&key(2), &claims()), 1_000, &[Scope::View]),
            Err(TokenError::Signature)
        );
    }

    #[test]
    fn changing_any_character_of_a_token_makes_it_invalid() {
        let verifier = TokenVerifier::from_pem(&pem(&key(1)), "uid-1").unwrap();
        let token = sign(&key(1), &claims());
        for at in 0..token.len() - 1 {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(bytes).unwrap();
            assert!(
                verifier.verify(&forged, 1_000, &[Scope::View]).is_err(),
                "accepted with a change at {at}"
            );
        }
    }

    #[test]
    fn two_keys_are_trusted_while_they_are_rotated() {
        let both = format!("{}{}", pem(&key(1)), pem(&key(2)));
        let verifier = TokenVerifier::from_pem(&both, "uid-1").unwrap();
        assert!(verifier.verify(&sign(&key(2), &claims()), 1_000, &[Scope::View]).is_ok());
    }
}
