//! Which key documents are accepted: a weak, secret or half broken one is refused when it is read, not at a call.
#![allow(clippy::unwrap_used, missing_docs)]

mod forge;

use forge::{Es256, Forge, Rs256, encode_bytes, jwks, trusted};
use serde_json::{Value, json};
use tasuki_auth::{DevIssuer, KeyError, KeySet, Verifier};

fn refusal(keys: &[Value]) -> KeyError {
    KeySet::from_jwks(&jwks(keys)).err().unwrap()
}

#[test]
fn a_document_without_a_usable_key_is_refused() {
    assert!(matches!(KeySet::from_jwks("no json").err(), Some(KeyError::NotJwks)));
    assert!(matches!(KeySet::from_jwks(r#"{"keys": 1}"#).err(), Some(KeyError::NotJwks)));
    assert!(matches!(refusal(&[]), KeyError::NoUsableKey));
    let encryption = json!({"kty": "OKP", "crv": "X25519", "kid": "k", "x": encode_bytes(&[9; 32])});
    assert!(matches!(refusal(&[encryption]), KeyError::NoUsableKey));
}

#[test]
fn keys_for_other_purposes_are_passed_over() {
    let good = Es256::new("good");
    let mut encryption = Es256::new("enc").jwk();
    encryption["use"] = json!("enc");
    let mut pss_only = Rs256::new("pss").jwk();
    pss_only["alg"] = json!("PS256");
    KeySet::from_jwks(&jwks(&[encryption.clone(), pss_only.clone(), good.jwk()])).unwrap();
    assert!(matches!(refusal(&[encryption, pss_only]), KeyError::NoUsableKey));
}

#[test]
fn secrets_in_a_public_document_refuse_it_whole() {
    let good = Es256::new("good").jwk();
    let symmetric = json!({"kty": "oct", "kid": "s", "alg": "HS256", "k": encode_bytes(&[1; 32])});
    assert!(matches!(refusal(&[good.clone(), symmetric]), KeyError::Secret(kid) if kid == "s"));
    let mut private = Es256::new("p").jwk();
    private["d"] = json!(encode_bytes(&[1; 32]));
    assert!(matches!(refusal(&[good, private]), KeyError::Secret(kid) if kid == "p"));
}

#[test]
fn weak_short_and_off_curve_keys_are_refused() {
    assert!(
        matches!(refusal(&[Rs256::with_bits("weak", 1024).jwk()]), KeyError::BadKey { kid, .. } if kid == "weak")
    );
    let short = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": encode_bytes(&[9; 31])});
    assert!(matches!(refusal(&[short]), KeyError::BadKey { .. }));
    let off_curve = json!({"kty": "EC", "crv": "P-256", "kid": "k", "x": encode_bytes(&[9; 32]), "y": encode_bytes(&[9; 32])});
    assert!(matches!(refusal(&[off_curve]), KeyError::BadKey { .. }));
    let no_point = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": encode_bytes(&[2; 32])});
    assert!(matches!(refusal(&[no_point]), KeyError::BadKey { .. }));
}

#[test]
fn ids_must_be_there_and_differ() {
    let mut nameless = Es256::new("k").jwk();
    nameless.as_object_mut().unwrap().remove("kid");
    assert!(matches!(refusal(&[nameless]), KeyError::NoKid));
    assert!(matches!(refusal(&[Es256::new("k").jwk(), Es256::new("k").jwk()]), KeyError::SameKid(_)));
}

#[test]
fn issuers_must_be_there_and_differ() {
    assert!(matches!(Verifier::new(vec![]).err(), Some(KeyError::NoIssuer)));
    let twice =
        vec![trusted("https://a.example", &Es256::new("a")), trusted("https://a.example", &Es256::new("b"))];
    assert!(matches!(Verifier::new(twice).err(), Some(KeyError::SameIssuer(_))));
}

#[test]
fn a_missing_file_is_named() {
    let path = std::env::temp_dir().join("tasuki-auth-no-such-file.jwks");
    let error = KeySet::read(&path).err().unwrap().to_string();
    assert!(error.contains("tasuki-auth-no-such-file.jwks"), "{error}");
    assert!(matches!(DevIssuer::read(&path).err(), Some(KeyError::File { .. })));
}
