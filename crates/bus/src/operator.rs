//! Who may connect to the broker, and what for: one operator, a system account, one account for
//! everything of ours, and users inside it.
//!
//! Rights travel inside signed credentials, so a post gets its own without touching the server's
//! configuration. The keys come from [`Operator::generate`] or from what the caller kept of it; this
//! module never writes a file. The server's configuration and the credentials go back as text.
//!
//! A post's credentials end by themselves. To call them back earlier the server loads the account
//! again ([`Operator::server_config_revoking`], then a reload): it ends their connections and lets them
//! in no more. The content behind a notice is checked at every read anyway.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use nkeys::{KeyPair, KeyPairType};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::jwt::{self, Subject};
use crate::{BusError, subjects};

/// How many subscriptions one connection of a post may hold; it needs two.
const POST_SUBSCRIPTIONS_MAX: i64 = 16;

/// What must be kept to stay the same operator. Secret: whoever reads it may connect as anyone.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct OperatorKeys {
    /// Seconds since 1970; the tokens of operator and accounts carry it, so that the server's
    /// configuration is the same text at every start.
    pub issued_at_s: i64,
    /// Seed of the operator.
    pub operator_seed: String,
    /// Seed of the system account.
    pub system_seed: String,
    /// Seed of the account TASUKI.
    pub account_seed: String,
}

/// Shows no seed.
impl fmt::Debug for OperatorKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorKeys").field("issued_at_s", &self.issued_at_s).finish_non_exhaustive()
    }
}

/// Credentials of one post, and the name by which they can be revoked.
pub struct PostUser {
    /// The text of a `.creds` file. Secret.
    pub creds: String,
    /// The public key in it.
    pub user: String,
}

/// The issuer of broker credentials.
pub struct Operator {
    operator: KeyPair,
    system: KeyPair,
    account: KeyPair,
    issued_at_s: i64,
}

/// Shows public keys only.
impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator")
            .field("operator", &self.operator.public_key())
            .field("account", &self.account.public_key())
            .finish_non_exhaustive()
    }
}

impl Operator {
    /// A new operator with new keys.
    pub fn generate() -> Self {
        Self {
            operator: KeyPair::new_operator(),
            system: KeyPair::new_account(),
            account: KeyPair::new_account(),
            issued_at_s: seconds(SystemTime::now()),
        }
    }

    /// The operator of kept keys.
    ///
    /// Errors: [`BusError::Key`] for a seed that does not parse or is of another kind.
    pub fn from_keys(keys: &OperatorKeys) -> Result<Self, BusError> {
        Ok(Self {
            operator: from_seed(&keys.operator_seed, KeyPairType::Operator)?,
            system: from_seed(&keys.system_seed, KeyPairType::Account)?,
            account: from_seed(&keys.account_seed, KeyPairType::Account)?,
            issued_at_s: keys.issued_at_s,
        })
    }

    /// What to keep, readable by the owner alone (mode 0600).
    ///
    /// Errors: [`BusError::Key`].
    pub fn keys(&self) -> Result<OperatorKeys, BusError> {
        Ok(OperatorKeys {
            issued_at_s: self.issued_at_s,
            operator_seed: seed(&self.operator)?,
            system_seed: seed(&self.system)?,
            account_seed: seed(&self.account)?,
        })
    }

    /// The public key of the account TASUKI; JetStream keeps its files in a folder of this name.
    pub fn account_id(&self) -> String {
        self.account.public_key()
    }

    /// The lines of a nats-server configuration that make the server trust this operator.
    ///
    /// Shape: `operator`, `system_account`, `resolver` and `resolver_preload`; the `jetstream` block,
    /// ports and folders are the caller's. The same keys give the same text.
    ///
    /// Errors: [`BusError::Key`].
    pub fn server_config(&self) -> Result<String, BusError> {
        self.server_config_revoking(&[])
    }

    /// The same without these users: public keys, and the instant up to which what was issued to them is
    /// revoked. The server takes it by a reload; nobody else's connection is touched.
    ///
    /// Errors: [`BusError::Key`].
    pub fn server_config_revoking(&self, revoked: &[(String, SystemTime)]) -> Result<String, BusError> {
        let system = self.system.public_key();
        let account = self.account.public_key();
        let operator_jwt = self.sign(
            &self.operator.public_key(),
            "tasuki",
            &json!({"type": "operator", "version": 2, "system_account": system}),
        )?;
        let system_jwt = self.sign(&system, "SYS", &account_body(false))?;
        let mut body = account_body(true);
        if !revoked.is_empty() {
            let all = revoked.iter().map(|(user, at)| (user.clone(), json!(seconds(*at))));
            body["revocations"] = all.collect::<serde_json::Map<_, _>>().into();
        }
        let account_jwt = self.sign(&account, "TASUKI", &body)?;
        Ok(format!(
            "operator: {operator_jwt}\nsystem_account: {system}\nresolver: MEMORY\n\
             resolver_preload: {{\n  {system}: {system_jwt}\n  {account}: {account_jwt}\n}}\n"
        ))
    }

