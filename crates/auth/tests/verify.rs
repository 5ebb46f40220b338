//! What the verifier accepts and, mostly, what it does not. Tokens here are made by hand where the library would
//! refuse to make them.
#![allow(clippy::unwrap_used, missing_docs)]

mod forge;

use std::sync::Arc;

use forge::{AUDIENCE, Es256, Forge, NOW_S, Rs256, claims, encode, grant, hmac_token, jwks, trusted};
use proptest::prelude::*;
use serde_json::json;
use tasuki_auth::{
    AuthError, DEV_ISSUER, DevGrant, DevIssuer, KeyError, KeySet, TOKEN_BYTES_MAX, Verifier, bearer,
    refuse_dev_issuer,
};
use uuid::Uuid;

fn dev() -> (DevIssuer, Verifier) {
    let issuer = DevIssuer::generate().unwrap();
    let verifier = Verifier::new(vec![issuer.trust(AUDIENCE).unwrap()]).unwrap();
    (issuer, verifier)
}

fn reason_of(verifier: &Verifier, token: &str) -> &'static str {
    verifier.verify(token, NOW_S).unwrap_err().reason()
}

#[test]
fn a_token_of_the_try_out_issuer_becomes_the_caller_it_names() {
    let (issuer, verifier) = dev();
    let (low, high) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let token = issuer.issue(&DevGrant { posts: vec![high, low, high], ..grant() }).unwrap();
    let caller = verifier.verify(&token, NOW_S).unwrap();
    assert_eq!(caller.agency, grant().agency);
    assert_eq!(caller.posts, [low, high]);
    assert!(caller.claims_post(low) && !caller.claims_post(Uuid::from_u128(3)));
    assert_eq!(caller.expires_at_s, NOW_S + grant().lifetime_s);
    assert_eq!(
        (caller.subject.as_str(), caller.issuer.as_str(), caller.operator),
        ("kita_A", DEV_ISSUER, false)
    );
    assert!(!format!("{caller:?}").contains("kita_A"));
}

#[test]
fn keys_survive_being_stored_and_read_and_ring_made_ones_are_read_too() {
    let issuer = DevIssuer::generate().unwrap();
    let verifier = Verifier::new(vec![issuer.trust(AUDIENCE).unwrap()]).unwrap();
    let again = DevIssuer::from_pkcs8(issuer.pkcs8()).unwrap();
    assert_eq!(again.jwks(), issuer.jwks());
    verifier.verify(&again.issue(&grant()).unwrap(), NOW_S).unwrap();

    let ring_made =
        ring::signature::Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
    let issuer = DevIssuer::from_pkcs8(ring_made.as_ref()).unwrap();
    let verifier = Verifier::new(vec![issuer.trust(AUDIENCE).unwrap()]).unwrap();
    verifier.verify(&issuer.issue(&grant()).unwrap(), NOW_S).unwrap();
    assert!(matches!(DevIssuer::from_pkcs8(b"garbage"), Err(KeyError::DevKey(_))));
}

#[test]
fn es256_and_rs256_of_two_real_issuers_are_accepted_side_by_side() {
    let (es, rs) = (Es256::new("es"), Rs256::new("rs"));
    let verifier =
        Verifier::new(vec![trusted("https://a.example", &es), trusted("https://b.example", &rs)]).unwrap();
    let of_a = es.token(&claims("https://a.example"));
    let of_b = rs.token(&claims("https://b.example"));
    assert_eq!(verifier.verify(&of_a, NOW_S).unwrap().issuer, "https://a.example");
    assert_eq!(verifier.verify(&of_b, NOW_S).unwrap().issuer, "https://b.example");
    // The right key under the wrong issuer's name is no key of that issuer.
    assert_eq!(reason_of(&verifier, &es.token(&claims("https://b.example"))), "TOKEN_UNKNOWN_KEY");
}

#[test]
fn another_issuers_key_under_the_same_kid_does_not_sign_for_this_one() {
    let (ours, theirs) = (Es256::new("same"), Es256::new("same"));
    let verifier =
        Verifier::new(vec![trusted("https://a.example", &ours), trusted("https://b.example", &theirs)])
            .unwrap();
    let token = theirs.token(&claims("https://a.example"));
    assert_eq!(reason_of(&verifier, &token), "TOKEN_BAD_SIGNATURE");
    let stranger = DevIssuer::generate().unwrap();
    assert_eq!(reason_of(&verifier, &stranger.issue(&grant()).unwrap()), "TOKEN_UNKNOWN_ISSUER");
    let (_, trusting_another_key) = dev();
    assert_eq!(reason_of(&trusting_another_key, &stranger.issue(&grant()).unwrap()), "TOKEN_UNKNOWN_KEY");
}

#[test]
fn a_token_ends_at_its_second_and_a_cached_one_too() {
    let (issuer, verifier) = dev();
    let token = issuer.issue(&grant()).unwrap();
    let end_s = NOW_S + grant().lifetime_s;
    let first = verifier.verify(&token, end_s - 1).unwrap();
    let hit = verifier.verify(&token, end_s - 1).unwrap();
    assert!(Arc::ptr_eq(&first, &hit), "the second look is answered from memory");
    assert_eq!(verifier.verify(&token, end_s), Err(AuthError::Expired));
    assert_eq!(verifier.verify(&token, i64::MAX), Err(AuthError::Expired));
}

#[test]
fn a_token_does_not_begin_before_its_issue_or_not_before_cached_or_not() {
    let key = Es256::new("k");
    let verifier = Verifier::new(vec![trusted("https://a.example", &key)]).unwrap();
    let mut later = claims("https://a.example");
    later["nbf"] = json!(NOW_S + 100);
    let token = key.token(&later);
    assert_eq!(verifier.verify(&token, NOW_S), Err(AuthError::NotYetValid));
    verifier.verify(&token, NOW_S + 100).unwrap();
    assert_eq!(verifier.verify(&token, NOW_S), Err(AuthError::NotYetValid));
    assert_eq!(verifier.verify(&token, i64::MIN), Err(AuthError::NotYetValid));
    let mut issued_ahead = claims("https://a.example");
    issued_ahead["iat"] = json!(NOW_S + 100);
    assert_eq!(reason_of(&verifier, &key.token(&issued_ahead)), "TOKEN_NOT_YET_VALID");
}

#[test]
fn a_token_for_another_audience_is_refused_and_one_of_several_audiences_suffices() {
    let key = Es256::new("k");
    let verifier = Verifier::new(vec![trusted("https://a.example", &key)]).unwrap();
    let with = |aud| {
        let mut claims = claims("https://a.example");
        claims["aud"] = aud;
        key.token(&claims)
    };
    assert_eq!(reason_of(&verifier, &with(json!("elsewhere"))), "TOKEN_WRONG_AUDIENCE");
    assert_eq!(reason_of(&verifier, &with(json!([]))), "TOKEN_WRONG_AUDIENCE");
    assert_eq!(reason_of(&verifier, &with(json!({"a": 1}))), "TOKEN_MALFORMED");
    verifier.verify(&with(json!(["elsewhere", AUDIENCE])), NOW_S).unwrap();
}

#[test]
fn alg_none_is_refused_with_and_without_a_signature() {
    let (issuer, verifier) = dev();
    let honest = issuer.issue(&grant()).unwrap();
    let mut parts = honest.split('.');
    let (_, payload, signature) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    for alg in ["none", "None", "NONE", ""] {
        let header = encode(&json!({"alg": alg, "kid": "k"}));
        assert_eq!(reason_of(&verifier, &format!("{header}.{payload}.")), "TOKEN_UNSUPPORTED_ALGORITHM");
        assert_eq!(
            reason_of(&verifier, &format!("{header}.{payload}.{signature}")),
            "TOKEN_UNSUPPORTED_ALGORITHM"
        );
    }
}

#[test]
fn a_public_key_used_as_an_hmac_secret_signs_nothing() {
    let (issuer, verifier) = dev();
    let document: serde_json::Value = serde_json::from_str(&issuer.jwks()).unwrap();
    let public = forge::decode(document["keys"][0]["x"].as_str().unwrap());
    let kid = document["keys"][0]["kid"].as_str().unwrap();
    for secret in
        [public.as_slice(), issuer.jwks().as_bytes(), document["keys"][0]["x"].as_str().unwrap().as_bytes()]
    {
        let token = hmac_token(secret, kid, &claims(DEV_ISSUER));
        assert_eq!(reason_of(&verifier, &token), "TOKEN_UNSUPPORTED_ALGORITHM");
    }
}