    /// Credentials of our own processes: everything inside the account, without an end. Each call
    /// gives a new user.
    ///
    /// Errors: [`BusError::Key`].
    pub fn service_creds(&self) -> Result<String, BusError> {
        let body = json!({
            "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2,
        });
        Ok(self.user("service", SystemTime::now(), None, &body)?.creds)
    }

    /// Credentials of one post, until `expires_at`: it may subscribe to its own notices and to its own
    /// inbox prefix, and may publish nothing. Each call gives a new user.
    ///
    /// Shape: the text of a `.creds` file. The server ends the connection at `expires_at`.
    /// Errors: [`BusError::InvalidToken`], [`BusError::Key`].
    /// Source: DESIGN, "Who calls".
    pub fn post_creds(&self, agency: &str, post: &str, expires_at: SystemTime) -> Result<String, BusError> {
        Ok(self.post_user(agency, post, expires_at)?.creds)
    }

    /// The same, with the name by which they can be revoked.
    ///
    /// Errors: [`BusError::InvalidToken`], [`BusError::Key`].
    pub fn post_user(&self, agency: &str, post: &str, expires_at: SystemTime) -> Result<PostUser, BusError> {
        let feed = subjects::feed(agency, post)?;
        let inbox = format!("{}.>", subjects::inbox_prefix(post)?);
        let body = json!({
            "pub": {"deny": [">"]},
            "sub": {"allow": [feed, inbox]},
            "subs": POST_SUBSCRIPTIONS_MAX, "data": -1, "payload": -1, "type": "user", "version": 2,
        });
        self.user(&format!("post {post}"), SystemTime::now(), Some(expires_at), &body)
    }

    fn user(
        &self,
        name: &str,
        issued_at: SystemTime,
        expires_at: Option<SystemTime>,
        body: &serde_json::Value,
    ) -> Result<PostUser, BusError> {
        let user = KeyPair::new_user();
        let subject = Subject {
            key: &user.public_key(),
            name,
            issued_at_s: seconds(issued_at),
            // Zero would mean "no end" to the server.
            expires_at_s: expires_at.map(|t| seconds(t).max(1)),
        };
        let token = jwt::sign(&self.account, &subject, body)?;
        Ok(PostUser { creds: creds_text(&token, &seed(&user)?), user: user.public_key() })
    }

    fn sign(&self, key: &str, name: &str, body: &serde_json::Value) -> Result<String, BusError> {
        let subject = Subject { key, name, issued_at_s: self.issued_at_s, expires_at_s: None };
        jwt::sign(&self.operator, &subject, body)
    }
}

/// The body of an account's token. A limit that is left out counts as zero, so all are named.
fn account_body(jetstream: bool) -> serde_json::Value {
    let mut limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1,
    });
    if jetstream {
        for name in ["mem_storage", "disk_storage", "streams", "consumer", "max_ack_pending"] {
            limits[name] = json!(-1);
        }
    }
    json!({
        "limits": limits, "default_permissions": {"pub": {}, "sub": {}}, "type": "account", "version": 2,
    })
}

fn creds_text(token: &str, seed: &str) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
         Whoever holds the key below can use this credential. Keep the file to yourself.\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

fn seed(key: &KeyPair) -> Result<String, BusError> {
    key.seed().map_err(|e| BusError::Key(e.to_string()))
}

fn from_seed(seed: &str, kind: KeyPairType) -> Result<KeyPair, BusError> {
    let key = KeyPair::from_seed(seed).map_err(|e| BusError::Key(e.to_string()))?;
    if key.key_pair_type() != kind {
        return Err(BusError::Key(format!("expected a seed of kind {kind:?}")));
    }
    Ok(key)
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn kept_keys_give_the_same_server_configuration() {
        let first = Operator::generate();
        let text = serde_json::to_string(&first.keys().unwrap()).unwrap();
        let again = Operator::from_keys(&serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(again.server_config().unwrap(), first.server_config().unwrap());
        assert_eq!(again.account_id(), first.account_id());
    }

    #[test]
    fn a_seed_of_another_kind_is_refused() {
        let mut keys = Operator::generate().keys().unwrap();
        keys.account_seed = keys.operator_seed.clone();
        assert!(matches!(Operator::from_keys(&keys), Err(BusError::Key(_))));
        keys.account_seed = "SAnotaseed".into();
        assert!(matches!(Operator::from_keys(&keys), Err(BusError::Key(_))));
    }

    #[test]
    fn a_debug_print_shows_no_seed() {
        let operator = Operator::generate();
        let keys = operator.keys().unwrap();
        let shown = format!("{operator:?} {keys:?}");
        for secret in [&keys.operator_seed, &keys.system_seed, &keys.account_seed] {
            assert!(!shown.contains(secret.as_str()));
        }
    }

    #[test]
    fn an_id_that_would_widen_the_rights_is_refused() {
        let operator = Operator::generate();
        let end = SystemTime::now();
        assert!(operator.post_creds("kita", "*", end).is_err());
        assert!(operator.post_creds("kita.other", "a", end).is_err());
        assert!(operator.post_creds("kita", ">", end).is_err());
    }
}