#[test]
fn the_header_does_not_choose_how_a_key_is_used() {
    let key = Es256::new("k");
    let verifier = Verifier::new(vec![trusted("https://a.example", &key)]).unwrap();
    for alg in ["EdDSA", "RS256", "ES384", "PS256", "HS256"] {
        let token = key.token_with(&json!({"alg": alg, "kid": "k"}), &claims("https://a.example"));
        assert_eq!(reason_of(&verifier, &token), "TOKEN_UNSUPPORTED_ALGORITHM", "{alg}");
    }
    let critical = json!({"alg": "ES256", "kid": "k", "crit": ["b64"], "b64": false});
    assert_eq!(
        reason_of(&verifier, &key.token_with(&critical, &claims("https://a.example"))),
        "TOKEN_MALFORMED"
    );
    let own_key = json!({"alg": "ES256", "kid": "x", "jwk": {"kty": "EC"}, "jku": "https://evil.example"});
    assert_eq!(
        reason_of(&verifier, &key.token_with(&own_key, &claims("https://a.example"))),
        "TOKEN_UNKNOWN_KEY"
    );
    let no_kid = json!({"alg": "ES256"});
    assert_eq!(
        reason_of(&verifier, &key.token_with(&no_kid, &claims("https://a.example"))),
        "TOKEN_MALFORMED"
    );
}

#[test]
fn claims_that_lack_something_are_malformed_and_only_an_operator_may_lack_an_agency() {
    let key = Es256::new("k");
    let verifier = Verifier::new(vec![trusted("https://a.example", &key)]).unwrap();
    for missing in ["iss", "aud", "sub", "agency", "iat", "exp"] {
        let mut claims = claims("https://a.example");
        claims.as_object_mut().unwrap().remove(missing);
        assert_eq!(reason_of(&verifier, &key.token(&claims)), "TOKEN_MALFORMED", "{missing}");
    }
    for (name, bad) in [
        ("sub", json!("")),
        ("sub", json!("x".repeat(256))),
        ("agency", json!("00000000-0000-0000-0000-000000000000")),
        ("agency", json!("kita")),
        ("posts", json!(["kita"])),
        ("operator", json!("yes")),
        ("exp", json!("tomorrow")),
        ("exp", json!(1e300)),
    ] {
        let mut claims = claims("https://a.example");
        claims[name] = bad.clone();
        assert_eq!(reason_of(&verifier, &key.token(&claims)), "TOKEN_MALFORMED", "{name} {bad}");
    }
    let mut operator = claims("https://a.example");
    operator.as_object_mut().unwrap().remove("agency");
    operator["operator"] = json!(true);
    assert!(verifier.verify(&key.token(&operator), NOW_S).unwrap().agency.is_nil());
}

#[test]
fn rotation_accepts_the_new_key_forgets_the_old_one_and_empties_the_cache() {
    let (old, new) = (Es256::new("old"), Es256::new("new"));
    let verifier = Verifier::new(vec![trusted("https://a.example", &old)]).unwrap();
    let (of_old, of_new) = (old.token(&claims("https://a.example")), new.token(&claims("https://a.example")));
    let before = verifier.verify(&of_old, NOW_S).unwrap();
    assert_eq!(reason_of(&verifier, &of_new), "TOKEN_UNKNOWN_KEY");

    // Overlap: both are published for a while.
    let both = KeySet::from_jwks(&jwks(&[old.jwk(), new.jwk()])).unwrap();
    verifier.replace_keys("https://a.example", both).unwrap();
    let after = verifier.verify(&of_old, NOW_S).unwrap();
    assert!(before == after && !Arc::ptr_eq(&before, &after), "checked anew, not remembered");
    verifier.verify(&of_new, NOW_S).unwrap();

    verifier.replace_keys("https://a.example", KeySet::from_jwks(&jwks(&[new.jwk()])).unwrap()).unwrap();
    assert_eq!(reason_of(&verifier, &of_old), "TOKEN_UNKNOWN_KEY");
    verifier.verify(&of_new, NOW_S).unwrap();
    let keys = KeySet::from_jwks(&jwks(&[new.jwk()])).unwrap();
    assert!(matches!(verifier.replace_keys("https://b.example", keys), Err(KeyError::UnknownIssuer(_))));
}

#[test]
fn a_huge_token_is_refused_unread_and_one_of_the_greatest_length_is_read() {
    let (issuer, verifier) = dev();
    assert_eq!(reason_of(&verifier, &"a".repeat(TOKEN_BYTES_MAX + 1)), "TOKEN_MALFORMED");
    assert_eq!(reason_of(&verifier, &"..".repeat(TOKEN_BYTES_MAX / 2)), "TOKEN_MALFORMED");
    let many = (1..300).map(Uuid::from_u128).collect::<Vec<_>>();
    let token = issuer.issue(&DevGrant { posts: many.clone(), ..grant() }).unwrap();
    assert!(token.len() <= TOKEN_BYTES_MAX);
    assert_eq!(verifier.verify(&token, NOW_S).unwrap().posts, many);
}

#[test]
fn the_try_out_issuer_is_refused_unless_it_is_asked_for() {
    let (_, verifier) = dev();
    assert!(refuse_dev_issuer(&verifier, false).unwrap_err().to_string().contains("--insecure-dev-issuer"));
    refuse_dev_issuer(&verifier, true).unwrap();
    let real = Verifier::new(vec![trusted("https://a.example", &Es256::new("k"))]).unwrap();
    refuse_dev_issuer(&real, false).unwrap();
}

#[test]
fn the_bearer_token_is_taken_from_the_header_and_nothing_else_is() {
    assert_eq!(bearer(Some("Bearer abc")), Ok("abc"));
    assert_eq!(bearer(Some("bearer  abc ")), Ok("abc"));
    for none in [None, Some(""), Some("  "), Some("Bearer"), Some("Bearer ")] {
        assert_eq!(bearer(none).unwrap_err().reason(), "TOKEN_MISSING", "{none:?}");
    }
    assert_eq!(bearer(Some("Basic abc")).unwrap_err().reason(), "TOKEN_MALFORMED");
    let (_, verifier) = dev();
    assert_eq!(reason_of(&verifier, ""), "TOKEN_MISSING");
}

proptest! {
    #[test]
    fn garbage_is_refused_without_a_panic_and_never_echoed(token in "\\PC{1,200}") {
        let (_, verifier) = dev();
        let error = verifier.verify(&token, NOW_S).unwrap_err();
        prop_assert!(token.len() < 12 || !error.to_string().contains(&token));
    }

    #[test]
    fn garbage_of_the_right_shape_is_refused_without_a_panic(
        header in proptest::collection::vec(any::<u8>(), 0..80),
        payload in proptest::collection::vec(any::<u8>(), 0..80),
        signature in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let (_, verifier) = dev();
        let token = [header, payload, signature].map(|part| forge::encode_bytes(&part)).join(".");
        prop_assert!(verifier.verify(&token, NOW_S).is_err());
    }

    #[test]
    fn one_changed_character_anywhere_is_refused(at in any::<prop::sample::Index>(), with in "[A-Za-z0-9_.-]") {
        let (issuer, verifier) = dev();
        let token = issuer.issue(&grant()).unwrap();
        let at = at.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(at..=at, &with);
        prop_assume!(changed != token);
        prop_assert!(verifier.verify(&token, NOW_S).is_ok(), "the honest one is remembered and does not help");
        prop_assert!(verifier.verify(&changed, NOW_S).is_err());
    }
}

#[test]
fn a_tampered_payload_has_a_bad_signature() {
    let (issuer, verifier) = dev();
    let token = issuer.issue(&grant()).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let mut payload: serde_json::Value = serde_json::from_slice(&forge::decode(parts[1])).unwrap();
    payload["operator"] = json!(true);
    let forged = [parts[0], &encode(&payload), parts[2]].join(".");
    assert_eq!(reason_of(&verifier, &forged), "TOKEN_BAD_SIGNATURE");
}
